"""How far a lean could be chance: over words and questions, and under permuted labels."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rm_value_tasks.lean import ranks
from rm_value_tasks.paired_bootstrap import paired_shift
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.report.probes import Probe

__all__ = ["METHOD", "crossed"]

METHOD = (
    "The interval over words and questions is the 2.5% to 97.5% quantile of a bootstrap that "
    "draws agency words, communion words and pairs of questions anew, each by itself (crossed "
    "factors); it tells how the lean would vary with other words and wordings.",
    "Permuted labels: the middle 95% of contrasts when the category labels are dealt out anew "
    "over the same words; a lean inside it is no larger than chance alone makes.",
)
_RESAMPLES = 2000
_COLUMNS = ("outer_low", "outer_high", "noise_low", "noise_high")


def crossed(probe: Probe) -> pd.DataFrame:
    """Compute each model's crossed interval and noise floor of the contrast.

    Returns:
        Index model; ``outer_low``, ``outer_high``, ``noise_low`` and ``noise_high``; NaN
        where a run has fewer than two pairs of questions or two words a side, a word in
        both categories, or a difference without a value.
    """
    a, b = probe.categories
    rows = {
        str(model): _of_model(table, a, b)
        for model, table in probe.table.groupby("model", sort=False)
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(_COLUMNS))


def _of_model(table: pd.DataFrame, a: str, b: str) -> tuple[float, ...]:
    nothing = (float("nan"),) * 4
    once = table.drop_duplicates(["prompt", "word"])
    scores = once.pivot(index="word", columns="prompt", values="score")
    in_a, in_b = (
        scores.index.isin(list(table.loc[table["category"] == name, "word"])) for name in (a, b)
    )
    twins = [(p.id, n.id) for p, n in TWINS if p.id in scores and n.id in scores]
    if len(twins) < 2 or (in_a & in_b).any() or min(in_a.sum(), in_b.sum()) < 2:
        return nothing
    with np.errstate(invalid="ignore"):
        differences = np.array([(scores[good] - scores[bad]).to_numpy() for good, bad in twins])
    if np.isnan(differences).any():
        return nothing
    # Against a run in which all words tie (0.5 whatever is drawn), the shift is the lean.
    found = paired_shift(np.zeros_like(differences), differences, in_a, in_b, resamples=_RESAMPLES)
    low, high = _noise(differences, int(in_a.sum()), int(in_b.sum()))
    return (0.5 + found.low, 0.5 + found.high, low, high)


def _noise(differences: np.ndarray, n_a: int, n_b: int) -> tuple[float, float]:
    """Return the middle 95% of the mean contrast under permuted labels.

    A contrast is linear in the ranks of one category's words, so ranks may be averaged over
    pairs of questions first; what a word keeps from question to question is thus kept.
    """
    mean_ranks = np.mean([ranks(row) for row in differences], axis=0)
    generator = np.random.default_rng(0)
    sums = np.array([generator.permutation(mean_ranks)[:n_a].sum() for _ in range(_RESAMPLES)])
    leans = (n_a * n_b + n_a * (n_a + 1) / 2 - sums) / (n_a * n_b)
    low, high = np.quantile(leans, [0.025, 0.975])
    return float(low), float(high)
