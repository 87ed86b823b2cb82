"""kill -9 at random moments: nothing is lost, doubled or half-written (``make test-slow``).

``KILLS`` says how many each command gets.
"""

import contextlib
import multiprocessing
import os
import random
import shutil
import sqlite3
import time
from pathlib import Path

import pandas as pd
import pytest

from tests import runs, tiny
from tests.training import grids

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "50"))
_PRELOAD = [
    "tests.test_kills",
    "rm_value_tasks.models.reward",
    "rm_value_tasks.figures",
    "rm_value_tasks.report",
    "rm_value_tasks.training.grid",
    "lm_eval.evaluator",
]


def command(*arguments):
    import torch

    from rm_value_tasks.cli import cli

    torch.set_num_threads(1)
    cli(list(map(str, arguments)), standalone_mode=False)


def probe(folder, cache):
    import lm_eval
    import torch
    from lm_eval.tasks import TaskManager

    from rm_value_tasks import task_config_dir

    torch.set_num_threads(1)
    found = lm_eval.simple_evaluate(
        model="reward",
        model_args={"pretrained": str(folder), "batch_size": 1, "shared_prefix": False},
        tasks=["value_bias_big2"],
        task_manager=TaskManager(
            include_path=task_config_dir(),
            include_defaults=False,
            metadata={"prompts": ["best_ever_one"]},
        ),
        use_cache=str(cache),
        device="cpu",
    )
    (samples,) = found["samples"].values()
    return [float(pair[0]) for sample in samples for pair in sample["filtered_resps"]]


def _quiet(target, arguments):
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        os.dup2(nothing.fileno(), 2)
        target(*arguments)


class Killer:
    """Runs a function in processes that start at once, and kills them."""

    def __init__(self):
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOAD)
        self._random = random.Random(0)

    def start(self, target, arguments):
        process = self._context.Process(target=_quiet, args=(target, arguments))
        process.start()
        return process

    def whole(self, target, *arguments):
        """Run to the end; returns the seconds that it took."""
        start = time.monotonic()
        process = self.start(target, arguments)
        process.join()
        assert process.exitcode == 0
        return time.monotonic() - start

    def at_random(self, seconds, target, *arguments):
        """Kill a process at a random moment of its usual time; says whether it was alive."""
        process = self.start(target, arguments)
        time.sleep(self._random.uniform(0, seconds))
        alive = process.is_alive()
        process.kill()
        process.join()
        return alive


@pytest.fixture(scope="module")
def killer():
    killer = Killer()
    killer.whole(os.getpid)  # the server has loaded everything
    return killer


def go_on(killer, folder, check, seconds, target, *arguments):
    """Kill and start again until ``KILLS`` runs were killed; returns how many came through.

    A run that comes through is checked, and the next one starts anew.
    """
    killed = through = 0
    while killed < KILLS:
        if killer.at_random(seconds, target, *arguments):
            killed += 1
        else:
            check()
            through += 1
            shutil.rmtree(folder)
            folder.mkdir()
    killer.whole(target, *arguments)
    check()
    return through + 1


def test_tokens(killer, tmp_path):
    model, out = tiny.save(tmp_path / "model", "llama"), tmp_path / "out"
    given = f"pretrained={model},shared_prefix=False"
    arguments = ["tokens", "--model-args", given, "--prompts", "best_*", "--batch-size", "4"]
    arguments += ["--chunk-size", "16", "--device", "cpu", "-o"]
    seconds = killer.whole(command, *arguments, tmp_path / "whole")
    expected = pd.read_parquet(tmp_path / "whole" / "tokens.parquet")

    def check():
        pd.testing.assert_frame_equal(pd.read_parquet(out / "tokens.parquet"), expected)
        assert {path.name for path in out.iterdir()} == {"run.json", "tokens.parquet"}

    through = go_on(killer, out, check, seconds, command, *arguments, out)
    print(f"tokens: {KILLS} kills, {through} runs came through, {len(expected)} rows each")


def test_lm_evals_cache(killer, tmp_path):
    model, out = tiny.save(tmp_path / "model", "llama"), tmp_path / "out"
    out.mkdir()
    expected = probe(model, tmp_path / "whole")
    seconds = killer.whole(probe, model, tmp_path / "timed")

    def check():
        assert probe(model, out / "cache") == pytest.approx(expected, abs=1e-5)
        with sqlite3.connect(out / "cache_rank0.db") as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)
            ((rows,),) = database.execute("select count(*) from unnamed")
        assert rows == len(expected)

    through = go_on(killer, out, check, seconds, probe, model, out / "cache")
    print(f"--use_cache: {KILLS} kills, {through} runs came through, {len(expected)} rewards each")


def test_train(killer, tmp_path):
    base = grids.save_base(tmp_path / "base")
    whole, out = tmp_path / "whole", tmp_path / "config"
    for folder in (whole, out):
        folder.mkdir()
        grids.config(folder, base)
    seconds = killer.whole(command, "train", whole / "config.yaml")
    expected = {run.model: run.metrics for run in runs_of(whole / "out")}

    def check():
        found = {run.model: run.metrics for run in runs_of(out / "out")}
        assert found.keys() == expected.keys()
        for name, metrics in expected.items():
            assert found[name] == pytest.approx(metrics, abs=1e-6)
        assert not list(out.rglob("model.partial"))

    through = go_on(killer, out / "out", check, seconds, command, "train", out / "config.yaml")
    print(f"train: {KILLS} kills, {through} runs came through, {len(expected)} checkpoints each")


def runs_of(folder):
    from rm_value_tasks.results import load

    return load(folder, all_runs=True).runs


@pytest.mark.parametrize("verb", ["trace", "report", "leaderboard"])
def test_files_that_are_written_at_the_end(killer, tmp_path, tmp_path_factory, verb):
    root = runs.all_of(tmp_path_factory.getbasetemp())
    first, second = root / "first", root / "second"
    stages = [f"A:base={first}", f"A:reward={second}", f"B:base={second}", f"B:reward={first}"]
    arguments = {
        "trace": ["trace", *stages, "--resamples", "200"],
        "report": ["report", first, second],
        "leaderboard": ["leaderboard", first, second],
    }[verb]
    name = {"trace": "", "report": "page.html", "leaderboard": "table.md"}[verb]
    place = tmp_path / "out"
    place.mkdir()
    seconds = killer.whole(command, *arguments, "-o", place / name)
    new = contents(place)
    assert new
    old = {key: b"old" for key in new}
    states = []
    for _ in range(KILLS):
        shutil.rmtree(place)
        place.mkdir()
        for key in old:
            (place / key).write_bytes(b"old")
        killer.at_random(seconds, command, *arguments, "-o", place / name)
        found = contents(place)
        for key, content in found.items():
            assert content in (old[key], new[key]), key
        if verb != "trace":  # which drops tables that no longer hold before it writes
            assert found.keys() == old.keys()
        states.append(sum(found.get(key) == new[key] for key in new))
        # What the kill left behind goes with the next run.
    killer.whole(command, *arguments, "-o", place / name)
    assert contents(place) == new
    assert not [path for path in place.iterdir() if path.name.startswith(".")]
    print(f"{verb}: {KILLS} kills, {sum(0 < n < len(new) for n in states)} between two files")


def contents(folder: Path):
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")
    }
