"""Figures to PNG and SVG files, the same bytes each time."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from rm_value_tasks.errors import DataError
from rm_value_tasks.whole_files import write_whole

__all__ = ["save", "to_bytes"]

_FORMATS = ("png", "svg")


def to_bytes(figure: Figure, format: str) -> bytes:
    """Render a figure; the same figure gives the same bytes.

    Args:
        figure: what to draw.
        format: ``png`` (200 dots per inch) or ``svg`` (text as outlines, so that it looks
            the same everywhere and needs no font).

    Raises:
        DataError: if the format is another.
    """
    if format not in _FORMATS:
        raise DataError(f"figures are saved as png or svg, not {format!r}; name the file so.")
    # Without the salt and with a date, matplotlib's SVG differs from run to run.
    metadata = {"Date": None} if format == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "rm-value-tasks", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=format, dpi=200, metadata=metadata)
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure to ``path``, whole or not at all; the ending says PNG or SVG.

    Returns:
        The path.

    Raises:
        DataError: if the ending is neither ``.png`` nor ``.svg``, or the file cannot be
            written.
    """
    path = Path(path)
    write_whole(path, to_bytes(figure, path.suffix.removeprefix(".").lower()))
    return path
