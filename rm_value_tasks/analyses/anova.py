"""Two models' median ranks in a three-way analysis of variance, as in the paper's Figure 2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.results import Results
from rm_value_tasks.stats.anova import post_hocs, three_way
from rm_value_tasks.stats.ranks import median_ranks
from rm_value_tasks.text.markup import markdown, markdown_table

__all__ = ["ModelAnova", "model_anova", "render"]

_FACTORS = ("model", "category", "valence")


@dataclass(frozen=True)
class ModelAnova:
    """One task's analysis of two models.

    Attributes:
        task: the task.
        words: how many words both runs have.
        prompts: how many prompts both runs have.
        terms: of ``stats.anova.three_way``.
        post_hocs: of ``stats.anova.post_hocs``, the two models in each cell.
    """

    task: str
    words: int
    prompts: int
    terms: pd.DataFrame
    post_hocs: pd.DataFrame


def model_anova(first: Results, second: Results) -> list[ModelAnova]:
    """Analyse median ranks by model, category and valence, for each task of both runs.

    Estimand: whether the ranks of the categories' words depend on the model, the category, the
    prompt's valence and their combinations. Response: the median rank of a category's words
    (1 = highest score, ties averaged) among the words that both runs have. Unit of analysis:
    one model on one prompt and category; so many prompts, not so many models, are behind the
    p values. Type II, then Welch's tests of the two models in each cell, p adjusted by the
    false discovery rate. Too little data gives NaN.

    Source: Christian et al., arXiv 2601.20838, Figure 2 and its script.

    Args:
        first: one model's results.
        second: the other's.

    Raises:
        DataError: if either holds several models, no task is common, or a task's words,
            prompts or categories leave a cell empty.
    """
    names = [
        _only_model(results, which) for results, which in ((first, "first"), (second, "second"))
    ]
    if names[0] == names[1]:
        names = [f"{names[0]} (first)", f"{names[1]} (second)"]
    tables = [
        results.table.assign(model=name)
        for results, name in zip((first, second), names, strict=True)
    ]
    tasks = [run.task for run in first.runs if run.task in {run.task for run in second.runs}]
    if not tasks:
        raise DataError("the runs have no task in common; run both models on one task.")
    return [_of_task(task, *(table[table["task"] == task] for table in tables)) for task in tasks]


def _only_model(results: Results, which: str) -> str:
    names = list(dict.fromkeys(run.model for run in results.runs))
    if len(names) > 1:
        raise DataError(
            f"the {which} argument holds {len(names)} models or setups ({', '.join(names)}); give "
            "the folder of one."
        )
    return names[0]


def _of_task(task: str, first: pd.DataFrame, second: pd.DataFrame) -> ModelAnova:
    words = {*first["word"]} & {*second["word"]}
    prompts = {*first["prompt"]} & {*second["prompt"]}
    both = pd.concat([first, second], ignore_index=True)
    both = both[both["word"].isin(words) & both["prompt"].isin(prompts)]
    medians = median_ranks(both)
    return ModelAnova(
        task,
        len(words),
        len(prompts),
        three_way(medians, "rank", _FACTORS),
        post_hocs(medians, "rank", _FACTORS),
    )


_TERMS = ("term", "sum of squares", "df", "F", "p", "partial eta squared")
_TESTS = ("category", "valence", "first", "second", "difference", "95% interval", "p", "p (FDR)")


def _term(row: Any) -> list[str]:
    cells = [str(row.Index), f"{row.sum_sq:.1f}", f"{row.df:.0f}", _number(row.f, ".2f")]
    return [*cells, _number(row.p, ".2g"), _number(row.partial_eta_squared, ".3f")]


def _test(row: Any) -> list[str]:
    means = [f"{row.mean_first:.1f}", f"{row.mean_second:.1f}", f"{row.difference:+.1f}"]
    interval = f"{_number(row.low, '+.1f')} to {_number(row.high, '+.1f')}"
    tests = [_number(row.p, ".2g"), _number(row.p_fdr, ".2g")]
    return [markdown(row.category), str(row.valence), *means, interval, *tests]


def render(analyses: list[ModelAnova]) -> str:
    """Write analyses as Markdown tables."""
    lines: list[str] = []
    for found in analyses:
        lines += [
            "",
            f"Median ranks of {found.task} by model, category and valence: type II analysis of "
            f"variance, {found.words} words, {found.prompts} prompts. A unit is one model on one "
            "prompt and category.",
            "",
            markdown_table(_TERMS, map(_term, found.terms.itertuples()), "lrrrrr"),
            "",
            markdown_table(_TESTS, map(_test, found.post_hocs.itertuples()), "llrrrrrr"),
        ]
        lines += ["", "Ranks: 1 = highest score. Tests within cells: Welch, first minus second."]
    return "\n".join(lines) + "\n"


def _number(value: Any, form: str) -> str:
    return "–" if pd.isna(value) else format(float(value), form)
