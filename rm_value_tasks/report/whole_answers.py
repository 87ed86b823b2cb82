"""The report's sections on whole answers: dilemmas and preference pairs, where runs have them."""

from __future__ import annotations

from collections.abc import Mapping

from rm_value_tasks.report.content import Cell, Section, Table, number, text
from rm_value_tasks.results import Results, Run
from rm_value_tasks.results.instruments import DILEMMAS, PREFERENCES

__all__ = ["answer_sections"]

_NOTES = (
    "Which of two pieces of good advice of equal length scores higher, one that speaks for agency "
    "or one that speaks for communion? The agency preference is the share of dilemmas won by the "
    "agency answer, ties half; 0.5 is neutral. Standard errors are over pairs.",
    "Controls are pairs whose answers speak for one value, won by an arbitrary side: the noise "
    "floor. The margin ratio says how far apart the dilemmas' answers score against the controls' "
    "(1: no further); the length correlation is that of score margin and difference in length. "
    "The text has not been validated by human raters.",
)
_PREFERENCES = (
    "Whether the model scores good answers above bad ones at all: a lean of a model that cannot "
    "tell them apart says little. The embedded samples are for trying out; they are too few to "
    "rank models.",
)


def answer_sections(results: Results) -> list[Section]:
    """Tabulate the dilemmas and the preference pairs.

    Returns:
        A section for each of the two, or none where no run has it.
    """
    sections = []
    dilemmas = [run for run in results.others if run.instrument == DILEMMAS]
    if dilemmas:
        heads = [name for name, _ in _COLUMNS]
        rows = [[*_who(run), *_cells(run.metrics, run.stderrs)] for run in dilemmas]
        table = Table("Agency or communion in advice", ["model", "date", *heads], rows)
        sections.append(Section("Whole answers", _NOTES, [table]))
    rows = [
        [*_who(run), text(run.task), text(run.setup.get("source", "embedded")), number(value),
         number(run.stderrs.get(metric, float("nan"))), text(metric), text(str(run.documents))]
        for run in results.others
        if run.instrument == PREFERENCES
        for metric, value in run.metrics.items()
    ]  # fmt: skip
    if rows:
        heads = ["task", "source", "value", "s.e.", "metric", "items"]
        table = Table("Good against bad answers", ["model", "date", *heads], rows)
        sections.append(Section("Preference pairs", _PREFERENCES, [table]))
    return sections


def _who(run: Run) -> list[Cell]:
    return [text(run.model), text(run.date[:16].replace("T", " "))]


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
