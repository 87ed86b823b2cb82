"""Runs and the ten published reward models in one table: Markdown, HTML or CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.publish import published_models
from rm_value_tasks.publish.published_models import LEANS, RANKS
from rm_value_tasks.results import Run
from rm_value_tasks.results.settings import PROTOCOL, spread
from rm_value_tasks.text.markup import csv_text, markdown, markdown_table

__all__ = ["FORMATS", "leaderboard", "render"]

FORMATS = ("markdown", "html", "csv")

_NOTED = tuple(name for name in PROTOCOL if name not in ("surface forms", "prompts"))
"""Of the settings in which rows differ; surface forms and prompts are noted of every row."""
_CAPTION = (
    "agency_contrast, agency_positive and agency_negative: probability that an agency word "
    "outscores a communion word (0.5 = no lean; no direction is better) \N{PLUS-MINUS SIGN} "
    "standard error over prompt pairs. Rows marked \N{DAGGER} are reference rows: the ten "
    "published reward models (Christian et al., arXiv 2601.20838), with the published noun list. "
    "Levels depend on the word list: compare rows of one lexicon only."
)
_HTML = """<table>
<caption>{{ caption }}</caption>
<thead><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for kind, row in rows %}<tr class="{{ kind }}">{% for cell in row %}<td>{{ cell }}</td>\
{% endfor %}</tr>
{% endfor %}</tbody>
</table>
"""


def leaderboard(runs: Iterable[Run]) -> pd.DataFrame:
    """Put runs of the Big Two probes beside the reference rows.

    Args:
        runs: any runs; one row for each model and lexicon. Leans come from a task that gives
            them (``value_bias_big2``), median ranks from ``value_bias_paper_big2``.

    Returns:
        Columns ``model``, ``kind`` (``reference`` or ``run``), ``lexicon``, those of
        ``references.LEANS`` with ``_stderr``, those of ``references.RANKS``, ``pairs``,
        ``date`` and ``note``; first the rows on the scale of the reference rows, then the
        others, each lexicon by itself, by falling ``agency_contrast``. ``note`` says of each
        row what keeps it from being compared.

    Raises:
        DataError: if no run has a lean or rank of agency and communion.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    told = [run for run in runs if {*LEANS, *RANKS} & set(run.metrics)]
    for run, differing in zip(told, _differing(told), strict=True):
        key = (run.model, run.lexicon, run.lexicon_digest)
        row = rows.setdefault(key, {"notes": []})
        _fill(row, run)
        row["notes"] += differing
    if not rows:
        raise DataError(
            "no run has a lean of agency against communion; run the task value_bias_big2 (or "
            "value_bias_paper_big2)."
        )
    table = pd.concat([_references(), pd.DataFrame(map(_finish, rows.values()))])
    columns = ["model", "kind", "lexicon"]
    columns += [name for lean in LEANS for name in (lean, f"{lean}_stderr")]
    table = table.reindex(columns=[*columns, *RANKS, "pairs", "date", "note", "comparable"])
    table = table.sort_values(
        ["comparable", "lexicon", "agency_contrast"], ascending=[False, True, False]
    )
    return table.drop(columns="comparable").reset_index(drop=True)


def _differing(runs: Sequence[Run]) -> list[list[str]]:
    """Say of each run in which settings it differs from other runs of its task."""
    found: dict[tuple[str, str], list[str]] = {}
    for task in dict.fromkeys(run.task for run in runs):
        own = [run for run in runs if run.task == task]
        for run, traits in zip(own, spread(own, _NOTED), strict=True):
            found[run.model, task] = [f"{name} {value}" for name, value in traits.items()]
    return [found[run.model, run.task] for run in runs]


def _references() -> pd.DataFrame:
    return published_models.load().assign(
        kind="reference",
        lexicon=published_models.LEXICON,
        pairs=published_models.PAIRS,
        date="",
        note="published model, published scores",
        comparable=True,
    )


def _fill(row: dict[str, Any], run: Run) -> None:
    comparable = published_models.same_lexicon(run.lexicon, run.lexicon_digest)
    row |= {
        "model": run.model,
        "kind": "run",
        # One name, so that a file with the published nouns is sorted among them.
        "lexicon": published_models.LEXICON if comparable else run.lexicon,
        "date": run.date[:10],
        "comparable": comparable,
    }
    for metric in LEANS:
        if metric in run.metrics:
            row |= {metric: run.metrics[metric], f"{metric}_stderr": run.stderrs[metric]}
            row["pairs"] = run.documents
    row |= {metric: run.metrics[metric] for metric in RANKS if metric in run.metrics}
    if not comparable:
        row["notes"].append(f"lexicon {run.lexicon}: not on the scale of the reference rows")
    full = published_models.PAIRS if LEANS[0] in run.metrics else 2 * published_models.PAIRS
    if run.documents != full:
        row["notes"].append(f"{run.documents} of {full} documents ({run.task})")
    if run.forms not in ((), ("as_given",)):
        row["notes"].append(f"surface forms {', '.join(run.forms)}")
    if run.score_kind != "reward":
        row["notes"].append("log-probabilities, not rewards")


def _finish(row: Mapping[str, Any]) -> dict[str, Any]:
    notes = "; ".join(dict.fromkeys(row["notes"]))
    return {**{key: value for key, value in row.items() if key != "notes"}, "note": notes}


def render(table: pd.DataFrame, style: str) -> str:
    """Write the table out.

    Args:
        table: of ``leaderboard``.
        style: ``markdown`` or ``html`` (rounded, standard errors beside the values, reference
            rows marked with a dagger; names are escaped) or ``csv`` (all columns, all digits).

    Raises:
        DataError: if there is no such style.
    """
    if style == "csv":
        return csv_text(table)
    columns, rows = _cells(table)
    if style == "markdown":
        cells = ([markdown(cell) for cell in row] for row in rows)
        return f"{markdown_table(columns, cells)}\n\n{_CAPTION}\n"
    if style == "html":
        template = jinja2.Environment(autoescape=True).from_string(_HTML)
        marked = list(zip(table["kind"], rows, strict=True))
        return template.render(caption=_CAPTION, columns=columns, rows=marked) + "\n"
    raise DataError(f"the format {style!r} is none of {', '.join(FORMATS)}.")


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    # Columns of ranks that only reference rows fill would be noise beside the runs.
    ranks = [name for name in RANKS if table.loc[table["kind"] == "run", name].notna().any()]
    columns = ["model", "lexicon", *LEANS, *ranks, "pairs", "date", "note"]
    records: list[Any] = table.to_dict("records")
    return columns, [[_cell(row, name) for name in columns] for row in records]


def _cell(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) and (value is None or math.isnan(value)):
        return ""
    if name == "model":
        return f"{value} \N{DAGGER}" if row["kind"] == "reference" else value
    if name in LEANS:
        error = row[f"{name}_stderr"]
        return f"{value:.3f}" + ("" if math.isnan(error) else f" \N{PLUS-MINUS SIGN} {error:.3f}")
    if name in RANKS:
        return f"{value:.1f}"
    return f"{value:.0f}" if name == "pairs" else value
