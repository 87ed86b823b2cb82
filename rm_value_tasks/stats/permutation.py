"""Two families against each other, with either unit of analysis, and the noise floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats as distributions

from rm_value_tasks.stats.lean import ranks

__all__ = ["exact_p", "noise_floor", "panel_tests", "permutation_t", "three_way_contrasts"]

_MOST_EXACT = 20_000
_RESAMPLES = 9999


def exact_p(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Two-sided permutation p of the difference of two means, with few units a side.

    Estimand: the share of ways to deal the units out to the two sides (sizes kept) whose
    difference of means is at least as large as the one seen, in absolute value. Unit: the
    element (give one number a model). Ties count as at least as large. It is exact where all
    splits are counted, up to 20,000 of them; beyond that 9,999 random ones (seed 0), and the
    p is (b + 1) / (9,999 + 1). Fewer than two units a side give NaN: nothing could be small; so
    does a NaN, than which nothing is larger.

    Source: Fisher 1935, The Design of Experiments; ``scipy.stats.permutation_test``.
    """
    if min(len(first), len(second)) < 2 or np.isnan([*first, *second]).any():
        return float("nan")
    splits = math.comb(len(first) + len(second), len(first))
    return _permuted(first, second, _mean_gap, np.inf if splits <= _MOST_EXACT else _RESAMPLES)


def permutation_t(
    first: NDArray[np.float64], second: NDArray[np.float64], resamples: int = _RESAMPLES
) -> float:
    """Two-sided permutation p of Welch's t.

    Estimand: the share of random deals of the elements to the two sides whose absolute Welch t
    is at least that seen; (b + 1) / (resamples + 1), so never below 1e-4 at 9,999. Unit: the
    element. Ties count as at least as large. Seed 0. Fewer than two elements a side, no spread
    or a NaN give NaN.

    Source: Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p is never zero); Janssen
    1997, Stat. Probab. Lett. 36:9 (a studentized statistic keeps its level under unequal
    variances). The paper's script calls the parametric Welch p a permutation p.
    """
    spread = np.ptp(np.concatenate([first, second]))
    if min(len(first), len(second)) < 2 or np.isnan(spread) or not spread:
        return float("nan")
    return _permuted(first, second, _welch_gap, resamples)


def _permuted(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    gap: Callable[..., NDArray],
    resamples: float,
) -> float:
    found = distributions.permutation_test(
        (first, second), gap, vectorized=True, n_resamples=resamples, alternative="greater",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def _mean_gap(x: NDArray, y: NDArray, axis: int) -> NDArray:
    return np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis))


def _welch_gap(x: NDArray, y: NDArray, axis: int) -> NDArray:
    error = np.var(x, axis=axis, ddof=1) / x.shape[axis]
    error = error + np.var(y, axis=axis, ddof=1) / y.shape[axis]
    return _mean_gap(x, y, axis) / np.sqrt(error)


def panel_tests(medians: pd.DataFrame, families: Sequence[str]) -> pd.DataFrame:
    """Compare two families' median ranks in each panel (category and valence).

    Estimand: the difference of mean median ranks, second family minus first.

    Unit of analysis, both: the row (one model on one prompt), as in the paper, by Welch's t
    test and by a true permutation of it; and the model (mean over its prompts), by Welch's t
    test and an exact permutation. The first counts one model's prompts as independent and so
    overstates certainty about other models: where models lean each their own way (standard
    deviation 10 ranks, 8 within a model) and families do not differ, 65% of 1,000 simulated
    panels have Welch p < 0.05. Each p also times the number of panels, at most 1 (Bonferroni).

    Degenerate: a test with fewer than two units a side, or without spread, is NaN.

    Source: Christian et al., arXiv 2601.20838; Welch 1947, Biometrika 34:28.

    Args:
        medians: columns ``model``, ``base``, ``category``, ``valence``, ``rank``.
        families: two values of ``base``.

    Returns:
        One row a panel: ``category``, ``valence``, ``first``, ``second`` (means over rows),
        ``difference``, ``welch_t``, ``welch_df``, ``welch``, ``permutation``,
        ``model_welch`` and ``model_exact`` (p values), and each p's ``_bonferroni``.
    """
    rows = []
    for (category, valence), cell in medians.groupby(["category", "valence"], sort=False):
        first, second = (cell.loc[cell["base"] == f, "rank"].to_numpy(float) for f in families)
        means = cell.groupby(["base", "model"])["rank"].mean()
        a, b = (means[name].to_numpy() for name in families)
        t, df, p = _welch(second, first)
        rows.append({
            "category": category, "valence": valence, "first": first.mean(),
            "second": second.mean(), "difference": second.mean() - first.mean(),
            "welch_t": t, "welch_df": df, "welch": p, "permutation": permutation_t(first, second),
            "model_welch": _welch(b, a)[2], "model_exact": exact_p(a, b),
        })  # fmt: skip
    found = pd.DataFrame(rows)
    for name in ("welch", "permutation", "model_welch", "model_exact"):
        found[f"{name}_bonferroni"] = (found[name] * len(found)).clip(upper=1)
    return found


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float, float]:
    if min(len(a), len(b)) < 2 or not (np.ptp(a) or np.ptp(b)):
        return (float("nan"),) * 3
    found = distributions.ttest_ind(a, b, equal_var=False)
    return float(found.statistic), float(found.df), float(found.pvalue)


def three_way_contrasts(medians: pd.DataFrame, categories: Sequence[str]) -> pd.Series:
    """Compute each model's category x valence contrast of median ranks.

    Estimand: (first category minus second, positive prompts) minus the same on negative
    prompts, on means over prompts; negative leans to the first category, since rank 1 is the
    top. Unit: the model. Compare families on it with ``exact_p``.

    Args:
        medians: columns ``model``, ``base``, ``category``, ``valence``, ``rank``.
        categories: two of them.

    Returns:
        Index ``base`` and ``model``; NaN for a model that lacks a cell.
    """
    means = medians.groupby(["base", "model", "category", "valence"])["rank"].mean().unstack([2, 3])
    a, b = categories
    gap = {side: means[a, side] - means[b, side] for side in ("positive", "negative")}
    return gap["positive"] - gap["negative"]


def noise_floor(
    differences: NDArray[np.float64], members: int, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Middle 95% of the mean contrast when category labels are dealt out anew over the words.

    Estimand: the range of leans that these scores give to categories without meaning. Unit:
    the word, with all its prompts; ties half. A contrast is linear in the ranks of one
    category's words, so ranks may be averaged over pairs of prompts first; what a word keeps
    from prompt to prompt is thus kept.

    Args:
        differences: shape (p, w), each word's positive minus negative score.
        members: how many of the w words are the category's; the others are compared with.
        resamples: how many deals.
        seed: of the deals.

    Returns:
        The 2.5% and 97.5% quantiles of the lean.
    """
    others = differences.shape[1] - members
    mean_ranks = np.mean([ranks(row) for row in differences], axis=0)
    generator = np.random.default_rng(seed)
    deals = generator.permuted(np.tile(mean_ranks, (resamples, 1)), axis=1)
    sums = deals[:, :members].sum(axis=1)
    leans = (members * others + members * (members + 1) / 2 - sums) / (members * others)
    low, high = np.quantile(leans, [0.025, 0.975])
    return float(low), float(high)
