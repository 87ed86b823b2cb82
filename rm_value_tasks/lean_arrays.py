"""Word scores as arrays: what leans are computed from, run by run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import Results, Run

__all__ = ["SIDES", "leans", "sides", "twin_ids", "word_scores"]

SIDES = ("contrast", "positive", "negative")
"""Kinds of lean: of each word's difference between twins, and of either side of it."""


def word_scores(results: Results, run: Run) -> pd.DataFrame:
    """Return a run's scores: index word, one column a prompt id, and the words' ``category``.

    ``category`` holds the tuple of a word's categories; words stand in the run's order.
    """
    rows = results.table
    rows = rows[(rows["model"] == run.model) & (rows["task"] == run.task)]
    wide = rows.drop_duplicates(["word", "prompt"]).pivot(
        index="word", columns="prompt", values="score"
    )
    categories = rows[rows["prompt"] == rows["prompt"].iloc[0]].groupby("word", sort=False)
    return wide.assign(category=categories["category"].agg(tuple)).loc[rows["word"].unique()]


def twin_ids(*tables: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the ids of the valence twins that all ``tables`` (of ``word_scores``) hold."""
    return [
        (positive.id, negative.id)
        for positive, negative in TWINS
        if all({positive.id, negative.id} <= {*table.columns} for table in tables)
    ]


def sides(
    wide: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield each of ``SIDES`` with its scores, shape (pairs, words).

    Raises:
        DataError: if a word has no contrast, being minus infinity on both twins.
    """
    positive = wide[[good for good, _ in pairs]].to_numpy(float).T
    negative = wide[[bad for _, bad in pairs]].to_numpy(float).T
    with np.errstate(invalid="ignore"):
        contrast = positive - negative
    if np.isnan(contrast).any():
        raise DataError(
            "a word scores minus infinity on both twin prompts, so it has no contrast; run the "
            "model in a wider dtype."
        )
    yield from zip(SIDES, (contrast, positive, negative), strict=True)


def leans(lexicon: Lexicon) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield metric stem, members and the words to compare with, as the tasks define them."""
    names = lexicon.category_names
    for name in names[:1] if len(names) == 2 else names:
        _, slash, side = name.rpartition("/")
        rivals: Iterable[str] = (
            other for other in names if other != name and (not slash or other.endswith("/" + side))
        )
        members = lexicon.in_category(name)
        others = np.any([lexicon.in_category(other) for other in rivals], axis=0) & ~members
        yield "_".join(name.lower().replace("/", " ").split()), members, others
