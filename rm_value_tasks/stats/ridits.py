"""Where each word stands in its lexicon, under any weights of words and prompts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_ranks", "mean_ridits", "standard_ranks"]

Floats = NDArray[np.float64]
_CHUNK = 128
"""Weightings at a time: what one word list needs then stays in the processor's cache."""


def from_ranks(ranks: Floats, n: int) -> Floats:
    """Return the ridits of words by their ranks: (n - rank + 1/2) / n (Bross 1958).

    That is the share of the words that score lower, ties and the word itself half: 0.5 in the
    middle, whatever the unit of the scores.

    Args:
        ranks: 1 = highest, tied ranks averaged (``stats.lean.ranks``); any shape.
        n: how many words were ranked.
    """
    return (n - np.asarray(ranks, dtype=float) + 0.5) / n


def mean_ridits(scores: Floats, words: Floats, prompts: Floats) -> Floats:
    """Return each word's ridit among all words, averaged over prompts, for many weightings.

    A ridit is the mid-distribution function of the scores at the word's own score: the
    weight of the words below it plus half of the weight of those that tie, itself included
    (Parzen 2004, Statistical Science 19:652). Without resampling it is
    ``from_ranks``. Rewards and log-probabilities of any unit
    and scale therefore agree, and the lean is linear in it: where the two sides of the lean
    are the whole lexicon, mean ridit of one side minus mean ridit of the other
    = P(one outscores the other) - 1/2, exactly.

    Args:
        scores: shape (p, w), no NaN; infinities have an order.
        words: shape (r, w), weights of words in each of r weightings, rows summing to 1.
        prompts: shape (r, p), weights of prompts, rows summing to 1.

    Returns:
        Shape (r, w), in [0, 1].

    Raises:
        ValueError: if a score is NaN.
    """
    if np.isnan(scores).any():
        raise ValueError("mean_ridits() got a NaN score")
    total = np.empty(words.shape)
    for start in range(0, len(words), _CHUNK):
        rows = slice(start, start + _CHUNK)
        # Words first: then every step runs over whole rows of weightings.
        by_word = np.ascontiguousarray(words[rows].T)
        sums = np.zeros(by_word.shape)
        for row, share in zip(scores, prompts[rows].T, strict=True):
            sums += _ridits(row, by_word) * share
        total[rows] = sums.T
    return total


def _ridits(row: Floats, by_word: Floats) -> Floats:
    """Mid-distribution function of one prompt's scores, shape (w,); weights (w, r) to (w, r)."""
    order = np.argsort(row, kind="stable")
    ordered = by_word[order]
    upto = ordered.cumsum(axis=0)
    starts = np.flatnonzero(np.append(True, row[order][1:] != row[order][:-1]))
    sizes = np.diff(starts, append=len(row))
    if len(starts) < len(row):
        ordered = np.repeat(np.add.reduceat(ordered, starts, axis=0), sizes, axis=0)
        upto = np.repeat(upto[starts + sizes - 1], sizes, axis=0)
    upto -= ordered / 2
    ridits = np.empty_like(upto)
    ridits[order] = upto
    return ridits


def standard_ranks(values: Floats, words: Floats) -> Floats:
    """Rank words (ties averaged) and standardise the ranks, for many weightings.

    The weighted product of two results, summed over words, is Spearman's rank correlation;
    for equal weights the textbook's, as ``scipy.stats.spearmanr`` gives it.

    Args:
        values: shape (r, w), one number a word in each of r weightings.
        words: shape (r, w), weights of words, rows summing to 1.

    Returns:
        Shape (r, w), each row of weighted mean 0 and variance 1; NaN where values are constant.
    """
    # Means over prompts that are equal in theory must not be told apart by rounding.
    rows = zip(values.round(12), words, strict=True)
    ranked = np.array([_ridits(row, weight[:, None])[:, 0] for row, weight in rows])
    ranked -= (ranked * words).sum(axis=1, keepdims=True)
    spread = np.sqrt((words * ranked**2).sum(axis=1, keepdims=True))
    return ranked / np.where(spread < 1e-9, np.nan, spread)
