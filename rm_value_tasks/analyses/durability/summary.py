"""What was found, as tables, figures and one page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from rm_value_tasks import figures
from rm_value_tasks.analyses.durability.analysis import Durability
from rm_value_tasks.errors import DataError
from rm_value_tasks.text.markup import csv_text, markdown, markdown_table
from rm_value_tasks.whole_files import write_whole

__all__ = ["render", "write"]

_TOP = 8
"""Words that moved most, for each base."""


def write(found: Durability, folder: str | Path) -> Path:
    """Write tables (CSV), figures (PNG and SVG) and ``durability.md`` into a folder.

    Returns:
        The path of ``durability.md``.

    Raises:
        DataError: if the folder cannot be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be made ({error.strerror}); choose another place."
        ) from error
    drawn = {
        "training_curves": figures.training_curves(found.checkpoints, found.metric),
        "quantity_points": figures.quantity_points(found.finals, found.metric),
    }
    for number, (_, moves) in enumerate(found.moves.groupby("setting", sort=False), 1):
        name = "word_moves" if found.moves["setting"].nunique() == 1 else f"word_moves_{number}"
        drawn[name] = figures.word_moves(moves)
    for name, figure in drawn.items():
        for ending in ("png", "svg"):
            figures.save(figure, folder / f"{name}.{ending}")
    tables = {
        "checkpoints": found.checkpoints,
        "gaps": _all_gaps(found),
        "word_moves": found.moves,
    }
    for name, table in tables.items():
        write_whole(folder / f"{name}.csv", csv_text(table).encode())
    summary = folder / "durability.md"
    write_whole(summary, render(found).encode())
    return summary


def _all_gaps(found: Durability) -> pd.DataFrame:
    frames = [
        curve.gaps.table.assign(
            setting=curve.setting,
            axis=curve.axis,
            first=curve.gaps.first,
            second=curve.gaps.second,
        )
        for curve in found.curves
    ]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def render(found: Durability) -> str:
    """Write the findings as Markdown: a sentence a curve, the finished models, the words."""
    lines = [f"# Durability of {found.metric}", ""]
    for curve in found.curves:
        lines.append(
            f"- {markdown(curve.setting)}, {markdown(curve.gaps.first)} minus "
            f"{markdown(curve.gaps.second)} over "
            f"{curve.axis}: {curve.decay.sentence}"
        )
    if not found.curves:
        lines.append("- No two bases share a setting, so there is no gap to follow.")
    lines += ["", *_finals(found), "", *_moves(found), "", *_method(found)]
    return "\n".join(lines) + "\n"


def _finals(found: Durability) -> Iterator[str]:
    head = ["setting", "base", "pairs trained on", "seeds", found.metric, "held-out accuracy"]
    lines = []
    keys = ["setting", "base", "quantity"]
    for (setting, base, quantity), rows in found.finals.groupby(keys, sort=True):
        lean = f"{rows['lean'].mean():.3f}"
        if len(rows) > 1:
            lean += f" (seeds {rows['lean'].min():.3f} to {rows['lean'].max():.3f})"
        accuracy = rows["held_out_accuracy"].mean()
        shown = "" if pd.isna(accuracy) else f"{accuracy:.3f}"
        names = [markdown(setting), markdown(base)]
        lines.append([*names, f"{quantity:,}", str(len(rows)), lean, shown])
    yield markdown_table(head, lines, "llrrrr")


def _moves(found: Durability) -> Iterator[str]:
    if found.moves.empty:
        yield "No cell has two checkpoints in training, so no word can be said to have moved."
    for (setting, base), rows in found.moves.groupby(["setting", "base"], sort=False):
        words = ", ".join(
            f"{markdown(row.word)} {row.move:+.2f}" for row in rows[:_TOP].itertuples()
        )
        yield f"- Words that moved most, {markdown(setting)}, {markdown(base)}: {words}"


def _method(found: Durability) -> Iterator[str]:
    over_words = "resampled words and prompts (crossed factors)"
    if any(curve.gaps.over_seeds for curve in found.curves):
        yield f"Intervals: 95%, over {over_words} and training seeds."
    else:
        yield (
            f"Intervals: 95%, over {over_words}. With one seed a base they do not hold the "
            "variation between training runs; train with several seeds."
        )
    yield ""
    yield (
        "Half-life: ln 2 over the rate of an exponential fitted to the gaps from the first that "
        "is told apart from none (the untrained model's score head is random), its interval from "
        "fits to the resampled gaps. Word moves: change of a word's ridit (the "
        "share of words that it outscores), from that checkpoint to the last."
    )
