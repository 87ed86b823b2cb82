"""The gap in lean between two bases, along training and over quantities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["COLUMNS", "Gaps", "gaps_of"]

COLUMNS = ("pairs", "gap", "low", "high", "seeds_first", "seeds_second")


@dataclass(frozen=True)
class Gaps:
    """The gap at each number of preference pairs.

    Attributes:
        first: the base whose lean is the minuend.
        second: the other base.
        table: columns ``COLUMNS``, sorted by ``pairs`` (preference pairs); ``gap`` is the mean
            lean of ``first``'s seeds minus that of ``second``'s, ``low`` to ``high`` its 95%
            interval.
        draws: shape (len(table), resamples), the gap under resampled words, prompts and seeds.
        over_seeds: whether both bases have several seeds, so that the interval holds the
            variation between training runs.
    """

    first: str
    second: str
    table: pd.DataFrame
    draws: NDArray[np.float64]
    over_seeds: bool


def gaps_of(
    rows: pd.DataFrame, draws: pd.DataFrame, first: str, second: str, *, by: str = "pairs_seen"
) -> Gaps:
    """Compute the gap between two bases wherever both were probed.

    Estimand: the difference in lean between reward models trained from the two bases, averaged
    over seeds, at a number of preference pairs. Its interval is the percentile interval under
    resampled words and prompts (the draws, common to all checkpoints; a crossed bootstrap, which
    errs towards wide intervals, see ``stats.intervals``) and, where both bases have several
    seeds, resampled seeds. Seeds are few, so their resampled weights are spread by
    sqrt(n / (n - 1)) around 1/n (Rao and Wu 1988, JASA 83:231), without which the variance of
    a mean over n seeds would come out too small by (n - 1)/n. A seed keeps its weight over all
    checkpoints, since a training run is one trajectory.

    Args:
        rows: checkpoints of one setting (``checkpoints.COLUMNS``).
        draws: of ``draws.checkpoint_draws``, index model.
        first: a base.
        second: another base.
        by: ``pairs_seen`` along training, or ``quantity`` over finished runs.

    Returns:
        The gaps; an empty table where the bases share no ``by``.
    """
    generator = np.random.default_rng(1)
    sides = [rows[rows["base"] == name] for name in (first, second)]
    resamples = draws.shape[1]
    weights = [_seed_weights(side, generator, resamples) for side in sides]
    common = sorted(set(sides[0][by]) & set(sides[1][by]))
    found, drawn = [], []
    for place in common:
        here = [side[side[by] == place] for side in sides]
        leans = [side["lean"].mean() for side in here]
        resampled = [
            _mean_over_seeds(side, draws, weight)
            for side, weight in zip(here, weights, strict=True)
        ]
        gap = resampled[0] - resampled[1]
        low, high = np.quantile(gap, [0.025, 0.975])
        seeds = [side["seed"].nunique() for side in here]
        found.append((place, leans[0] - leans[1], low, high, *seeds))
        drawn.append(gap)
    return Gaps(
        first=first,
        second=second,
        table=pd.DataFrame(found, columns=list(COLUMNS)),
        draws=np.array(drawn).reshape(len(found), resamples),
        over_seeds=all(len(weight.columns) > 1 for weight in weights),
    )


def _seed_weights(
    side: pd.DataFrame, generator: np.random.Generator, resamples: int
) -> pd.DataFrame:
    """Shape (resamples, seeds): each seed's weight in the mean."""
    seeds = sorted(side["seed"].unique())
    n = len(seeds)
    drawn = generator.multinomial(n, np.full(n, 1 / n), size=resamples) / n if n else np.empty(0)
    if n > 1:
        drawn = 1 / n + (drawn - 1 / n) * np.sqrt(n / (n - 1))
    return pd.DataFrame(drawn, columns=seeds)


def _mean_over_seeds(
    side: pd.DataFrame, draws: pd.DataFrame, weights: pd.DataFrame
) -> NDArray[np.float64]:
    own = weights[list(side["seed"])].to_numpy()
    # A seed that lacks this checkpoint leaves its weight to the others.
    own = own + (1 - own.sum(axis=1, keepdims=True)) / own.shape[1]
    return (own * draws.loc[list(side["model"])].to_numpy().T).sum(axis=1)
