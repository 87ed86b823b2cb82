"""The optimal and pessimal tokens of a finished vocabulary run, as rows and as text."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from rm_value_tasks.vocabulary.token_runs import Run
from rm_value_tasks.vocabulary.token_table import printable
from rm_value_tasks.vocabulary.word_filter import WordFilter

__all__ = ["extremes", "report"]

Row = dict[str, Any]

_HEADING = f"{'rank':>8}  {'score':>10}  {'token_id':>8}  {'':<19}  {'token':<24}  decoded"


def extremes(
    run: Run, prompt: int, count: int, only: WordFilter | None = None
) -> tuple[list[Row], list[Row]]:
    """Return the rows of the highest and of the lowest scores.

    Args:
        run: a finished run.
        prompt: which of its prompts, counted from 0.
        count: rows at each end; together at most all tokens.
        only: leaves out other texts, before ranks are given.

    Returns:
        Both in the order of the scores, highest first, ties by token id; each row a dict
        of the Parquet file's columns and ``rank`` (1 = highest).
    """
    keys = [("score", "descending"), ("token_id", "ascending")]
    ordered = run.store.read(prompt).sort_by(keys)
    if only is not None:
        ordered = ordered.filter([only.keeps(text) for text in ordered["decoded"].to_pylist()])
    size = ordered.num_rows
    starts = (0, max(count, size - count))
    highest, lowest = (
        [
            {**row, "rank": rank}
            for rank, row in enumerate(ordered.slice(start, count).to_pylist(), start + 1)
        ]
        for start in starts
    )
    return highest, lowest


def report(run: Run, count: int, only: WordFilter | None = None) -> Iterator[str]:
    """Yield lines on all prompts, safe to print on any terminal.

    Args:
        run: a finished run.
        count: rows at each end of a prompt's table.
        only: leaves out other texts from the tables.
    """
    encoding = sys.stdout.encoding or "ascii"
    for prompt in range(len(run.prompts)):
        for line in (*_table(run, prompt, count, only), ""):
            yield line.encode(encoding, "backslashreplace").decode(encoding)
    yield f"{run.store.tokens} tokens for each prompt, all in {run.store.merged}"
    yield from run.left_out


def _table(run: Run, prompt: int, count: int, only: WordFilter | None) -> Iterator[str]:
    name, text = list(run.prompts.items())[prompt]
    highest, lowest = extremes(run, prompt, count, only)
    yield f"{name}: {printable(text, width=200)}"
    if only is not None:
        yield f"shown: {only.said} alone"
    yield _HEADING
    yield from map(_line, highest)
    if lowest:
        if lowest[0]["rank"] > len(highest) + 1:
            yield f"{'...':>8}"
        yield from map(_line, lowest)


def _line(row: Row) -> str:
    marks = {"special": "is_special", "byte": "is_byte", "undecodable": "is_undecodable"}
    shown = " ".join(name for name, column in marks.items() if row[column])
    return (
        f"{row['rank']:>8}  {_number(row['score'])}  {row['token_id']:>8}  {shown:<19}  "
        f"{printable(row['token']):<24}  {printable(row['decoded'])}"
    )


def _number(score: float) -> str:
    # Mixture-weighted log-ratios are as small as probabilities.
    return f"{score:>10.4f}" if abs(score) >= 0.001 or score == 0 else f"{score:>10.2e}"
