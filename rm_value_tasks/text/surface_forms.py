"""How a word is written as an answer, and what joins it to its prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rm_value_tasks.errors import DataError

__all__ = ["SURFACE_FORMS", "distinct_forms", "joint_of", "read_delimiter", "read_slot", "writers"]


def _title(word: str) -> str:
    # str.title would write "Mother'S Love".
    return re.sub(r"[^\W\d_]+('[^\W\d_]+)*", lambda match: match[0].capitalize(), word)


SURFACE_FORMS: dict[str, Callable[[str], str]] = {
    "as_given": lambda word: word,
    "lower": str.lower,
    "title": _title,
    "space": lambda word: " " + word,
    "space_title": lambda word: " " + _title(word),
}
"""Name -> how the word is written as an answer."""


def distinct_forms(forms: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return the forms without those that write every word as an earlier one does.

    Raises:
        DataError: if two forms write some words alike and others not; those words' answers
            would count twice.
    """
    kept: list[str] = []
    for form in dict.fromkeys(forms):
        for other in kept:
            alike = [SURFACE_FORMS[form](word) == SURFACE_FORMS[other](word) for word in words]
            if all(alike):
                break
            if any(alike):
                raise DataError(
                    f"the surface forms {other} and {form} write {words[alike.index(True)]!r} "
                    f"alike but {words[alike.index(False)]!r} not, so some answers would count "
                    "twice; choose forms that differ for every word."
                )
        else:
            kept.append(form)
    return kept


def joint_of(forms: Sequence[str], delimiter: str) -> str:
    """Return what joins answers of these forms to the prompt.

    A form that brings its own space replaces the delimiter for all of them, so that
    "freedom" and " freedom" are both asked for and neither twice.
    """
    return "" if any(name.startswith("space") for name in forms) else delimiter


def writers(forms: Sequence[str], delimiter: str) -> list[Callable[[str], str]]:
    """Return functions from a word to its answer, joint included, one per form.

    Args:
        forms: names in ``SURFACE_FORMS``.
        delimiter: lm-eval's, before answers.
    """
    joint = joint_of(forms, delimiter)
    return [_writer(joint, SURFACE_FORMS[name]) for name in forms]


def _writer(joint: str, form: Callable[[str], str]) -> Callable[[str], str]:
    return lambda word: joint + form(word)


def read_slot(slot: Any) -> str:
    """Return what goes behind a prompt: the slot, after one space unless it brings its own.

    Raises:
        DataError: if it is not text or ends in white space.
    """
    if not isinstance(slot, str) or slot != slot.rstrip():
        raise DataError(
            f"answer_slot is {slot!r}; give text such as 'Answer:' with no white space at its "
            "end, as each answer brings its own."
        )
    return slot if not slot or slot[0].isspace() else " " + slot


def read_delimiter(delimiter: Any) -> str | None:
    """Return the delimiter that the user chose, None for the task's own.

    Raises:
        DataError: if it is not text.
    """
    if not isinstance(delimiter, str | None):
        raise DataError(f"target_delimiter is {delimiter!r}; give text such as ' ' or ''.")
    return delimiter
