"""Which words a model prefers."""

from __future__ import annotations

import pandas as pd

from rm_value_tasks.figures import word_lollipop, word_ridits, word_spots
from rm_value_tasks.report.content import Cell, Picture, Section, Table, number, text
from rm_value_tasks.report.probes import Probe

__all__ = ["MOST_MODELS", "word_section"]

MOST_MODELS = 12
"""Models that get a picture and columns of their own; the page would grow past reading."""
_NAMED = 8


def word_section(probe: Probe) -> Section:
    """Report each word's ridit for each model, by contrast where pairs were asked."""
    models = probe.models[:MOST_MODELS]
    table = probe.table[probe.table["model"].isin(models)]
    ridits = word_ridits(table)
    by = next((k for k in ("contrast", "positive", "negative") if ridits[k].notna().any()), "")
    notes = [
        "A word's ridit is the share of the list that it outscores (ties and itself half), "
        "mean over questions: 1 is the top, 0.5 the middle. "
        + (
            "Contrast: on the difference between the positive question and its opposite, so a "
            "word that is merely frequent or short gains nothing."
            if by == "contrast"
            else f"The runs hold no pairs of opposite questions, so only {by} ones are shown."
        )
    ]
    if not by:
        return Section(f"Words – {probe.title}", ["No word has a ridit: the list is too short."])
    if len(probe.models) > MOST_MODELS:
        notes.append(f"Shown: the first {MOST_MODELS} of {len(probe.models)} models by name.")
    wide = ridits.pivot(index="word", columns="model", values=by)[models]
    categories = ridits.drop_duplicates("word").set_index("word")["category"]
    wide = wide.sort_values(models[0], ascending=False, kind="stable")
    rows = [
        [text(word), text(categories[word]), *(number(value) for value in values)]
        for word, values in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    pictures = []
    for index, model in enumerate(models):
        if ridits.loc[ridits["model"] == model, by].notna().any():
            figure = word_lollipop(ridits[ridits["model"] == model], by)
            title = f"{model}: words of highest and lowest ridit ({by})"
            folded = len(models) > 1 and index > 0
            pictures.append(Picture(title, figure, folded, word_spots(figure)))
    ends = [[text(model), *_ends(wide[model])] for model in models if wide[model].notna().any()]
    return Section(
        f"Words – {probe.title}",
        notes,
        [
            Table(f"Words at the ends ({by})", ["model", "highest first", "lowest first"], ends),
            Table(f"Places of all words ({by})", ["word", "category", *models], rows, folded=True),
        ],
        pictures,
    )


def _ends(ridits: pd.Series) -> list[Cell]:
    """Name the words at both ends; of equal ridits the alphabet decides."""
    ordered = ridits.dropna().sort_index().sort_values(ascending=False, kind="stable")
    return [
        text(", ".join(end.index)) for end in (ordered.head(_NAMED), ordered.tail(_NAMED)[::-1])
    ]
