"""What a scorer of rewards refuses to answer, each in one sentence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from lm_eval.api.instance import Instance

from rm_value_tasks.errors import ModelError

__all__ = [
    "refuse_long",
    "refuse_non_finite",
    "refuse_single_answers",
    "refuse_tasks",
    "refuse_unknown_tokens",
    "short",
]


def refuse_long(pairs: Sequence[tuple[str, str]], lengths: Sequence[int], most: int) -> None:
    """Refuse conversations that are longer than the model takes.

    Args:
        pairs: every (context, answer).
        lengths: their conversations' lengths in tokens.
        most: how many tokens the model takes.

    Raises:
        ModelError: naming the first such conversation; it is never truncated.
    """
    for pair, length in zip(pairs, lengths, strict=True):
        if length > most:
            raise ModelError(
                f"the conversation of {short(pair[0])} and the answer {short(pair[1])} has "
                f"{length} tokens but the model takes {most}; a truncated "
                "conversation has another reward, so leave the task out or raise max_length=."
            )


def refuse_unknown_tokens(tokens: Iterable[Sequence[int]], rows: float) -> None:
    """Refuse token ids that the model has no embedding for.

    Args:
        tokens: conversations.
        rows: of the model's embedding table.

    Raises:
        ModelError: naming the first.
    """
    for ids in tokens:
        if ids and max(ids) >= rows:
            raise ModelError(
                f"the tokenizer gives the token {max(ids)}, but the model has embeddings for "
                f"{rows} tokens: they do not belong together; give the model's own tokenizer=."
            )


def refuse_single_answers(requests: Sequence[Instance], *, resumed: bool = False) -> None:
    """Refuse tasks that ask for one answer's log-likelihood on its own.

    Args:
        requests: what lm-eval asks for.
        resumed: whether lm-eval's cache may hold the rest of a document's answers; then a
            single document says nothing about its task.

    Raises:
        ModelError: naming the first such task; a reward alone means nothing.
    """
    documents: dict[str, Counter[Any]] = {}
    several = set()
    for request in requests:
        if request.task_name is not None:
            documents.setdefault(request.task_name, Counter())[request.doc_id] += 1
            if request.idx > 0:
                several.add(request.task_name)
    for task, answers in documents.items():
        if task in several or max(answers.values()) > 1 or (resumed and len(answers) == 1):
            continue
        raise ModelError(
            f"the task {task!r} asks for one answer's log-likelihood on its own, which a reward "
            "model cannot give: rewards only compare answers to the same prompt; leave the task "
            "out or run it with --model hf."
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
