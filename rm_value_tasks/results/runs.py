"""lm-eval output folders, of any models, tasks and dates, as one tidy table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results import run_names
from rm_value_tasks.results.files import Samples, Skipped, find, read_results
from rm_value_tasks.results.instruments import WORDS, instruments
from rm_value_tasks.results.run import Run, lexicon_digest, read_run, samples_path

__all__ = ["COLUMNS", "Results", "Run", "lexicon_digest", "load"]

COLUMNS = ("model", "task", "prompt", "valence", "word", "category", "score")
"""Of the tidy table: one row for each model, task, prompt, word and category."""


@dataclass(frozen=True)
class Results:
    """What was loaded.

    Attributes:
        table: columns ``COLUMNS``; one row for each model, task, prompt, word and category.
            A word of several categories has a row for each.
        runs: the value probes' runs, which the table holds, in the table's order.
        others: the runs of this package's other tasks (dilemmas, preferences).
        skipped: files that were not used, with the reason.
    """

    table: pd.DataFrame
    runs: tuple[Run, ...]
    others: tuple[Run, ...]
    skipped: tuple[Skipped, ...]


def load(
    paths: Iterable[str | Path] | str | Path, *, all_runs: bool = False, need_samples: bool = True
) -> Results:
    """Load what ``lm_eval --output_path ... --log_samples`` wrote.

    Of several runs of one model on one task in one setup (lexicon, prompts, surface forms,
    template, ...) the newest is taken. Different models or setups that would have one name get
    what differs added to it. Damaged, partial and foreign files are never half-read: they are
    left out and named in ``skipped``.

    Args:
        paths: output folders (searched to any depth), results files or samples files.
        all_runs: take every run; older and newer ones get their date added to the name.
        need_samples: without, runs that have no samples file are taken too (their metrics
            and standard errors; the table lacks them).

    Returns:
        The table, one entry for each run and the files skipped.

    Raises:
        DataError: if a path does not exist or nothing usable remains; the message names the
            first reason.
    """
    files, skipped = find([paths] if isinstance(paths, str | Path) else paths)
    loaded: list[Run] = []
    for path in files:
        try:
            loaded += _read_runs(path, read_results(path), need_samples, skipped)
        except Exception as error:
            skipped.append((path, _why(error)))
    if not any(run.instrument == WORDS for run in loaded):
        skipped += [(run.path, f"not a value probe: {run.task}") for run in loaded]
        _refuse(paths, skipped)
    newest = _newest(loaded, all_runs)
    # Apart, so that a probe's name does not depend on what else was run.
    probes = tuple(_name([run for run in newest if run.instrument == WORDS]))
    frames = [_frame(run, run.scores) for run in probes if run.scores]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    others = tuple(_name([run for run in newest if run.instrument != WORDS]))
    return Results(table, probes, others, tuple(skipped))


def _refuse(paths: Any, skipped: list[Skipped]) -> None:
    where = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
    # A damaged results file says more than a stray JSON file beside it.
    reasons = sorted(skipped, key=lambda item: "it is not one of lm-eval's" in item[1])
    if not reasons:
        raise DataError(
            f"{where} holds no lm-eval results; give the folder of --output_path, after a run "
            "with --log_samples."
        )
    path, reason = reasons[0]
    more = f" ({len(reasons) - 1} more files are unusable)" if len(reasons) > 1 else ""
    raise DataError(f"nothing usable in {where}: {path}: {reason}{more}.")


def _read_runs(
    path: Path, content: Mapping[str, Any], need_samples: bool, skipped: list[Skipped]
) -> list[Run]:
    runs: list[Run] = []
    tasks = instruments(content)
    if foreign := sorted(set(content["configs"]) - set(tasks)):
        skipped.append((path, f"not tasks of this package: {', '.join(foreign)}"))
    for task, instrument in tasks.items():
        file = path
        try:
            file = samples_path(path, task)
            runs.append(read_run(path, content, task, instrument, file, need_samples))
        except Exception as error:
            skipped.append((file if file.exists() else path, f"{task}: {_why(error)}"))
    return runs


def _why(error: Exception) -> str:
    """Say why a file is left out; what a damaged one may hold has no end."""
    if isinstance(error, DataError):
        return str(error)
    reason = " ".join(str(error).split())[:200]
    return f"it is damaged or not lm-eval's ({type(error).__name__}: {reason})"


def _newest(loaded: list[Run], all_runs: bool) -> list[Run]:
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in loaded:
        key = (run.task, *sorted(run.setup.items()), *sorted(run_names.identity(run).items()))
        # A copied folder is the same run, not a second one.
        groups[(*key, run.date) if all_runs else key].append(run)
    newest = [max(runs, key=lambda run: run.date) for runs in groups.values()]
    return sorted(newest, key=lambda run: (run.model, run.task, run.date))


def _name(runs: list[Run]) -> list[Run]:
    names = run_names.tell_apart(runs)
    return [replace(run, model=name) for run, name in zip(runs, names, strict=True)]


def _frame(run: Run, samples: Samples) -> pd.DataFrame:
    """One run's rows: prompt-major, then word, then category."""
    repeats = np.array([len(names) for names in samples.categories])
    places = np.repeat(np.arange(len(samples.words)), repeats)
    words = np.array(samples.words, dtype=object)[places]
    categories = np.array([n for names in samples.categories for n in names], dtype=object)
    size = len(samples.prompts)
    valences = [by_id(prompt).valence for prompt in samples.prompts]
    return pd.DataFrame(
        {
            "model": run.model,
            "task": run.task,
            "prompt": np.repeat(np.array(samples.prompts, dtype=object), len(places)),
            "valence": np.repeat(np.array(valences, dtype=object), len(places)),
            "word": np.tile(words, size),
            "category": np.tile(categories, size),
            "score": samples.scores[:, places].ravel(),
        },
        columns=list(COLUMNS),
    )
