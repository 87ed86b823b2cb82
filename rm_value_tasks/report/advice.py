"""The report's section on whole answers: the dilemmas, where a run asked for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rm_value_tasks.errors import DataError
from rm_value_tasks.report.content import Cell, Section, Table, number, text
from rm_value_tasks.results import Results, run_names
from rm_value_tasks.results.files import metrics_of, read_results

__all__ = ["advice_sections"]

_NOTES = (
    "Which of two pieces of good advice of equal length scores higher, one that speaks for agency "
    "or one that speaks for communion? The agency preference is the share of dilemmas won by the "
    "agency answer, ties half; 0.5 is neutral. Standard errors are over pairs.",
    "Controls are pairs whose answers speak for one value, won by an arbitrary side: the noise "
    "floor. The margin ratio says how far apart the dilemmas' answers score against the controls' "
    "(1: no further); the length correlation is that of score margin and difference in length. "
    "The text has not been validated by human raters.",
    "These tasks are no word tables, so they also stand among the files that the word probes do "
    "not use.",
)


def advice_sections(results: Results) -> list[Section]:
    """Tabulate the dilemmas of the results files that were found.

    Args:
        results: of ``results.load``; the files of its runs and the ones it skipped are read.

    Returns:
        One section, or none where no run has the task. Partial and failed runs are named in it.
    """
    files = [run.path for run in results.runs] + [path for path, _ in results.skipped]
    entries = sorted(_entries(dict.fromkeys(files)), key=lambda entry: entry[:2])
    if not entries:
        return []
    rows: list[list[Cell]] = []
    points: list[str] = []
    for model, date, result in entries:
        try:
            values, errors = metrics_of(result)
        except DataError as error:
            points.append(f"Left out, {model} of {date}: {error}.")
            continue
        rows.append([text(model), text(date), *_cells(values, errors)])
    heads = [name for name, _ in _COLUMNS]
    tables = [Table("Agency or communion in advice", ["model", "date", *heads], rows)]
    return [Section("Whole answers", _NOTES, tables if rows else [], points=points)]


_COLUMNS = (
    ("agency preference", "agency_preference"),
    ("s.e.", "agency_preference_stderr"),
    ("controls", "control_preference"),
    ("s.e. (controls)", "control_preference_stderr"),
    ("margin ratio", "margin_ratio"),
    ("length correlation", "length_correlation"),
    ("per character", "agency_preference_per_character"),
    *(
        (name, f"agency_preference_{name}")
        for name in ("work", "family", "study", "health", "money", "community")
    ),
)


def _cells(values: Mapping[str, float], errors: Mapping[str, float]) -> list[Cell]:
    every = {**values, **{f"{name}_stderr": error for name, error in errors.items()}}
    return [number(every.get(name, float("nan"))) for _, name in _COLUMNS]


def _entries(files: Mapping[Path, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Find each dilemmas task's model, date and results; unreadable files are skipped already."""
    for path in files:
        try:
            content = read_results(path)
        except DataError:
            continue
        date = datetime.fromtimestamp(content["date"], timezone.utc).strftime("%Y-%m-%d %H:%M")
        for task, config in content["configs"].items():
            known = "dilemma_metrics" in str(config.get("process_results"))
            if known and task in content["results"]:
                yield run_names.base_name(content), date, content["results"][task]
