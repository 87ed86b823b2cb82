"""One self-contained page (or its Markdown twin) about any number of runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rm_value_tasks.errors import DataError
from rm_value_tasks.report.content import Section
from rm_value_tasks.report.foundations import foundation_section
from rm_value_tasks.report.leans import lean_section
from rm_value_tasks.report.models import mixed_section
from rm_value_tasks.report.opening import opening_section
from rm_value_tasks.report.pages import html_page, markdown_text
from rm_value_tasks.report.probes import Probe, families_of, probes_of
from rm_value_tasks.report.provenance import method_section, runs_section, skipped_section
from rm_value_tasks.report.ranks import rank_section
from rm_value_tasks.report.whole_answers import answer_sections
from rm_value_tasks.report.words import word_section
from rm_value_tasks.results import Results
from rm_value_tasks.whole_files import write_whole

__all__ = ["FORMATS", "Covariates", "render", "sections_of", "write"]

FORMATS = ("html", "md")
Covariates = tuple[Sequence[str], str]
"""Names of ``stats.covariates.NAMES``, and the tokenizer that counts tokens."""
_NONE: Covariates = ((), "")


def sections_of(
    results: Results, families: Mapping[str, str] | None = None, covariates: Covariates = _NONE
) -> list[Section]:
    """Make the report's content: findings first, then the evidence, method and models last.

    Args:
        results: of ``results.load``, samples included.
        families: pattern for model names (``*llama*``) -> base model family; published
            models' families are known.
        covariates: of words, for the crossed model.

    Raises:
        DataError: if the results hold no samples, or a covariate cannot be measured.
    """
    probes = probes_of(results)
    if not probes or results.table.empty:
        raise DataError("the runs hold no samples; run lm_eval again with --log_samples.")
    known = families_of([run.model for run in results.runs], families or {})
    sections: list[Section] = []
    mixed: list[Section | None] = []
    for probe in _fresh(probes):
        if len(probe.categories) == 2:
            sections.append(lean_section(probe, known))
        elif probe.twins:
            sections.append(foundation_section(probe))
        sections += [word_section(probe), rank_section(probe, known)]
        mixed.append(mixed_section(probe, known, covariates))
    sections += answer_sections(results)
    sections = [opening_section(sections), *sections, method_section(probes)]
    sections += [section for section in mixed if section]
    sections += [runs_section(results), skipped_section(results)]
    return [
        replace(section, tables=[table.without_empty_columns() for table in section.tables])
        for section in sections
    ]


def _fresh(probes: Iterable[Probe]) -> list[Probe]:
    """Leave out probes whose models and words an earlier one has: the same scores again."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for probe in probes:
        pairs = {(model, probe.digest) for model in probe.models}
        if not pairs <= seen:
            kept.append(probe)
        seen |= pairs
    return kept


def render(
    results: Results,
    format: str = "html",
    families: Mapping[str, str] | None = None,
    covariates: Covariates = _NONE,
) -> str:
    """Render the report.

    Args:
        results: of ``results.load``.
        format: ``html`` (one page, figures in it) or ``md`` (for a model card, no figures).
        families: see ``sections_of``.
        covariates: see ``sections_of``.

    Raises:
        DataError: if the results hold no samples, or there is no such format.
    """
    if format not in FORMATS:
        raise DataError(f"the format {format!r} is none of {', '.join(FORMATS)}.")
    models = list(dict.fromkeys(run.model for run in results.runs))
    title = f"Value lean of {models[0] if len(models) == 1 else f'{len(models)} models'}"
    page = html_page if format == "html" else markdown_text
    return page(title, sections_of(results, families, covariates))


def write(
    results: Results,
    output: str | Path,
    format: str = "html",
    families: Mapping[str, str] | None = None,
    covariates: Covariates = _NONE,
) -> None:
    """Write the report of ``render`` to a file, whole or not at all.

    Raises:
        DataError: as ``render``, or if the file cannot be written.
    """
    content = render(results, format, families, covariates)
    write_whole(Path(output), content.encode())
