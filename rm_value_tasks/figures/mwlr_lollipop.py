"""A few words' implicit rewards over pairs of models."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, PALE, blank, looks, plain, tidy_axes

__all__ = ["mwlr_lollipop"]


def mwlr_lollipop(scores: pd.DataFrame, label: str = "mixture-weighted log-ratio") -> Figure:
    """Draw a row for each pair of models and in it a mark for each word, joined by a stick.

    Figure 3 of Christian et al. (arXiv 2601.20838) with the words freedom and love: right of
    zero the first model of a pair finds the word likelier, left of it the second.

    Args:
        scores: ``first`` and ``second`` (models), ``word`` and ``score``, one row for each
            pair and word; rows of pairs in the order of first appearance, from the top.
        label: what the scores are.

    Raises:
        DataError: if there is no row, a pair has a word twice, or a score is not finite.
    """
    pairs = scores[["first", "second"]].drop_duplicates()
    if pairs.empty:
        raise DataError("mwlr_lollipop got no rows; give the scores of at least one pair.")
    if scores.duplicated(["first", "second", "word"]).any():
        raise DataError("mwlr_lollipop got a word twice for one pair; give one score of each.")
    if not scores["score"].abs().lt(float("inf")).all():
        raise DataError("mwlr_lollipop got a score that is not finite; leave that word out.")
    kinds = looks(scores["word"])
    figure = blank(6.4, 1.1 + 0.28 * len(pairs))
    axes = figure.subplots()
    axes.axvline(0, color=PALE, linewidth=0.8)
    for place, pair in enumerate(pairs.itertuples(index=False)):
        own = scores[(scores["first"] == pair.first) & (scores["second"] == pair.second)]
        axes.hlines(place, own["score"].min(), own["score"].max(), color=PALE, linewidth=1.2)
        for word, score in zip(own["word"].astype(str), own["score"].astype(float), strict=True):
            look = kinds[word]
            axes.plot(score, place, look.marker, color=look.colour, markersize=6)
    names = [f"{plain(p.first, 28)} against {plain(p.second, 28)}" for p in pairs.itertuples()]
    axes.set_yticks(range(len(pairs)), names)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel(label, fontsize=8, color=INK)
    tidy_axes(axes, ("bottom",))
    axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", label=plain(word))
        for word, look in kinds.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure
