"""The words that moved most during training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, blank, looks, plain, tidy_axes

__all__ = ["word_moves"]


def word_moves(moves: pd.DataFrame, top: int = 15) -> Figure:
    """Draw the words whose ridit changed most: an arrow from before to after, a panel a base.

    Args:
        moves: columns ``base``, ``word``, ``category``, ``before``, ``after`` (ridits from 0
            to 1, 1 = highest) and ``move``.
        top: words in each panel.

    Raises:
        DataError: if there is no row.
    """
    if moves.empty:
        raise DataError("word_moves got no rows; it needs two checkpoints of a run.")
    bases = list(dict.fromkeys(moves["base"]))
    kinds = looks(sorted(moves["category"].unique()))
    shown = {base: _largest(moves[moves["base"] == base], top) for base in bases}
    figure = blank(7.4, 1.2 + 0.2 * max(map(len, shown.values())))
    grid = figure.subplots(1, len(bases), sharex=True, squeeze=False)[0]
    for axes, base in zip(grid, bases, strict=True):
        rows = shown[base].sort_values("move")
        for place, (_, row) in enumerate(rows.iterrows()):
            look = kinds[row["category"]]
            axes.annotate(
                "", xy=(row["after"], place), xytext=(row["before"], place),
                arrowprops={"arrowstyle": "-|>", "color": look.colour, "linewidth": 1.4},
            )  # fmt: skip
            axes.plot(row["before"], place, look.marker, color=look.colour, markersize=4)
        axes.set_yticks(range(len(rows)), [plain(word, 24) for word in rows["word"]])
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_title(plain(base), fontsize=9, loc="left", color=INK)
        tidy_axes(axes, ("bottom",))
        axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle="", label=plain(name))
        for name, look in kinds.items()
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    figure.supxlabel(
        "share of words with a lower score, from the first checkpoint (marker) to the last (arrow)",
        fontsize=8,
        color=INK,
    )
    return figure


def _largest(rows: pd.DataFrame, top: int) -> pd.DataFrame:
    order = rows["move"].abs().sort_values(ascending=False, kind="stable").index
    return rows.loc[order].head(top)
