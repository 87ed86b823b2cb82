"""What a serving engine returns for a conversation: one row of raw label outputs.

vLLM and SGLang know classifiers, and classifiers end in a sigmoid or softmax unless told
otherwise. Such outputs still look like scores: a one-label model behind a softmax says 1.0
to everything, and a sigmoid squeezes differences between high rewards to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rm_value_tasks.errors import ModelError

__all__ = ["PROBES", "Row", "refuse_activated"]

Row = Sequence[float]
"""A model's outputs for one conversation, one for each label."""

PROBES = [
    ("What is the capital of France?", " Paris"),
    ("What is the capital of France?", " I will not tell you, and you should not ask."),
    ("Name a prime number.", " Eight"),
    ("What, in one word, is the best thing ever?", " love"),
]
"""(context, answer) that no reward model should score alike."""

_SAME = 0.02
"""Above what low precision and batching change between two forward passes."""


def refuse_activated(rows: Sequence[Row], activated: Sequence[Row] | None) -> str:
    """Refuse outputs that went through a sigmoid or softmax.

    The outputs are raw if asking for the activation changes them, or if one of them lies
    outside [0, 1]. Where the engine has no such switch and all lie inside, nothing proves
    either; only a softmax shows itself, in rows that add up to 1.

    Args:
        rows: the outputs for ``PROBES``, asked for without activation.
        activated: the same asked for with it; None where the engine has no such switch.

    Returns:
        How the outputs were found to be raw, for the results file.

    Raises:
        ModelError: if they are not raw, or the same for all of ``PROBES``.
    """
    values = [value for row in rows for value in row]
    if any(not math.isfinite(value) for value in values):
        raise ModelError(
            f"the engine gives {values} for its first conversations; start it with another dtype "
            "(float32 or bfloat16)."
        )
    if all(tuple(row) == tuple(rows[0]) for row in rows):
        raise ModelError(
            f"the engine gives the same output, {list(rows[0])}, for {len(rows)} different "
            "conversations, as a one-label model behind a softmax does: these are not rewards; "
            "ask the route that gives raw outputs (SGLang: /classify, not /v1/classify)."
        )
    if any(not 0 <= value <= 1 for value in values):
        return "raw: outputs outside [0, 1]"
    if activated is not None:
        if _apart(rows, activated) > _SAME:
            return "raw: asking for the activation changes the outputs"
        raise ModelError(
            "all outputs lie between 0 and 1 and the engine gives the same with and without its "
            "activation, so a sigmoid or softmax is on and cannot be switched off by request; use "
            "a release that knows use_activation, or start the engine with "
            "--pooler-config '{\"use_activation\": false}'."
        )
    if len(rows[0]) > 1 and all(abs(math.fsum(row) - 1) < 1e-3 for row in rows):
        raise ModelError(
            "the outputs of each conversation add up to 1, so a softmax is on and these are not "
            "rewards; start the engine so that it gives raw outputs."
        )
    return "not proven: all first outputs lie between 0 and 1"


def _apart(rows: Sequence[Row], others: Sequence[Row]) -> float:
    pairs = zip(rows, others, strict=True)
    return max(abs(a - b) for row, other in pairs for a, b in zip(row, other, strict=True))
