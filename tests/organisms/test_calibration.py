from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms import calibration, calibration_table, world
from rm_value_tasks.organisms.measure import permutation_p


def rows(stage, leans):
    """One organism for each (strength, seed, lean); the interval is 0.04 either side."""
    return pd.DataFrame(
        [
            {
                "architecture": "llama", "strength": s, "seed": seed, "stage": stage,
                "planted_contrast": 0.5 + 0.4 * s, "agency_contrast": lean, "stderr": 0.01,
                "low": lean - 0.04, "high": lean + 0.04, "p": 0.01 if abs(lean - 0.5) > 0.04 else 1,
            }
            for s, seed, lean in leans
        ]
    )  # fmt: skip


def test_a_summary_counts_what_its_docstring_says():
    leans = [(-1, 0, 0.2), (-0.2, 0, 0.47), (0, 0, 0.5), (0, 1, 0.53), (0, 2, 0.56)]
    leans += [(0.2, 0, 0.57), (1, 0, 0.9)]
    found = calibration_table.summary(rows("base", leans))
    assert found["organisms"] == "7"
    assert found["monotone"] == "yes"
    assert found["false positives: interval"] == "1/3"
    assert found["permutation"] == "1/3"
    assert found["words fixed"] == "2/3"
    assert found["smallest detected"] == "1"  # at -0.2 the interval holds 0.5
    leans[1] = (-0.2, 0, 0.4)
    assert calibration_table.summary(rows("base", leans))["smallest detected"] == "0.2"
    leans[0] = (-1, 0, 0.48)
    worse = calibration_table.summary(rows("base", leans))
    assert worse["monotone"] == "no"
    assert worse["smallest detected"] == "none"


def test_a_table_has_a_row_for_each_strength_and_each_stage():
    table = pd.concat([rows(stage, [(-1, 0, 0.1), (1, 0, 0.9)]) for stage in ("base", "reward")])
    lines = calibration_table.markdown(table).splitlines()
    assert lines[0] == "| strength | seeds | planted | base | reward |"
    assert lines[2:4] == [
        "| -1 | 1 | 0.100 | 0.100 | 0.100 |", "| +1 | 1 | 0.900 | 0.900 | 0.900 |"
    ]  # fmt: skip
    assert len(calibration_table.figure(table).axes) == 2


def test_nothing_finished_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no finished organism"):
        calibration.read(tmp_path)


def test_the_permutation_test_agrees_with_mann_whitney_for_one_question():
    """For one question the statistic is Mann-Whitney's; its exact p is the reference."""
    scores = np.random.default_rng(2).normal(size=(1, 30))
    agency = np.arange(30) < 15
    scores[:, agency] += 0.7
    exact = mannwhitneyu(scores[0, agency], scores[0, ~agency], method="exact").pvalue
    assert 0.02 < exact < 0.1  # neither end, where any test would agree
    assert permutation_p(scores, agency) == pytest.approx(exact, abs=0.015)


def test_docs_show_the_committed_table_and_the_table_is_of_the_committed_rows():
    root = Path(__file__).resolve().parents[2]
    shown = (root / "docs" / "organisms.md").read_text().partition("<!-- calibration -->")[2]
    committed = (root / "benchmarks" / "calibration.md").read_text().strip()
    assert shown.partition("<!-- /calibration -->")[0].strip() == committed
    table = pd.read_csv(root / "benchmarks" / "calibration.csv")
    assert calibration_table.markdown(table).strip() == committed
    # What a world plants does not depend on training.
    for _, row in table.iterrows():
        planted = world.build(row["strength"], row["seed"]).planted()
        assert row["planted_contrast"] == pytest.approx(planted["agency_contrast"], abs=1e-6)
