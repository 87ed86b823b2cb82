"""Two words under every pair of models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, blank, looks, plain, tidy_axes

__all__ = ["pair_lollipop"]


def pair_lollipop(differences: pd.DataFrame, interval: str = "bar: 95% over prompts") -> Figure:
    """Draw a stick from 0 to each pair of models' difference between two words.

    Pairs lie in the order of their difference, highest first, coloured and marked by the
    families that they join. To the right of 0 the first model favours the first word more
    than the second model does.

    Args:
        differences: columns ``first``, ``second``, ``families``, ``word``, ``other_word``,
            ``score`` (what the numbers are), ``difference``, ``low`` and ``high`` (NaN: no
            interval).
        interval: what the bar is, for the axis label.

    Raises:
        DataError: if ``differences`` is empty.
    """
    if differences.empty:
        raise DataError("pair_lollipop got no rows; give at least one pair of models.")
    rows = differences.sort_values("difference", kind="stable")
    kinds = looks(differences["families"])
    figure = blank(7.4, 1.3 + 0.24 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows.to_dict("records")):
        look = kinds[row["families"]]
        axes.hlines(place, 0, row["difference"], color=look.colour, linewidth=1.4)
        if row["low"] <= row["high"]:  # false for NaN
            axes.hlines(place, row["low"], row["high"], color=look.colour, linewidth=4, alpha=0.35)
        axes.plot(row["difference"], place, look.marker, color=look.colour, markersize=6)
    axes.axvline(0, color=INK, linewidth=0.8)
    names = zip(rows["first"], rows["second"], strict=True)
    labels = [f"{plain(first, 36)} against {plain(second, 36)}" for first, second in names]
    axes.set_yticks(np.arange(len(rows)), labels)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    tidy_axes(axes, ("bottom",))
    axes.tick_params(axis="y", length=0)
    top = rows.iloc[0]
    word, other = plain(top["word"], 24), plain(top["other_word"], 24)
    direction = f"first model rather {other}  ←  0  →  rather {word}"
    score = plain(str(top["score"]).replace("_", "-"))
    label = f"{score} of {word} minus {score} of {other}; {interval}\n{direction}"
    figure.supxlabel(label, fontsize=8, color=INK)
    if len(kinds) > 1:
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, label=plain(name))
            for name, look in kinds.items()
        ]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=8
        )
    return figure
