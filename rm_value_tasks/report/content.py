"""What a report is made of, before it is HTML or Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from matplotlib.figure import Figure

from rm_value_tasks.figures import Spot

__all__ = ["Cell", "Picture", "Section", "Table", "number", "p_value", "span", "text"]


@dataclass(frozen=True)
class Cell:
    """One table cell: what is shown, and the number to sort by (None: sort by the text)."""

    shown: str
    value: float | None = None


def text(value: object) -> Cell:
    """Return a cell of text."""
    return Cell(str(value))


def number(value: float, digits: int = 3) -> Cell:
    """Return a cell of a number; NaN is an empty cell that sorts last."""
    value = float(value)
    return Cell("", None) if math.isnan(value) else Cell(f"{value:.{digits}f}", value)


def p_value(value: float) -> Cell:
    """Return a cell of a p value; below 0.0001 only that is said."""
    return Cell("<0.0001", value) if value < 1e-4 else number(value, 4)


def span(low: float, high: float, digits: int = 3) -> Cell:
    """Return a cell of an interval, sorted by its low end; empty where there is none."""
    if math.isnan(low) or math.isnan(high):
        return Cell("", None)
    return Cell(f"{low:.{digits}f} to {high:.{digits}f}", float(low))


@dataclass(frozen=True)
class Table:
    """A table that sorts by each column.

    Attributes:
        title: the caption.
        columns: heads.
        rows: cells, as many as heads.
        folded: shown only on demand (long tables).
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False

    def without_empty_columns(self) -> Table:
        """Leave out columns in which no row has anything."""
        kept = [i for i in range(len(self.columns)) if any(row[i].shown for row in self.rows)]
        rows = [[row[i] for i in kept] for row in self.rows]
        return replace(self, columns=[self.columns[i] for i in kept], rows=rows)

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers (right-aligned)."""
        return [
            any(row[i].value is not None for row in self.rows) for i in range(len(self.columns))
        ]


@dataclass(frozen=True)
class Picture:
    """A figure with its caption; the caption says in words what is drawn.

    Attributes:
        spots: where in the figure something is said on hover or tap.
    """

    title: str
    figure: Figure
    folded: bool = False
    spots: Sequence[Spot] = ()


@dataclass(frozen=True)
class Section:
    """A headed part of the report.

    Attributes:
        opening: what it found, a sentence for each model; the report begins with these.
    """

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    points: Sequence[str] = ()
    opening: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """An id for links: letters, digits and hyphens of the title."""
        kept = "".join(c if c.isascii() and c.isalnum() else " " for c in self.title.lower())
        return "-".join(kept.split()) or "section"
