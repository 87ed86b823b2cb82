"""Whole grids: what is written, what goes on after a kill, what happens to failing cells."""

import json
import multiprocessing
import shutil
import time

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from rm_value_tasks import results
from rm_value_tasks.analyses import compare
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.training import grid
from rm_value_tasks.training.cell import _arguments
from rm_value_tasks.training.config import load
from tests.training import grids


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return grids.save_base(tmp_path_factory.mktemp("base") / "base")


def run(config):
    return CliRunner().invoke(cli, ["train", str(config)])


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """Two objectives' worth of cells: full training at two quantities."""
    folder = tmp_path_factory.mktemp("grid")
    counter = {"name": "counter", "dataset": str(grids.write_pairs(folder / "c.jsonl", 20, 500))}
    config = grids.config(
        folder, base, quantities=[8, 24], counter={"data": counter, "shares": [0.0, 0.25]}
    )
    done = run(config)
    assert done.exit_code == 0, done.output
    return folder, config


def test_each_checkpoint_is_a_run_of_its_own(trained):
    folder, _ = trained
    loaded = results.load(folder / "out")
    assert loaded.skipped == ()
    found = {run.model: run.config["training"] for run in loaded.runs}
    # 24 pairs in batches of 8, two epochs: 6 steps; two checkpoints beside step 0
    for name in ("llama-pairs-24-seed0", "llama-pairs-24-counter0.25-seed0"):
        for step, seen in ((0, 0), (3, 24), (6, 48)):
            training = found[f"{name}/step-{step}"]
            assert (training["step"], training["pairs_seen"]) == (step, seen)
            assert training["counter_share"] == (0.25 if "counter" in name else 0.0)
            assert 0 <= training["held_out_accuracy"] <= 1
    assert len(found) == len(loaded.runs) == 4 * 3
    assert set(loaded.table["model"]) == set(found)


def test_cells_of_one_seed_start_from_one_model(trained):
    scores = results.load(trained[0] / "out").table
    starts = scores[scores["model"].str.endswith("/step-0")]
    assert starts.groupby(["prompt", "word"])["score"].nunique().eq(1).all()


def test_the_cells_record_and_model(trained):
    folder, _ = trained
    cell = folder / "out" / "llama-pairs-24-seed0"
    record = json.loads((cell / "cell.json").read_text())
    assert (record["status"], record["steps"], record["pairs"]) == ("finished", 6, 24)
    assert record["held_out_pairs"] == 10
    assert not (cell / "checkpoints").exists()
    RewardLM(**record["model_args"], device="cpu")
    last = results.load(cell / "probes" / "step-000006")
    assert last.runs[0].config["training"]["held_out_accuracy"] == record["held_out_accuracy"]
    start = results.load(cell / "probes" / "step-000000")
    assert len(compare.compare(start, last).table) == 3


def test_a_finished_cell_is_not_run_again(trained):
    folder, config = trained
    before = {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}
    done = run(config)
    assert done.exit_code == 0
    assert done.output.count("finished before") == 4
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "out").rglob("*")}


def test_a_changed_config_is_refused_before_anything_runs(trained):
    _, config = trained
    text = config.read_text()
    try:
        config.write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.002"))
        with pytest.raises(DataError) as caught:
            grid.run(load(config), print)
    finally:
        config.write_text(text)
    assert "training.learning_rate (0.001, now 0.002)" in str(caught.value)


@pytest.mark.parametrize(
    ("objective", "dtype"), [("grm", "float32"), ("bradley-terry", "bfloat16")]
)
def test_a_model_trained_with_adapters_is_saved_as_the_probe_saw_it(
    base, tmp_path, objective, dtype
):
    bases = [{"name": "llama", "pretrained": str(base), "dtype": dtype}]
    config = grids.config(
        tmp_path, base, bases=bases, method="lora", objective=objective, quantities=[8]
    )
    done = run(config)
    assert done.exit_code == 0, done.output
    (cell,) = (tmp_path / "out").iterdir()
    record = json.loads((cell / "cell.json").read_text())
    assert ("peft" in record["model_args"]) == (dtype == "bfloat16")
    lm = RewardLM(**record["model_args"], device="cpu", shared_prefix=False)
    table = results.load(cell).table
    last = table[table["model"].str.endswith("step-2") & (table["prompt"] == "best_ever_one")]
    first = table[table["model"].str.endswith("step-0") & (table["prompt"] == "best_ever_one")]
    asked = "What, in one word, is the best thing ever?"
    for row in last.itertuples():
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": row.word}]
        ids = lm.tokenizer.apply_chat_template(turns, tokenize=True, return_dict=True)["input_ids"]
        close = 1e-4 if dtype == "float32" else 3e-2
        assert row.score == pytest.approx(lm.score_sequences([ids])[0], abs=close)
    assert not torch.equal(torch.tensor(last["score"].values), torch.tensor(first["score"].values))


