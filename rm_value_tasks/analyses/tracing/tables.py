"""Leans of all stages, inherited shares and rank correlations, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from rm_value_tasks.analyses.tracing.inheritance import Interval, inheritance, interval, reliability
from rm_value_tasks.analyses.tracing.stages import Design, Stage
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons.lean_groups import lean_groups
from rm_value_tasks.results.score_table import sides
from rm_value_tasks.stats.intervals import draw_weights
from rm_value_tasks.stats.ridits import mean_ridits, standard_ranks

__all__ = ["MEAN", "Trace", "leans_to_draw", "trace"]

MEAN = "(mean)"
"""Stands for the model in the row of a stage that has several."""

Floats = NDArray[np.float64]
_RESAMPLES = 1000


@dataclass(frozen=True)
class Trace:
    """What ``trace`` found.

    Attributes:
        design: the runs, their common words and prompts, and what was cut.
        leans: ``metric``, ``family``, ``stage``, ``model`` (``MEAN`` for a stage's mean of
            several), ``estimate``, ``low``, ``high``.
        shares: one row for each metric, two families and two stages of both: ``metric``,
            ``first``, ``second``, ``before``, ``after`` (stages), ``difference_before`` and
            ``difference_after`` (first family minus second), ``slope``, ``share``, ``ratio``,
            each with ``_low`` and ``_high``, ``reliability`` and ``reason``.
        correlations: one row for each kind (``contrast``, ``positive``, ``negative``) and two
            stages: ``kind``, ``family``, ``stage``, ``other_family``, ``other_stage``,
            ``rho``, ``low``, ``high``.
    """

    design: Design
    leans: pd.DataFrame
    shares: pd.DataFrame
    correlations: pd.DataFrame


def trace(design: Design, *, resamples: int = _RESAMPLES, seed: int = 0) -> Trace:
    """Trace the lean through the stages of one or more families.

    Intervals (95%) are percentiles of a bootstrap over twin prompts and words as crossed
    factors, each side's words by themselves (for correlations over more than the two sides of
    one lean: all words as one group), the same draws for every run, so that what runs share
    cancels in differences (see ``stats.intervals``). Models are fixed.

    Args:
        design: what ``stages.align`` gives.
        resamples: how many.
        seed: of the resampling; equal input gives equal output.

    Raises:
        DataError: if a side has fewer than two words, or a contrast is not a number.
    """
    leans: list[dict[str, object]] = []
    shares: list[dict[str, object]] = []
    correlations: list[dict[str, object]] = []
    arrays = [dict(sides(traced.scores, design.pairs)) for traced in design.runs]
    wanted = list(lean_groups(design.lexicon))
    with tqdm(total=3 * (len(wanted) + 1), desc="Resampling", disable=None, leave=False) as bar:
        for kind in ("contrast", "positive", "negative"):
            scores = [sides_of_run[kind] for sides_of_run in arrays]
            for stem, members, others in wanted:
                if min(members.sum(), others.sum()) < 2:
                    raise DataError(f"{design.task}: {stem} has fewer than two words to compare.")
                sample = _Sample(design, scores, members, others, resamples, seed)
                metric = {"metric": f"{stem}_{kind}"}
                leans += [{**metric, **row} for row in sample.leans()]
                shares += [{**metric, **row} for row in sample.shares()]
                bar.update()
            if not (members | others).all():
                everything = np.ones(len(design.lexicon.words), dtype=bool)
                sample = _Sample(design, scores, everything, ~everything, resamples, seed)
            correlations += [{"kind": kind, **row} for row in sample.correlations()]
            bar.update()
    return Trace(design, *map(pd.DataFrame, (leans, shares, correlations)))


def leans_to_draw(found: Trace) -> pd.DataFrame:
    """Choose the leans of the figure (``figures.stage_lines``).

    Contrast, positive and negative of two categories; of more, the contrasts only. ``mean``
    marks the row that stands for the stage: the mean of its models, or its only model.
    """
    leans = found.leans
    contrasts = leans["metric"].str.endswith("_contrast")
    if leans.loc[contrasts, "metric"].nunique() > 1:
        leans = leans[contrasts]
    size = leans.groupby(["metric", "family", "stage"])["model"].transform("size")
    return leans.assign(mean=(size == 1) | (leans["model"] == MEAN))


class _Sample:
    """One lean's words, every run's ridits of them, in the sample and its resamples."""

    def __init__(
        self,
        design: Design,
        scores: list[Floats],
        members: NDArray[np.bool_],
        others: NDArray[np.bool_],
        resamples: int,
        seed: int,
    ) -> None:
        kept = members | others
        self.design = design
        self.members = members[kept]
        self.scores = [run[:, kept] for run in scores]
        generator = np.random.default_rng(seed)
        prompts = _with_sample(draw_weights(generator, resamples, len(design.pairs)))
        self.words = np.zeros((resamples + 1, kept.sum()))
        for side in filter(np.any, (self.members, ~self.members)):
            drawn = _with_sample(draw_weights(generator, resamples, int(side.sum())))
            self.words[:, side] = drawn * side.mean()
        self.ridits = [mean_ridits(run, self.words, prompts) for run in self.scores]

    def _lean(self, ridits: Floats) -> Interval:
        difference = np.zeros(len(ridits))
        for side, sign in ((self.members, 1), (~self.members, -1)):
            difference += sign * (ridits * self.words)[:, side].sum(axis=1) / side.mean()
        return interval(0.5 + difference)

    def leans(self) -> Iterator[dict[str, object]]:
        for stage, indices in _by_stage(self.design).items():
            place = {"family": stage[0], "stage": stage[1]}
            for index in indices:
                name = self.design.runs[index].run.model
                yield {**place, "model": name, **self._lean(self.ridits[index])._asdict()}
            if len(indices) > 1:
                mean = _mean(self.ridits, indices)
                yield {**place, "model": MEAN, **self._lean(mean)._asdict()}

    def shares(self) -> Iterator[dict[str, object]]:
        cells = _by_stage(self.design)
        for first, second in combinations(self.design.families, 2):
            both = [
                name
                for name in self.design.stages
                if (first, name) in cells and (second, name) in cells
            ]
            differences = {
                name: _mean(self.ridits, cells[first, name])
                - _mean(self.ridits, cells[second, name])
                for name in both
            }
            for before, after in combinations(both, 2):
                found = inheritance(
                    differences[before], differences[after], self.words, self.members
                )
                yield {
                    **{"first": first, "second": second, "before": before, "after": after},
                    **_columns("difference_before", found.before),
                    **_columns("difference_after", found.after),
                    **_columns("slope", found.slope),
                    **_columns("share", found.share),
                    **_columns("ratio", found.ratio),
                    "reliability": self._reliability(cells[first, before], cells[second, before]),
                    "reason": found.reason,
                }

    def correlations(self) -> Iterator[dict[str, object]]:
        """Rank correlations over words of the stages' mean ridits."""
        ranked = {
            stage: standard_ranks(_mean(self.ridits, indices), self.words)
            for stage, indices in _by_stage(self.design).items()
        }
        for one, other in combinations(ranked, 2):
            rho = interval((self.words * ranked[one] * ranked[other]).sum(axis=1))
            yield {
                **{"family": one[0], "stage": one[1]},
                **{"other_family": other[0], "other_stage": other[1]},
                **{"rho": rho.estimate, "low": rho.low, "high": rho.high},
            }

    def _reliability(self, first: list[int], second: list[int]) -> float:
        equal = np.full((1, len(self.members)), 1 / len(self.members))
        each = [
            np.concatenate([mean_ridits(row[None], equal, np.ones((1, 1))) for row in run])
            if index in {*first, *second}
            else np.empty(0)
            for index, run in enumerate(self.scores)
        ]
        return reliability(_mean(each, first) - _mean(each, second), self.members)


def _columns(name: str, found: Interval) -> dict[str, float]:
    return {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}


def _with_sample(drawn: NDArray[np.float32]) -> Floats:
    """Put the sample itself, equally weighted, before its resamples."""
    size = drawn.shape[1]
    return np.concatenate([np.full((1, size), 1 / size), drawn.astype(float)])


def _by_stage(design: Design) -> dict[Stage, list[int]]:
    found: dict[Stage, list[int]] = {}
    for index, traced in enumerate(design.runs):
        found.setdefault(traced.stage, []).append(index)
    return found


def _mean(arrays: list[Floats], indices: list[int]) -> Floats:
    return sum((arrays[index] for index in indices), np.zeros(())) / len(indices)
