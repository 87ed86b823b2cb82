"""Two runs side by side: how far each lean moved, over the words and prompts of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.lexicons.lean_groups import lean_groups
from rm_value_tasks.results import Results, Run
from rm_value_tasks.results.score_table import (
    check_lexicons,
    sides,
    twins_in,
    word_scores,
)
from rm_value_tasks.results.settings import differences, incomparable
from rm_value_tasks.stats.intervals import paired_shift
from rm_value_tasks.text.markup import markdown, markdown_table

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
        incomparable: task -> why a lean cannot have moved there, words, prompts or the kind of
            score being others.
    """

    first: str
    second: str
    table: pd.DataFrame
    notes: tuple[str, ...]
    incomparable: Mapping[str, str] = field(default_factory=dict)


def compare(first: Results, second: Results, *, seed: int = 0) -> Comparison:
    """Compare two runs over the same words and prompts.

    Leans are those of the tasks with twins (``agency_contrast``, ``agency_positive``,
    ``agency_negative``, and each foundation's). Where words or prompts differ, those that both
    runs have are compared, and ``notes`` says so. Intervals: ``stats.intervals``.

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
        check_lexicons(a, b)
        if differing := differences(a, b):
            notes.append(f"{task}: the runs differ in {', '.join(differing)}")
        rows += _rows(task, word_scores(a), word_scores(b), notes, seed)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    reasons = {task: incomparable(ours[task], theirs[task]) for task in tasks}
    return Comparison(
        first=next(iter(ours.values())).model,
        second=next(iter(theirs.values())).model,
        table=table,
        notes=tuple(notes),
        incomparable={task: reason for task, reason in reasons.items() if reason},
    )


def _by_task(results: Results, which: str) -> dict[str, Run]:
    names = list(dict.fromkeys(run.model for run in results.runs))
    if len(names) > 1:
        raise DataError(
            f"{which} argument holds {len(names)} models or setups ({', '.join(names)}); give "
            "the folder of one."
        )
    return {run.task: run for run in results.runs}


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
    pairs = twins_in(a, b)
    most = max(len(twins_in(a)), len(twins_in(b)))
    if not pairs:
        raise DataError(f"the runs of {task} have no pair of twin prompts in common.")
    if len(pairs) < most:
        notes.append(f"{task}: {len(pairs)} pairs of prompts compared, those of both runs")
    lexicon = Lexicon(name=task, words=tuple(words), categories=tuple(a["category"]))
    for (kind, ours), (_, theirs) in zip(sides(a, pairs), sides(b, pairs), strict=True):
        for stem, members, others in lean_groups(lexicon):
            if min(members.sum(), others.sum()) < 2:
                raise DataError(
                    f"{task}: {stem} has {members.sum()} words to compare with {others.sum()} "
                    "others, and an interval needs two of each; give a lexicon with more."
                )
            found = paired_shift(ours, theirs, members, others, seed=seed)
            yield {
                "task": task,
                "metric": f"{stem}_{kind}",
                **vars(found),
                "pairs": len(pairs),
                "words": len(words),
            }


def render(comparison: Comparison) -> str:
    """Write a comparison as text for a terminal: a Markdown table and its notes."""
    head = ["task", "metric", "first", "second", "shift", "95% interval", "smallest detectable"]
    names = markdown(comparison.first), markdown(comparison.second)
    lines = [f"first: {names[0]}", f"second: {names[1]}", ""]
    rows: list[list[str]] = [
        [
            markdown(row.task), markdown(row.metric), f"{row.first:.3f}", f"{row.second:.3f}",
            f"{row.shift:+.3f}", f"{row.low:+.3f} to {row.high:+.3f}",
            f"{row.smallest_detectable:.3f}",
        ]
        for row in comparison.table.itertuples()
    ]  # fmt: skip
    lines.append(markdown_table(head, rows, "llrrrrr"))
    lines += ["", *(f"Note: {markdown(note)}." for note in comparison.notes)]
    lines.append(
        "Lean: probability that a word of the category outscores another (0.5 = none; no direction "
        "is better). Shift: second minus first, with a paired bootstrap interval over prompts and "
        "words. Smallest detectable: with 80% power at the 5% level."
    )
    return "\n".join(lines) + "\n"
