"""Every model's lean with its interval, among the published reward models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, PALE, Look, blank, looks, plain, tidy_axes

__all__ = ["lean_map"]

_ENDS = ("low", "high", "outer_low", "outer_high")


def lean_map(
    leans: pd.DataFrame,
    interval: str = "bar: 95% interval",
    metric: str = "agency_contrast",
    poles: tuple[str, str] = ("communion", "agency"),
) -> Figure:
    """Draw one line for each model: its lean, the interval, and 0.5 as the neutral mark.

    Leans of different word lists lie in panels of their own, since their levels cannot be
    compared. Filled markers are the models measured, hollow ones published references. A
    panel with references is sorted by lean.

    Args:
        leans: columns ``model``, ``estimate`` (``agency_contrast``, in [0, 1]), ``low``,
            ``high`` (a bar; NaN: none), ``outer_low``, ``outer_high`` (a thin line, may be
            left out), ``group`` (the word list; a panel each), ``base`` (family, may be
            missing) and ``reference`` (bool).
        interval: what bar and line are, for the axis label.
        metric: what ``estimate`` is, for the axis label.
        poles: names of the low and the high end.

    Raises:
        DataError: if ``leans`` is empty.
    """
    if leans.empty:
        raise DataError("lean_map got no rows; give at least one model's lean.")
    groups = list(dict.fromkeys(leans["group"]))
    leans = leans.assign(base=leans["base"].astype(object).fillna("family not known"))
    leans = leans.reindex(columns=[*dict.fromkeys([*leans.columns, *_ENDS])])
    counts = [int((leans["group"] == group).sum()) for group in groups]
    figure = blank(7.4, 1.3 + 0.27 * sum(counts) + 0.35 * len(groups))
    grid = figure.subplots(
        len(groups), 1, sharex=True, squeeze=False, height_ratios=[count + 1 for count in counts]
    )
    families = looks(sorted(leans["base"].unique()))
    for axes, group in zip(grid[:, 0], groups, strict=True):
        rows = leans[leans["group"] == group]
        # A crowd is read by value; models measured keep their order (stages), from the top.
        crowd = rows["reference"].any()
        rows = rows.sort_values("estimate", kind="stable") if crowd else rows[::-1]
        _draw(axes, rows, families)
        axes.set_title(plain(group, 80), fontsize=9, loc="left", color=INK)
    ends = np.append(leans[["estimate", *_ENDS]].to_numpy(dtype=float), 0.5)
    lowest, highest = float(np.nanmin(ends)), float(np.nanmax(ends))
    pad = 0.06 * max(highest - lowest, 0.1)
    grid[0, 0].set_xlim(lowest - pad, highest + pad)
    direction = plain(f"{poles[0]}  ←  0.5  →  {poles[1]}")
    label = f"{plain(metric)}: {direction}\n{interval}"
    figure.supxlabel(label, fontsize=8, color=INK)
    _legend(figure, leans, families)
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, families: dict[str, Look]) -> None:
    for place, (_, row) in enumerate(rows.iterrows()):
        look = families[row["base"]]
        colour = PALE if row["reference"] else look.colour
        for low, high, width in ((*_ENDS[:2], 3.5), (*_ENDS[2:], 1)):
            if row[low] <= row[high]:  # false for NaN
                axes.hlines(place, row[low], row[high], color=colour, linewidth=width, zorder=2)
        axes.plot(
            row["estimate"], place, look.marker, markersize=7, zorder=3, color=colour,
            markerfacecolor="white" if row["reference"] else colour,
            markeredgecolor=INK if row["reference"] else colour,
        )  # fmt: skip
    axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_yticks(range(len(rows)), [plain(name) for name in rows["model"]])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    tidy_axes(axes, ("bottom",))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
    for label, reference in zip(axes.get_yticklabels(), rows["reference"], strict=True):
        label.set_color("#666666" if reference else INK)
        label.set_fontweight("normal" if reference else "bold")


def _legend(figure: Figure, leans: pd.DataFrame, families: dict[str, Look]) -> None:
    handles = []
    for reference in (False, True):
        for family in sorted(leans.loc[leans["reference"] == reference, "base"].unique()):
            look = families[family]
            colour = PALE if reference else look.colour
            handles.append(
                Line2D([], [], marker=look.marker, linestyle="", color=colour,
                       markerfacecolor="white" if reference else colour,
                       markeredgecolor=INK if reference else colour,
                       label=plain(f"published, {family}" if reference else family))
            )  # fmt: skip
    if len(handles) > 1:
        figure.legend(
            handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=8
        )
