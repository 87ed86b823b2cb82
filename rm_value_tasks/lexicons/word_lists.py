"""Bytes of a CSV word list to checked (word, category) entries, or one clear error."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rm_value_tasks.errors import DataError

__all__ = [
    "BIG_TWO",
    "Entry",
    "Reader",
    "long_form",
    "read",
    "wide_form",
    "without_sanctity_vice",
]

BIG_TWO = ("Agency", "Communion")


@dataclass(frozen=True)
class Entry:
    """One membership: a word in a category, with the line it was read from."""

    line: int
    word: str
    category: str
    facet: str | None = None


Row = tuple[int, dict[str, str]]
Reader = Callable[[list[Row], str], list[Entry]]
"""How a file's rows (line number, cells by column) become entries; gets the source's name."""


def read(content: bytes, source: str, reader: Reader) -> list[Entry]:
    """Return a file's entries in file order.

    Args:
        content: the file's bytes.
        source: what to call the file in errors.
        reader: ``long_form(...)``, ``wide_form`` or ``without_sanctity_vice``.

    Raises:
        DataError: if the content cannot be used; see ``lexicons.parse``.
    """
    entries = reader(list(_rows(_decode(content, source), source)), source)
    _check_entries(entries, source)
    _check_categories(entries, source)
    return entries


def long_form(word: str, category: str) -> Reader:
    """Return a reader of one row per entry, from the columns of these names and ``facet``."""

    def entries(rows: list[Row], source: str) -> list[Entry]:
        _need_columns(rows, (word, category), source)
        return [
            Entry(line, row[word], row[category], row.get("facet") or None) for line, row in rows
        ]

    return entries


def wide_form(rows: list[Row], source: str) -> list[Entry]:
    """Read ``DicTerm`` and a column per category marked with X; ``Care_Vice`` is ``Care/Vice``.

    Both published dictionaries look so. Exact repeats are dropped: the expanded Big Two list
    has 36.
    """
    _need_columns(rows, ("DicTerm",), source)
    entries: dict[tuple[str, str], Entry] = {}
    for line, row in rows:
        for column, mark in row.items():
            if column != "DicTerm" and mark == "X":
                entry = Entry(line, row["DicTerm"], column.replace("_", "/"))
                entries.setdefault((entry.word, entry.category), entry)
    return list(entries.values())


def without_sanctity_vice(rows: list[Row], source: str) -> list[Entry]:
    """Read the moral foundations as the paper's analysis did.

    It drops the last column, Sanctity_Vice, and merges virtue and vice of the others.
    """
    return [
        Entry(entry.line, entry.word, entry.category.split("/")[0])
        for entry in wide_form(rows, source)
        if entry.category != "Sanctity/Vice"
    ]


def _decode(content: bytes, source: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not UTF-8 (byte 0x{content[error.start]:02x} at position "
            f"{error.start}): save it again with the encoding UTF-8."
        ) from error
    if not text.strip():
        raise DataError(f"{source} is empty; a lexicon needs a header and words.")
    if text.lstrip().startswith("<"):
        raise DataError(
            f"{source} is a web page (it begins with {text.strip()[:15]!r}), not a CSV file: "
            "download the raw file instead."
        )
    return unicodedata.normalize("NFC", text)


def _rows(text: str, source: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if not any(stripped):
                continue  # a blank line, or a row that a spreadsheet left empty
            if not header:
                header = stripped
                if len(set(header)) < len(header):
                    raise DataError(f"{source} has two columns of one name: {', '.join(header)}.")
            elif len(stripped) != len(header):
                raise DataError(
                    f"{source}, line {reader.line_num}, has {len(stripped)} cells where the "
                    f"header has {len(header)}: put a word that holds a comma in double quotes."
                )
            else:
                yield reader.line_num, dict(zip(header, stripped, strict=True))
    except csv.Error as error:
        raise DataError(
            f"{source}, line {reader.line_num}, cannot be read as CSV ({error})."
        ) from error


def _need_columns(rows: list[Row], needed: Sequence[str], source: str) -> None:
    if not rows:
        raise DataError(f"{source} has a header but no words.")
    found = list(rows[0][1])
    if missing := [column for column in needed if column not in found]:
        raise DataError(
            f"{source} has no column {' and no column '.join(map(repr, missing))}; needed, "
            f"between commas: {', '.join(needed)}; found: {', '.join(map(repr, found))}."
        )


def _check_entries(entries: Iterable[Entry], source: str) -> None:
    seen: dict[tuple[str, str], int] = {}
    for entry in entries:
        where = f"{source}, line {entry.line},"
        if not entry.word or not entry.category:
            raise DataError(f"{where} has an empty {'category' if entry.word else 'word'}.")
        if any(unicodedata.category(letter) == "Cc" for letter in entry.word + entry.category):
            raise DataError(f"{where} has a control character such as a line break in a cell.")
        first = seen.setdefault((entry.word, entry.category), entry.line)
        if first != entry.line:
            raise DataError(
                f"{where} repeats {entry.word!r} in {entry.category} (first on line {first}): "
                "remove one of them."
            )


def _check_categories(entries: Sequence[Entry], source: str) -> None:
    names = list(dict.fromkeys(entry.category for entry in entries))
    if len(names) < 2:
        raise DataError(
            f"{source} has {len(names)} category ({', '.join(names) or 'none'}); a comparison "
            "needs at least two."
        )
    spellings: dict[str, str] = {}
    for name in names:
        other = spellings.setdefault(name.casefold(), name)
        if other != name:
            raise DataError(f"{source} spells one category as {other!r} and {name!r}: use one.")
    exclusive = sorted(names) if len(names) == 2 else list(BIG_TWO)
    first, second = ({e.word for e in entries if e.category == name} for name in exclusive)
    if both := sorted(first & second):
        raise DataError(
            f"{source} has {both[0]!r} in both {exclusive[0]} and {exclusive[1]}, where it would "
            "be compared with itself: keep it in one."
        )
