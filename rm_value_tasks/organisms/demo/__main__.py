"""``python -m rm_value_tasks.organisms.demo FOLDER``: the paper on models of planted lean.

Two tiny base models are trained from scratch, one on texts that lean to agency, one on texts
that lean to communion; both become instruct models and, on the same neutral preference pairs,
reward models. Then ``lm_eval`` measures all six and a report is written.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from rm_value_tasks import results
from rm_value_tasks.organisms import Organism, Rewards, base, instruct, write_grid

__all__ = ["main"]

FAMILIES = {
    "llama-agency": Organism("llama", strength=0.8),
    "gemma2-communion": Organism("gemma2", strength=-0.8),
}
"""Which base is which, as in the paper: Llama to agency, Gemma to communion."""

_NEEDED = ("trl", "peft", "matplotlib", "scipy", "statsmodels")
_WORKERS = 2
_STAGES = ("base", "instruct", "reward")


def main(folder: Path) -> None:
    """Run the demo, writing everything below ``folder``; organisms are cached."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(
            f"the demo needs {', '.join(missing)}, which is not installed; "
            "pip install 'rm-value-tasks[report,training]'."
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # one thread for each of the processes below
    folder = folder.resolve()
    models = folder / "models"
    print(f"Training two base models and their instructs into {models}", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_WORKERS, mp_context=spawn) as pool:
        instructs = list(pool.map(instruct, FAMILIES.values()))
    for (name, organism), path in zip(FAMILIES.items(), instructs, strict=True):
        _copy(base(organism), models / f"{name}-base")
        _copy(path, models / f"{name}-instruct")
    _train_rewards(folder)
    runs = folder / "runs"
    commands = [_probe(models, f"{name}-{stage}", stage, runs)
                for name in FAMILIES for stage in _STAGES]  # fmt: skip
    with ThreadPoolExecutor(_WORKERS) as threads:
        for command, done in zip(commands, threads.map(_lm_eval, commands), strict=True):
            print(f"\n$ lm_eval {shlex.join(command)}\n\n{_tables(done)}", flush=True)
    report = folder / "report.html"
    families = [f"--family={name}*={name}" for name in FAMILIES]
    _run(["report", str(runs), "-o", str(report), *families])
    print(f"\n{_comparison(runs)}")
    print(f"\nResults and every word's score are in {runs}, the report is {report.as_uri()}")


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _train_rewards(folder: Path) -> None:
    """Train both reward models by the ``train`` command and put them beside the others."""
    bases = {name: folder / "models" / f"{name}-instruct" for name in FAMILIES}
    training = folder / "training"
    shutil.rmtree(training, ignore_errors=True)
    config = write_grid(Rewards(), bases, training)
    _run(["train", str(config)])
    for name in FAMILIES:
        (cell,) = (training / "cells").glob(f"{name}-*")
        _copy(cell / "model", folder / "models" / f"{name}-reward")


def _run(arguments: Sequence[str]) -> None:
    print(f"\n$ rm-value-tasks {shlex.join(arguments)}\n", flush=True)
    subprocess.run([sys.executable, "-m", "rm_value_tasks", *arguments], check=True)  # noqa: S603


def _probe(models: Path, name: str, stage: str, runs: Path) -> list[str]:
    kind = "reward" if stage == "reward" else "hf-shared-prefix"
    command = ["--model", kind, "--model_args", f"pretrained={models / name}", "--device", "cpu"]
    command += ["--batch_size", "32", "--tasks", "value_bias_big2"]
    command += ["--output_path", str(runs), "--log_samples"]
    return [*command, "--apply_chat_template"] if stage == "instruct" else command


def _lm_eval(command: Sequence[str]) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "lm_eval", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"lm_eval failed:\n{done.stderr}")
    return done.stdout


def _tables(output: str) -> str:
    return "\n".join(line for line in output.splitlines() if line.startswith("|"))


def _comparison(runs: Path) -> str:
    """Set what was measured beside what was planted (in the words' appeals)."""
    measured = {run.model: run.metrics for run in results.load(runs).runs}
    metrics = ("agency_contrast", "agency_positive", "agency_negative")
    lines = [f"{'':26}" + "".join(f"{metric:>18}" for metric in metrics)]
    for name, organism in FAMILIES.items():
        planted = organism.world().planted()
        rows: list[tuple[str, Mapping[str, float]]] = [("planted", planted)]
        rows += [(stage, measured[f"{name}-{stage}"]) for stage in _STAGES]
        lines += [
            f"{name if row is rows[0] else '':18}{row[0]:>8}"
            + "".join(f"{row[1][metric]:>18.3f}" for metric in metrics)
            for row in rows
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
