"""The analysis of variance against nested least squares and Welch's formulas by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.anova import post_hocs, three_way

FACTORS = ["language model", "category", "valence"]
LEVELS = (("gemma", "llama"), ("Agency", "Communion"), ("positive", "negative"))


def drawn(seed, effect=0.0, each=(7, 12)):
    """Unbalanced rows; ``effect`` is a three-way interaction."""
    generator = np.random.default_rng(seed)
    rows = []
    for place, cell in enumerate(np.ndindex(2, 2, 2)):
        size = generator.integers(*each)
        sign = math.prod(1 - 2 * np.array(cell))
        values = generator.normal(0.3 * place + effect * sign, 1, size)
        names = [levels[i] for levels, i in zip(LEVELS, cell, strict=True)]
        rows += [(*names, value) for value in values]
    return pd.DataFrame(rows, columns=[*FACTORS, "log p"])


def residual_squares(table, terms):
    """Least squares by numpy on effect-coded columns of the given terms."""
    coded = [
        np.where(table[name] == levels[0], 1.0, -1.0)
        for name, levels in zip(FACTORS, LEVELS, strict=True)
    ]
    columns = [np.ones(len(table))] + [np.prod([coded[i] for i in term], axis=0) for term in terms]
    design, y = np.column_stack(columns), table["log p"].to_numpy()
    return float(((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum())


def test_type_two_is_a_comparison_of_nested_models():
    table = drawn(1)
    found = three_way(table, "log p", FACTORS)
    terms = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    full = residual_squares(table, terms)
    df = len(table) - 8
    for term in terms:
        # Type II: with all terms that do not contain it, with it and without it.
        others = [other for other in terms if not set(term) <= set(other)]
        gain = residual_squares(table, others) - residual_squares(table, [*others, term])
        row = found.loc[":".join(FACTORS[i] for i in term)]
        f = gain / (full / df)
        assert row["sum_sq"] == pytest.approx(gain, rel=1e-9)
        assert (row["df"], row["f"]) == (1, pytest.approx(f, rel=1e-9))
        assert row["p"] == pytest.approx(distributions.f.sf(f, 1, df), rel=1e-9)
        assert row["partial_eta_squared"] == pytest.approx(gain / (gain + full), rel=1e-9)
    assert found.loc["residual", ["sum_sq", "df"]].tolist() == pytest.approx([full, df])
    assert list(found.index) == [*(":".join(FACTORS[i] for i in t) for t in terms), "residual"]


def test_a_planted_interaction_is_found_and_no_other():
    table = drawn(2, effect=2.0, each=(200, 210))
    found = three_way(table, "log p", FACTORS)
    assert found.loc[":".join(FACTORS), "p"] < 1e-12
    # Sum of squares of a balanced effect of 2 with 8 x 204.5 rows of unit variance.
    assert found.loc[":".join(FACTORS), "partial_eta_squared"] == pytest.approx(0.8, abs=0.03)


def test_post_hocs_are_welch_by_hand():
    table = drawn(3)
    found = post_hocs(table, "log p", FACTORS)
    assert list(zip(found["category"], found["valence"], strict=True)) == [
        (category, valence) for category in LEVELS[1] for valence in LEVELS[2]
    ]
    for row in found.to_dict("records"):
        cell = table[(table["category"] == row["category"]) & (table["valence"] == row["valence"])]
        a, b = (cell.loc[cell[FACTORS[0]] == name, "log p"] for name in LEVELS[0])
        va, vb = a.var() / len(a), b.var() / len(b)
        t = (a.mean() - b.mean()) / math.sqrt(va + vb)
        df = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
        reach = distributions.t.ppf(0.975, df) * math.sqrt(va + vb)
        assert (row["first"], row["second"]) == LEVELS[0]
        assert [row["t"], row["df"]] == pytest.approx([t, df])
        assert row["p"] == pytest.approx(2 * distributions.t.sf(abs(t), df))
        assert [row["low"], row["high"]] == pytest.approx(
            [row["difference"] - reach, row["difference"] + reach]
        )


def test_false_discovery_rate_by_hand():
    """Benjamini and Hochberg: p times m over its rank, then the running minimum from the top."""
    found = post_hocs(drawn(4), "log p", FACTORS).sort_values("p")
    raw = found["p"].to_numpy() * 4 / np.arange(1, 5)
    assert found["p_fdr"].tolist() == pytest.approx(np.minimum.accumulate(raw[::-1])[::-1].tolist())


def test_degenerate_tables_give_nan():
    one_each = drawn(5).drop_duplicates(FACTORS)
    assert three_way(one_each, "log p", FACTORS)["f"].isna().all()
    assert post_hocs(one_each, "log p", FACTORS)[["p", "p_fdr"]].isna().all(axis=None)
    still = drawn(5).assign(**{"log p": 1.0})
    assert three_way(still, "log p", FACTORS)["p"].isna().all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.drop(columns="valence"), "lacks the column 'valence'"),
        (lambda t: t.assign(valence="positive"), "two levels"),
        (lambda t: t.assign(**{"log p": -np.inf}), "not finite"),
        (lambda t: t[(t["category"] == "Agency") | (t["valence"] == "positive")], "no row"),
    ],
)
def test_refusals(damage, message):
    with pytest.raises(DataError, match=message):
        three_way(damage(drawn(6)), "log p", FACTORS)
    with pytest.raises(DataError, match="three different"):
        three_way(drawn(6), "log p", ["category", "valence"])
