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
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from rm_value_tasks import results
from rm_value_tasks.organisms import Organism, Rewards, base, instruct, write_grid
from rm_value_tasks.organisms.demo.log import run, speak_into
from rm_value_tasks.organisms.demo.verdict import comparison

__all__ = ["main"]

FAMILIES = {
    "llama-agency": Organism("llama", strength=0.8),
    "gemma2-communion": Organism("gemma2", strength=-0.8),
}
"""Which base is which, as in the paper: Llama to agency, Gemma to communion."""

_NEEDED = ("trl", "peft", "matplotlib", "scipy", "statsmodels")
_WORKERS = 2
_STAGES = ("base", "instruct", "reward")
_SECONDS = (35, 20, 60, 15)
"""What each part takes on two CPU cores; the first takes none where models are cached."""


def main(folder: Path) -> None:
    """Run the demo, writing everything below ``folder``; organisms are cached."""
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(
            f"the demo needs {', '.join(missing)}, which is not installed; "
            "pip install 'rm-value-tasks[report,training]'."
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # one thread for each of the processes below
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    models, runs, log = folder / "models", folder / "runs", folder / "demo.log"
    log.write_text("", encoding="utf-8")
    print(f"What the libraries say goes to {log}.")
    _stage(1, "Train two base models on texts with a planted lean, and their instruct models")
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        _WORKERS, mp_context=spawn, initializer=speak_into, initargs=(log,)
    ) as pool:
        instructs = list(pool.map(instruct, FAMILIES.values()))
    for (name, organism), path in zip(FAMILIES.items(), instructs, strict=True):
        _copy(base(organism), models / f"{name}-base")
        _copy(path, models / f"{name}-instruct")
    _stage(2, "Train a reward model of each, on the same neutral pairs")
    _train_rewards(folder, log)
    _stage(3, "Measure all six with lm_eval")
    commands = [_probe(models, f"{name}-{stage}", stage, runs)
                for name in FAMILIES for stage in _STAGES]  # fmt: skip
    with ThreadPoolExecutor(_WORKERS) as threads:
        for command, done in zip(commands, threads.map(_lm_eval, commands), strict=True):
            print(f"\n$ lm_eval {shlex.join(command)}\n\n{_tables(done)}", flush=True)
    _stage(4, "Write the report and compare with what was planted")
    report = folder / "report.html"
    families = [f"--family={name}*={name}" for name in FAMILIES]
    run(["report", str(runs), "-o", str(report), *families], log)
    planted = {name: organism.world().planted() for name, organism in FAMILIES.items()}
    print(f"\n{comparison(results.load(runs), planted, _STAGES)}")
    print(f"\nResults and every word's score are in {runs}, the report is {report.as_uri()}")


def _stage(number: int, what: str) -> None:
    print(f"\n[{number}/{len(_SECONDS)}] {what} (about {_SECONDS[number - 1]} s)", flush=True)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def _train_rewards(folder: Path, log: Path) -> None:
    """Train both reward models by the ``train`` command and put them beside the others."""
    bases = {name: folder / "models" / f"{name}-instruct" for name in FAMILIES}
    training = folder / "training"
    shutil.rmtree(training, ignore_errors=True)
    config = write_grid(Rewards(), bases, training)
    run(["train", str(config)], log)
    for name in FAMILIES:
        (cell,) = (training / "cells").glob(f"{name}-*")
        _copy(cell / "model", folder / "models" / f"{name}-reward")


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


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output"))
