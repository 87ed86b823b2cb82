"""How far a lean moved between two runs over the same words and prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DETECTABLE", "PairedShift", "draw_weights", "paired_shift"]

DETECTABLE = 2.8016
"""Standard errors that a shift must have to be found with 80% power at the two-sided 5% level:
z(0.975) + z(0.80)."""


@dataclass(frozen=True)
class PairedShift:
    """Two leans, their difference and how well it is known.

    Attributes:
        first: the first run's lean, in [0, 1].
        second: the second run's.
        shift: second minus first.
        low: lower end of the interval of the shift.
        high: upper end.
        stderr: standard deviation of the resampled shifts.
        smallest_detectable: the smallest shift that this design would find with 80% power at
            the 5% level, ``DETECTABLE`` standard errors.
    """

    first: float
    second: float
    shift: float
    low: float
    high: float
    stderr: float
    smallest_detectable: float


def paired_shift(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    members: NDArray[np.bool_],
    others: NDArray[np.bool_],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> PairedShift:
    """Difference of two runs' leans, by a paired bootstrap over prompts and words.

    Estimand: the difference between the runs in P(a member outscores another), ties half,
    averaged over prompts (pairs of twins), for prompts and words like these. Both runs keep
    the same resampled prompts and words, so what they share cancels. Prompts, members and
    others are resampled each by themselves, as crossed factors (McCullagh 2000, Bernoulli
    6:285; Owen and Eckles 2012, Ann. Appl. Stat. 6:895), which errs towards wide intervals.
    With one prompt the prompt is taken as fixed.

    Args:
        first: shape (p, w), the first run's scores, or differences between twins.
        second: shape (p, w), the second run's, same prompts and words in the same order.
        members: shape (w,), the category's words, at least two.
        others: shape (w,), the words to compare with, at least two.
        resamples: how many.
        level: of the percentile interval.
        seed: of the resampling; equal input gives equal output.

    Returns:
        Leans, shift and interval.

    Raises:
        ValueError: if shapes differ, a number is NaN or a side has fewer than two words.
    """
    if first.shape != second.shape or first.ndim != 2 or len(first) == 0:
        raise ValueError(f"paired_shift() got scores of shapes {first.shape} and {second.shape}")
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("paired_shift() got a NaN")
    if members.sum() < 2 or others.sum() < 2:
        raise ValueError("paired_shift() needs two words on either side")
    generator = np.random.default_rng(seed)
    prompt_weights = draw_weights(generator, resamples, len(first))
    member_weights = draw_weights(generator, resamples, int(members.sum()))
    other_weights = draw_weights(generator, resamples, int(others.sum()))
    leans = np.zeros(2)
    drawn = np.zeros(resamples)
    for prompt in range(len(first)):
        wins = [_wins(run[prompt][members], run[prompt][others]) for run in (first, second)]
        leans += [won.mean(dtype=np.float64) / len(first) for won in wins]
        # The lean is linear in each factor's weights, so the shift is too.
        moved = ((member_weights @ (wins[1] - wins[0])) * other_weights).sum(axis=1)
        drawn += prompt_weights[:, prompt] * moved
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    stderr = float(drawn.std(ddof=1))
    return PairedShift(
        first=float(leans[0]),
        second=float(leans[1]),
        shift=float(leans[1] - leans[0]),
        low=float(low),
        high=float(high),
        stderr=stderr,
        smallest_detectable=DETECTABLE * stderr,
    )


def draw_weights(generator: np.random.Generator, resamples: int, size: int) -> NDArray[np.float32]:
    """Shape (resamples, size): how often each unit is drawn, over the number of draws."""
    drawn = generator.multinomial(size, np.full(size, 1 / size), size=resamples)
    return (drawn / size).astype(np.float32)


def _wins(members: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float32]:
    """Shape (members, others): 1 where the member scores higher, a half for ties."""
    higher = (members[:, None] > others[None, :]).astype(np.float32)
    return higher + np.float32(0.5) * (members[:, None] == others[None, :])
