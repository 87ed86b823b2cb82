"""How uncertain a mean over crossed factors is: words of either side, and prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CrossedVariance", "crossed_variance"]


@dataclass(frozen=True)
class CrossedVariance:
    """A sampling variance and how well it is itself known.

    Attributes:
        variance: of the mean.
        df: Satterthwaite's degrees of freedom; infinite where the variance is 0.
    """

    variance: float
    df: float


def crossed_variance(wins: NDArray[np.float64]) -> CrossedVariance:
    """Estimate the sampling variance of a mean over prompts, members and others.

    Estimand: the variance of ``wins.mean()`` over samples of prompts, members and others that
    are drawn each by themselves (three crossed random factors). The estimate adds what the
    means of each factor's levels vary, and takes off the interactions that are then counted
    twice, by their mean squares; each factor's own part is held at zero from below. With one
    prompt the prompt is taken as fixed.

    Unit of analysis: one word on one prompt against another word. Ties: whatever ``wins``
    holds for them. A constant table gives 0.

    Source: Cornfield and Tukey 1956, Ann. Math. Stat. 27:907 (mean squares of crossed random
    factors); Satterthwaite 1946, Biometrics Bull. 2:110 (degrees of freedom). For one prompt
    it is the unbiased variance of a two-sample U statistic, near DeLong et al. 1988,
    Biometrics 44:837.

    Args:
        wins: shape (p, m, o): how far a member outscores another on a prompt (1, a half or 0,
            or the difference of two runs in that); m and o at least 2.

    Raises:
        ValueError: if a side has fewer than two words.
    """
    prompts, members, others = wins.shape
    if min(members, others) < 2:
        raise ValueError("crossed_variance() needs two words on either side")
    centred = wins - wins.mean()
    over_prompts = centred.mean(axis=0)
    shared = _interaction(over_prompts)
    sides = [_spread(over_prompts.mean(axis=axis)) for axis in (1, 0)]
    # Each side's own part is held at zero from below, so what both share is never lost.
    variance = sum(max(side, shared) for side in sides) - shared
    parts = [(sides[0], members - 1), (sides[1], others - 1)]
    if prompts > 1:
        by_member, by_other = centred.mean(axis=2), centred.mean(axis=1)
        asked = _spread(centred.mean(axis=(1, 2)))
        parts.append((asked, prompts - 1))
        asked -= _interaction(by_member) + _interaction(by_other)
        asked += _third_order(centred, by_member, by_other, over_prompts)
        variance += max(asked, 0.0)
        parts = parts if asked > 0 else parts[:2]
    unsure = sum(part**2 / df for part, df in parts)
    return CrossedVariance(variance, variance**2 / unsure if unsure > 0 else float("inf"))


def _spread(means: NDArray[np.float64]) -> float:
    return float(means.var(ddof=1) / len(means))


def _interaction(means: NDArray[np.float64]) -> float:
    rest = means - means.mean(axis=0) - means.mean(axis=1, keepdims=True) + means.mean()
    degrees = (means.shape[0] - 1) * (means.shape[1] - 1)
    return float((rest**2).sum() / degrees / means.size)


def _third_order(
    centred: NDArray[np.float64],
    by_member: NDArray[np.float64],
    by_other: NDArray[np.float64],
    over_prompts: NDArray[np.float64],
) -> float:
    rest = centred - by_member[:, :, None] - by_other[:, None, :] - over_prompts
    rest += by_member.mean(axis=1)[:, None, None]
    rest += over_prompts.mean(axis=1)[:, None] + over_prompts.mean(axis=0)
    degrees = np.prod([size - 1 for size in centred.shape])
    return float((rest**2).sum() / degrees / centred.size)
