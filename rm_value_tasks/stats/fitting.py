"""REML fits by statsmodels that are checked before they are believed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from rm_value_tasks.errors import DataError

__all__ = ["Fitted", "best_fit", "fit_reml"]

_OPTIMIZERS = ("bfgs", "powell", "lbfgs")
_SLACK = 1e-3
# A variance of zero has no neighbour in proportion, and optimizers stick there: steps of it, too.
_NEIGHBOURS = ((0.9, 0.0), (1.1, 0.0), (1.0, 1e-3), (1.0, 1e-2))
"""Factor and addend (in residual variances) of each variance."""


@dataclass(frozen=True)
class Fitted:
    """What is kept of a REML fit.

    Attributes:
        estimates: shape (k,), fixed effects.
        stderrs: shape (k,).
        fixed_covariance: shape (k, k), of the estimates.
        covariance: shape (q, q), of the random effects.
        components: shape (v,), variances of crossed random effects.
        scale: residual variance.
        log_likelihood: restricted.
    """

    estimates: NDArray[np.float64]
    stderrs: NDArray[np.float64]
    fixed_covariance: NDArray[np.float64]
    covariance: NDArray[np.float64]
    components: NDArray[np.float64]
    scale: float
    log_likelihood: float


def fit_reml(
    y: NDArray[np.float64], fixed: pd.DataFrame, groups: NDArray, random: pd.DataFrame
) -> Fitted:
    """Fit a linear mixed model with one grouping factor.

    Args:
        y: shape (n,).
        fixed: shape (n, k).
        groups: shape (n,).
        random: shape (n, q), columns whose coefficients vary by group, unstructured.

    Raises:
        DataError: see ``best_fit``.
    """
    model = MixedLM(y, fixed.to_numpy(), groups, exog_re=random.to_numpy())
    return best_fit(model, [_moments(model), None])


def best_fit(model: MixedLM, starts: list[Any]) -> Fitted:
    """Fit from several starts with several optimizers; return the first fit that passes a check.

    statsmodels can report convergence with an infinite likelihood and wrong coefficients
    (``lbfgs`` on the published ranks), or stop short with random slopes. A fit is believed if
    its likelihood and standard errors are finite and no neighbour, each variance a tenth
    smaller or larger or by 0.1% or 1% of the residual's larger, is likelier by more than 0.001.

    Raises:
        DataError: if no fit passes.
    """
    tried = 0
    for start in starts:
        for optimizer in _OPTIMIZERS:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                try:
                    fit = model.fit(reml=True, start_params=start, method=[optimizer])
                    finite = np.isfinite(fit.llf) and np.isfinite(fit.bse_fe).all()
                except (np.linalg.LinAlgError, ValueError):
                    continue
            tried += finite
            if finite and _stationary(model, fit):
                return _kept(fit)
    raise DataError(
        "the mixed model's fit did not converge: "
        + ("each fit found has likelier neighbours" if tried else
           "no optimizer found a finite likelihood")
        + "; it needs more models or prompts, or fewer random effects."
    )  # fmt: skip


def _kept(fit: Any) -> Fitted:
    size = len(fit.fe_params)
    return Fitted(
        estimates=np.asarray(fit.fe_params, dtype=float),
        stderrs=np.asarray(fit.bse_fe, dtype=float),
        fixed_covariance=np.asarray(fit.cov_params(), dtype=float)[:size, :size],
        covariance=np.atleast_2d(np.asarray(fit.cov_re, dtype=float)),
        components=np.asarray(fit.vcomp, dtype=float),
        scale=float(fit.scale),
        log_likelihood=float(fit.llf),
    )


def _stationary(model: MixedLM, fit: Any) -> bool:
    covariance = np.asarray(fit.cov_re, dtype=float) / fit.scale
    components = np.asarray(fit.vcomp, dtype=float) / fit.scale
    values, vectors = np.linalg.eigh(covariance) if covariance.size else (np.zeros(0), covariance)
    for place in range(len(values) + len(components)):
        for factor, addend in _NEIGHBOURS:
            scaled = np.concatenate([values, components])
            scaled[place] = scaled[place] * factor + addend
            head, tail = scaled[: len(values)], scaled[len(values) :]
            near = MixedLMParams.from_components(
                fe_params=np.asarray(fit.fe_params),
                cov_re=(vectors * head) @ vectors.T if len(values) else covariance,
                vcomp=tail,
            )
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                # A singular neighbour has no likelihood; NaN exceeds nothing.
                if model.loglike(near, profile_fe=True) > fit.llf + _SLACK:
                    return False
    return True


def _moments(model: MixedLM) -> MixedLMParams:
    """Start from moments: each group's own least squares, less what residuals explain.

    For groups with equal designs this is the REML solution itself, also where it lies on the
    boundary: directions in which groups vary less than residuals would make them are residual
    (as in probabilistic principal components, Tipping and Bishop 1999, JRSS B 61:611).
    """
    fixed = np.linalg.lstsq(model.exog, model.endog, rcond=None)[0]
    effects, inverses, residuals, unexplained = [], [], [], []
    outer = np.ones(model.exog.shape[1], dtype=bool)
    for x, z, y in zip(model.exog_li, model.exog_re_li, model.endog_li, strict=True):
        inverse = np.linalg.pinv(z)
        effects.append(inverse @ (y - x @ fixed))
        inverses.append(inverse @ inverse.T)
        residuals.append(y - x @ fixed - z @ effects[-1])
        unexplained.append(x - z @ (inverse @ x))
        outer &= np.ptp(x, axis=0) == 0
    between = max(len(effects) - int(outer.sum()), 1)
    squares = float((np.concatenate(residuals) ** 2).sum())
    df = len(model.endog) - len(effects) * effects[0].size
    df -= int(np.linalg.matrix_rank(np.concatenate(unexplained), tol=1e-8))
    root = np.linalg.cholesky(np.mean(inverses, axis=0) + 1e-12 * np.eye(effects[0].size))
    inverse = np.linalg.inv(root)
    spread = inverse @ (np.transpose(effects) @ np.array(effects)) @ inverse.T / between
    values, vectors = np.linalg.eigh(spread)
    scale = squares / max(df, 1)
    for _ in values:
        small = values < scale
        scale = (squares + between * values[small].sum()) / max(df + between * small.sum(), 1)
    kept = root @ (vectors * np.maximum(values - scale, 1e-6 * scale)) @ vectors.T @ root.T
    return MixedLMParams.from_components(fe_params=fixed, cov_re=kept / scale)
