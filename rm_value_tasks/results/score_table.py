"""Runs' scores as arrays over words and twin prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import Run

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


def word_scores(run: Run) -> pd.DataFrame:
    """Return a frame indexed by word, one column a prompt, and the words' ``category`` tuple.

    Raises:
        DataError: if the run has no samples.
    """
    if run.scores is None:
        raise DataError(f"{run.model} on {run.task} has no samples; run it with --log_samples.")
    words = pd.Index(run.scores.words, name="word")
    wide = pd.DataFrame(run.scores.scores.T, index=words, columns=list(run.scores.prompts))
    return wide.assign(category=pd.Series(list(run.scores.categories), index=words))


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
