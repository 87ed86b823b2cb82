"""Two families against each other, with either unit of analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rm_value_tasks.report.content import Table, number, p_value, text
from rm_value_tasks.stats.permutation import exact_p, panel_tests, three_way_contrasts

__all__ = ["Comparison", "compare_families"]

_TEST = "Welch t test, unit of analysis: one model on one question, Bonferroni"
_UNITS = (
    "Both units of analysis are given. With one model on one question as the unit, as in the "
    "paper, the answers of one model count as if they were independent, which overstates "
    "certainty; with the model as the unit (exact permutation over models) the test asks what "
    "would hold for other models of these families. They differ because questions put to one "
    "model repeat that model's leaning, so many questions are not many models."
)


@dataclass(frozen=True)
class Comparison:
    """Families compared.

    Attributes:
        families: their names.
        stars: columns ``category``, ``valence`` and ``p`` (Bonferroni) for the figure.
        test: how ``p`` was computed.
        tables: both tests for each panel.
        notes: what they mean.
    """

    families: Sequence[str]
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
    families = [str(name) for name in sizes.index]
    found = panel_tests(known, families)
    stars = found.rename(columns={"welch_bonferroni": "p"})[["category", "valence", "p"]]
    return Comparison(
        families=families,
        stars=stars,
        test=f"{_TEST} over {len(found)} panels",
        tables=[_table(found, families)],
        notes=[_UNITS, *_three_way(known, families)],
    ), ""


def _three_way(ranks: pd.DataFrame, families: Sequence[str]) -> list[str]:
    """Say the family x category x valence contrast with the model as unit."""
    categories = list(dict.fromkeys(ranks["category"]))
    if len(categories) != 2 or ranks["valence"].nunique() != 2:
        return []
    a, b = categories
    contrast = three_way_contrasts(ranks, categories)
    whole = contrast.dropna()
    first, second = (whole[whole.index.get_level_values(0) == name].to_numpy() for name in families)
    lacking = len(contrast) - len(whole)
    without = f", without {lacking} asked questions of one valence only" if lacking else ""
    if not len(first) or not len(second):
        return []
    return [
        f"Three-way contrast (family x category x valence), the model as unit{without}: "
        f"{families[0]} {first.mean():.1f}, {families[1]} {second.mean():.1f} ranks "
        f"({a} minus {b}, positive minus negative; larger = more to {b}); "
        f"permutation p = {exact_p(first, second):.3f}."
    ]


def _table(found: pd.DataFrame, families: Sequence[str]) -> Table:
    tests: Mapping[str, str] = {
        "welch": "p, question as unit (Welch)",
        "welch_bonferroni": "Welch, Bonferroni",
        "permutation": "p, question as unit (permutation)",
        "permutation_bonferroni": "permutation, Bonferroni",
        "model_welch": "p, model as unit (Welch)",
        "model_exact": "p, model as unit (exact permutation)",
        "model_exact_bonferroni": "exact, Bonferroni",
    }
    means = [f"{family}, mean" for family in families]
    rows = [
        [
            text(row["category"]),
            text(row["valence"]),
            number(row["first"], 1),
            number(row["second"], 1),
            *(p_value(row[name]) for name in tests),
        ]
        for row in found.to_dict("records")
    ]
    columns = ["category", "questions", *means, *tests.values()]
    return Table(f"{families[0]} against {families[1]}: median ranks", columns, rows)
