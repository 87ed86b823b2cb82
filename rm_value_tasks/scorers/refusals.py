"""What a scorer of rewards refuses to answer, each in one sentence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NoReturn

from lm_eval.api.instance import Instance

from rm_value_tasks.errors import ModelError

__all__ = ["refuse_non_finite", "refuse_single_answers", "refuse_tasks", "short"]


def refuse_single_answers(requests: Sequence[Instance]) -> None:
    """Refuse tasks that ask for one answer's log-likelihood on its own.

    Raises:
        ModelError: naming the first such task; a reward alone means nothing.
    """
    answers = Counter((request.task_name, request.doc_id) for request in requests)
    for (task, _), count in answers.items():
        if task is not None and count == 1:
            raise ModelError(
                f"the task {task!r} asks for one answer's log-likelihood on its own, which a "
                "reward model cannot give: rewards only compare answers to the same prompt; leave "
                "the task out or run it with --model hf."
            )


def refuse_tasks(requests: Sequence[Instance], model: str, what: str) -> NoReturn:
    """Refuse requests of a kind that ``model`` cannot answer.

    Args:
        requests: all of one kind.
        model: what cannot answer them.
        what: what they ask for.

    Raises:
        ModelError: always, naming the tasks.
    """
    names = ", ".join(sorted({str(request.task_name) for request in requests}))
    raise ModelError(
        f"the task {names} asks for {what}, which {model} cannot give; leave it out or run it with "
        "--model hf."
    )


def refuse_non_finite(pair: tuple[str, str], reward: float) -> None:
    """Refuse a reward that is NaN or infinite.

    Raises:
        ModelError: naming the prompt and the answer.
    """
    if not math.isfinite(reward):
        raise ModelError(
            f"the reward of the answer {pair[1].strip()!r} to {short(pair[0])} is {reward}; try "
            "another dtype (dtype=float32) or attn_implementation=eager."
        )


def short(text: str) -> str:
    """Quote a text, its end only if it is long."""
    return repr(text if len(text) <= 120 else "..." + text[-117:])
