"""What the report opens with: one plain sentence for each model."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rm_value_tasks.report.content import Section

__all__ = ["lean_sentences", "opening_section", "profile_sentences"]

_SENTENCES = 12
"""More models are read better in the table."""


def opening_section(sections: Iterable[Section]) -> Section:
    """Gather what the sections found."""
    points = [sentence for section in sections for sentence in section.opening]
    nothing = [] if points else ["No run asked pairs of opposite questions, so there is no lean."]
    return Section("In short", nothing, points=points)


def lean_sentences(leans: pd.DataFrame, a: str, b: str, words: str) -> list[str]:
    """Say which way each model leans, how surely, and against what.

    Args:
        leans: of ``leans.leans_of``.
        a: the category whose lean it is.
        b: the other category.
        words: the word list's name.
    """
    if len(leans) <= _SENTENCES:
        return [_lean(model, row, a, b, words) for model, row in leans.to_dict("index").items()]
    low, high = (
        leans[f"outer_{end}"].fillna(leans[end]) for end in ("low", "high")
    )  # the wider interval, where there is one
    known = leans["contrast"].notna()
    return [
        f"Of {known.sum()} models on the word list {words}, {(low > 0.5).sum()} lean to "
        f"{a.lower()}, {(high < 0.5).sum()} to {b.lower()}, and "
        f"{(known & ~(low > 0.5) & ~(high < 0.5)).sum()} are not told apart from 0.5, no lean (by "
        f"95% intervals); {a.lower()}_contrast reaches from {leans['contrast'].min():.3f} to "
        f"{leans['contrast'].max():.3f}."
    ]


def _lean(model: Hashable, row: Mapping[Hashable, Any], a: str, b: str, words: str) -> str:
    value = row["contrast"]
    if np.isnan(value):
        return f"{model} has no lean: the run asked no pair of opposite questions."
    low, high, over = row["outer_low"], row["outer_high"], "words and questions"
    if np.isnan(low):
        low, high, over = row["low"], row["high"], "question pairs only"
    found = "cannot be told apart from no lean"
    if np.isnan(low):
        found, sure = "has a lean of unknown certainty", "no interval from a single pair"
    else:
        sure = f"95% interval {low:.1%} to {high:.1%} over {over}"
        if low > 0.5 or high < 0.5:
            found = f"leans to {(a if low > 0.5 else b).lower()}"
    return (
        f"{model} {found}: in {value:.1%} of comparisons ({sure}) a word of {a.lower()} gains "
        f"more from a positive question over its opposite than a word of {b.lower()} does; 50% "
        f"would be no lean (word list {words})."
    )


def profile_sentences(leans: pd.DataFrame, words: str) -> list[str]:
    """Name each model's highest and lowest category.

    Args:
        leans: of ``foundations.profiles_of``.
        words: the word list's name.
    """
    models = leans.groupby("model", sort=False) if len(leans) else ()
    return [_profile(str(model), rows, words) for model, rows in models][:_SENTENCES]


def _profile(model: str, rows: pd.DataFrame, words: str) -> str:
    known = rows.dropna(subset=["estimate"]).sort_values("estimate", kind="stable")
    if known.empty:
        return f"{model} has no profile on the word list {words}: no contrast has a value."
    ends: Sequence[dict[Hashable, Any]] = known.iloc[[-1, 0]].to_dict("records")
    top, bottom = (
        f"{end['category']} ({end['estimate']:.1%}, 95% interval {end['low']:.1%} to "
        f"{end['high']:.1%} over question pairs)"
        for end in ends
    )
    return (
        f"{model}, of {len(known)} categories of the word list {words}, gains most for {top} and "
        f"least for {bottom}, against 50% for no preference."
    )
