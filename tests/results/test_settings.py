"""What two runs differ in is named, whatever it is."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from rm_value_tasks.analyses.compare import compare
from rm_value_tasks.cli import cli
from rm_value_tasks.publish.leaderboard import leaderboard
from rm_value_tasks.results import load
from rm_value_tasks.results.settings import differences, incomparable, settings, spread
from tests import runs, tiny


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return load(runs.all_of(tmp_path_factory.getbasetemp()) / "first")


CHANGES = [
    ({"forms": ("lower",)}, "surface forms (as_given and lower)"),
    ({"versions": {"task": "9.0"}}, "task version (1.0 and 9.0)"),
    ({"lexicon": "mine.csv"}, "lexicon (big2 and mine.csv)"),
    ({"lexicon_digest": "1" * 64}, "words ("),
    ({"prompts": ("best_ever_one", "worst_ever_one")}, "prompts (8 ("),
    ({"score_kind": "log-probability"}, "score kind (reward and log-probability)"),
    ({"hashes": {"system_instruction": "ab" * 32}}, "system text (none and abababababab)"),
]
CONFIG = {
    "bos": ("one", "paper", "bos (one and paper)"),
    "chat_template_sha256": ("a" * 64, "b" * 64, "chat template (aaaaaaaaaaaa and bbbbbbbbbbbb)"),
    "chat_template_args": ({}, {"x": 1}, 'chat template arguments ({} and {"x": 1})'),
    "model_dtype": ("torch.float32", "torch.bfloat16", "dtype (float32 and bfloat16)"),
    "readout": ("pooled", "position", "readout (pooled and position)"),
    "label": (0, 1, "label (0 and 1)"),
    "label_name": ("good", "bad", "label name (good and bad)"),
    "model_revision": ("main", "v2", "revision (main and v2)"),
    "weights_digest": ("c" * 32, "d" * 32, "weights (cccccccccccc and dddddddddddd)"),
    "tokenizer_digest": ("c" * 32, "d" * 32, "tokenizer (cccccccccccc and dddddddddddd)"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[next(iter(c)) for c, _ in CHANGES])
def test_every_difference_of_two_runs_is_named(loaded, change, said):
    (run,) = loaded.runs
    other = replace(run, **change)
    if "hashes" in change:
        run, other = replace(run, hashes={}), other
    (found,) = differences(run, other)
    assert found.startswith(said)
    assert differences(run, run) == []


def test_a_system_text_that_was_left_out_is_none(loaded):
    (run,) = loaded.runs
    given = replace(run, hashes={"system_instruction": "ab" * 32})
    left = replace(given, config={**run.config, "system_text_left_out": True})
    assert differences(given, left) == ["system text (abababababab and left out)"]


@pytest.mark.parametrize("key", CONFIG)
def test_every_difference_of_two_configs_is_named(loaded, key):
    (run,) = loaded.runs
    first, second, said = CONFIG[key]

    def having(value):
        hashes = {"chat_template": value} if key == "chat_template_sha256" else {}
        return replace(run, config={key: value}, hashes=hashes)

    assert differences(having(first), having(second)) == [said]
    assert differences(having(first), replace(run, config={}, hashes={})) == []  # older results


def test_some_differences_make_a_shift_meaningless(loaded):
    (run,) = loaded.runs
    for change in ({"lexicon_digest": "1" * 64}, {"prompts": ()}, {"score_kind": "x"}):
        assert "means nothing" in incomparable(run, replace(run, **change))
    assert incomparable(run, replace(run, forms=("lower",), config={"bos": "paper"})) == ""


def test_the_gate_refuses_those_and_compare_tells_them(loaded, tmp_path):
    from tests.analyses.test_compare import thin

    root = loaded.runs[0].path.parents[1]
    few = thin(runs.copy(root.parent / "first", tmp_path / "few"), lambda pair: "ever" in pair)
    asked = ["gate", str(few), "--baseline", str(root), "--max-shift", "1"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 2
    assert "differ in prompts" in done.output
    (run,) = loaded.runs
    other = replace(loaded, runs=(replace(run, forms=("lower",)),))
    assert "differ in surface forms" in compare(loaded, other).notes[0]


def test_rows_of_the_leaderboard_tell_what_differs_between_them(loaded):
    (run,) = loaded.runs
    other = replace(run, model="b", config={"bos": "paper", "model_dtype": "torch.float16"})
    same = replace(run, model="c", config={"bos": "one", "model_dtype": "torch.float16"})
    table = leaderboard([other, same]).set_index("model")
    assert "bos paper" in table.loc["b", "note"]
    assert "bos one" in table.loc["c", "note"]
    assert "dtype" not in table.loc["b", "note"]
    assert spread([other, same], ["bos", "dtype"]) == [{"bos": "paper"}, {"bos": "one"}]


def test_a_real_run_records_what_it_is(tmp_path):
    folder = tiny.save(tmp_path / "model", "llama", num_labels=2, id2label={0: "bad", 1: "good"})
    words = tmp_path / "words.csv"
    words.write_text(runs.WORDS)
    arguments = {"pretrained": str(folder), "label": "good"}
    options = {"prompts": "best_ever_one", "lexicon": str(words)}
    runs.evaluate(tmp_path / "out", "reward", arguments, ["value_bias_big2"], **options)
    (run,) = load(tmp_path / "out").runs
    told = settings(run)
    assert (told["label"], told["label name"], told["readout"]) == ("1", "good", "pooled")
    assert len(told["weights"]) == len(told["tokenizer"]) == len(told["config"]) == 12
    assert (told["dtype"], told["bos"], told["system text"]) == ("float32", "one", "none")
