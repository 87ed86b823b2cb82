"""Gaps between bases and their decay, for each setting of an ablation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from rm_value_tasks.analyses.durability.checkpoints import SETTING, checkpoints, finals, settings
from rm_value_tasks.analyses.durability.decay import Decay, fit_decay
from rm_value_tasks.analyses.durability.draws import Draws, checkpoint_draws
from rm_value_tasks.analyses.durability.gaps import Gaps, gaps_of
from rm_value_tasks.analyses.durability.movers import word_moves
from rm_value_tasks.results import Results

__all__ = ["Curve", "Durability", "durability"]


@dataclass(frozen=True)
class Curve:
    """Two bases in one setting, along training or over quantities.

    Attributes:
        setting: what tells it from the others.
        axis: ``preference pairs seen`` (along training) or ``preference pairs trained on``
            (finished runs of growing quantity).
        gaps: the gap at each of them.
        decay: what became of it.
    """

    setting: str
    axis: str
    gaps: Gaps
    decay: Decay


@dataclass(frozen=True)
class Durability:
    """What ``durability`` found.

    Attributes:
        metric: the lean.
        checkpoints: columns of ``checkpoints.COLUMNS`` and ``setting``.
        finals: the last checkpoint of each cell; ``setting`` leaves the quantity out.
        curves: one for each setting and pair of bases.
        moves: each word's move for each base and setting.
    """

    metric: str
    checkpoints: pd.DataFrame
    finals: pd.DataFrame
    curves: tuple[Curve, ...]
    moves: pd.DataFrame


def durability(
    results: Results,
    task: str = "value_bias_big2",
    metric: str = "agency_contrast",
    *,
    after: float = 0,
) -> Durability:
    """Follow the lean of reward models along their training and over quantities of data.

    Args:
        results: of ``results.load`` on the output of ``rm-value-tasks train``.
        task: the value task, one with leans.
        metric: a lean of it.
        after: checkpoints with at most so many pairs are left out of fits.

    Raises:
        DataError: if there is no checkpoint, or they were probed with different words.
    """
    table = checkpoints(results, task, metric)
    draws = checkpoint_draws(results, task, metric, table["model"])
    across = tuple(key for key in SETTING if key != "quantity")
    along = settings(table)
    over = settings(finals(table), across)
    training = list(_curves(along, draws, "pairs_seen", "preference pairs seen", after))
    finished = _curves(over, draws, "quantity", "preference pairs trained on", after)
    by = metric.rpartition("_")[2]
    moves = [
        word_moves(results, task, own, by, since=_arisen(training, name))
        .rename_axis("word").reset_index()
        .assign(setting=name, base=base)
        for name, rows in along
        for base, own in rows.groupby("base", sort=True)
    ]  # fmt: skip
    return Durability(
        metric=metric,
        checkpoints=_named(along),
        finals=_named(over),
        curves=(*training, *finished),
        moves=pd.concat(moves, ignore_index=True),
    )


def _curves(
    parts: list[tuple[str, pd.DataFrame]], draws: Draws, by: str, axis: str, after: float
) -> Iterator[Curve]:
    for setting, rows in parts:
        for first, second in combinations(sorted(rows["base"].unique()), 2):
            gaps = gaps_of(rows, draws, first, second, by=by)
            # One finished quantity is the last point of its own training curve again.
            if len(gaps.table) > (1 if by == "quantity" else 0):
                yield Curve(setting, axis, gaps, fit_decay(gaps, after))


def _arisen(curves: list[Curve], setting: str) -> float:
    """When the setting's gaps had arisen: the last start of its curves; 0 if none did."""
    starts = [curve.decay.start for curve in curves if curve.setting == setting]
    return max((start for start in starts if start > 0), default=0.0)


def _named(parts: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    return pd.concat([rows.assign(setting=name) for name, rows in parts], ignore_index=True)
