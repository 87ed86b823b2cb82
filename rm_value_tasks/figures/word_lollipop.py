"""A model's most and least preferred words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.style import INK, Look, blank, looks, plain, tidy_axes
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.stats.lean import ranks
from rm_value_tasks.stats.ranks import words_by_prompts
from rm_value_tasks.stats.ridits import from_ranks

__all__ = ["Spot", "word_lollipop", "word_ridits", "word_spots"]


@dataclass(frozen=True)
class Spot:
    """A box in a figure, in percent of it from its upper left, and what is said there."""

    said: str
    left: float
    top: float
    width: float
    height: float


def word_ridits(table: pd.DataFrame) -> pd.DataFrame:
    """Ridit each word among the others, on the scale of the lean.

    For one prompt, a word's ridit is the share of the words that it outscores, ties and itself
    half (``stats.ridits.from_ranks``); 0.5 is the middle.

    Args:
        table: tidy rows (``model``, ``prompt``, ``valence``, ``word``, ``category``,
            ``score``) of one task.

    Returns:
        One row for each model and word: ``model``, ``word``, ``category`` (several joined
        by " + "), and the means over prompts ``positive`` and ``negative`` and over twins
        ``contrast`` (ridit by the score's difference); NaN where no such prompt was asked,
        or where a difference has no value (infinite scores).

    Raises:
        DataError: if the table is empty.
    """
    if table.empty:
        raise DataError("word_ridits got no rows; give the scores of at least one model.")
    frames = [_ridits(str(model), rows) for model, rows in table.groupby("model", sort=False)]
    return pd.concat(frames, ignore_index=True)


def _ridits(model: str, rows: pd.DataFrame) -> pd.DataFrame:
    categories = rows.groupby("word", sort=False)["category"].unique().map(" + ".join)
    scores = words_by_prompts(rows).loc[categories.index]
    valence = rows.drop_duplicates("prompt").set_index("prompt")["valence"]
    sides = {side: scores[valence.index[valence == side]] for side in ("positive", "negative")}
    differences = {
        pair: scores[pair[0].id] - scores[pair[1].id]
        for pair in TWINS
        if pair[0].id in scores and pair[1].id in scores
    }
    with np.errstate(invalid="ignore"):
        sides["contrast"] = pd.DataFrame(differences, index=scores.index)
    means = {side: _mean_ridit(values).reindex(categories.index) for side, values in sides.items()}
    frame = pd.DataFrame({"model": model, "category": categories, **means})
    return frame.rename_axis("word").reset_index()[["model", "word", "category", *means]]


def _mean_ridit(scores: pd.DataFrame) -> pd.Series:
    n = len(scores)
    if n < 2 or scores.shape[1] == 0 or scores.isna().to_numpy().any():
        return pd.Series(np.nan, index=scores.index)
    ridits = np.column_stack([from_ranks(ranks(column), n) for column in scores.to_numpy().T])
    return pd.Series(ridits.mean(axis=1), index=scores.index)


def word_lollipop(ridits: pd.DataFrame, by: str = "contrast", top: int = 15) -> Figure:
    """Draw the ``top`` most and least preferred words, coloured and marked by category.

    A stick reaches from 0.5, the middle of the word list, to the word's ridit.

    Args:
        ridits: one model's rows of ``word_ridits``.
        by: which of its ridits to draw: ``contrast``, ``positive`` or ``negative``.
        top: words at each end; fewer if the list is short.

    Raises:
        DataError: if there is no ridit to draw.
    """
    known = ridits.dropna(subset=[by])
    if known.empty:
        raise DataError(f"word_lollipop got no {by} ridits; the run lacks those prompts.")
    ordered = known.sort_values([by, "word"], ascending=[False, True], kind="stable")
    top = min(top, len(ordered) // 2) or 1
    ends = (("highest", ordered.head(top)), ("lowest", ordered.tail(top).iloc[::-1]))
    kinds = looks(dict.fromkeys(known["category"]))
    # One length means the same on both sides.
    span = max(max(rows[by].max(), 0.5) - min(rows[by].min(), 0.5) for _, rows in ends) or 1.0
    figure = blank(7.4, 1.2 + 0.2 * top)
    for axes, (title, rows) in zip(figure.subplots(1, 2), ends, strict=True):
        _draw(axes, rows, by, kinds, _limits(rows[by], span))
        axes.set_title(f"{title} {top}", fontsize=9, loc="left", color=INK)
    shown = dict.fromkeys(pd.concat([rows for _, rows in ends])["category"])
    handles = [
        Line2D([], [], color=kinds[n].colour, marker=kinds[n].marker, linestyle="", label=plain(n))
        for n in kinds
        if n in shown
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    meaning = {
        "contrast": "share of words that gain less from the positive question",
        "positive": "share of words with a lower score, positive prompts",
        "negative": "share of words with a lower score, negative prompts",
    }
    figure.supxlabel(meaning[by], fontsize=8, color=INK)
    return figure


def word_spots(figure: Figure) -> list[Spot]:
    """Return the row of each word in a figure of ``word_lollipop``, with word and ridit."""
    figure.draw_without_rendering()  # rows lie where they will only once all is laid out
    whole = figure.bbox
    found = []
    for axes in figure.axes:
        box = axes.get_tightbbox() or axes.bbox
        right = axes.bbox.x1
        for line in axes.lines:
            if line.get_marker() == "None":
                continue
            row = float(np.asarray(line.get_ydata())[0])
            low, high = axes.transData.transform([(0.5, row - 0.5), (0.5, row + 0.5)])[:, 1]
            left, width = box.x0 / whole.width, (right - box.x0) / whole.width
            top, height = 1 - high / whole.height, (high - low) / whole.height
            shares = [round(100 * float(share), 2) for share in (left, top, width, height)]
            found.append(Spot(str(line.get_label()), *shares))
    return found


def _limits(values: pd.Series, span: float) -> tuple[float, float]:
    """Return limits of width ``span`` that hold 0.5 and the values."""
    low, high = min(0.5, values.min()), max(0.5, values.max())
    edge = 0.04 * span
    return (high - span - edge, high + edge) if low < 0.5 else (low - edge, low + span + edge)


def _draw(
    axes: Axes, rows: pd.DataFrame, by: str, kinds: dict[str, Look], limits: tuple[float, float]
) -> None:
    for place, (_, row) in enumerate(rows.iloc[::-1].iterrows()):
        look = kinds[row["category"]]
        axes.hlines(place, 0.5, row[by], color=look.colour, linewidth=1.4)
        (marker,) = axes.plot(row[by], place, look.marker, color=look.colour, markersize=5)
        marker.set_label(f"{row['word']}: {row[by]:.3f}")
    axes.axvline(0.5, color=INK, linewidth=0.8)
    axes.set_xlim(limits)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_yticks(range(len(rows)), [plain(word, 24) for word in rows["word"].iloc[::-1]])
    tidy_axes(axes, ("bottom",))
    axes.tick_params(axis="y", length=0)
