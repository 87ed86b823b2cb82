"""Every checkpoint's lean under the same resampled words and prompts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.lexicons.lean_groups import lean_groups
from rm_value_tasks.results import Results
from rm_value_tasks.results.score_table import sides, twins_in, word_scores
from rm_value_tasks.stats.intervals import draw_weights

__all__ = ["RESAMPLES", "Draws", "checkpoint_draws"]

RESAMPLES = 1000


@dataclass(frozen=True)
class Draws:
    """What words and prompts leave uncertain about several runs.

    Attributes:
        leans: index model, one column a resample, the same resamples for all.
        wins: model -> shape (prompts, members, others): 2 where a member outscores another,
            1 for ties, else 0 (whole numbers take an eighth of the memory).
    """

    leans: pd.DataFrame
    wins: dict[str, NDArray[np.int8]]


def checkpoint_draws(
    results: Results, task: str, metric: str, models: Iterable[str], *, seed: int = 0
) -> Draws:
    """Resample the lean of several runs over words and prompts, all with the same draws.

    Prompts, members and others are crossed factors (``stats.intervals``). What runs share
    cancels in differences between their draws.

    Args:
        results: holds the runs, samples included.
        task: the value task.
        metric: ``STEM_contrast``, ``STEM_positive`` or ``STEM_negative``.
        models: names of the runs.
        seed: of the draws; equal input gives equal output.

    Raises:
        DataError: if words or prompts differ between runs, or the metric is not a lean.
    """
    runs = {run.model: run for run in results.runs if run.task == task}
    stem, _, kind = metric.rpartition("_")
    drawn: dict[str, NDArray[np.float64]] = {}
    wins: dict[str, NDArray[np.int8]] = {}
    weights: tuple[NDArray[np.float32], ...] = ()
    first: tuple[object, ...] | None = None
    for model in tqdm(list(models), desc="Resampling leans", unit="checkpoint"):
        wide = word_scores(runs[model])
        pairs = twins_in(wide)
        design = (tuple(pairs), tuple(wide.index), tuple(wide["category"]))
        first = first or design
        if design != first:
            raise DataError(
                f"{model} was probed with other words or prompts than the other checkpoints; give "
                "checkpoints of one probe."
            )
        lexicon = Lexicon(name=task, words=tuple(wide.index), categories=tuple(wide["category"]))
        masks = {name: (members, others) for name, members, others in lean_groups(lexicon)}
        scores = dict(sides(wide, pairs))
        if stem not in masks or kind not in scores:
            raise DataError(f"{metric!r} is not a lean of {task}.")
        members, others = masks[stem]
        if not weights:
            generator = np.random.default_rng(seed)
            sizes = (len(pairs), int(members.sum()), int(others.sum()))
            weights = tuple(draw_weights(generator, RESAMPLES, size) for size in sizes)
        ours, theirs = scores[kind][:, members, None], scores[kind][:, None, others]
        wins[model] = (ours > theirs).astype(np.int8) + (ours >= theirs)
        drawn[model] = _draws(wins[model], *weights)
    return Draws(pd.DataFrame.from_dict(drawn, orient="index"), wins)


def _draws(
    wins: NDArray[np.int8],
    prompt_weights: NDArray[np.float32],
    member_weights: NDArray[np.float32],
    other_weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    drawn = np.zeros(RESAMPLES)
    for prompt, won in enumerate(wins / 2):
        drawn += prompt_weights[:, prompt] * ((member_weights @ won) * other_weights).sum(axis=1)
    return drawn
