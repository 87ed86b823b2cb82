"""``python -m rm_value_tasks.demo FOLDER``: build a model, run lm_eval twice, print its tables."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from rm_value_tasks.demo.example_scores import EXAMPLE_SCORES
from rm_value_tasks.demo.tiny_model import build

__all__ = ["main"]


def main(folder: Path) -> None:
    """Run the demo, writing everything below ``folder``."""
    model = build(folder / "tiny-reward-model")
    runs = str(folder / "runs")
    here = str(Path(__file__).parent)
    commands = [
        f"--model reward --model_args pretrained={model} --device cpu --batch_size 32 "
        f"--tasks value_bias,demo_capitals --include_path {shlex.quote(here)} "
        f"--output_path {shlex.quote(runs)} --log_samples",
        f"--model recorded-rewards --model_args path={EXAMPLE_SCORES} --tasks value_bias_big2 "
        f"--output_path {shlex.quote(runs)} --log_samples",
    ]
    for command in commands:
        print(f"\n$ lm_eval {command}\n", flush=True)
        subprocess.run([sys.executable, "-m", "lm_eval", *shlex.split(command)], check=True)  # noqa: S603
    print(f"\nResults and every word's score are in {runs}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
