"""Two runs side by side: how far each lean moved, over the words and prompts of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.paired_bootstrap import paired_shift
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import Results, Run

__all__ = ["COLUMNS", "Comparison", "compare", "render"]

COLUMNS = (
    "task",
    "metric",
    "first",
    "second",
    "shift",
    "low",
    "high",
    "stderr",
    "smallest_detectable",
    "pairs",
    "words",
)


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` found.

    Attributes:
        first: the first run's model.
        second: the second run's model.
        table: columns ``COLUMNS``, one row for each task and lean; ``shift`` is second minus
            first, ``low`` to ``high`` its 95% interval.
        notes: what was left out or differs, a sentence each.
    """

    first: str
    second: str
    table: pd.DataFrame
    notes: tuple[str, ...]


def compare(first: Results, second: Results, *, seed: int = 0) -> Comparison:
    """Compare two runs over the same words and prompts.

    Leans are those of the tasks with twins (``agency_contrast``, ``agency_positive``,
    ``agency_negative``, and each foundation's). Where words or prompts differ, those that both
    runs have are compared, and ``notes`` says so. Intervals: ``paired_bootstrap``.

    Args:
        first: one model's results, the baseline.
        second: one model's results.
        seed: of the bootstrap.

    Raises:
        DataError: if either holds several models, no task is common, or a task's lexicons
            differ.
    """
    ours, theirs = _by_task(first, "the first"), _by_task(second, "the second")
    tasks = [task for task in ours if task in theirs]
    if not tasks:
        raise DataError(
            f"the runs have no task in common: one has {', '.join(ours)}, the other "
            f"{', '.join(theirs)}; run both on one task."
        )
    notes = [f"{task}: only one run has it; left out" for task in sorted(set(ours) ^ set(theirs))]
    twins = [task for task in tasks if any(m.endswith("_contrast") for m in ours[task].metrics)]
    rows: list[dict[str, object]] = []
    for task in twins or tasks:
        a, b = ours[task], theirs[task]
        _check_lexicons(a, b)
        if a.score_kind != b.score_kind:
            notes.append(f"{task}: {a.score_kind} against {b.score_kind}")
        rows += _rows(task, _scores(first, a), _scores(second, b), notes, seed)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Comparison(
        first=next(iter(ours.values())).model,
        second=next(iter(theirs.values())).model,
        table=table,
        notes=tuple(notes),
    )


def _by_task(results: Results, which: str) -> dict[str, Run]:
    names = list(dict.fromkeys(run.model for run in results.runs))
    if len(names) > 1:
        raise DataError(
            f"{which} argument holds {len(names)} models or setups ({', '.join(names)}); give "
            "the folder of one."
        )
    return {run.task: run for run in results.runs}


def _check_lexicons(a: Run, b: Run) -> None:
    # One name with other words is one lexicon with words dropped; it is cut to common words.
    if a.lexicon_digest != b.lexicon_digest and a.lexicon != b.lexicon:
        raise DataError(
            f"{a.task} was run with the lexicons {a.lexicon} and {b.lexicon}, whose leans are "
            "not comparable; run both with one lexicon (--metadata)."
        )


def _scores(results: Results, run: Run) -> pd.DataFrame:
    """Return a frame indexed by word, one column a prompt, and the words' ``category``."""
    rows = results.table
    rows = rows[(rows["model"] == run.model) & (rows["task"] == run.task)]
    wide = rows.drop_duplicates(["word", "prompt"]).pivot(
        index="word", columns="prompt", values="score"
    )
    categories = rows[rows["prompt"] == rows["prompt"].iloc[0]].groupby("word", sort=False)
    return wide.assign(category=categories["category"].agg(tuple)).loc[rows["word"].unique()]


def _rows(
    task: str, a: pd.DataFrame, b: pd.DataFrame, notes: list[str], seed: int
) -> Iterator[dict[str, object]]:
    words = [word for word in a.index if word in b.index]
    if len(words) < max(len(a), len(b)):
        notes.append(f"{task}: {len(words)} words compared, of {len(a)} and {len(b)}")
    a, b = a.loc[words], b.loc[words]
    if not words or list(a["category"]) != list(b["category"]):
        raise DataError(
            f"{task} was run with words of other categories in each run; run both with one lexicon."
        )
    pairs = [(p.id, n.id) for p, n in TWINS if {p.id, n.id} <= {*a.columns} & {*b.columns}]
    most = max(_pairs(a), _pairs(b))
    if not pairs:
        raise DataError(f"the runs of {task} have no pair of twin prompts in common.")
    if len(pairs) < most:
        notes.append(f"{task}: {len(pairs)} pairs of prompts compared, those of both runs")
    lexicon = Lexicon(name=task, words=tuple(words), categories=tuple(a["category"]))
    sides = zip(_sides(a, pairs), _sides(b, pairs), strict=True)
    for (kind, ours), (_, theirs) in sides:
        for stem, members, others in _leans(lexicon):
            if min(members.sum(), others.sum()) < 2:
                raise DataError(f"{task}: {stem} has fewer than two words to compare.")
            found = paired_shift(ours, theirs, members, others, seed=seed)
            yield {
                "task": task,
                "metric": f"{stem}_{kind}",
                **vars(found),
                "pairs": len(pairs),
                "words": len(words),
            }


def _pairs(wide: pd.DataFrame) -> int:
    return sum({p.id, n.id} <= {*wide.columns} for p, n in TWINS)


def _sides(
    wide: pd.DataFrame, pairs: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Arrays of shape (pairs, words): the contrast and either side of it."""
    positive = wide[[good for good, _ in pairs]].to_numpy(float).T
    negative = wide[[bad for _, bad in pairs]].to_numpy(float).T
    with np.errstate(invalid="ignore"):
        contrast = positive - negative
    if np.isnan(contrast).any():
        raise DataError(
            "a word scores minus infinity on both twin prompts, so it has no contrast; run the "
            "model in a wider dtype."
        )
    yield from (("contrast", contrast), ("positive", positive), ("negative", negative))


def _leans(lexicon: Lexicon) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Categories with the words they are compared with, as the tasks define them."""
    names = lexicon.category_names
    for name in names[:1] if len(names) == 2 else names:
        _, slash, side = name.rpartition("/")
        rivals: Iterable[str] = (
            other for other in names if other != name and (not slash or other.endswith("/" + side))
        )
        members = lexicon.in_category(name)
        others = np.any([lexicon.in_category(other) for other in rivals], axis=0) & ~members
        yield "_".join(name.lower().replace("/", " ").split()), members, others


def render(comparison: Comparison) -> str:
    """Write a comparison as text for a terminal: a Markdown table and its notes."""
    head = ["task", "metric", "first", "second", "shift", "95% interval", "smallest detectable"]
    lines = [f"first: {comparison.first}", f"second: {comparison.second}", ""]
    lines += [f"| {' | '.join(head)} |", "| --- | --- " + "| ---: " * 5 + "|"]
    for row in comparison.table.itertuples():
        lines.append(
            f"| {row.task} | {row.metric} | {row.first:.3f} | {row.second:.3f} | "
            f"{row.shift:+.3f} | {row.low:+.3f} to {row.high:+.3f} | "
            f"{row.smallest_detectable:.3f} |"
        )
    lines += ["", *(f"Note: {note}." for note in comparison.notes)]
    lines.append(
        "Lean: probability that a word of the category outscores another (0.5 = none; no direction "
        "is better). Shift: second minus first, with a paired bootstrap interval over prompts and "
        "words. Smallest detectable: with 80% power at the 5% level."
    )
    return "\n".join(lines) + "\n"
