"""Runs' scores as arrays over words and twin prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import Results, Run

__all__ = ["check_lexicons", "sides", "twins_in", "word_scores"]


def check_lexicons(a: Run, b: Run) -> None:
    """Refuse two runs of one task whose lexicons differ.

    Raises:
        DataError: naming both. One name with other words is one lexicon with words dropped;
            it can be cut to common words.
    """
    if a.lexicon_digest != b.lexicon_digest and a.lexicon != b.lexicon:
        raise DataError(
            f"{a.task} was run with the lexicons {a.lexicon} and {b.lexicon}, whose leans are "
            "not comparable; run both with one lexicon (--metadata)."
        )


def word_scores(results: Results, run: Run) -> pd.DataFrame:
    """Return a frame indexed by word, one column a prompt, and the words' ``category`` tuple."""
    rows = results.table
    rows = rows[(rows["model"] == run.model) & (rows["task"] == run.task)]
    wide = rows.drop_duplicates(["word", "prompt"]).pivot(
        index="word", columns="prompt", values="score"
    )
    categories = rows[rows["prompt"] == rows["prompt"].iloc[0]].groupby("word", sort=False)
    return wide.assign(category=categories["category"].agg(tuple)).loc[rows["word"].unique()]


def twins_in(*frames: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the ids (positive, negative) of the twins that all of these frames have."""
    common = set.intersection(*(set(frame.columns) for frame in frames))
    return [(good.id, bad.id) for good, bad in TWINS if {good.id, bad.id} <= common]


def sides(
    wide: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Arrays of shape (pairs, words): the contrast and either side of it.

    Raises:
        DataError: if a contrast is not a number, both of its scores being infinite.
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
    yield from (("contrast", contrast), ("positive", positive), ("negative", negative))
