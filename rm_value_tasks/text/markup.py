"""Text from models and files in Markdown, CSV and LaTeX: shown as it is, never read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["csv_text", "latex", "markdown", "markdown_table", "visible"]

# Everything that Markdown (CommonMark, GitHub's tables, footnotes and mathematics) could read
# as markup, or make a link of without any mark; "<", ">" and "&" become entities.
# An underscore within a word is none.
_MARKS = re.compile(
    r"([\\`*\[\]#|~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))|(?<=:)(?=//)|(?<=www)(?=\.)",
    re.IGNORECASE,
)
_ENTITIES = str.maketrans({"<": "&lt;", ">": "&gt;", "&": "&amp;"})

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
})  # fmt: skip
"""Also what is another sign, or part of a ligature, in the default font."""


def visible(value: object) -> str:
    """Make control characters visible: HTML forbids them, and browsers drop them."""
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in str(value)
    )


def markdown(value: object) -> str:
    """Return a text that Markdown shows as it is."""
    return _MARKS.sub(r"\\\1", visible(value)).translate(_ENTITIES)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str = "") -> str:
    """Return a table of Markdown text, in the rows as they come.

    Args:
        head: the columns' names.
        rows: cells that are Markdown already; a pipe in one does not end it.
        align: ``l`` or ``r`` for each of the first columns; the others are aligned left.
    """
    rule = ["---:" if kind == "r" else "---" for kind in align.ljust(len(head), "l")]
    lines = [[_cell(cell) for cell in line] for line in (head, rule, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", visible(text))


def csv_text(table: Any) -> str:
    """Write a pandas table as CSV in which no cell is a formula to a spreadsheet.

    Texts that begin like a formula and call or link something get an apostrophe before them
    (OWASP, CSV injection); signs such as the token ``=`` stay as they are.
    """
    return str(table.map(_no_formula).to_csv(index=False))


def _no_formula(value: Any) -> Any:
    text = value if isinstance(value, str) else ""
    formula = text[:1] in tuple("=+-@\t\r") and re.search(r"[(|!]", text)
    return f"'{value}" if formula else value


def latex(value: object) -> str:
    """Return a text that LaTeX prints as it is, in any font that has its characters."""
    return visible(value).translate(_LATEX).replace("--", "-{}-{}")  # no dash
