"""The lean from stage to stage: one line a family."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, Look, blank, looks, plain, tidy_axes

__all__ = ["stage_lines"]

_STYLES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_COLUMNS = 5


def stage_lines(leans: pd.DataFrame, interval: str = "bar: 95% interval") -> Figure:
    """Draw leans with intervals: stages on x in the order of the table, a panel a metric.

    A family's line joins its stages' leans; it has a colour, a marker and a dash of its own.
    Where a stage has several models the line goes through their mean, and each model is a
    small hollow marker.

    Args:
        leans: columns ``metric``, ``family``, ``stage``, ``mean`` (bool: the row that the
            line goes through, one a family and stage), ``estimate``, ``low`` and ``high``
            (NaN: no interval).
        interval: what the bar is, for the axis label.

    Raises:
        DataError: if ``leans`` is empty.
    """
    if leans.empty:
        raise DataError("stage_lines got no rows; give at least one stage's lean.")
    metrics = list(dict.fromkeys(leans["metric"]))
    stages = list(dict.fromkeys(leans["stage"]))
    families = looks(leans["family"])
    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = blank(max(4.4, 2.45 * columns), 0.9 + 2.5 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, metric in zip(grid, metrics, strict=False):
        _draw(axes, leans[leans["metric"] == metric], stages, families)
        axes.set_title(plain(metric), fontsize=9, color=INK)
        # Of panels over an unfilled place too.
        axes.tick_params(axis="x", labelbottom=True)
    for axes in grid[len(metrics) :]:
        axes.set_visible(False)
    figure.supylabel(f"lean; 0.5 = neutral\n({interval})", fontsize=8, color=INK)
    handles, labels = grid[0].get_legend_handles_labels()
    if len(families) > 1:
        figure.legend(
            handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8,
            handlelength=3.5,
        )  # fmt: skip
    return figure


def _draw(axes: Axes, leans: pd.DataFrame, stages: list[str], families: dict[str, Look]) -> None:
    reach = min(0.24, 0.06 * len(families))
    offsets = np.linspace(-reach, reach, len(families)) if len(families) > 1 else np.zeros(1)
    for number, (offset, (family, look)) in enumerate(zip(offsets, families.items(), strict=True)):
        rows = leans[leans["family"] == family]
        x = np.array([stages.index(stage) for stage in rows["stage"]]) + offset
        line = rows["mean"].to_numpy(bool)
        order = np.argsort(x[line], kind="stable")
        known = line & (rows["low"] <= rows["high"]).to_numpy()  # false for NaN
        axes.vlines(x[known], rows["low"][known], rows["high"][known], color=look.colour)
        axes.plot(
            x[~line], rows["estimate"][~line], look.marker, color=look.colour, markersize=3.5,
            markerfacecolor="none", markeredgewidth=0.7,
        )  # fmt: skip
        axes.plot(
            x[line][order], rows["estimate"].to_numpy()[line][order], marker=look.marker,
            color=look.colour, linestyle=_STYLES[number % len(_STYLES)], markersize=6,
            linewidth=1.4, label=plain(family),
        )  # fmt: skip
    axes.axhline(0.5, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    labels = [plain(stage, 16) for stage in stages]
    crowded = sum(map(len, labels)) > 26
    axes.set_xticks(range(len(stages)), labels, rotation=30 if crowded else 0,
                    ha="right" if crowded else "center", rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.5, len(stages) - 0.5)
    tidy_axes(axes)
