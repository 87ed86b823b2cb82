"""What kind of number a score is, and how the scores of one word's surface forms combine."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["Reward", "combine"]


class Reward(float):
    """A float that is a reward (any real number), not a log-probability.

    A scorer answers lm-eval's ``loglikelihood`` requests with it, so that a task can tell
    the two kinds apart without knowing the model. It pickles and serialises as a float.
    """

    __slots__ = ()


def combine(scores: Sequence[float]) -> float:
    """Combine the scores of one word's surface forms (``freedom``, ``Freedom``, ...).

    The forms are exclusive events for a language model, so their log-probabilities
    combine by log-sum-exp; a reward is an expectation over forms, so rewards combine by
    their mean.

    Args:
        scores: one score per surface form, all of one kind, at least one.

    Returns:
        The word's score, of the same kind as its parts.

    Raises:
        ValueError: if rewards and log-probabilities are mixed, or none is given.
    """
    if not scores:
        raise ValueError("combine() needs at least one score")
    rewards = sum(isinstance(score, Reward) for score in scores)
    if rewards not in (0, len(scores)):
        raise ValueError(f"combine() got {rewards} rewards among {len(scores)} scores")
    if rewards:
        return Reward(math.fsum(scores) / len(scores))
    top = max(scores)
    if math.isinf(top):
        return float(top)
    return top + math.log(math.fsum(math.exp(score - top) for score in scores))
