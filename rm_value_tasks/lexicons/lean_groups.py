"""The leans that a lexicon has: each category, and the words that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons.lexicon import Lexicon

__all__ = ["LeanGroup", "check_stems", "lean_groups", "stem"]


class LeanGroup(NamedTuple):
    """One lean: the probability that a member outscores one of the others.

    Attributes:
        stem: the category as metric names write it (``care_virtue``).
        members: shape (words,), the category's words.
        others: shape (words,), the words to compare with; never a member.
    """

    stem: str
    members: NDArray[np.bool_]
    others: NDArray[np.bool_]


def stem(category: str) -> str:
    """Write a category as metric names do."""
    return "_".join(category.lower().replace("/", " ").split())


def check_stems(categories: Sequence[str]) -> None:
    """Refuse categories that would share metric names.

    Raises:
        DataError: naming them.
    """
    if len({stem(name) for name in categories}) < len(categories):
        raise DataError(
            f"the categories {', '.join(map(repr, categories))} would share "
            "metric names; rename one."
        )


def lean_groups(lexicon: Lexicon) -> list[LeanGroup]:
    """Return the leans of a lexicon: one of two categories, else one for each category.

    A category is compared with the words of all others that are not its own; a virtue with
    other virtues and a vice with other vices alone, as in the paper's analysis of the moral
    foundations, unless no other category has that side.
    """
    names = lexicon.category_names
    found = []
    for name in names[:1] if len(names) == 2 else names:
        _, slash, side = name.rpartition("/")
        rest = [other for other in names if other != name]
        rivals = [other for other in rest if not slash or other.endswith("/" + side)] or rest
        members = lexicon.in_category(name)
        others = np.any([lexicon.in_category(rival) for rival in rivals], axis=0) & ~members
        found.append(LeanGroup(stem(name), members, others))
    return found