@pytest.mark.parametrize("replaced", ["base", "pairs.jsonl"])
def test_a_finished_cell_whose_inputs_were_replaced_is_refused(base, tmp_path, replaced):
    own = shutil.copytree(base, tmp_path / "base")
    plan = load(grids.config(tmp_path, own))
    (cell,) = plan.cells
    inputs = grid.inputs(cell, grid.checkpoint_digest)
    grid._write(tmp_path / "out" / cell.name, cell, status="finished", inputs=inputs)
    assert grid.status(cell, plan.output) == "finished"
    if replaced == "base":
        grids.save_base(own, seed=7)
    else:
        grids.write_pairs(tmp_path / replaced, 60, start=1)
    with pytest.raises(DataError, match=f"another content of .*{replaced}; remove that folder"):
        grid.status(cell, plan.output)


def test_data_that_cannot_be_had_are_asked_for_once(base, tmp_path, monkeypatch):
    asked = []

    def refuse(data):
        asked.append(data.name)
        raise DataError("the hub is not reached")

    monkeypatch.setattr(grid.pairs, "load", refuse)
    plan = load(grids.config(tmp_path, base, quantities=[8, 16, 24]))
    failed = grid.run(plan, lambda line: None)
    assert asked == ["pairs"]
    assert set(failed.values()) == {"the hub is not reached"}
    assert len(failed) == 3


def test_a_failing_cell_is_reported_and_the_rest_go_on(base, tmp_path):
    bases = [{"name": "gone", "pretrained": str(tmp_path / "none")}]
    config = grids.config(
        tmp_path,
        base,
        bases=[*bases, {"name": "llama", "pretrained": str(base)}],
        quantities=[8, 51],
        probe={"every": 100, "metadata": {"prompts": ["best_ever_one"]}},
    )
    done = run(config)
    assert done.exit_code == 1
    assert "3 of 4 cells failed:" in done.output
    assert "no model '" in done.output
    assert "'pairs' have 50 pairs, 51 are asked for" in done.output
    records = {
        path.parent.name: json.loads(path.read_text())
        for path in (tmp_path / "out").glob("*/cell.json")
    }
    assert records["llama-pairs-8-seed0"]["status"] == "finished"
    assert records["gone-pairs-8-seed0"]["status"] == "failed"
    assert "there is no such folder" in records["gone-pairs-8-seed0"]["error"]
    # Mended, it runs: what failed before anything was trained may change.
    shutil.copytree(base, tmp_path / "none")
    again = run(config)
    assert "1 of 4" not in again.output
    assert "2 of 4 cells failed:" in again.output


def test_a_killed_cell_goes_on_and_ends_as_if_it_had_not_been(base, tmp_path):
    training = {
        **{"batch_size": 4, "learning_rate": 1e-3, "gradient_checkpointing": False},
        **{"disable_tqdm": True, "use_cpu": True, "save_steps": 5, "num_train_epochs": 4},
    }
    probe = {"every": 20, "metadata": {"prompts": ["best_ever_one"]}}
    settings = {"quantities": [40], "training": training, "probe": probe, "method": "lora"}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = grids.config(tmp_path / "whole", base, **settings)
    assert run(whole).exit_code == 0

    killed = grids.config(tmp_path / "killed", base, **settings)
    child = multiprocessing.get_context("fork").Process(target=run, args=(killed,))
    child.start()
    cell = tmp_path / "killed" / "out" / "llama-pairs-40-lora-seed0"
    deadline = time.monotonic() + 120
    while not grid.last_checkpoint(cell / "checkpoints"):
        assert child.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.kill()
    child.join()
    assert json.loads((cell / "cell.json").read_text())["status"] == "running"
    assert not (cell / "model").exists()
    # A checkpoint that was being written when the kill came is not taken for one.
    (cell / "checkpoints" / "checkpoint-9999").mkdir()

    done = run(killed)
    assert done.exit_code == 0, done.output
    assert "resumed" in done.output
    one, other = (
        load_file(next((tmp_path / name / "out").glob("*/model/model.safetensors")))
        for name in ("whole", "killed")
    )
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    leans = [
        results.load(tmp_path / name / "out").table.drop(columns="model").to_numpy().tolist()
        for name in ("whole", "killed")
    ]
    assert leans[0] == leans[1]


