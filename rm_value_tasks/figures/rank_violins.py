"""The paper's figure: median ranks by family, category and valence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, Look, blank, looks, plain, tidy_axes

__all__ = ["rank_violins", "stars"]


def stars(p: float) -> str:
    """Return ``***`` (p < 0.001), ``**`` (< 0.01), ``*`` (< 0.05), ``n.s.``, or nothing for NaN."""
    if np.isnan(p):
        return ""
    return next((mark for mark, limit in (("***", 1e-3), ("**", 1e-2), ("*", 5e-2)) if p < limit),
                "n.s.")  # fmt: skip


def rank_violins(ranks: pd.DataFrame, panels: pd.DataFrame | None = None, test: str = "") -> Figure:
    """Draw median ranks as violins: a row for each valence, a violin for each family.

    A violin is the distribution over prompts and models of the median rank of a category's
    words (1 = highest score, drawn on top), its bar the median. Each marker is one model's
    mean over prompts: so many models, not so many prompts, are behind a difference.

    Args:
        ranks: one row for each model, prompt and category; columns ``model``, ``base`` (the
            family; one value or missing where families are unknown), ``category``,
            ``valence`` and ``rank``.
        panels: columns ``category``, ``valence`` and ``p``: the test behind the stars.
        test: how ``p`` was computed, with its unit of analysis; required with ``panels``.

    Raises:
        DataError: if ``ranks`` is empty, or ``panels`` comes without ``test``.
    """
    if ranks.empty:
        raise DataError("rank_violins got no rows; give the median ranks of at least one model.")
    if panels is not None and not test:
        raise DataError("rank_violins got panels without saying which test; name it in test=.")
    ranks = ranks.assign(base=ranks["base"].astype(object).fillna("all models"))
    categories = list(dict.fromkeys(ranks["category"]))
    valences = [v for v in ("positive", "negative") if v in set(ranks["valence"])]
    families = looks(sorted(ranks["base"].unique()))
    width = max(6.4, 1.6 + len(categories) * (0.5 + 0.45 * len(families)))
    figure = blank(width, 0.7 + 2.5 * len(valences))
    grid = figure.subplots(len(valences), 1, sharex=True, sharey=True, squeeze=False)
    for axes, valence in zip(grid[:, 0], valences, strict=True):
        _draw(axes, ranks[ranks["valence"] == valence], categories, families)
        axes.set_ylabel(f"median rank\n{valence} prompts", fontsize=9, color=INK)
        if panels is not None:
            _mark(axes, panels[panels["valence"] == valence], categories)
    grid[0, 0].invert_yaxis()
    grid[0, 0].margins(y=0.12)
    _legend(figure, ranks, families)
    if panels is not None:
        figure.supxlabel(f"{test}\n* p < 0.05, ** p < 0.01, *** p < 0.001", fontsize=8, color=INK)
    return figure


def _legend(figure: Figure, ranks: pd.DataFrame, families: dict[str, Look]) -> None:
    counts = ranks.groupby("base")["model"].nunique()
    sizes = {name: f"{n} model{'' if n == 1 else 's'}" for name, n in counts.items()}
    handles = [
        Patch(facecolor=look.colour, hatch=look.hatch, edgecolor=INK, alpha=0.75,
              label=plain(f"{name} ({sizes[name]})"))
        for name, look in families.items()
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False, fontsize=9)


def _draw(
    axes: Axes, ranks: pd.DataFrame, categories: Sequence[str], families: dict[str, Look]
) -> None:
    step = 0.8 / len(families)
    for (place, category), (index, (family, look)) in product(
        enumerate(categories), enumerate(families.items())
    ):
        cell = ranks[(ranks["category"] == category) & (ranks["base"] == family)]
        values = cell["rank"].dropna().to_numpy()
        if not values.size:
            continue
        x = place + (index - (len(families) - 1) / 2) * step
        if np.ptp(values) > 0:
            _violin(axes, values, x, step, look)
        axes.hlines(np.median(values), x - step / 4, x + step / 4, color=INK, linewidth=1.8)
        means = cell.groupby("model")["rank"].mean().to_numpy()
        spread = np.linspace(-step / 8, step / 8, len(means)) if len(means) > 1 else np.zeros(1)
        axes.scatter(
            x + spread, means, s=18, marker=look.marker, color="white", edgecolor=INK, zorder=3
        )
    labels = [plain(name) for name in categories]
    turned = sum(map(len, labels)) > 60
    axes.set_xticks(range(len(categories)), labels, rotation=40 if turned else 0,
                    ha="right" if turned else "center")  # fmt: skip
    axes.set_xlim(-0.6, len(categories) - 0.4)
    tidy_axes(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)


def _violin(axes: Axes, values: np.ndarray, x: float, step: float, look: Look) -> None:
    parts = axes.violinplot([values], [x], widths=step * 0.92, showextrema=False)
    for body in parts["bodies"]:  # type: ignore[attr-defined]
        body.set(facecolor=look.colour, edgecolor=INK, alpha=0.75, hatch=look.hatch, linewidth=0.8)


def _mark(axes: Axes, panels: pd.DataFrame, categories: Sequence[str]) -> None:
    for _, row in panels.iterrows():
        if row["category"] in categories:
            axes.annotate(
                stars(float(row["p"])),
                (categories.index(row["category"]), 0.98),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=10,
                color=INK,
            )
