"""Reading a YAML mapping key by key, with errors that name the key."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from rm_value_tasks.errors import DataError

__all__ = ["Fields", "refuse_unknown"]

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def refuse_unknown(
    keys: Iterable[Any], known: Iterable[str], where: str, what: str = "key"
) -> None:
    """Refuse a key that is none of ``known``.

    Raises:
        DataError: naming the key, where it stands and what may have been meant.
    """
    known = list(known)
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it can have {', '.join(known)}."
            raise DataError(f"{where} has an unknown {what} {key!r}; {hint}")


class Fields:
    """The keys of one mapping.

    Args:
        value: what stands in the YAML.
        where: its name in messages, such as ``data[0]``.
        known: the keys that it can have.

    Raises:
        DataError: if it is no mapping or has another key.
    """

    def __init__(self, value: Any, where: str, known: Iterable[str]) -> None:
        if not isinstance(value, Mapping):
            raise DataError(f"{where} is {value!r} where a mapping (key: value) is needed.")
        self._value = value
        self._where = where
        refuse_unknown(value, known, where)

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def raw(self, key: str, default: Any = None) -> Any:
        """Return a value as it stands; ``default`` where it is missing or null."""
        value = self._value.get(key)
        return default if value is None else value

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """Return a value of the type ``kind``; ``default`` where it is missing or null.

        Raises:
            DataError: if it has another type.
        """
        value = self._value.get(key)
        if value is None:
            return default
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is float and number:
            return float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise DataError(f"{self.name(key)} is {value!r} where {_NAMES[kind]} is needed.")
        return value

    def need(self, key: str, kind: type) -> Any:
        """Return a value that has to be there.

        Raises:
            DataError: if it is missing, empty or has another type.
        """
        value = self.get(key, kind)
        if value is None or value == "":
            raise DataError(f"{self.name(key)} is missing; give {_NAMES[kind]}.")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """Return one of ``choices``.

        Raises:
            DataError: if it is none of them.
        """
        value = self.get(key, str, default)
        choices = list(choices)
        if value not in choices:
            near = difflib.get_close_matches(value, choices, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(choices)}."
            raise DataError(f"{self.name(key)} is {value!r}; {hint}")
        return value

    def listed(self, key: str, kind: type, default: list[Any] | None = None) -> list[Any]:
        """Return a list of distinct values of one type (a single value is a list of one).

        Raises:
            DataError: if it is missing without a default, empty, has a value twice or one of
                another type.
        """
        value = self._value.get(key, default)
        items = value if isinstance(value, list) else [] if value is None else [value]
        found = [Fields({key: item}, self._where, [key]).need(key, kind) for item in items]
        if not found:
            raise DataError(f"{self.name(key)} is missing or empty; give a list.")
        if len(set(found)) < len(found):
            raise DataError(f"{self.name(key)} has a value twice: {found}.")
        return found

    def name(self, key: str) -> str:
        """Return a key's name in messages."""
        return f"{self._where}.{key}" if self._where != "the config" else key
