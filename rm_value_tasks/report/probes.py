"""Runs sorted by what they measured: one entry for each task and word list."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rm_value_tasks.publish import published_models
from rm_value_tasks.results import Results, Run

__all__ = ["Probe", "families_of", "probes_of", "published_name", "stage_order"]

_STAGES = {"base": 0, "pretrained": 0, "pt": 0, "instruct": 2, "it": 2, "sft": 2, "chat": 2,
           "dpo": 3, "reward": 4, "rm": 4}  # fmt: skip

_UNMATCHED = (
    "The two sides of this word list were not matched in length, frequency and valence, so the "
    "level says nothing about a model by itself; only differences between models on the same "
    "list do."
)


@dataclass(frozen=True)
class Probe:
    """All runs of one task with one word list.

    Attributes:
        task: the task's name.
        lexicon: the word list's name or file.
        digest: of its words and categories.
        runs: one for each model.
        table: their tidy rows.
    """

    task: str
    lexicon: str
    digest: str
    runs: tuple[Run, ...]
    table: pd.DataFrame

    @property
    def title(self) -> str:
        """Word list and task, for people."""
        return f"{self.words}, {self.runs[0].words} words ({self.task})"

    @property
    def words(self) -> str:
        """The word list's name, for people."""
        return "published nouns" if self.published else self.lexicon

    @property
    def categories(self) -> list[str]:
        """Category names, in the word list's order."""
        return list(dict.fromkeys(self.table["category"]))

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return [run.model for run in self.runs]

    @property
    def twins(self) -> bool:
        """Whether the task asks for pairs of valence twins and reports contrasts."""
        return any(metric.endswith("_contrast") for metric in self.runs[0].metrics)

    @property
    def published(self) -> bool:
        """Whether the words are those of the published reference models."""
        return published_models.same_lexicon(self.lexicon, self.digest)

    @property
    def caution(self) -> str:
        """What keeps levels on this word list from being a verdict; empty if nothing does."""
        return "" if self.lexicon == "big2" else _UNMATCHED


def probes_of(results: Results) -> list[Probe]:
    """Sort runs into probes, those with contrasts first, the runs of each by stage."""
    groups: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in results.runs:
        groups[run.task, run.lexicon_digest].append(run)
    found = []
    for (task, digest), runs in groups.items():
        runs.sort(key=stage_order)
        place = {run.model: index for index, run in enumerate(runs)}
        table = results.table
        rows = table[(table["task"] == task) & table["model"].isin(place)]
        rows = rows.sort_values("model", key=lambda models: models.map(place), kind="stable")
        found.append(Probe(task, runs[0].lexicon, digest, tuple(runs), rows))
    return sorted(found, key=lambda probe: (not probe.twins, len(probe.categories), probe.task))


def stage_order(run: Run) -> tuple[list[str], int, list[tuple[int, str]]]:
    """Return a key that sorts runs by model, a model's stages as they were trained.

    The stage is read from the name (base, instruct, reward and the like); numbers in names,
    such as training steps, sort as numbers.
    """
    parts = re.findall(r"\d+|[^\W\d_]+", run.model.lower())
    stages = [_STAGES[part] for part in parts if part in _STAGES]
    stem = [part for part in parts if part not in _STAGES and not part.isdecimal()]
    # An unmarked name beside -it and -reward is a base; an unmarked reward model comes last.
    stage = max(stages, default=4 if run.score_kind == "reward" else 1)
    return stem, stage, [(int(part) if part.isdecimal() else -1, part) for part in parts]


def published_name(model: str) -> str:
    """Return the published model's name that ``model`` is (Author/Name or Author_Name), or ''."""
    names = {name: name for name in published_models.load()["model"]}
    names |= {name.replace("/", "_", 1): name for name in names}
    return names.get(model, "")


def families_of(models: Sequence[str], patterns: Mapping[str, str]) -> dict[str, str]:
    """Find models' families: by the user's patterns, else among the published models.

    Args:
        models: model names.
        patterns: pattern for model names (``*llama*``, case ignored) -> family; the first
            that fits counts.

    Returns:
        Family by model, only where known.
    """
    known = published_models.load().set_index("model")["base"].to_dict()
    found: dict[str, str] = {}
    for model in models:
        fitting = [
            family
            for pattern, family in patterns.items()
            if fnmatch.fnmatch(model.lower(), pattern.lower())
        ]
        family = fitting[0] if fitting else known.get(published_name(model), "")
        if family:
            found[model] = family
    return found
