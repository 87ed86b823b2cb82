"""Two families against each other, panel by panel, with either unit of analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from rm_value_tasks.report.content import Table, number, p_value, text

__all__ = ["Comparison", "compare_families", "exact_p"]

_TEST = "Welch t test, unit of analysis: one model on one question, Bonferroni"
_MOST_EXACT = 20_000
_UNITS = (
    "Both units of analysis are given. With one model on one question as the unit, as in the "
    "paper, the answers of one model count as if they were independent, which overstates "
    "certainty; with the model as the unit (permutation over models) the test asks what would "
    "hold for other models of these families."
)


@dataclass(frozen=True)
class Comparison:
    """Families compared.

    Attributes:
        stars: columns ``category``, ``valence`` and ``p`` (Bonferroni) for the figure.
        test: how ``p`` was computed.
        tables: both tests for each panel.
        notes: what they mean.
    """

    stars: pd.DataFrame
    test: str
    tables: Sequence[Table]
    notes: Sequence[str]


def compare_families(ranks: pd.DataFrame) -> tuple[Comparison | None, str]:
    """Compare two families' median ranks in each panel (category and valence).

    Args:
        ranks: columns ``model``, ``base``, ``category``, ``valence``, ``prompt``, ``rank``.

    Returns:
        The comparison and an empty reason, or None and why there is none.
    """
    known = ranks[ranks["base"].notna()]
    sizes = known.groupby("base")["model"].nunique()
    if len(sizes) != 2:
        return None, (
            f"that needs two families, and {len(sizes)} are known here (give --family PATTERN=NAME)"
        )
    if sizes.min() < 2:
        return None, f"that needs two models a family, and {sizes.idxmin()} has one"
    rows = [
        _panel(str(category), str(valence), cell, list(sizes.index))
        for (category, valence), cell in known.groupby(["category", "valence"], sort=False)
    ]
    found = pd.DataFrame(rows)
    for name in ("welch", "exact"):
        found[f"{name}_bonferroni"] = (found[name] * len(found)).clip(upper=1)
    stars = found.rename(columns={"welch_bonferroni": "p"})[["category", "valence", "p"]]
    test = f"{_TEST} over {len(found)} panels"
    notes = [_UNITS, *_three_way(known, list(sizes.index))]
    return Comparison(stars, test, [_table(found, list(sizes.index))], notes), ""


def _panel(category: str, valence: str, cell: pd.DataFrame, families: list[str]) -> dict:
    first, second = (cell.loc[cell["base"] == name, "rank"] for name in families)
    means = cell.groupby(["base", "model"])["rank"].mean()
    return {
        "category": category,
        "valence": valence,
        "first": first.mean(),
        "second": second.mean(),
        "welch": float(stats.ttest_ind(first, second, equal_var=False).pvalue),
        "exact": exact_p(means[families[0]].to_numpy(), means[families[1]].to_numpy()),
    }


def exact_p(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided permutation p of the difference of means (``scipy.stats.permutation_test``).

    All splits are counted up to 20,000 of them, else 9,999 random ones (seed 0).
    """
    splits = math.comb(len(first) + len(second), len(first))
    result = stats.permutation_test(
        (first, second),
        lambda x, y, axis: np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)),
        vectorized=True,
        n_resamples=np.inf if splits <= _MOST_EXACT else 9999,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _three_way(ranks: pd.DataFrame, families: list[str]) -> list[str]:
    """Say the family x category x valence contrast with the model as unit."""
    categories = list(dict.fromkeys(ranks["category"]))
    if len(categories) != 2 or ranks["valence"].nunique() != 2:
        return []
    means = ranks.groupby(["base", "model", "category", "valence"])["rank"].mean().unstack([2, 3])
    a, b = categories
    contrast = (means[a, "positive"] - means[b, "positive"]) - (
        means[a, "negative"] - means[b, "negative"]
    )
    first, second = (contrast[name].to_numpy() for name in families)
    return [
        f"Three-way contrast (family x category x valence), the model as unit: "
        f"{families[0]} {first.mean():.1f}, {families[1]} {second.mean():.1f} ranks "
        f"({a} minus {b}, positive minus negative; larger = more to {b}); "
        f"permutation p = {exact_p(first, second):.3f}."
    ]


def _table(found: pd.DataFrame, families: list[str]) -> Table:
    columns = [
        "category", "questions", f"{families[0]}, mean", f"{families[1]}, mean",
        "p, question as unit (Welch)", "Welch, Bonferroni",
        "p, model as unit (permutation)", "permutation, Bonferroni",
    ]  # fmt: skip
    rows = [
        [
            text(row["category"]),
            text(row["valence"]),
            number(row["first"], 1),
            number(row["second"], 1),
            *(p_value(row[name]) for name in
              ("welch", "welch_bonferroni", "exact", "exact_bonferroni")),
        ]
        for row in found.to_dict("records")
    ]  # fmt: skip
    return Table(f"{families[0]} against {families[1]}: median ranks", columns, rows)
