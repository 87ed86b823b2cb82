"""Rows of preference data, with texts or with messages, as one form: turns and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rm_value_tasks.errors import DataError

__all__ = ["PreferenceRow", "read_row"]

Turn = dict[str, str]


@dataclass(frozen=True)
class PreferenceRow:
    """What is asked, and answers to it.

    Attributes:
        id: of the row.
        subset: of the data.
        turns: what comes before the answers, the last one the user's.
        chosen: the good answers.
        rejected: the bad ones.
    """

    id: str
    subset: str
    turns: tuple[Turn, ...]
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The turns as one text: of a single user turn what it says."""
        if len(self.turns) == 1:
            return self.turns[0]["content"]
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.turns)


def read_row(row: Mapping[str, Any]) -> PreferenceRow:
    """Read one row.

    Args:
        row: ``id``, ``subset``, ``prompt``, ``chosen`` and ``rejected``. A prompt is a text or
            messages (``role``, ``content``); an answer is a text, a message of the assistant's in
            a list, or the whole conversation with the answer at its end, with which ``prompt`` may
            be left out. ``chosen`` and ``rejected`` are one answer or a list of them.

    Raises:
        DataError: if a column is missing, or the parts contradict each other.
    """
    if missing := {"id", "subset", "chosen", "rejected"} - set(row):
        raise DataError(f"a row of the source has no column {min(missing)!r}: {sorted(row)}.")
    name = str(row["id"])
    sides = {side: _answers(row[side], name) for side in ("chosen", "rejected")}
    given = row.get("prompt")
    asked = _messages(given, name) if isinstance(given, list) else None
    found = [turns for answers in sides.values() for turns, _ in answers if turns]
    if any(turns != found[0] for turns in found):
        raise DataError(f"row {name!r} of the source has other turns before some of its answers.")
    before = found[0] if found else asked
    if before is None:
        if not isinstance(given, str):
            raise DataError(f"row {name!r} of the source has {given!r} where its prompt belongs.")
        before = ({"role": "user", "content": given},)
    contradicts = (asked is not None and asked != before) or (
        isinstance(given, str) and given not in {turn["content"] for turn in before}
    )
    if contradicts or not before or before[-1]["role"] != "user":
        raise DataError(
            f"row {name!r} of the source has a prompt that is not what its answers follow."
        )
    chosen, rejected = (tuple(text for _, text in sides[side]) for side in sides)
    return PreferenceRow(name, str(row["subset"]), before, chosen, rejected)


def _answers(value: Any, name: str) -> list[tuple[tuple[Turn, ...], str]]:
    """Return the turns before each answer, where it has them, and its text."""
    if isinstance(value, str):
        return [((), value)]
    if not isinstance(value, Sequence):
        raise DataError(f"row {name!r} of the source has {value!r} where answers belong.")
    if value and all(isinstance(item, Mapping) for item in value):
        *before, last = _messages(value, name)
        if last["role"] != "assistant":
            raise DataError(f"row {name!r} of the source has an answer by {last['role']!r}.")
        return [(tuple(before), last["content"])]
    return [found for item in value for found in _answers(item, name)]


def _messages(value: Sequence[Any], name: str) -> tuple[Turn, ...]:
    try:
        turns = tuple({"role": turn["role"], "content": turn["content"]} for turn in value)
    except (KeyError, TypeError):
        turns = ()
    if not turns or not all(isinstance(text, str) for turn in turns for text in turn.values()):
        raise DataError(
            f"row {name!r} of the source has messages that are not of a role and a text each."
        )
    return turns
