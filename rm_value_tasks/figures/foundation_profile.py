"""The leans of a lexicon with many categories: a profile of the moral foundations."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, Look, blank, looks, plain, tidy_axes

__all__ = ["foundation_profile"]


def foundation_profile(leans: pd.DataFrame, interval: str = "95% interval") -> Figure:
    """Draw each model's lean to each foundation: virtues and vices side by side.

    A point is the probability that a random word of the foundation outscores a random word
    of the other foundations' same side (on differences of valence twins); 0.5 is neutral.
    Up to eight models have a marker of their own; of more, only a legend tells them apart.

    Args:
        leans: columns ``model``, ``category`` (``Care/Virtue``; without a slash one panel),
            ``estimate``, ``low`` and ``high`` (NaN: no interval).
        interval: what ``low`` to ``high`` is, for the axis label.

    Raises:
        DataError: if ``leans`` is empty.
    """
    if leans.empty:
        raise DataError("foundation_profile got no rows; give at least one model's leans.")
    split = leans["category"].str.rpartition("/")
    leans = leans.assign(
        side=split[2].where(split[1] == "/", ""),
        name=split[0].where(split[1] == "/", leans["category"]),
    )
    sides = list(dict.fromkeys(leans["side"]))
    names = list(dict.fromkeys(leans["name"]))[::-1]
    models = looks(leans["model"])
    row = max(0.5, 0.13 * len(models) + 0.15)
    rows_of_legend = -(-len(models) // 2)
    figure = blank(7.4, 0.9 + row * len(names) + 0.18 * rows_of_legend)
    grid = figure.subplots(1, len(sides), sharex=True, sharey=True, squeeze=False)[0]
    for axes, side in zip(grid, sides, strict=True):
        _draw(axes, leans[leans["side"] == side], names, models)
        axes.set_title(side.lower(), fontsize=9, color=INK)
    figure.supxlabel(f"lean to the foundation ({interval}); 0.5 = neutral", fontsize=8, color=INK)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, leans: pd.DataFrame, names: list[str], models: dict[str, Look]) -> None:
    offsets = np.linspace(0.32, -0.32, len(models)) if len(models) > 1 else np.zeros(1)
    for offset, (model, look) in zip(offsets, models.items(), strict=True):
        rows = leans[leans["model"] == model]
        y = np.array([names.index(name) for name in rows["name"]]) + offset
        known = (rows["low"] <= rows["high"]).to_numpy()
        axes.hlines(y[known], rows["low"][known], rows["high"][known], color=look.colour)
        axes.plot(
            rows["estimate"], y, look.marker, color=look.colour, markersize=5, label=plain(model)
        )
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    for line in range(1, len(names)):
        axes.axhline(line - 0.5, color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    tidy_axes(axes, ("bottom",))
    axes.tick_params(axis="y", length=0)
