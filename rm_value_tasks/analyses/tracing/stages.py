"""Families and their stages: which runs they are, cut to the words and prompts of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.results import Results, Run
from rm_value_tasks.results.score_table import check_lexicons, twins_in, word_scores
from rm_value_tasks.results.settings import PROTOCOL, spread

__all__ = ["Design", "Stage", "Traced", "align", "read_stage"]

Stage = tuple[str, str]
"""A family's name and a stage's."""
_NAMED = 8
_USUAL_TASK = "value_bias_big2"


@dataclass(frozen=True)
class Traced:
    """One run at its place.

    Attributes:
        stage: family and stage.
        run: what lm-eval recorded.
        scores: indexed by the common words; one column a prompt of the common twins.
    """

    stage: Stage
    run: Run
    scores: pd.DataFrame


@dataclass(frozen=True)
class Design:
    """Runs of one task over the same words and prompts.

    Attributes:
        task: the task.
        lexicon: the common words with their categories.
        pairs: ids of the common twins, positive and negative.
        runs: in the order given.
        notes: what was cut or differs, a sentence each.
    """

    task: str
    lexicon: Lexicon
    pairs: tuple[tuple[str, str], ...]
    runs: tuple[Traced, ...]
    notes: tuple[str, ...]

    @property
    def families(self) -> list[str]:
        """Families in the order given."""
        return list(dict.fromkeys(traced.stage[0] for traced in self.runs))

    @property
    def stages(self) -> list[str]:
        """Names of stages, in the order given."""
        return list(dict.fromkeys(traced.stage[1] for traced in self.runs))


def read_stage(text: str) -> tuple[Stage, str]:
    """Read ``FAMILY:STAGE=RUN``, as in ``Llama:base=runs/llama-base``.

    Returns:
        Family and stage, and the folder.

    Raises:
        DataError: if it has another form.
    """
    place, _, path = text.partition("=")
    family, _, stage = (part.strip() for part in place.partition(":"))
    if not (family and stage and path.strip()):
        raise DataError(
            f"{text!r} is not FAMILY:STAGE=RUN; write for example Llama:base=runs/llama-base."
        )
    return (family, stage), path.strip()


def align(stages: Mapping[Stage, Results], task: str | None = None) -> Design:
    """Cut all stages' runs of one task to the words and twins that every one of them has.

    Args:
        stages: family and stage -> its runs; several models of a stage are averaged later.
        task: which task; by default ``value_bias_big2`` where all have it, else their only one.

    Raises:
        DataError: if no task is common, lexicons or categories differ, or no word or no pair
            of twins is common.
    """
    task = _task(stages, task)
    found = [
        (stage, run, word_scores(run))
        for stage, results in stages.items()
        for run in results.runs
        if run.task == task
    ]
    first = found[0][1]
    for _, run, _ in found:
        check_lexicons(first, run)
    frames = [frame for *_, frame in found]
    pairs = twins_in(*frames)
    if not pairs:
        raise DataError(f"the runs of {task} have no pair of twin prompts in common.")
    common = set.intersection(*(set(frame.index) for frame in frames))
    words = [word for word in frames[0].index if word in common]
    categories = frames[0]["category"].loc[words]
    if not words or any(list(frame["category"].loc[words]) != list(categories) for frame in frames):
        raise DataError(
            f"{task} was run with words of other categories in each run; run all with one lexicon."
        )
    prompts = [prompt for pair in pairs for prompt in pair]
    return Design(
        task=task,
        lexicon=Lexicon(name=task, words=tuple(words), categories=tuple(categories)),
        pairs=tuple(pairs),
        runs=tuple(Traced(stage, run, frame.loc[words, prompts]) for stage, run, frame in found),
        notes=(*_cuts(frames, words, pairs), *_incomplete(found), *_settings(found)),
    )


def _task(stages: Mapping[Stage, Results], asked: str | None) -> str:
    held = {stage: {run.task for run in results.runs} for stage, results in stages.items()}
    if asked:
        for (family, stage), tasks in held.items():
            if asked not in tasks:
                raise DataError(
                    f"{family}:{stage} has no run of {asked}; it has {', '.join(sorted(tasks))}."
                )
        return asked
    common = set.intersection(*held.values())
    if _USUAL_TASK in common:
        return _USUAL_TASK
    if len(common) != 1:
        has = ", ".join(sorted(common)) or "none"
        raise DataError(
            f"tasks that all stages have: {has}; "
            + ("choose one with --task." if common else "run one task on all models.")
        )
    return common.pop()


def _cuts(
    frames: Sequence[pd.DataFrame], words: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> list[str]:
    notes = []
    cut = dict.fromkeys(word for frame in frames for word in frame.index if word not in {*words})
    if cut:
        named = ", ".join(list(cut)[:_NAMED]) + (", ..." if len(cut) > _NAMED else "")
        notes.append(f"{len(cut)} words that some run lacks are left out: {named}")
    asked = dict.fromkeys(prompt for frame in frames for prompt in frame.columns[:-1])
    kept = {prompt for pair in pairs for prompt in pair}
    if lacking := [prompt for prompt in asked if prompt not in kept]:
        named = ", ".join(lacking[:_NAMED]) + (", ..." if len(lacking) > _NAMED else "")
        notes.append(f"{len(lacking)} prompts that some run lacks are left out: {named}")
    return notes


def _settings(found: Sequence[tuple[Stage, Run, pd.DataFrame]]) -> list[str]:
    """Say in which settings the runs differ; that models differ is what is traced."""
    names = [name for name in PROTOCOL if name != "prompts"]  # of those _cuts tells
    traits = spread([run for _, run, _ in found], [*names, "chat template", "readout"])
    notes = []
    for name in traits[0]:
        where: dict[str, list[str]] = {}
        for ((family, stage), *_), told in zip(found, traits, strict=True):
            where.setdefault(told[name], []).append(f"{family}:{stage}")
        parts = [f"{value} ({', '.join(dict.fromkeys(at))})" for value, at in where.items()]
        notes.append(f"runs differ in {name}: {'; '.join(parts)}")
    return notes


def _incomplete(found: Sequence[tuple[Stage, Run, pd.DataFrame]]) -> list[str]:
    """Say which stages a family lacks, and where models are averaged."""
    counts: dict[Stage, int] = {}
    for stage, *_ in found:
        counts[stage] = counts.get(stage, 0) + 1
    families = dict.fromkeys(family for family, _ in counts)
    names = dict.fromkeys(name for _, name in counts)
    notes = [
        f"{family} has no stage {name}, which is left out of its comparisons"
        for family in families
        for name in names
        if (family, name) not in counts
    ]
    for (family, name), count in counts.items():
        if count > 1:
            notes.append(
                f"{family}:{name} is the mean of {count} models, which are taken as fixed: its "
                "interval does not say how other models of the family would differ"
            )
    return notes
