"""Two models' log-probabilities of the same words to one implicit reward."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["log_ratio", "mwlr"]


def log_ratio(a: ArrayLike, b: ArrayLike, beta: float = 1.0) -> NDArray[np.float64]:
    """Return the log-ratio, ``beta * (a - b)``.

    With ``a`` a policy's and ``b`` its reference's log-probability of a whole response this
    is the implicit reward of DPO, up to a constant of the prompt (Rafailov et al. 2023,
    "Direct Preference Optimization", section 4).

    Args:
        a: log-probabilities (natural) under the first model, any shape.
        b: the same under the second, of a shape that broadcasts with it.
        beta: scale.
    """
    return beta * (np.asarray(a, float) - np.asarray(b, float))


def mwlr(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return the mixture-weighted log-ratio, ``(p_a + p_b) / 2 * (a - b)``.

    The log-ratio alone is largest where both probabilities are tiny; the weight, the
    probability under an even mixture of the two, favours words that either model would say
    (Christian et al. 2026, "Reward Models Inherit Value Biases from Pretraining"). It is
    antisymmetric, and zero where the two are equal. It is computed in log space: finite
    while the log-probabilities are, and a signed zero where both probabilities underflow.

    Args:
        a: log-probabilities (natural) under the first model, any shape.
        b: the same under the second, of a shape that broadcasts with it.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    return np.exp(np.logaddexp(a, b) - math.log(2)) * (a - b)
