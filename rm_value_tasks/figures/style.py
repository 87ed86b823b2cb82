"""Looks shared by all figures: palette, markers, hatches and safe text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["INK", "PALE", "Look", "blank", "looks", "plain", "tidy_axes"]

INK = "#222222"
PALE = "#9a9a9a"

# Okabe and Ito (2008), in an order in which neighbours differ in lightness too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
_MARKERS = "osD^vPX*"
_HATCHES = ("", "///", "...", "\\\\\\", "xx", "++", "oo", "---")


@dataclass(frozen=True)
class Look:
    """How one category is drawn, wherever it appears in a figure."""

    colour: str
    marker: str
    hatch: str


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give each name a look, in order of first appearance; after eight, looks repeat."""
    distinct = list(dict.fromkeys(names))
    return {
        name: Look(_COLOURS[i % 8], _MARKERS[(i + i // 8) % 8], _HATCHES[(i + i // 8) % 8])
        for i, name in enumerate(distinct)
    }


def plain(text: object, limit: int = 48) -> str:
    r"""Return a text that matplotlib draws as it is.

    Without this ``$a$`` would be read as mathematics, and a control character would break
    the SVG. Control characters become ``\x00``-like escapes, long texts lose their middle.
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)
    )
    if len(shown) > limit:
        half = (limit - 1) // 2
        shown = f"{shown[:half]}…{shown[-half:]}"
    # A legend drops labels that start with an underscore.
    shown = f" {shown}" if shown.startswith("_") else shown
    return shown.replace("$", r"\$")


def blank(width: float, height: float) -> Figure:
    """Return an empty white figure, size in inches, laid out so that nothing overlaps."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def tidy_axes(axes: Axes, keep: Sequence[str] = ("left", "bottom")) -> None:
    """Remove the spines that carry no scale and set small ticks."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
        spine.set_color(PALE)
    axes.tick_params(colors=INK, labelsize=8, length=3)
