"""Exports are read back by the receivers' own readers."""

import json
from dataclasses import replace

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import metadata_load, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.publish.exports import FORMATS, Origin, export
from rm_value_tasks.results import load
from tests import runs

ORIGIN = Origin(
    model_id="org/model",
    dataset="org/value-bias",
    revision="0" * 40,
    source_url="https://example.org/run",
    source_name="logs",
)
METRICS = ("agency_contrast", "agency_positive", "agency_negative")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def loaded(root):
    return load(root / "first").runs


@pytest.fixture(scope="module")
def ranks(loaded):
    """A run of single prompts: median ranks, each of one valence's prompts."""
    values = {
        f"{c}_rank_{s}": 120.5 for c in ("agency", "communion") for s in ("positive", "negative")
    }
    return replace(
        loaded[0],
        task="value_bias_paper_big2",
        documents=8,
        metrics=values,
        stderrs=dict.fromkeys(values, 2.5),
    )


def test_hub_eval_results_are_read_by_the_hubs_library(loaded):
    (run,) = loaded
    entries = parse_eval_result_entries(yaml.safe_load(export(loaded, "hub-eval-results", ORIGIN)))
    assert [entry.task_id for entry in entries] == [f"value_bias_big2_{name}" for name in METRICS]
    for entry, metric in zip(entries, METRICS, strict=True):
        assert entry.value == run.metrics[metric]
        assert entry.dataset_id == "org/value-bias"
        assert entry.dataset_revision == "0" * 40
        assert entry.date == run.date
        assert (entry.source_url, entry.source_name) == ("https://example.org/run", "logs")
        assert f"standard error {run.stderrs[metric]:.6g}" in entry.notes
        assert "no direction is better" in entry.notes


def test_hub_eval_results_leave_out_what_is_not_known(loaded):
    (entry, *_) = yaml.safe_load(export(loaded, "hub-eval-results", Origin(dataset="a/b")))
    assert set(entry) == {"dataset", "value", "date", "notes"}
    assert set(entry["dataset"]) == {"id", "task_id"}


def test_hub_eval_results_need_a_dataset(loaded):
    with pytest.raises(DataError, match="--dataset"):
        export(loaded, "hub-eval-results")


def test_a_model_card_with_the_block_is_read_by_the_hubs_library(loaded, ranks, tmp_path):
    card = tmp_path / "README.md"
    card.write_text(f"---\n{export([*loaded, ranks], 'model-index', ORIGIN)}---\n# A model\n")
    name, results = model_index_to_eval_results(metadata_load(card)["model-index"])
    assert name == "org/model"
    values = {(result.dataset_type, result.metric_type): result for result in results}
    assert len(values) == len(results) == 7
    for metric in METRICS:
        result = values["value_bias_big2", metric]
        assert result.metric_value == loaded[0].metrics[metric]
        assert result.metric_args["stderr"] == loaded[0].stderrs[metric]
        assert result.dataset_config == "big2"
        assert result.source_url == "https://example.org/run"
    assert values["value_bias_paper_big2", "agency_rank_positive"].metric_value == 120.5


def test_every_eval_ever_says_that_no_direction_is_better(loaded, ranks):
    record = json.loads(export([*loaded, ranks], "every-eval-ever", ORIGIN))
    assert record["schema_version"] == "0.3.0"
    assert record["model_info"]["id"] == "org/model"
    assert record["evaluation_id"] == f"value_bias/org/model/{record['retrieved_timestamp']}"
    results = {entry["evaluation_result_id"]: entry for entry in record["evaluation_results"]}
    assert len(results) == 7
    for name, entry in results.items():
        config = entry["metric_config"]
        assert config["lower_is_better"] is False  # the schema knows no third value
        assert config["additional_details"]["polarity"] == "not_applicable"
        assert config["min_score"] <= entry["score_details"]["score"] <= config["max_score"], name
    lean = results["value_bias_big2.agency_contrast"]
    uncertainty = lean["score_details"]["uncertainty"]
    assert uncertainty["standard_error"]["value"] == loaded[0].stderrs["agency_contrast"]
    assert uncertainty["num_samples"] == 4
    rank = results["value_bias_paper_big2.agency_rank_positive"]
    assert rank["score_details"]["uncertainty"]["num_samples"] == 4
    assert (rank["metric_config"]["min_score"], rank["metric_config"]["max_score"]) == (1, 268)


def test_every_eval_ever_details_are_strings(loaded):
    """The schema: additional details hold strings only."""

    def check(part, inside=False):
        if isinstance(part, dict):
            for key, value in part.items():
                check(value, inside or key in ("additional_details", "details"))
        elif isinstance(part, list):
            for value in part:
                check(value, inside)
        elif inside:
            assert isinstance(part, str)

    check(json.loads(export(loaded, "every-eval-ever", ORIGIN)))


def test_every_eval_ever_by_its_own_validator(loaded, ranks, tmp_path):
    validation = pytest.importorskip(
        "every_eval_ever.validator.validation_core",
        reason="every-eval-ever 0.3 (Python 3.12, huggingface_hub < 2) is not installed",
    )
    path = tmp_path / "record.json"
    path.write_text(export([*loaded, ranks], "every-eval-ever", ORIGIN))
    report = validation.validate_aggregate(
        path,
        repo_path="data/value_bias/org/model/e70acf51-30ef-4c20-b7cc-51704d114d70.json",
        run_semantic_checks=True,
    )
    assert (report.valid, report.errors, report.warnings) == (True, [], [])


def test_an_unknown_standard_error_is_left_out(loaded):
    (run,) = loaded
    bare = replace(run, stderrs=dict.fromkeys(run.metrics, float("nan")))
    record = json.loads(export([bare], "every-eval-ever", ORIGIN))
    details = record["evaluation_results"][0]["score_details"]
    assert details["uncertainty"] == {"num_samples": 4}
    assert "standard error" not in export([bare], "hub-eval-results", ORIGIN)
    assert "stderr" not in export([bare], "model-index", ORIGIN)


def test_no_folder_of_this_machine_is_published(root):
    for style in FORMATS:
        text = export(load(root / "plain").runs, style, Origin(dataset="a/b"))
        assert str(root) not in text


def test_one_model_at_a_time(root):
    both = load([root / "first", root / "second"]).runs
    with pytest.raises(DataError, match="of 2: example_scores, shifted"):
        export(both, "model-index")


def test_wrong_wishes(loaded):
    with pytest.raises(DataError, match="none of hub-eval-results"):
        export(loaded, "arxiv")
    with pytest.raises(DataError, match="--source-url"):
        export(loaded, "model-index", Origin(source_name="logs"))
    with pytest.raises(DataError, match="none of first_party"):
        export(loaded, "every-eval-ever", Origin(relationship="friend"))


@pytest.mark.parametrize("style", FORMATS)
def test_the_command(root, tmp_path, style):
    target = tmp_path / "out"
    done = CliRunner().invoke(
        cli,
        ["export", str(root / "first"), "--to", style, "-o", str(target), "--dataset", "a/b"],
    )
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(target.read_text())
