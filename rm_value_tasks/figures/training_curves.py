"""The lean along training, and over sources and quantities of preference data."""

from __future__ import annotations

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, PALE, Look, blank, looks, plain, tidy_axes

__all__ = ["quantity_points", "training_curves"]

_GEOMETRIC = 15
"""Last over first checkpoint, above which pairs are drawn on a logarithmic axis."""


def training_curves(checkpoints: pd.DataFrame, metric: str = "agency_contrast") -> Figure:
    """Draw the lean against preference pairs seen: a panel a setting, a line a base.

    Bold lines are means over seeds, thin ones the seeds (after the paper's figure 4). The open
    marker is the untrained model, whose score head is random.

    Args:
        checkpoints: columns ``setting`` (title of the panel), ``base``, ``seed``, ``step``,
            ``pairs_seen`` and ``lean``.
        metric: what ``lean`` is, for the axis label.

    Raises:
        DataError: if there is no row.
    """
    panels = _panels(checkpoints, "training_curves")
    kinds = looks(sorted(checkpoints["base"].unique()))
    figure, grid = _grid(len(panels))
    for axes, (title, rows) in zip(grid, panels, strict=True):
        for base, own in rows.groupby("base", sort=True):
            _curve(axes, own, str(base), kinds[str(base)])
        _spread_early(axes, rows["pairs_seen"])
        _finish(axes, title)
    _label(figure, grid, metric, "preference pairs seen")
    return figure


def _curve(axes: Axes, rows: pd.DataFrame, base: str, look: Look) -> None:
    if rows["seed"].nunique() > 1:
        for _, one in rows.groupby("seed"):
            trained = one[one["step"] > 0].sort_values("pairs_seen")
            axes.plot(trained["pairs_seen"], trained["lean"], color=look.colour, linewidth=0.6)
    means = rows.groupby("pairs_seen")[["step", "lean"]].mean()
    trained = means[means["step"] > 0]
    axes.plot(
        trained.index, trained["lean"], marker=look.marker, color=look.colour, linewidth=2,
        markersize=5, label=plain(base),
    )  # fmt: skip
    start = means[means["step"] == 0]
    axes.plot(
        start.index, start["lean"], marker=look.marker, color=look.colour, linestyle="",
        markersize=5, markerfacecolor="white",
    )  # fmt: skip


def _spread_early(axes: Axes, pairs: pd.Series) -> None:
    """Where checkpoints grow apart geometrically, give each as much room."""
    first, last = pairs[pairs > 0].min(), pairs.max()
    if last / first > _GEOMETRIC:
        axes.set_xscale("symlog", linthresh=first)
        axes.set_xlim(-first / 5, last * 1.2)


def quantity_points(finals: pd.DataFrame, metric: str = "agency_contrast") -> Figure:
    """Draw the lean of finished reward models against the quantity of preference data.

    A panel a source, a line a base through the means over seeds, a small point for each seed
    (after the paper's figure 5).

    Args:
        finals: columns ``setting`` (title of the panel), ``base``, ``seed``, ``quantity`` and
            ``lean``.
        metric: what ``lean`` is, for the axis label.

    Raises:
        DataError: if there is no row.
    """
    panels = _panels(finals, "quantity_points")
    kinds = looks(sorted(finals["base"].unique()))
    figure, grid = _grid(len(panels))
    for axes, (title, rows) in zip(grid, panels, strict=True):
        for base, own in rows.groupby("base", sort=True):
            look = kinds[str(base)]
            axes.plot(own["quantity"], own["lean"], look.marker, color=look.colour, markersize=3)
            means = own.groupby("quantity")["lean"].mean()
            axes.plot(
                means.index, means, marker=look.marker, color=look.colour, linewidth=1.5,
                markersize=7, label=plain(base),
            )  # fmt: skip
        axes.set_xscale("log")
        quantities = sorted(rows["quantity"].unique())
        axes.set_xticks(quantities, [f"{quantity:,.0f}" for quantity in quantities], minor=False)
        axes.minorticks_off()
        _finish(axes, title)
    _label(figure, grid, metric, "preference pairs trained on")
    return figure


def _panels(table: pd.DataFrame, name: str) -> list[tuple[str, pd.DataFrame]]:
    if table.empty:
        raise DataError(f"{name} got no rows; give at least one checkpoint.")
    return [(str(title), rows) for title, rows in table.groupby("setting", sort=False)]


def _grid(panels: int) -> tuple[Figure, list[Axes]]:
    columns = min(panels, 2)
    lines = -(-panels // columns)
    figure = blank(7.4, 0.6 + 2.7 * lines)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for spare in grid[panels:]:
        spare.set_visible(False)
    return figure, list(grid[:panels])


def _finish(axes: Axes, title: str) -> None:
    axes.axhline(0.5, color=PALE, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.set_title(plain(title, 60), fontsize=9, loc="left", color=INK)
    tidy_axes(axes)


def _label(figure: Figure, grid: list[Axes], metric: str, below: str) -> None:
    figure.supylabel(plain(metric), fontsize=8, color=INK)
    figure.supxlabel(below, fontsize=8, color=INK)
    known: dict[str, Artist] = {}  # a panel need not have every base
    for axes in grid:
        handles, labels = axes.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    figure.legend(
        [*known.values()], [*known], loc="outside upper center", ncols=4, frameon=False, fontsize=8
    )
