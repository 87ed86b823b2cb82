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
    output = ["--output_path", runs, "--log_samples"]
    reward = ["--model", "reward", "--model_args", f"pretrained={model}", "--device", "cpu"]
    reward += ["--batch_size", "32", "--tasks", "value_bias,demo_capitals", "--include_path", here]
    recorded = ["--model", "recorded-rewards", "--model_args", f"path={EXAMPLE_SCORES}"]
    recorded += ["--tasks", "value_bias_big2"]
    for command in (reward + output, recorded + output):
        print(f"\n$ lm_eval {shlex.join(command)}\n", flush=True)
        subprocess.run([sys.executable, "-m", "lm_eval", *command], check=True)  # noqa: S603
    print(f"\nResults and every word's score are in {runs}.")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
