"""Optimal and pessimal tokens side by side, as Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from rm_value_tasks.text.markup import latex, markdown, markdown_table

__all__ = ["FORMATS", "Heading"]

_NAMES = {"mwlr": "mixture-weighted log-ratio", "log_ratio": "log-ratio"}
_DIGITS = {"mwlr": 5, "log_ratio": 3}


@dataclass(frozen=True)
class Heading:
    """What a table is of.

    Attributes:
        first: the model that optimal tokens are likelier for.
        second: the model that pessimal tokens are likelier for.
        prompt: the prompt's text.
        score: ``mwlr`` or ``log_ratio``.
        each_form: whether surface forms were kept apart.
        only: which texts were not left out, in words; empty for all.
    """

    first: str
    second: str
    prompt: str
    score: str
    each_form: bool
    only: str = ""

    def sentence(self, count: int) -> str:
        """Say what the scores are."""
        rows = (
            f"{count:,} texts are tokens of both vocabularies; case and spaces are kept apart"
            if self.each_form
            else f"{count:,} words are tokens of both vocabularies; a word's score is the mean "
            "over its surface forms (case, outer spaces)"
        )
        only = f" Shown: {self.only} alone." if self.only else ""
        return f"Score: {_NAMES[self.score]} of the first against the second model. {rows}.{only}"


def _markdown(ranked: pd.DataFrame, heading: Heading, top: int) -> str:
    head = ["rank", f"optimal: likelier for {markdown(heading.first)}", "score"]
    head += ["rank", f"pessimal: likelier for {markdown(heading.second)}", "score"]
    lines = [f"**{markdown(heading.prompt)}**", "", heading.sentence(len(ranked)), ""]
    lines.append(markdown_table(head, _rows(ranked, heading, top, _markdown_word), "rlrrlr"))
    return "\n".join(lines) + "\n"


def _latex(ranked: pd.DataFrame, heading: Heading, top: int) -> str:
    names = latex(heading.first), latex(heading.second)
    head = [f"Rank & {kind}, likelier for {name} & Score" for kind, name in
            zip(("Optimal", "Pessimal"), names, strict=True)]  # fmt: skip
    lines = [
        r"% needs \usepackage{booktabs}; words in other scripts need XeLaTeX or LuaLaTeX",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(heading.prompt)} {heading.sentence(len(ranked))}}}",
        r"\begin{tabular}{rlr@{\qquad}rlr}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for cells in _rows(ranked, heading, top, _latex_word):
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[pd.DataFrame, Heading, int], str]] = {
    "markdown": _markdown,
    "latex": _latex,
}
"""Format -> function of ``rank_tokens``'s rows, what they are of, and rows at each end (fewer
where the list is short)."""


def _rows(
    ranked: pd.DataFrame, heading: Heading, top: int, write: Callable[[str], str]
) -> list[list[str]]:
    top = min(top, len(ranked) // 2) or 1
    digits = _DIGITS[heading.score]
    cells = [
        [
            [f"{row.rank}", write(str(row.word)), f"{row.score:.{digits}f}"]
            for row in end.itertuples()
        ]
        for end in (ranked.head(top), ranked.tail(top))
    ]
    return [[*first, *second] for first, second in zip(*cells, strict=True)]


def _markdown_word(word: str) -> str:
    before, core, after = _outer_spaces(word)
    return "␣" * before + markdown(core) + "␣" * after


def _latex_word(word: str) -> str:
    before, core, after = _outer_spaces(word)
    mark = r"\textvisiblespace{}"
    return rf"\texttt{{{mark * before}{latex(core)}{mark * after}}}"


def _outer_spaces(word: str) -> tuple[int, str, int]:
    """Split off spaces that would not show."""
    rest = word.lstrip(" ")
    core = rest.rstrip(" ")
    return len(word) - len(rest), core, len(rest) - len(core)
