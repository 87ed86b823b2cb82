"""How the contrast varies with the wording of the question."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, blank, plain, tidy_axes
from rm_value_tasks.prompts import CONCISIONS, NEGATIVE, POSITIVE, SCOPES

__all__ = ["prompt_heatmap"]


def prompt_heatmap(contrasts: pd.DataFrame, metric: str = "agency_contrast") -> Figure:
    """Draw the contrast of every pair of twins: adjectives by scope and concision.

    Three rows a model, nine columns. Colours run from the low pole over white (0.5) to the high
    one; the number in each cell says the same in grey.

    Args:
        contrasts: what ``stats.leans.twin_contrasts`` returns.
        metric: what the numbers are, for the colour bar.

    Raises:
        DataError: if there is no contrast to draw.
    """
    if contrasts.empty or contrasts["contrast"].isna().all():
        raise DataError("prompt_heatmap got no contrast; the runs hold no pair of twins.")
    adjectives = [f"{good}/{bad}" for good, bad in zip(POSITIVE, NEGATIVE, strict=True)]
    columns = pd.MultiIndex.from_product([list(SCOPES), list(CONCISIONS)])
    models = list(dict.fromkeys(contrasts["model"]))
    rows = pd.MultiIndex.from_product([models, adjectives])
    cells = contrasts.pivot(
        index=["model", "adjectives"], columns=["scope", "concision"], values="contrast"
    ).reindex(index=rows, columns=columns)
    figure = blank(7.4, 1.1 + 0.26 * len(rows) + 0.3 * len(models))
    grid = figure.subplots(len(models), 1, sharex=True, squeeze=False)[:, 0]
    reach = max(0.05, float(np.nanmax(np.abs(cells.to_numpy() - 0.5))))
    image = None
    for axes, model in zip(grid, models, strict=True):
        image = _draw(axes, cells.loc[model].to_numpy(), adjectives, reach)
        axes.set_title(plain(model, 80), fontsize=9, loc="left", color=INK)
    labels = [f"{concision}\n{SCOPES[scope]}" for scope, concision in columns]
    grid[-1].set_xticks(range(9), labels, fontsize=7)
    assert image is not None
    bar = figure.colorbar(image, ax=list(grid), shrink=min(1.0, 3 / len(models)), pad=0.02)
    bar.set_label(plain(metric), fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7)
    return figure


def _draw(axes: Axes, values: np.ndarray, adjectives: list[str], reach: float) -> AxesImage:
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap="PuOr_r", vmin=0.5 - reach, vmax=0.5 + reach,
        aspect="auto",
    )  # fmt: skip
    for (row, column), value in np.ndenumerate(values):
        text = f"{value:.2f}" if np.isfinite(value) else "–"
        colour = "white" if np.isfinite(value) and _dark(image, value) else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    for line in (2.5, 5.5):
        axes.axvline(line, color="white", linewidth=3)
    axes.set_yticks(range(len(adjectives)), adjectives)
    tidy_axes(axes, ())
    axes.tick_params(length=0)
    return image


def _dark(image: AxesImage, value: float) -> bool:
    """Whether white is easier to read than black on the value's colour (WCAG 2 contrast)."""
    channels = np.array(image.to_rgba(np.array([value]))[0, :3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    # Contrast is (L1 + 0.05) / (L2 + 0.05); equal for black and white at L = 0.179.
    return bool(linear @ [0.2126, 0.7152, 0.0722] < 0.179)
