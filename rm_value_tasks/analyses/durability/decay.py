"""How fast a gap fades: an exponential fit with its uncertainty, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rm_value_tasks.analyses.durability.gaps import Gaps

__all__ = ["Decay", "fit_decay", "rates"]

_FASTEST = 20.0
"""Largest rate searched, per number of pairs in the data: a half-life of 1/29 of them."""
_STEPS = 4001


@dataclass(frozen=True)
class Decay:
    """What became of a gap between two bases.

    Attributes:
        status: ``fading``, ``faded``, ``reversed``, ``not washed out``,
            ``undetermined``, ``no gap`` or ``too few``.
        sentence: the same in words, with numbers.
        rate: fitted decay per preference pair; NaN with ``too few``; infinite where it lies at
            the end of the range searched, since such a fit has no end.
        rate_low: lower end of its 95% interval; negative means growth.
        rate_high: upper end.
        half_life: ln 2 / rate in preference pairs; infinite where the rate is not positive, 0
            where it is infinite.
        half_life_low: from ``rate_high``.
        half_life_high: from ``rate_low``; infinite where that is not positive.
        start: pairs at which the gap had arisen and the fit begins; NaN with ``no gap``.
    """

    status: str
    sentence: str
    rate: float = float("nan")
    rate_low: float = float("nan")
    rate_high: float = float("nan")
    half_life: float = float("nan")
    half_life_low: float = float("nan")
    half_life_high: float = float("nan")
    start: float = float("nan")


def fit_decay(gaps: Gaps, after: float = 0) -> Decay:
    """Fit ``gap(n) = g exp(-rate n)`` to the gap after n preference pairs.

    Least squares, each gap weighted by its inverse variance; the interval of
    the rate is the percentile interval of fits to the resampled gaps. Rates may be negative (a
    growing gap), so that "no decay" lies inside the range and not at its end.

    A score head is random before training, so a gap must arise before it can fade: the fit
    begins at the first gap whose interval leaves out zero. Of gaps that hardly stand out this
    picks a high one to begin with, which makes decay look faster; ``after`` sets the start
    without looking.

    Args:
        gaps: of ``gaps_of``.
        after: gaps at or below this many pairs are left out.

    Returns:
        The fit; ``no gap`` where none stands out, ``too few`` with fewer than three from there.
    """
    pairs = gaps.table["pairs"].to_numpy(float)
    stands_out = (gaps.table["low"] > 0) | (gaps.table["high"] < 0)
    arisen = pairs[(pairs > after) & stands_out.to_numpy()]
    if not len(arisen):
        known = gaps.table[pairs > after]
        at_end = f": {_at(known.iloc[-1])}" if len(known) else ""
        return Decay("no gap", f"there is no gap told apart from none to wash out{at_end}.")
    kept = pairs >= arisen[0]
    table, drawn = gaps.table[kept], gaps.draws[kept]
    if len(table) < 3:
        return Decay(
            "too few",
            f"{_at(table.iloc[-1])}; a fit needs three gaps from the first that stands out on, "
            f"and there are {len(table)}.",
            start=arisen[0],
        )
    n = table["pairs"].to_numpy(float)
    weights = 1 / np.maximum(table["stderr"].to_numpy(float) ** 2, 1e-12)
    fitted = rates(n, table["gap"], weights)
    ends = np.quantile(rates(n, drawn.T, weights), [0.025, 0.975])
    found = np.append(fitted, ends)
    limit = _FASTEST / n.max()
    found[np.abs(found) > limit * (1 - 1e-9)] *= np.inf
    rate, low, high = map(float, found)
    lives = (_half_life(rate), _half_life(high), _half_life(low))
    status, sentence = _verdict(table, lives, _half_life(limit))
    return Decay(status, sentence, rate, low, high, *lives, start=arisen[0])


def rates(n: ArrayLike, gaps: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """Decay rates per pair, by weighted least squares with the initial gap profiled out.

    For a given rate the best initial gap is linear, so one search over the rate finds the
    global optimum (variable projection, Golub and Pereyra 1973).

    Args:
        n: shape (k,), preference pairs.
        gaps: shape (k,) or (m, k), m curves.
        weights: shape (k,).

    Returns:
        Shape (m,).
    """
    places = np.asarray(n, float)
    scale = places.max()
    curves = np.atleast_2d(np.asarray(gaps, float))
    heavy = np.asarray(weights, float)
    grid = np.linspace(-_FASTEST, _FASTEST, _STEPS)
    # Taken from the middle, exp() of either sign stays within range.
    shapes = np.exp(-np.outer(grid, (places - places.mean()) / scale))
    explained = (curves @ (shapes * heavy).T) ** 2 / ((shapes**2) @ heavy)
    return grid[explained.argmax(axis=1)] / scale


def _half_life(rate: float) -> float:
    return float(np.log(2) / rate) if rate > 0 else float("inf")


def _verdict(
    table: pd.DataFrame, lives: tuple[float, float, float], shortest: float
) -> tuple[str, str]:
    first, last = table.iloc[0], table.iloc[-1]
    life, life_low, life_high = lives
    holds_zero = last["low"] <= 0 <= last["high"]
    if not holds_zero and np.sign(last["gap"]) != np.sign(first["gap"]):
        return "reversed", (
            f"the gap changed its sign: {_at(first)}, {_at(last)}; a half-life does not describe "
            "it."
        )
    if np.isinf(life_high):
        told = 0 < life_low < np.inf
        bound = f"the half-life is at least {life_low:,.0f} pairs" if told else ""
        no_decay = "no decay is told apart from none" + (f" ({bound})" if bound else "")
        if holds_zero:
            return "undetermined", f"{no_decay}, but {_at(last)}: too uncertain to say."
        return "not washed out", f"not washed out within the data: {_at(last)}, and {no_decay}."
    fitted = f"half-life below {shortest:,.0f} pairs, too short for these checkpoints to tell"
    if life > 0:
        fitted = _life(life, life_low, life_high, last["pairs"])
    if holds_zero:
        return "faded", f"faded: {_at(last)}, not told apart from none; {fitted}."
    return "fading", f"fading but not washed out within the data: {_at(last)}; {fitted}."


def _life(life: float, low: float, high: float, end: float) -> str:
    return (
        f"half-life {life:,.0f} pairs (95% interval {low:,.0f} to {high:,.0f}"
        + (", beyond the data" if life > end else "")
        + ")"
    )


def _at(row: pd.Series) -> str:
    return (
        f"at {row['pairs']:,.0f} pairs the gap is {row['gap']:+.3f} "
        f"({row['low']:+.3f} to {row['high']:+.3f})"
    )
