"""A value probe's metrics of one document: computed by its task, and again by its readers."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.lexicons.lean_groups import lean_groups, stem
from rm_value_tasks.prompts import by_id
from rm_value_tasks.scores import combine
from rm_value_tasks.stats.lean import auroc, median_rank

__all__ = ["combined", "word_metrics"]


def combined(flat: Sequence[float], prompts: int, words: int, forms: int) -> NDArray[np.float64]:
    """Combine the scores of each word's surface forms (``scores.combine``).

    Args:
        flat: the document's scores, ordered prompt, then word, then surface form.
        prompts: how many.
        words: how many.
        forms: how many.

    Returns:
        Shape (prompts, words).
    """
    each = flat
    if forms > 1:
        each = [combine(flat[i : i + forms]) for i in range(0, len(flat), forms)]
    return np.asarray(each, dtype=np.float64).reshape(prompts, words)


def word_metrics(
    prompts: Sequence[str],
    words: Sequence[str],
    categories: Sequence[Sequence[str]],
    scores: NDArray[np.float64],
) -> dict[str, float]:
    """Compute the leans of a pair of twins, or the median ranks of a single prompt.

    Args:
        prompts: one id, or a positive prompt's and its negative twin's.
        words: shape (w,).
        categories: each word's.
        scores: shape (p, w).

    Returns:
        Metric name -> value; of a single prompt only those of its own valence.

    Raises:
        DataError: if a score, or a difference of two, is not a number.
    """
    _refuse_nan(scores, prompts, words)
    lexicon = _lexicon(tuple(words), tuple(map(tuple, categories)))
    if len(scores) == 1:
        valence = by_id(prompts[0]).valence
        return {
            f"{stem(name)}_rank_{valence}": median_rank(scores[0], lexicon.in_category(name))
            for name in lexicon.category_names
        }
    with np.errstate(invalid="ignore"):  # -inf minus -inf is refused, not warned of
        difference = scores[0] - scores[1]
    _refuse_nan(difference[None], prompts, words)
    sides = {"contrast": difference, "positive": scores[0], "negative": scores[1]}
    return {
        f"{group.stem}_{kind}": auroc(side[group.members], side[group.others])
        for group in lean_groups(lexicon)
        for kind, side in sides.items()
    }


@functools.lru_cache(maxsize=8)
def _lexicon(words: tuple[str, ...], categories: tuple[tuple[str, ...], ...]) -> Lexicon:
    """Return the words of a document, which all documents of a task have in common."""
    return Lexicon(name="document", words=words, categories=categories)


def _refuse_nan(scores: NDArray[np.float64], prompts: Sequence[str], words: Sequence[str]) -> None:
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise DataError(
            f"the score of {words[column]!r} for the prompt {prompts[row]} is not a number, so no "
            "lean can be computed: check the model's outputs or dtype."
        )
