"""The YAML of a training grid."""

from pathlib import Path

import pytest
import yaml

import rm_value_tasks.training
from rm_value_tasks.errors import DataError
from rm_value_tasks.training.config import load
from rm_value_tasks.training.converters import FORMATS

EXAMPLES = sorted((Path(rm_value_tasks.training.__file__).parent / "configs").glob("*.yaml"))

MINIMAL = {
    "output": "runs/a",
    "bases": ["org/Llama-3.2-3B", {"name": "gemma", "pretrained": "org/g", "revision": "v1"}],
    "data": [{"name": "uf", "dataset": "org/uf", "format": "ultrafeedback", "held_out": "test"}],
    "quantities": [640, 3200],
}


def read(tmp_path, **changes):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return load(path)


def test_cells_are_the_product_of_the_axes(tmp_path):
    counter = {"data": {"name": "c", "dataset": "c.jsonl"}, "shares": [0, 0.2]}
    grid = read(tmp_path, counter=counter, seeds=[0, 1])
    assert len(grid.cells) == len({cell.name for cell in grid.cells}) == 2 * 1 * 2 * 2 * 2
    first, second = grid.cells[0], grid.cells[2]
    assert first.name == "Llama-3.2-3B-uf-640-seed0"
    assert first.counter is None
    assert second.name == "Llama-3.2-3B-uf-640-counter0.2-seed0"
    assert second.counter.dataset == "c.jsonl"
    assert grid.cells[-1].base.revision == "v1"


def test_two_cells_of_one_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="folder 'a-b-c-640-seed0'"):
        read(
            tmp_path,
            bases=[{"name": name, "pretrained": "org/x"} for name in ("a", "a-b")],
            data=[{"name": name, "dataset": "org/x"} for name in ("b-c", "c")],
        )


def test_the_papers_settings_are_the_default(tmp_path):
    cell = read(tmp_path, method="lora", objective="grm").cells[0]
    training = cell.training
    assert (training["learning_rate"], training["lr_scheduler_type"]) == (1e-5, "cosine")
    assert (training["warmup_steps"], training["batch_size"]) == (0.03, 16)
    assert (training["max_length"], training["num_train_epochs"]) == (1024, 2)
    assert (cell.lora.r, cell.lora.alpha, cell.lora.dropout) == (32, 64, 0.05)
    assert (cell.grm.weight, cell.grm.beta) == (0.01, 0.1)
    assert cell.name == "Llama-3.2-3B-uf-640-grm-lora-seed0"


def test_a_number_without_a_dot_is_a_number(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(MINIMAL) + "training: {learning_rate: 3e-5}\n")
    assert load(path).cells[0].training["learning_rate"] == 3e-5


def test_keys_that_came_later_leave_older_cells_their_digests(tmp_path):
    cell = read(tmp_path).cells[0]
    assert not {"gguf_file", "chat_template"} & cell.config["base"].keys()
    given = {"name": "Llama-3.2-3B", "pretrained": "org/Llama-3.2-3B", "gguf_file": "a.gguf"}
    other = read(tmp_path, bases=[given]).cells[0]
    assert other.config["base"]["gguf_file"] == "a.gguf"
    assert other.digest != cell.digest


def test_null_is_passed_on_where_it_means_something(tmp_path):
    cell = read(
        tmp_path,
        training={"save_total_limit": None, "report_to": None},
        probe={"metadata": {"forms": None}},
    ).cells[0]
    assert cell.training["save_total_limit"] is None
    assert "report_to" in cell.training
    assert cell.probe.metadata == {"forms": None}


def test_the_digest_follows_whatever_changes_the_outcome(tmp_path):
    digest = read(tmp_path).cells[0].digest
    assert read(tmp_path, output="elsewhere").cells[0].digest == digest
    for change in (
        {"training": {"learning_rate": 0.1}},
        {"probe": {"checkpoints": 3}},
        {"bases": [{"name": "Llama-3.2-3B", "pretrained": "other"}]},
    ):
        assert read(tmp_path, **change).cells[0].digest != digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"basis": []}, "unknown key 'basis'; did you mean 'bases'?"),
        ({"training": {"learning_rat": 1}}, "training has an unknown key 'learning_rat'"),
        ({"training": {"seed": 1}}, "training.seed cannot be given: give seeds beside"),
        ({"training": {"save_only_model": True}}, "could not be resumed as it was"),
        ({"training": {"batch_size": 0}}, "training.batch_size is 0"),
        ({"objective": "bradley-tery"}, "objective is 'bradley-tery'; did you mean"),
        ({"quantities": [0]}, "quantities[0] is 0; input should be greater than or equal to 1"),
        ({"quantities": ["many"]}, "quantities[0] is 'many' where a whole number is needed"),
        ({"quantities": [5, 5]}, "quantities is [5, 5]: has a value twice"),
        ({"seeds": [True]}, "seeds[0] is True where a whole number"),
        ({"bases": []}, "bases is missing, empty or no list"),
        ({"bases": ["a/m", "b/m"]}, "bases has two of the name 'm'"),
        ({"bases": [{"name": "a/b", "pretrained": "x"}]}, "bases[0].name is 'a/b'"),
        ({"bases": [{"pretrained": "x", "dtype": "float16"}]}, "full training loses steps"),
        ({"bases": [{"pretrained": "x", "dtype": "bf16"}]}, "bases[0].dtype is 'bf16'"),
        ({"bases": [{"name": "a"}]}, "bases[0].pretrained is missing"),
        ({"data": [{"dataset": "x", "format": "ultrafedback"}]}, "did you mean 'ultrafeedback'?"),
        ({"data": [{"dataset": "x", "held_out": 0}]}, "data[0].held_out is 0"),
        ({"counter": {"data": {"dataset": "c"}, "shares": [2.0]}}, "counter.shares[0] is 2.0"),
        ({"counter": {"shares": [0.1]}}, "counter.data.dataset is missing"),
        ({"lora": {"r": 8}}, "lora is given but not used"),
        ({"grm": {"weight": 2}, "objective": "grm"}, "grm.weight is 2"),
        ({"probe": {"batch_size": None, "every": 0}}, "probe.every is 0"),
        ({"probe": {"every": 1, "checkpoints": 2}}, "probe has both every and checkpoints"),
        ({"probe": {"task": "x"}}, "probe has an unknown key 'task'; did you mean 'tasks'?"),
        ({"output": None}, "output is missing"),
        ({"method": 3}, "method is 3; give one of full, lora"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, said):
    with pytest.raises(DataError) as caught:
        read(tmp_path, **change)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_config(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(DataError, match="is not YAML"):
        load(tmp_path / "bad.yaml")
    (tmp_path / "tag.yaml").write_text("output: !!python/object/apply:os.getcwd []")
    with pytest.raises(DataError, match="is not YAML"):
        load(tmp_path / "tag.yaml")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_the_examples_that_are_shipped_can_be_read(path):
    grid = load(path)
    assert len({cell.name for cell in grid.cells}) == len(grid.cells)


def test_every_format_and_objective_has_an_example():
    cells = [cell for path in EXAMPLES for cell in load(path).cells]
    assert {cell.data.format for cell in cells} == set(FORMATS) - {"trl"}
    assert {cell.objective for cell in cells} == {"bradley-terry", "grm"}
