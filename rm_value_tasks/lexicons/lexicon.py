"""Words with categories: the embedded lexicons, the published ones and the user's own."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import downloads, word_lists
from rm_value_tasks.lexicons.word_lists import BIG_TWO, Reader

__all__ = ["BIG_TWO", "NAMES", "Lexicon", "load", "parse"]


@dataclass(frozen=True)
class Lexicon:
    """Words with the categories they belong to.

    Attributes:
        name: what it was loaded as: a known name or a file's stem.
        words: shape (n,), unique, in file order.
        categories: shape (n,), each word's categories, at least one.
        facets: shape (n,), the finer meaning where the file tells it; empty if it has none.
        sha256: of the file's bytes.
    """

    name: str
    words: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    facets: tuple[str | None, ...] = ()
    sha256: str = ""

    def __len__(self) -> int:
        return len(self.words)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Categories in first-seen order, but always Agency before Communion.

        The lean is the probability that an agency word wins, whichever comes first in a file.
        """
        seen = tuple(dict.fromkeys(name for names in self.categories for name in names))
        return BIG_TWO if set(seen) == set(BIG_TWO) else seen

    def in_category(self, name: str) -> NDArray[np.bool_]:
        """Return which words belong to a category.

        Returns:
            Shape (n,), bool.

        Raises:
            DataError: if the lexicon has no such category.
        """
        if name not in self.category_names:
            raise DataError(
                f"the lexicon {self.name} has no category {name!r}; it has: "
                f"{', '.join(self.category_names)}."
            )
        return np.array([name in names for names in self.categories], dtype=bool)


_PUBLISHED = {
    "big2_nouns": ("dict_big2_nouns.csv", word_lists.long_form("token_decoded", "Category")),
    "big2_expanded": ("dict_big2_expanded.csv", word_lists.wide_form),
    "mfd2": ("moral-foundations-dictionary-20.dicx", word_lists.without_sanctity_vice),
    "mfd2_complete": ("moral-foundations-dictionary-20.dicx", word_lists.wide_form),
}
_DATA = files("rm_value_tasks.lexicons").joinpath("data")
_EMBEDDED = tuple(sorted(file.name[:-4] for file in _DATA.iterdir() if file.name.endswith(".csv")))
NAMES: tuple[str, ...] = (*_EMBEDDED, *_PUBLISHED)
"""What ``load`` knows besides files."""


def load(name_or_path: str) -> Lexicon:
    """Load a lexicon by name, or a user's own from a CSV file.

    Embedded, always at hand: ``big2`` (matched nouns), ``foundations`` (``Care/Virtue`` and
    so on). Published, from a folder or downloaded once (``downloads.fetch``):
    ``big2_nouns`` (263 words), ``big2_expanded`` (936 rows, 36 of them exact repeats: 900
    words), ``mfd2`` (1,652 words: virtue and vice merged to five foundations, Sanctity/Vice
    left out, as in the paper's analysis) and ``mfd2_complete`` (all 2,040, ten categories).

    A user's file has the columns ``word`` and ``category`` and may have ``facet``; see
    ``parse``. A known name wins over a file of that name (write ``./big2`` for the file).

    Raises:
        DataError: if nothing has that name, or the file cannot be used as it is.
    """
    if name_or_path in _EMBEDDED:
        return parse(_DATA.joinpath(f"{name_or_path}.csv").read_bytes(), name_or_path)
    if name_or_path in _PUBLISHED:
        file, reader = _PUBLISHED[name_or_path]
        return _build(downloads.fetch(file).read_bytes(), name_or_path, file, reader)
    path = Path(name_or_path).expanduser()
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        close = difflib.get_close_matches(name_or_path, NAMES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"no lexicon {name_or_path!r}: it is no readable file ({reason}) and no known "
            f"name; {hint}Known: {', '.join(NAMES)}."
        ) from error
    return parse(content, path.stem, str(path))


def parse(content: bytes, name: str, source: str = "") -> Lexicon:
    """Read a CSV file of words and categories.

    UTF-8 (with or without a byte order mark), commas, a header with ``word`` and
    ``category``; ``facet`` is read, other columns are ignored. Spaces around a cell are
    dropped and letters with accents composed (Unicode NFC). A word may be in several of three
    or more categories (a row each), and counts once in each, as in the paper; in a lexicon of
    two categories it would be compared with itself, so there it is refused.

    Args:
        content: the file's bytes.
        name: the lexicon's name.
        source: what to call the file in errors; the name if empty.

    Raises:
        DataError: if the file is empty, a web page, not UTF-8, lacks a column, has an empty
            word or category, a control character, the same row twice, a word in both of two
            categories, or fewer than two categories.
    """
    return _build(content, name, source or name, word_lists.long_form("word", "category"))


def _build(content: bytes, name: str, source: str, reader: Reader) -> Lexicon:
    entries = word_lists.read(content, source, reader)
    categories: dict[str, tuple[str, ...]] = {}
    facets: dict[str, str | None] = {}
    for entry in entries:
        categories[entry.word] = (*categories.get(entry.word, ()), entry.category)
        facets[entry.word] = facets.get(entry.word) or entry.facet
    return Lexicon(
        name=name,
        words=tuple(categories),
        categories=tuple(categories.values()),
        facets=tuple(facets.values()) if any(facets.values()) else (),
        sha256=hashlib.sha256(content).hexdigest(),
    )