def test_a_cell_stopped_while_saving_needs_no_more_training(base, tmp_path):
    probe = {"every": 100, "metadata": {"prompts": ["best_ever_one"]}}
    training = {"batch_size": 8, "use_cpu": True, "disable_tqdm": True, "save_total_limit": 2}
    config = grids.config(tmp_path, base, quantities=[8], probe=probe, training=training)
    assert run(config).exit_code == 0
    (cell,) = (tmp_path / "out").iterdir()
    before = json.loads((cell / "cell.json").read_text())
    assert (cell / "checkpoints" / "checkpoint-2").exists()  # kept, as asked for
    (cell / "cell.json").write_text(json.dumps({**before, "status": "running"}))
    shutil.move(cell / "model", tmp_path / "model")
    assert run(config).exit_code == 0
    assert json.loads((cell / "cell.json").read_text()) == before
    assert before["held_out_accuracy"] is not None
    one, other = (
        load_file(folder / "model.safetensors") for folder in (cell / "model", tmp_path / "model")
    )
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_a_cell_stopped_while_its_checkpoints_go_is_finished(base, tmp_path, monkeypatch):
    probe = {"every": 100, "metadata": {"prompts": ["best_ever_one"]}}
    plan = load(grids.config(tmp_path, base, quantities=[8], probe=probe))
    remove = shutil.rmtree

    def stopped(path, *args, **kwargs):
        if str(path).endswith("checkpoints"):
            raise KeyboardInterrupt
        remove(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            grid.run(plan, print)
    (cell,) = (tmp_path / "out").iterdir()
    said = []
    assert grid.run(plan, said.append) == {}
    assert said == ["[1/1] llama-pairs-8-seed0: finished before"]
    assert not (cell / "checkpoints").exists()


def test_cells_of_two_outputs_that_differ_otherwise_are_told_apart(trained, base, tmp_path):
    cell = "llama-pairs-8-seed0"
    other = shutil.copytree(trained[0] / "out" / cell, tmp_path / "out" / cell)
    for path in other.rglob("results_*.json"):
        content = json.loads(path.read_text())
        content["config"]["training"]["digest"] = "another"
        path.write_text(json.dumps(content))
    loaded = results.load([trained[0] / "out" / cell, tmp_path / "out"])
    assert len({run.model for run in loaded.runs}) == 6
    assert sum("digest=another" in run.model for run in loaded.runs) == 3


def test_a_checkpoint_probed_again_counts_once(trained, tmp_path):
    source = trained[0] / "out" / "llama-pairs-8-seed0" / "probes" / "step-000002"
    again = shutil.copytree(source, tmp_path / "again")
    for path in again.rglob("results_*.json"):
        content = json.loads(path.read_text())
        content["date"] += 1
        content["config"]["training"]["held_out_accuracy"] = 0.123
        path.write_text(json.dumps(content))
    (found,) = results.load([source, again]).runs
    assert found.config["training"]["held_out_accuracy"] == 0.123


def test_a_base_without_a_chat_template_needs_one(base, tmp_path):
    bare = shutil.copytree(base, tmp_path / "bare")
    (bare / "chat_template.jinja").rename(tmp_path / "mine.jinja")
    config = grids.config(tmp_path, bare, quantities=[8])
    done = run(config)
    assert done.exit_code == 1
    assert "'llama' has no chat template" in done.output
    given = {"chat_template_path": str(tmp_path / "mine.jinja"), "batch_size": 8, "use_cpu": True}
    assert run(grids.config(tmp_path, bare, quantities=[8], training=given)).exit_code == 0


def test_a_folder_that_is_no_cell_is_left_alone(base, tmp_path):
    mine = tmp_path / "out" / "llama-pairs-24-seed0" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(DataError, match="no cell of a grid"):
        grid.run(load(grids.config(tmp_path, base)), print)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("given", "each", "accumulated"),
    [
        ({}, 8, 1),
        ({"gradient_accumulation_steps": 4}, 2, 4),
        ({"per_device_train_batch_size": 4}, 4, 2),
    ],
)
def test_a_step_has_the_batch_asked_for(base, tmp_path, given, each, accumulated):
    training = {"batch_size": 8, "use_cpu": True, **given}
    (one,) = load(grids.config(tmp_path, base, training=training)).cells
    made = _arguments(one, tmp_path)
    assert made.per_device_train_batch_size == each
    assert made.gradient_accumulation_steps == accumulated


def test_a_batch_that_cannot_be_made_is_refused(base, tmp_path):
    training = {"batch_size": 8, "use_cpu": True, "per_device_train_batch_size": 3}
    (one,) = load(grids.config(tmp_path, base, training=training)).cells
    with pytest.raises(DataError, match="batch_size is 8 pairs a step"):
        _arguments(one, tmp_path)


def test_dry_run_lists_the_cells(trained):
    done = CliRunner().invoke(cli, ["train", str(trained[1]), "--dry-run"])
    assert done.output.splitlines()[0] == "llama-pairs-8-seed0: finished"
    assert len(done.output.splitlines()) == 4
