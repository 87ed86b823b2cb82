"""Which texts that tokens stand for are shown: all, words, or a lexicon's words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from rm_value_tasks import lexicons

__all__ = ["WordFilter", "word_filter"]

_JOINTS = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}-]")


def _is_word(text: str) -> bool:
    """Two letters or more of any script, apostrophes and hyphens between, spaces around."""
    parts = _JOINTS.split(text.strip())
    # Letters, and the marks that some scripts write vowels with.
    kinds = [[unicodedata.category(sign)[0] for sign in part] for part in parts]
    whole = all(kind and kind[0] == "L" and set(kind) <= {"L", "M"} for kind in kinds)
    return whole and sum(map(len, kinds)) > 1


@dataclass(frozen=True)
class WordFilter:
    """Says whether a text is shown.

    Attributes:
        said: which ones are, in words.
        words: those of the lexicon, in lower case; None for every word.
    """

    said: str
    words: frozenset[str] | None = None

    def keeps(self, text: str) -> bool:
        """Say whether a text is one of the words, whatever its case and outer spaces."""
        if self.words is None:
            return _is_word(text)
        return text.strip().lower() in self.words


def word_filter(lexicon: str | None, words_only: bool) -> WordFilter | None:
    """Return the filter that a user asks for; None for none.

    Args:
        lexicon: a name that ``lexicons.load`` knows, or a file; it says all.
        words_only: whether texts that are no words are left out.

    Raises:
        DataError: if the lexicon cannot be read.
    """
    if lexicon:
        found = lexicons.load(lexicon)
        return WordFilter(f"words of {found.name}", frozenset(word.lower() for word in found.words))
    return WordFilter("words, of two letters or more") if words_only else None
