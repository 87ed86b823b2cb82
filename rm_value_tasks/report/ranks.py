"""The paper's statistic: median ranks by category and valence, and families compared."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rm_value_tasks.figures import rank_violins
from rm_value_tasks.report.content import Picture, Section, Table, number, text
from rm_value_tasks.report.families import compare_families
from rm_value_tasks.report.probes import Probe
from rm_value_tasks.stats.foundations import foundation_ranks
from rm_value_tasks.stats.ranks import median_ranks

__all__ = ["rank_section"]

_LEFT_OUT = "Sanctity/Vice"
_MERGED = {"Care/Virtue", "Care/Vice", "Sanctity/Virtue", _LEFT_OUT}


def rank_section(probe: Probe, families: Mapping[str, str]) -> Section:
    """Report median ranks, and families against each other where there are two."""
    found = median_ranks(probe.table)
    found = found.assign(base=found["model"].map(families))
    panels, why_not = compare_families(found)
    pictures = [
        Picture(
            "Median ranks. A violin: over questions and models; bar: median; markers: each "
            "model's mean over questions."
            + (
                f" Stars: {panels.test}; see the table for the same with models as the unit."
                if panels
                else ""
            ),
            rank_violins(found, panels.stars if panels else None, panels.test if panels else ""),
        )
    ]
    tables = [_means(probe.title, found, families)]
    if set(probe.categories) >= _MERGED:
        merged = foundation_ranks(probe.table, published=True)
        tables.append(_means(f"{probe.title}: virtue and vice merged, no {_LEFT_OUT}, as published",
                             merged, families))  # fmt: skip
    notes = [
        "The median rank of a category's words among all the list's words, 1 = highest score, "
        "ties averaged; mean over questions of one kind. Ranks of different word lists cannot be "
        "compared."
    ]
    if panels:
        tables += panels.tables
        notes += panels.notes
    else:
        notes.append(f"Families are not compared: {why_not}.")
    return Section(f"Ranks – {probe.title}", notes, tables, pictures)


def _means(title: str, found: pd.DataFrame, families: Mapping[str, str]) -> Table:
    cells = found.groupby(["model", "category", "valence"])["rank"].mean()
    sides = ("positive", "negative")
    rows = [
        [
            text(model),
            text(families.get(model, "")),
            text(category),
            *(number(cells.get((model, category, side), float("nan")), 1) for side in sides),
        ]
        for model in found["model"].unique()
        for category in found["category"].unique()
    ]
    columns = ["model", "family", "category", *(f"{side} questions" for side in sides)]
    return Table(f"Mean median rank, {title}", columns, rows)
