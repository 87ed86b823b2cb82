"""The inherited share: how much of a later difference between families goes with an earlier one.

Of one word, the family whose base likes it more may have a reward model that likes it more.
That relation, word by word, times the bases' difference in the lean is what the reward
models' difference owes to the bases; the rest came later, or came in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Inheritance", "Interval", "inheritance", "interval", "ratio_interval", "reliability"]

Floats = NDArray[np.float64]
_TINY = 1e-12


class Interval(NamedTuple):
    """An estimate with the ends of its interval; NaN where there is none."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Inheritance:
    """From an earlier stage's difference between two families to a later stage's.

    Attributes:
        before: the families' difference in the lean at the earlier stage.
        after: at the later stage.
        slope: of the words' later difference on their earlier one, within categories.
        share: the inherited share, ``slope * before / after``.
        ratio: ``before / after``.
        reason: why share or ratio is undefined; empty if neither is.
    """

    before: Interval
    after: Interval
    slope: Interval
    share: Interval
    ratio: Interval
    reason: str


def inheritance(
    before: Floats, after: Floats, words: Floats, members: NDArray[np.bool_], level: float = 0.95
) -> Inheritance:
    """Split a later difference between two families by what the words' earlier one explains.

    Unit of analysis: the word. Let b(w) and a(w) be a word's ridit in the first family minus
    its ridit in the second (``ridits.mean_ridits``), before and after; B and A the means of
    b and a over members minus their means over the others, which are the families'
    differences in the lean. By least squares over words with one intercept for either side,
    a(w) = c(side) + slope * b(w) + e(w), and so, exactly,

        A = slope * B + (c(members) - c(others)),

    what goes with the earlier difference plus the rest. Estimand: share = slope * B / A, the
    product-of-coefficients form of mediation (MacKinnon, Warsi and Dwyer 1995, Multivariate
    Behavioral Research 30:41) with the families' difference as the word's own control: what a
    word has in both families, such as frequency, length or what preference data teach about
    it, cancels. It is 1 if the later ridits are the earlier ones, shrunken by noise or by
    learning that both families share; 0 if the later difference falls on other words, or on
    one side as a whole; below 0 if it falls against the earlier one. ``ratio`` = B / A asks
    only for the size of the two differences; it counts a lean taken over by a category as a
    whole, and a coincidence too.

    Intervals are percentiles over the given weightings. Share and ratio have a denominator
    that may be zero: where A's interval holds 0 both are undefined (Fieller 1954, J. R. Stat.
    Soc. B 16:175: no bounded interval exists), else see ``ratio_interval``. The slope, and so
    the share, is undefined where b is constant on both sides. Errors of measurement in b
    (few prompts) make slope and share too small, see ``reliability``.

    Args:
        before: shape (r, w), b for each weighting; the first is the sample itself, equally
            weighted, the others are resamples.
        after: shape (r, w), a likewise.
        words: shape (r, w), weights of words, summing to 1 over each side's share of words.
        members: shape (w,), the category's words; the others are the rest.
        level: of the intervals.
    """
    sides = (members, ~members)
    one, other = (_residuals(values, words, sides) for values in (before, after))
    spread = (words * one.residuals**2).sum(axis=1)
    flat = spread < _TINY
    slope = (words * one.residuals * other.residuals).sum(axis=1) / np.where(flat, np.nan, spread)
    shift = interval(other.difference, level)
    reasons = []
    share = ratio = Interval(np.nan, np.nan, np.nan)
    if not shift.low <= 0 <= shift.high:
        ratio = ratio_interval(one.difference, other.difference, level)
        if flat[0]:
            reasons.append("the earlier stage has no word on which the families differ")
        else:
            carried = np.where(flat, 0, slope) * one.difference
            share = ratio_interval(carried, other.difference, level)
    else:
        reasons.append(
            f"the later difference may be zero (95% interval {shift.low:+.3f} to {shift.high:+.3f})"
        )
    first, tilt = interval(one.difference, level), interval(slope, level)
    return Inheritance(first, shift, tilt, share, ratio, "; ".join(reasons))


class _Parts(NamedTuple):
    difference: Floats
    residuals: Floats


def _residuals(values: Floats, words: Floats, sides: Sequence[NDArray[np.bool_]]) -> _Parts:
    """Split into the difference of the two sides' means, (r,), and what is left, (r, w)."""
    residuals = np.empty(values.shape)
    means = []
    for side in sides:
        weights = words[:, side]
        mean = (weights * values[:, side]).sum(axis=1) / weights.sum(axis=1)
        residuals[:, side] = values[:, side] - mean[:, None]
        means.append(mean)
    return _Parts(means[0] - means[1], residuals)


def interval(drawn: Floats, level: float = 0.95) -> Interval:
    """Return the estimate (first) with percentiles of the rest; NaN if any draw is NaN."""
    low, high = np.quantile(drawn[1:], [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(drawn[0]), float(low), float(high))


def ratio_interval(numerator: Floats, denominator: Floats, level: float = 0.95) -> Interval:
    """Interval of a ratio, by Fieller's construction on resamples.

    All x for which 0 lies within the percentile interval of numerator - x * denominator.
    Where the denominator has one sign in all resamples these are the percentiles of the
    ratio; where it has not, resamples beyond zero count on the side where they belong
    instead of as huge ratios of the wrong sign.

    Args:
        numerator: shape (r,), the estimate and then its resamples.
        denominator: shape (r,), likewise; its own interval must not hold 0.
        level: of the interval.
    """
    sign = np.sign(denominator[0])
    top, bottom = sign * numerator[1:], sign * denominator[1:]
    ratios = top[bottom != 0] / bottom[bottom != 0]
    up, down = np.sort(ratios[bottom[bottom != 0] > 0]), np.sort(ratios[bottom[bottom != 0] < 0])
    points = np.sort(ratios)
    # How often numerator - x * denominator lies above 0, at x and just behind it, halves for 0.
    above = np.zeros(len(points))
    for side in ("left", "right"):
        above += (len(up) - np.searchsorted(up, points, side)) / 2
        above += np.searchsorted(down, points, side) / 2
    share = (above + (top[bottom == 0] > 0).sum()) / len(top)
    tail = (1 - level) / 2
    inside = points[(share >= tail) & (share <= 1 - tail)]
    return Interval(float(numerator[0] / denominator[0]), float(inside[0]), float(inside[-1]))


def reliability(differences: Floats, members: NDArray[np.bool_]) -> float:
    """Return how far prompts agree on which words differ: Cronbach's alpha within sides.

    p / (p - 1) * (1 - sum of the prompts' variances / variance of their sum) (Cronbach 1951,
    Psychometrika 16:297), over words, each side's mean removed. The slope of ``inheritance``
    is too small by about this factor.

    Args:
        differences: shape (p, w), b of each prompt alone.
        members: shape (w,).

    Returns:
        At most 1; NaN for one prompt or words that do not differ.
    """
    count = len(differences)
    equal = np.full((count, differences.shape[1]), 1 / differences.shape[1])
    parts = _residuals(differences, equal, (members, ~members)).residuals
    whole = float((parts.sum(axis=0) ** 2).sum())
    if count < 2 or whole < _TINY:
        return float("nan")
    return count / (count - 1) * (1 - float((parts**2).sum()) / whole)
