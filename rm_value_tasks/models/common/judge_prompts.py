"""How a judge is asked: the prompt, its fields and the labels that it answers with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.refusals import short

__all__ = ["CHOICE_PROMPT", "MODES", "RATINGS", "RATING_PROMPT", "JudgePrompt"]

MODES = ("rating", "choice")
RATINGS = "1;2;3;4;5;6;7;8;9"

RATING_PROMPT = """Rate how good the answer to the question is, on a scale from {lowest} (worst) \
to {highest} (best). Reply with the rating alone.

Question: {question}

Answer: {answer}"""

CHOICE_PROMPT = """Which of two answers to the question is better? Reply with A or B alone.

Question: {question}

Answer A: {answer_a}

Answer B: {answer_b}"""

_FIELDS = {"rating": ("question", "answer"), "choice": ("question", "answer_a", "answer_b")}
_LETTERS = ("A", "B")


class JudgePrompt:
    """What a judge reads of a question and its answers, and what it may say.

    Args:
        mode: one of ``MODES``.
        ratings: the ratings, each a number, as ``1;2;3;4;5``.
        path: a text file with the fields of the mode; None for the usual prompt.

    Attributes:
        text: the prompt with its fields.
        ratings: label -> number, rising.
        labels: what the judge may say: the ratings, or the answers' letters.

    Raises:
        ModelError: if a value means nothing, or the file cannot be read or lacks a field.
    """

    def __init__(
        self,
        mode: str = "rating",
        ratings: str | Sequence[float] = RATINGS,
        path: str | None = None,
    ) -> None:
        if mode not in MODES:
            raise ModelError(f"mode={mode!r} is none of {', '.join(MODES)}.")
        self.mode = mode
        self.ratings = _scale(ratings)
        self.text = _prompt(path, mode)
        self.labels = list(_LETTERS) if mode == "choice" else list(self.ratings)

    def fill(self, **fields: str) -> str:
        """Return the prompt with its fields filled."""
        ends = {"lowest": next(iter(self.ratings)), "highest": next(reversed(self.ratings))}
        text = self.text
        parts = {**fields, **ends}
        pieces, rest = [], text
        while rest:  # one pass, so that braces in an answer stay what they are
            before, brace, after = rest.partition("{")
            name, closed, behind = after.partition("}")
            pieces.append(before)
            known = bool(closed) and name in parts
            pieces.append(parts[name] if known else brace)
            rest = behind if known else after
        return "".join(pieces)

    def example(self, question: str, answer: str) -> str:
        """Return the prompt for an answer, with ``mode=choice`` for twice the same."""
        return self.fill(question=question, answer=answer, answer_a=answer, answer_b=answer)


def _scale(ratings: str | Sequence[float]) -> dict[str, float]:
    if not isinstance(ratings, str | int | float | list | tuple):
        raise ModelError(f"ratings={ratings!r} is not numbers separated by ';'.")
    if isinstance(ratings, int | float):  # lm-eval reads a single one as a number
        ratings = str(ratings)
    try:
        parts = (
            ratings.split(";") if isinstance(ratings, str) else [f"{each:g}" for each in ratings]
        )
        scale = {part.strip(): float(part) for part in parts}
    except (OverflowError, TypeError, ValueError):
        raise ModelError(f"ratings={ratings!r} is not numbers separated by ';'.") from None
    if len(scale) < 2 or len(scale) != len(parts):
        raise ModelError(f"ratings={ratings!r} is not two or more different numbers.")
    return dict(sorted(scale.items(), key=lambda item: item[1]))


def _prompt(path: str | None, mode: str) -> str:
    if path is None:
        return RATING_PROMPT if mode == "rating" else CHOICE_PROMPT
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"judge_prompt={short(path)} cannot be read ({error}).") from error
    missing = [field for field in _FIELDS[mode] if "{" + field + "}" not in text]
    if missing:
        raise ModelError(
            f"judge_prompt={short(path)} lacks {{{missing[0]}}}, which mode={mode} needs."
        )
    return text
