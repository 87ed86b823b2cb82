"""From a planted lean to a reward model, by the commands that users run."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from rm_value_tasks import results
from rm_value_tasks.organisms import Organism, Rewards, base, chain, instruct, write_grid
from rm_value_tasks.organisms.measure import measure
from rm_value_tasks.stats.lean import auroc
from rm_value_tasks.training import grid
from rm_value_tasks.training.config import load

QUICK = {"notes": 320, "questions": 128, "turns": 64}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RM_VALUE_TASKS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_a_grid_trains_reward_models_with_and_without_counter_leaning_pairs(
    tmp_path, store, monkeypatch
):
    organism = Organism("llama", 1.0, **QUICK)
    started = instruct(organism)
    plan = Rewards(pairs=64, held_out=32, counter=(0.0, 0.5), metadata={"prompts": "best_ever_one"})
    trained = load(write_grid(plan, {"llama": started}, tmp_path))
    assert [cell.counter_share for cell in trained.cells] == [0.0, 0.5]
    assert grid.run(trained, print) == {}
    for cell in trained.cells:
        lean = measure("reward", trained.output / cell.name / "model", ("best_ever_one",))
        (last,) = (trained.output / cell.name / "probes").glob("step-000004")
        (run,) = results.load(last).runs
        assert lean.agency_contrast == pytest.approx(run.metrics["agency_contrast"], abs=1e-3)
        assert lean.low <= lean.agency_contrast <= lean.high
    # Cached: training a second time would call this.
    monkeypatch.setattr(chain, "train_base", None)
    monkeypatch.setattr(chain, "train_instruct", None)
    assert instruct(organism) == started


def test_the_measured_lean_is_the_probes_own(store):
    """A base's contrast, computed here from its log-probabilities without lm-eval."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rm_value_tasks.prompts import by_id

    organism = Organism("llama", 1.0, **QUICK)
    model = AutoModelForCausalLM.from_pretrained(base(organism)).eval()
    tokenizer = AutoTokenizer.from_pretrained(base(organism))
    words = tokenizer.convert_tokens_to_ids(list(organism.world().words))
    with torch.no_grad():
        best, worst = (
            model(**tokenizer(by_id(name).text, return_tensors="pt")).logits[0, -1]
            .log_softmax(-1)[words].numpy()
            for name in ("best_ever_one", "worst_ever_one")
        )  # fmt: skip
    agency = organism.world().agency
    expected = auroc((best - worst)[agency], (best - worst)[~agency])
    lean = measure("hf-shared-prefix", base(organism), ("best_ever_one",))
    assert lean.agency_contrast == pytest.approx(expected, abs=1e-3)
    assert np.isnan(lean.stderr)  # of one pair


@pytest.mark.slow
def test_the_demo_finds_what_was_planted(tmp_path, store):
    done = subprocess.run(
        [sys.executable, "-m", "rm_value_tasks.organisms.demo", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = re.search(r"file://(\S+report\.html)", done.stdout)
    assert report
    stages = [f"[{number}/4] " for number in range(1, 5)]
    assert [line[:6] for line in done.stdout.splitlines() if line[:6] in stages] == stages
    assert "0.5 is neutral" in done.stdout
    assert len(re.findall(r"^- \S+: 0\.\d+ \(", done.stdout, re.MULTILINE)) == 6
    assert "MISSING" not in done.stdout + done.stderr
    runs = {
        run.model: run.metrics["agency_contrast"] for run in results.load(tmp_path / "runs").runs
    }
    assert len(runs) == 6
    for stage in ("base", "instruct", "reward"):
        assert runs[f"llama-agency-{stage}"] > 0.55
        assert runs[f"gemma2-communion-{stage}"] < 0.45
    cells = list((tmp_path / "training" / "cells").glob("*/cell.json"))
    assert [json.loads(cell.read_text())["status"] for cell in cells] == ["finished"] * 2
