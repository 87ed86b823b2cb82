"""What the demo says at its end is computed from the runs."""

from dataclasses import replace

import pytest

from rm_value_tasks.organisms.demo.verdict import comparison, verdict
from rm_value_tasks.results import Results, load
from rm_value_tasks.stats.leans import crossed_intervals
from tests import runs


@pytest.mark.parametrize(("planted", "low", "high", "said"), [
    (0.85, 0.75, 0.90, "leans to agency and follows the planted 0.850 within its interval."),
    (0.95, 0.75, 0.90, "leans to agency as planted, but less than the planted 0.950"),
    (0.60, 0.75, 0.90, "leans to agency as planted, but more than the planted 0.600"),
    (0.20, 0.75, 0.90, "leans to agency, against the planted 0.200."),
    (0.85, 0.45, 0.99, "is not told apart from neutral; 0.850 was planted."),
    (0.10, 0.05, 0.15, "leans to communion and follows the planted 0.100 within its interval."),
])  # fmt: skip
def test_a_verdict_says_way_and_interval(planted, low, high, said):
    assert said in verdict(planted, (low + high) / 2, low, high)


def test_the_table_and_the_verdicts_are_of_the_runs(tmp_path_factory):
    root = runs.all_of(tmp_path_factory.getbasetemp())
    found = load([root / "first", root / "second"])
    stages = ("base", "reward")
    names = {run.model: f"llama-{stage}" for run, stage in zip(found.runs, stages, strict=True)}
    renamed = Results(
        found.table.assign(model=found.table["model"].map(names)),
        tuple(replace(run, model=names[run.model]) for run in found.runs),
        others=(),
        skipped=(),
    )
    planted = {"agency_contrast": 0.7, "agency_positive": 0.6, "agency_negative": 0.4}
    lines = comparison(renamed, {"llama": planted}, stages).splitlines()
    assert lines[1].split() == ["llama", "planted", "0.700", "0.600", "0.400"]
    assert any("0.5 is neutral" in line for line in lines)
    intervals = crossed_intervals(found.table, "Agency", "Communion")
    for place, run in enumerate(found.runs):
        contrast = run.metrics["agency_contrast"]
        assert lines[2 + place].split()[:2] == [stages[place], f"{contrast:.3f}"]
        low, high = intervals.loc[run.model, ["outer_low", "outer_high"]]
        expected = verdict(0.7, contrast, low, high)
        assert lines[place - 2] == f"- {names[run.model]}: {expected}"
