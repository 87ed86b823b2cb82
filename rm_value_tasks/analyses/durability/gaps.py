"""The gap in lean between two bases, along training and over quantities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.analyses.durability.draws import Draws
from rm_value_tasks.stats.crossing import CrossedVariance, crossed_variance
from rm_value_tasks.stats.intervals import calibrated

__all__ = ["COLUMNS", "Gaps", "gaps_of"]

COLUMNS = ("pairs", "gap", "stderr", "low", "high", "seeds_first", "seeds_second")


@dataclass(frozen=True)
class Gaps:
    """The gap at each number of preference pairs.

    Attributes:
        first: the base whose lean is the minuend.
        second: the other base.
        table: columns ``COLUMNS``, sorted by ``pairs`` (preference pairs); ``gap`` is the mean
            lean of ``first``'s seeds minus that of ``second``'s, ``stderr`` its standard error
            and ``low`` to ``high`` its 95% interval.
        draws: shape (len(table), resamples), the gap under resampled words, prompts and seeds,
            calibrated: their quantiles are the interval's ends.
        over_seeds: whether both bases have several seeds, so that the interval holds the
            variation between training runs.
    """

    first: str
    second: str
    table: pd.DataFrame
    draws: NDArray[np.float64]
    over_seeds: bool


def gaps_of(
    rows: pd.DataFrame, draws: Draws, first: str, second: str, *, by: str = "pairs_seen"
) -> Gaps:
    """Compute the gap between two bases wherever both were probed.

    Estimand: the difference in lean between reward models trained from the two bases, averaged
    over seeds, at a number of preference pairs. Its interval is the percentile interval under
    resampled words and prompts (the draws, common to all checkpoints) and the seeds of a base
    that has several, calibrated as ``stats.intervals.paired_shift`` does it: by the standard
    error from mean squares over words and prompts plus each base's variance between seeds over
    their number, and Student's quantile at Satterthwaite's degrees of freedom, since seeds are
    few. A seed keeps its weight over all checkpoints, since a training run is one trajectory.
    Of 250 simulations without a gap (20 against 30 words, 6 prompts), 94%, 92% and 96% of the
    95% intervals held 0 with one, two and three seeds a base.

    Args:
        rows: checkpoints of one setting (``checkpoints.COLUMNS``).
        draws: of ``draws.checkpoint_draws``.
        first: a base.
        second: another base.
        by: ``pairs_seen`` along training, or ``quantity`` over finished runs.

    Returns:
        The gaps; an empty table where the bases share no ``by``.
    """
    generator = np.random.default_rng(1)
    sides = [rows[rows["base"] == name] for name in (first, second)]
    resamples = draws.leans.shape[1]
    weights = [_seed_weights(side, generator, resamples) for side in sides]
    common = sorted(set(sides[0][by]) & set(sides[1][by]))
    found, drawn = [], []
    for place in common:
        here = [side[side[by] == place] for side in sides]
        gap = float(here[0]["lean"].mean() - here[1]["lean"].mean())
        resampled = [
            _mean_over_seeds(side, draws.leans, weight)
            for side, weight in zip(here, weights, strict=True)
        ]
        known = _variance(here, draws)
        drawn.append(calibrated(resampled[0] - resampled[1], gap, known))
        low, high = np.quantile(drawn[-1], [0.025, 0.975])
        seeds = [side["seed"].nunique() for side in here]
        found.append((place, gap, np.sqrt(known.variance), low, high, *seeds))
    return Gaps(
        first=first,
        second=second,
        table=pd.DataFrame(found, columns=list(COLUMNS)),
        draws=np.array(drawn).reshape(len(found), resamples),
        over_seeds=all(len(weight.columns) > 1 for weight in weights),
    )


def _variance(here: list[pd.DataFrame], draws: Draws) -> CrossedVariance:
    """Of the gap at one place: words and prompts crossed, and each base's seeds."""
    wins = [np.mean([draws.wins[model] for model in side["model"]], axis=0) / 2 for side in here]
    known = crossed_variance(wins[0] - wins[1])
    parts = [(known.variance, known.df)]
    parts += [(side["lean"].var() / len(side), len(side) - 1) for side in here if len(side) > 1]
    variance = sum(part for part, _ in parts)
    unsure = sum(part**2 / df for part, df in parts)
    return CrossedVariance(variance, variance**2 / unsure if unsure > 0 else float("inf"))


def _seed_weights(
    side: pd.DataFrame, generator: np.random.Generator, resamples: int
) -> pd.DataFrame:
    """Shape (resamples, seeds): each seed's weight in the mean.

    Spread by sqrt(n / (n - 1)) around 1/n, so that words and seeds keep their proportion: the
    variance of a mean over n resampled seeds is too small by (n - 1)/n (Rao and Wu 1988, JASA
    83:231).
    """
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
