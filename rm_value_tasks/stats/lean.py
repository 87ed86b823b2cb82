"""The lean on plain arrays: ranks, AUROC and the contrast of valence twins (numpy only)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["auroc", "contrast", "median_rank", "ranks"]


def ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Rank scores, 1 = highest, ties sharing the average of their places.

    Source: the paper ranks a lexicon's words per prompt; ``scipy.stats.rankdata(-scores)``
    gives the same numbers (numpy alone keeps this room light).

    Args:
        scores: shape (n,), no NaN.

    Returns:
        Shape (n,), ranks from 1 to n whose sum is n(n+1)/2.

    Raises:
        ValueError: if a score is NaN, since a NaN has no place.
    """
    values = np.asarray(scores, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError("ranks() got a NaN score")
    _, inverse, counts = np.unique(-values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def auroc(a: ArrayLike, b: ArrayLike) -> float:
    """Probability that a random member of ``a`` outscores one of ``b``, ties half.

    Estimand: P(A > B) + P(A = B) / 2 = U / (n_a n_b) of Mann and Whitney; 0.5 = no lean.

    Args:
        a: shape (n_a,), scores of the first category's words.
        b: shape (n_b,), scores of the second category's words.

    Returns:
        A number in [0, 1], NaN if either side is empty.

    Raises:
        ValueError: if a score is NaN.
    """
    first = np.asarray(a, dtype=np.float64)
    second = np.asarray(b, dtype=np.float64)
    if first.size == 0 or second.size == 0:
        return float("nan")
    # Ranks count from the top, so the fewer places the members take up, the more they win.
    places = ranks(np.concatenate([first, second]))[: first.size].sum()
    wins = first.size * second.size + first.size * (first.size + 1) / 2 - places
    return float(wins / (first.size * second.size))


def contrast(positive: ArrayLike, negative: ArrayLike, in_a: ArrayLike, in_b: ArrayLike) -> float:
    """AUROC of category ``a`` over ``b`` on each word's positive-minus-negative score.

    Each word is its own control: frequency, length, tokenization and a model's constant
    offset cancel in the difference.

    Args:
        positive: shape (n,), scores of the words on a positive prompt.
        negative: shape (n,), scores of the same words on its negative twin.
        in_a: shape (n,), bool, membership of the first category.
        in_b: shape (n,), bool, membership of the second category.

    Returns:
        A number in [0, 1]; 0.5 = no lean; NaN if either category is empty.

    Raises:
        ValueError: if a difference is NaN.
    """
    difference = np.asarray(positive, dtype=np.float64) - np.asarray(negative, dtype=np.float64)
    return auroc(difference[np.asarray(in_a, dtype=bool)], difference[np.asarray(in_b, dtype=bool)])


def median_rank(scores: ArrayLike, member: ArrayLike) -> float:
    """Median rank of a category's words among all words (the paper's statistic).

    Args:
        scores: shape (n,), scores of all the lexicon's words for one prompt.
        member: shape (n,), bool, which of them are in the category.

    Returns:
        The median of the members' ranks (1 = highest score), NaN if there is none.

    Raises:
        ValueError: if a score is NaN.
    """
    chosen = ranks(scores)[np.asarray(member, dtype=bool)]
    return float(np.median(chosen)) if chosen.size else float("nan")
