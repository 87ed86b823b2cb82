"""Two real runs side by side: the leans are lm-eval's own, and differences are named."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from rm_value_tasks import lexicons
from rm_value_tasks.analyses.compare import COLUMNS, compare, render
from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import load
from tests import runs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def foundations(tmp_path_factory):
    """Two runs on the moral foundations, of random scores."""
    folder = tmp_path_factory.mktemp("foundations")
    prompts = [prompt.id for twin in TWINS[:2] for prompt in twin]
    for seed, name in enumerate(("one", "two")):
        words = lexicons.load("foundations").words
        drawn = np.random.default_rng(seed).normal(size=(len(words), 4))
        table = pd.DataFrame(drawn, index=pd.Index(words, name="response"), columns=prompts)
        table.to_csv(folder / f"{name}.csv")
        runs.evaluate(
            folder / name,
            "recorded-rewards",
            {"path": str(folder / f"{name}.csv")},
            ["value_bias_foundations"],
            prompts=prompts,
        )
    return folder


def test_leans_are_lm_evals(root):
    first, second = load(root / "first"), load(root / "second")
    found = compare(first, second)
    assert tuple(found.table.columns) == COLUMNS
    assert list(found.table["metric"]) == ["agency_contrast", "agency_positive", "agency_negative"]
    for row in found.table.itertuples():
        assert row.first == pytest.approx(first.runs[0].metrics[row.metric], abs=1e-6)
        assert row.second == pytest.approx(second.runs[0].metrics[row.metric], abs=1e-6)
        assert row.shift == pytest.approx(row.second - row.first, abs=1e-9)
        assert (row.pairs, row.words) == (4, 268)
    (note,) = found.notes  # two recorded models are two files
    assert re.fullmatch(r"value_bias_big2: the runs differ in scores file \(\w+ and \w+\)", note)


def test_a_planted_shift_is_seen_where_it_was_planted(root):
    table = compare(load(root / "first"), load(root / "second")).table.set_index("metric")
    assert table.loc["agency_positive", "high"] < 0
    assert table.loc["agency_contrast", "high"] < 0
    assert table.loc["agency_negative", "low"] < 0 < table.loc["agency_negative", "high"]


def test_every_foundations_leans_are_lm_evals(foundations):
    first, second = load(foundations / "one"), load(foundations / "two")
    table = compare(first, second).table
    assert set(table["metric"]) == set(first.runs[0].metrics)
    assert len(table) == 30
    for row in table.itertuples():
        assert row.first == pytest.approx(first.runs[0].metrics[row.metric], abs=1e-6)
        assert row.second == pytest.approx(second.runs[0].metrics[row.metric], abs=1e-6)


def thin(folder, keep):
    """Keep some documents, as a run with fewer --metadata prompts would have had them."""
    path = runs.samples_of(folder)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines = [line for line in lines if keep(line["doc"]["pair"])]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = runs.results_of(folder)
    content = json.loads(results.read_text())
    content["n-samples"]["value_bias_big2"]["original"] = len(lines)
    for metric in ("agency_contrast", "agency_positive", "agency_negative"):
        mean = float(np.mean([line[metric] for line in lines]))
        content["results"]["value_bias_big2"][f"{metric},none"] = mean
    results.write_text(json.dumps(content))
    return folder


def test_other_prompts_are_cut_to_those_of_both(root, tmp_path):
    few = thin(runs.copy(root / "second", tmp_path / "few"), lambda pair: "ever" in pair)
    found = compare(load(root / "first"), load(few))
    assert "differ in prompts (8 (" in found.notes[0]
    assert found.notes[1:] == ("value_bias_big2: 3 pairs of prompts compared, those of both runs",)
    assert set(found.table["pairs"]) == {3}
    assert found.table["second"][0] == pytest.approx(
        load(few).runs[0].metrics["agency_contrast"], abs=1e-6
    )
    one = thin(runs.copy(root / "first", tmp_path / "one"), lambda pair: "good" in pair)
    with pytest.raises(DataError, match="no pair of twin prompts in common"):
        compare(load(one), load(few))


def test_words_dropped_from_one_lexicon_are_cut_to_those_of_both(root):
    whole, cut = load(root / "first"), runs.with_words(load(root / "second"), slice(200))
    found = compare(whole, cut)
    assert "differ in words (" in found.notes[0]
    assert found.notes[1:] == ("value_bias_big2: 200 words compared, of 268 and 200",)
    assert set(found.table["words"]) == {200}


def test_other_lexicons_are_refused(root):
    with pytest.raises(DataError, match=r"the lexicons big2 and words\.csv"):
        compare(load(root / "first"), load(root / "plain"))


def test_no_common_task_and_several_models_are_refused(root, foundations):
    with pytest.raises(DataError, match="no task in common"):
        compare(load(root / "first"), load(foundations / "one"))
    both = load([root / "first", root / "second"])
    with pytest.raises(DataError, match=r"2 models or setups \(example_scores, shifted\)"):
        compare(both, load(root / "first"))


def test_a_task_of_one_run_only_is_noted(root, foundations):
    table = compare(load(root / "first"), load(root / "first"))
    assert (table.table[["shift", "low", "high"]] == 0).all(axis=None)
    from dataclasses import replace

    one, other = load(root / "first"), load(foundations / "one")
    renamed = replace(other.runs[0], model=one.runs[0].model)
    mixed = replace(
        one,
        runs=(*one.runs, renamed),
        table=pd.concat([one.table, other.table.assign(model=renamed.model)]),
    )
    found = compare(mixed, load(root / "second"))
    assert found.notes[0] == "value_bias_foundations: only one run has it; left out"


def test_text(root):
    text = render(compare(load(root / "first"), load(root / "second")))
    assert "first: example_scores\nsecond: shifted" in text
    assert text.count("| value_bias_big2 |") == 3
