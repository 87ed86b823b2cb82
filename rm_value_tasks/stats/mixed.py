"""The paper's mixed-effects model of median ranks, its fit checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats as distributions

from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.fitting import Fitted, fit_reml

__all__ = ["RankModel", "containment_df", "rank_model"]

_FACTORS = ("base", "category", "valence")


@dataclass(frozen=True)
class RankModel:
    """A fitted mixed-effects model.

    Attributes:
        coefficients: index ``term``; ``estimate``, ``stderr``, ``df``, ``t``, ``p``, ``low``
            and ``high`` (95%, t distribution).
        random_sd: standard deviation of the models' intercepts (and slopes), by name.
        residual_sd: of the rows.
        log_likelihood: restricted, as nlme gives it.
        models: how many.
        rows: how many.
        references: each factor's reference level.
    """

    coefficients: pd.DataFrame
    random_sd: pd.Series
    residual_sd: float
    log_likelihood: float
    models: int
    rows: int
    references: dict[str, str]


def rank_model(
    medians: pd.DataFrame,
    references: Sequence[str] | None = None,
    *,
    random_slopes: bool = False,
) -> RankModel:
    """Fit ``rank ~ base * category * valence + (1 | model)`` by REML, as the paper does.

    Estimand: differences of mean median ranks between families, categories and valences
    (treatment coding), for models like these if a model's prompts differ only by chance.
    The last term is the family x category x valence contrast.

    Unit of analysis: the row, one model on one prompt and category, with a random intercept
    for each model. A model's own lean is not in this model, so the interactions' tests (1,064
    degrees of freedom on the published data) count one model's prompts as independent and
    overstate certainty about other models. ``random_slopes`` adds what each model does to
    category, valence and their interaction (unstructured covariance): then models are in
    effect the unit of the interactions too, though the degrees of freedom stay nlme's.
    In 1,000 simulations without an effect, its three-way t against models - families degrees of
    freedom had p < 0.05 in 5.5%.

    Degrees of freedom: ``containment_df``. Ties need no rule here. Refused rather than
    reported: a fit whose likelihood is not finite or not the largest (``fitting.fit_reml``).

    Source: Christian et al., arXiv 2601.20838; R's
    ``lme(rank ~ base*Category*framing, random = ~1|model)``; Pinheiro and Bates 2000,
    Mixed-Effects Models in S and S-PLUS, section 2.4.2.

    Args:
        medians: columns ``model``, ``base``, ``category``, ``valence``, ``rank``.
        references: reference levels of base, category and valence; by default the first base
            and category by alphabet, and ``positive``.
        random_slopes: see above.

    Raises:
        DataError: if a factor has one level, a combination no row, families have no more
            models than there are families, ranks are missing, or no good fit was found.
    """
    levels = _levels(medians, references)
    models = medians["model"].nunique()
    if models <= len(levels["base"]):
        raise DataError(
            f"a mixed model needs more models than families; got {models} models of "
            f"{len(levels['base'])} families."
        )
    fixed = _design(medians, levels)
    inner = {name: levels[name] for name in _FACTORS[1:]} if random_slopes else {}
    random = _design(medians, inner)
    groups = medians["model"].to_numpy()
    fit = fit_reml(medians["rank"].to_numpy(dtype=float), fixed, groups, random)
    df = containment_df(fixed, groups)
    return RankModel(
        coefficients=_table(fit, fixed.columns, df),
        random_sd=pd.Series(np.sqrt(np.diag(fit.covariance)), index=random.columns),
        residual_sd=float(np.sqrt(fit.scale)),
        log_likelihood=fit.log_likelihood,
        models=models,
        rows=len(medians),
        references={name: found[0] for name, found in levels.items()},
    )


def _levels(medians: pd.DataFrame, references: Sequence[str] | None) -> dict[str, list[str]]:
    if medians["rank"].isna().any():
        raise DataError("a mixed model needs a rank in each row; some are missing.")
    levels = {}
    for place, name in enumerate(_FACTORS):
        found = sorted(medians[name].unique(), reverse=name == "valence")
        if references is not None and references[place] in found:
            found.remove(references[place])
            found.insert(0, references[place])
        if len(found) < 2:
            raise DataError(f"a mixed model needs two levels of {name}; got {found[0]} alone.")
        levels[name] = found
    cells = medians.groupby(list(_FACTORS)).ngroups
    if cells < np.prod([len(found) for found in levels.values()]):
        raise DataError("a mixed model needs rows of every family, category and valence.")
    return levels


def _design(medians: pd.DataFrame, levels: dict[str, list[str]]) -> pd.DataFrame:
    """Treatment-coded columns: the intercept, main effects, then interactions."""
    columns = {"(Intercept)": np.ones(len(medians))}
    for size in range(1, len(levels) + 1):
        for names in combinations(levels, size):
            parts = [("", np.ones(len(medians)))]
            for name in names:
                held = medians[name].to_numpy()
                parts = [
                    (f"{label}:{level}".removeprefix(":"), values * (held == level))
                    for label, values in parts
                    for level in levels[name][1:]
                ]
            columns |= dict(parts)
    return pd.DataFrame(columns)


def containment_df(fixed: pd.DataFrame, groups: NDArray) -> pd.Series:
    """Degrees of freedom of t tests by nlme's inner-outer rule, for one level of grouping.

    A column that varies within some group is tested against rows: rows - groups - such
    columns. One that is constant within every group is tested against groups: groups - such
    columns, the intercept counted. The intercept itself is tested against rows.

    Source: Pinheiro and Bates 2000, section 2.4.2; nlme's ``getFixDF``. On the published data
    8 and 1,064.

    Args:
        fixed: shape (n, k), the design, intercept first.
        groups: shape (n,), the grouping factor.

    Returns:
        Shape (k,), by column.
    """
    spread = fixed.groupby(groups).agg(np.ptp).max()
    inner = spread > 0
    count = len(np.unique(groups))
    df = pd.Series(float(count - int((~inner).sum())), index=fixed.columns)
    df[inner | (fixed.nunique() == 1)] = float(len(fixed) - count - int(inner.sum()))
    return df


def _table(fit: Fitted, terms: pd.Index, df: pd.Series) -> pd.DataFrame:
    t = fit.estimates / fit.stderrs
    reach = fit.stderrs * distributions.t.ppf(0.975, df)
    return pd.DataFrame(
        {
            "estimate": fit.estimates,
            "stderr": fit.stderrs,
            "df": df.to_numpy(),
            "t": t,
            "p": 2 * distributions.t.sf(np.abs(t), df),
            "low": fit.estimates - reach,
            "high": fit.estimates + reach,
        },
        index=pd.Index(terms, name="term"),
    )
