"""What an implicit reward can be made of."""

from __future__ import annotations

import math
from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["SCORES", "check_models", "check_score"]

SCORES = ("log_ratio", "mwlr")
"""How two log-probabilities become a reward; see ``rm_value_tasks.scores.log_ratios``."""


def check_models(pretrained: Any, reference: Any, sequential: bool) -> None:
    """Refuse what are not two models, or one and none.

    Raises:
        ModelError: saying what to give.
    """
    if pretrained in ("", None) or reference == "":
        raise ModelError(
            "an implicit reward compares two models: give pretrained=A,reference=B, or "
            "reference=none for A's log-probability alone."
        )
    loaded = [model for model in (pretrained, reference) if not isinstance(model, str | None)]
    if sequential and loaded:
        raise ModelError(
            f"sequential=True loads and frees the models itself, but a {type(loaded[0]).__name__} "
            "is loaded already; give folders or hub ids, or leave sequential out."
        )


def check_score(score: str, beta: float, reference: Any) -> None:
    """Refuse a score that does not exist or does not go with its scale or reference.

    Raises:
        ModelError: naming the argument.
    """
    if score not in SCORES:
        raise ModelError(f"score={score!r} is none of {', '.join(SCORES)}.")
    number = isinstance(beta, int | float) and not isinstance(beta, bool)
    if not number or not math.isfinite(beta) or beta <= 0:
        raise ModelError(f"beta={beta!r} is not a positive number.")
    if score == "mwlr" and beta != 1:
        raise ModelError(f"beta={beta} scales log_ratio only; leave it out with score=mwlr.")
    if score == "mwlr" and reference is None:
        raise ModelError("score=mwlr weighs two models' probabilities; give reference=B.")
