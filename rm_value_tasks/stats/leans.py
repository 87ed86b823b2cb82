"""Leans of runs: contrasts of twins, raw leans, and what is certain about them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats as distributions

from rm_value_tasks.prompts import TWINS
from rm_value_tasks.stats.intervals import lean_interval
from rm_value_tasks.stats.lean import auroc, contrast
from rm_value_tasks.stats.permutation import noise_floor
from rm_value_tasks.stats.ranks import words_by_prompts

__all__ = ["crossed_intervals", "raw_leans", "twin_contrasts", "with_pair_intervals"]

_RESAMPLES = 2000


def twin_contrasts(table: pd.DataFrame, a: str = "Agency", b: str = "Communion") -> pd.DataFrame:
    """Compute the contrast of each pair of valence twins (``lean.contrast``).

    Args:
        table: tidy rows (``model``, ``prompt``, ``word``, ``category``, ``score``).
        a: the category whose lean it is.
        b: the other category.

    Returns:
        One row for each model and pair of twins that was asked: ``model``, ``adjectives``
        (``best/worst``), ``scope``, ``concision``, ``contrast``; pairs with a difference
        that has no value (infinite scores) have NaN.
    """
    found = []
    for model, rows in table[table["category"].isin([a, b])].groupby("model", sort=False):
        scores, members = _wide(rows, a, b)
        for good, bad in TWINS:
            if good.id in scores and bad.id in scores:
                with np.errstate(invalid="ignore"):
                    whole = not (scores[good.id] - scores[bad.id]).isna().any()
                value = contrast(scores[good.id], scores[bad.id], *members) if whole else np.nan
                found.append(
                    (model, f"{good.adjective}/{bad.adjective}", good.scope, good.concision, value)
                )
    return pd.DataFrame(found, columns=["model", "adjectives", "scope", "concision", "contrast"])


def _wide(rows: pd.DataFrame, a: str, b: str) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """One model's scores, words by prompts, and membership of either category."""
    scores = words_by_prompts(rows)
    sides = [set(rows.loc[rows["category"] == name, "word"]) for name in (a, b)]
    return scores, [scores.index.isin(list(words)) for words in sides]


def raw_leans(table: pd.DataFrame, a: str, b: str) -> pd.Series:
    """Compute each model's mean over prompts of P(a word of ``a`` outscores one of ``b``).

    Ties count half. Unit: the prompt. Source: Mann and Whitney's U over the number of pairs.

    Args:
        table: tidy rows of prompts of one valence.
        a: the category whose lean it is.
        b: the other category.

    Returns:
        By model.
    """
    values = {
        key: auroc(
            rows.loc[rows["category"] == a, "score"], rows.loc[rows["category"] == b, "score"]
        )
        for key, rows in table.groupby(["model", "prompt"], sort=False)
    }
    return pd.Series(values, dtype=float).groupby(level=0).mean()


def with_pair_intervals(leans: pd.DataFrame) -> pd.DataFrame:
    """Add ``low`` and ``high``, 95% over pairs of prompts, the words held fixed.

    Estimand: the lean on these words, over other pairs of prompts. Unit: the pair; Student's t
    with n - 1 degrees of freedom. NaN with fewer than two pairs.

    Args:
        leans: columns ``estimate``, ``stderr`` (over pairs) and ``n`` (pairs).
    """
    reach = leans["stderr"] * distributions.t.ppf(0.975, (leans["n"] - 1).clip(lower=1))
    return leans.assign(low=leans["estimate"] - reach, high=leans["estimate"] + reach)


def crossed_intervals(table: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Compute each model's interval over words and pairs together, and its noise floor.

    Estimand, unit and sources: ``intervals.lean_interval`` and ``permutation.noise_floor``.

    Args:
        table: tidy rows of one task.
        a: the category whose lean it is.
        b: the other category.

    Returns:
        Index model; ``outer_low``, ``outer_high``, ``noise_low`` and ``noise_high``; NaN
        where a run has fewer than two pairs of questions or two words a side, a word in
        both categories, or a difference without a value.
    """
    rows = {str(model): _of_model(part, a, b) for model, part in table.groupby("model", sort=False)}
    columns = ["outer_low", "outer_high", "noise_low", "noise_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _of_model(table: pd.DataFrame, a: str, b: str) -> tuple[float, ...]:
    nothing = (float("nan"),) * 4
    scores, (in_a, in_b) = _wide(table, a, b)
    twins = [(p.id, n.id) for p, n in TWINS if p.id in scores and n.id in scores]
    if len(twins) < 2 or (in_a & in_b).any() or min(in_a.sum(), in_b.sum()) < 2:
        return nothing
    with np.errstate(invalid="ignore"):
        differences = np.array([(scores[good] - scores[bad]).to_numpy() for good, bad in twins])
    if np.isnan(differences).any():
        return nothing
    found = lean_interval(differences, in_a, in_b, resamples=_RESAMPLES)
    among = differences[:, in_a | in_b]
    return (found.low, found.high, *noise_floor(among, int(in_a.sum()), resamples=_RESAMPLES))
