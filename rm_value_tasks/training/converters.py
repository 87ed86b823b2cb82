"""Published preference datasets in TRL's form: ``chosen`` and ``rejected`` as messages.

Each converter takes rows as the dataset has them and gives pairs; ties are left out. TRL's
trap of a text ``prompt`` beside full conversations cannot arise: the prompt is in both sides.
Where rows have ratings, ``margin`` is the difference of the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rm_value_tasks.errors import DataError

__all__ = ["FORMATS", "SPLITS", "convert"]

Row = Mapping[str, Any]
Pair = dict[str, Any]

SPLITS = {
    "trl": ("train", None),
    "ultrafeedback": ("train_prefs", None),
    "unified-feedback": ("train", "all"),
    "skywork": ("train", None),
    "helpsteer2": ("train", None),
    "helpsteer3": ("train", "preference"),
}
"""Format -> the usual split and hub configuration."""


def convert(rows: Iterable[Row], format_name: str, where: str) -> Iterator[Pair]:
    """Turn a dataset's rows into pairs.

    Args:
        rows: as the dataset has them, in its order.
        format_name: one of ``FORMATS``.
        where: the dataset's name, for messages.

    Yields:
        ``chosen`` and ``rejected`` (messages, or texts for ``trl``), ``margin`` (float; 0
        without ratings), and ``asked``, the prompt, where it is a text before texts.

    Raises:
        DataError: if a row lacks a column of the format.
    """
    try:
        yield from FORMATS[format_name](rows)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DataError(
            f"{where} is not in the format {format_name} ({type(error).__name__}: {error}); name "
            f"the right one of {', '.join(FORMATS)}."
        ) from error


def _messages(turns: Iterable[Row]) -> list[dict[str, str]]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]


def _pair(chosen: Any, rejected: Any, margin: float = 0.0, **more: Any) -> Pair:
    return {**more, "chosen": chosen, "rejected": rejected, "margin": float(margin)}


def _trl(rows: Iterable[Row]) -> Iterator[Pair]:
    """TRL's own: texts or messages, with or without a prompt."""
    for row in rows:
        chosen, rejected = row["chosen"], row["rejected"]
        if chosen == rejected:
            continue
        texts = isinstance(chosen, str)
        if not texts:
            chosen, rejected = _messages(chosen), _messages(rejected)
        prompt, margin = row.get("prompt"), row.get("margin") or 0.0
        if texts and isinstance(prompt, str):
            yield _pair(prompt + chosen, prompt + rejected, margin, asked=prompt)
            continue
        if isinstance(prompt, str) and chosen[0]["role"] == "assistant":
            prompt = [{"role": "user", "content": prompt}]
        if prompt and not isinstance(prompt, str):
            before = _messages(prompt)
            if chosen[: len(before)] != before:
                chosen, rejected = before + chosen, before + rejected
        yield _pair(chosen, rejected, margin)


def _ultrafeedback(rows: Iterable[Row]) -> Iterator[Pair]:
    """HuggingFaceH4/ultrafeedback_binarized: full conversations, each with a score."""
    for row in rows:
        margin = row["score_chosen"] - row["score_rejected"]
        if margin:
            yield _pair(_messages(row["chosen"]), _messages(row["rejected"]), margin)


def _unified(rows: Iterable[Row]) -> Iterator[Pair]:
    """llm-blender/Unified-Feedback: two rated conversations in any order."""
    for row in rows:
        margin = row["conv_A_rating"] - row["conv_B_rating"]
        sides = [_messages(row["conv_A"]), _messages(row["conv_B"])]
        if margin:
            chosen, rejected = sides if margin > 0 else sides[::-1]
            yield _pair(chosen, rejected, abs(margin))


def _skywork(rows: Iterable[Row]) -> Iterator[Pair]:
    """Skywork/Skywork-Reward-Preference-80K: full conversations, no ratings."""
    for row in rows:
        if row["chosen"] != row["rejected"]:
            yield _pair(_messages(row["chosen"]), _messages(row["rejected"]))


def _helpsteer2(rows: Iterable[Row]) -> Iterator[Pair]:
    """nvidia/HelpSteer2: two rated responses to a prompt stand one after the other.

    The helpfulness decides. Its preference file (``preference_strength``, negative where the
    first response is better) is read too.
    """
    before: tuple[str, str, float] | None = None
    for row in rows:
        if "preference_strength" in row:
            responses = (row["response_1"], row["response_2"])
            yield from _stronger(_turns(row["prompt"]), responses, row["preference_strength"])
            continue
        prompt, response, rating = row["prompt"], row["response"], row["helpfulness"]
        if before is not None and before[0] == prompt:
            yield from _stronger(_turns(prompt), (before[1], response), rating - before[2])
            before = None
        else:
            before = (prompt, response, rating)


def _helpsteer3(rows: Iterable[Row]) -> Iterator[Pair]:
    """nvidia/HelpSteer3 (preference): -3 to 3, negative where the first response is better."""
    for row in rows:
        yield from _stronger(
            _messages(row["context"]),
            (row["response1"], row["response2"]),
            row["overall_preference"],
        )


def _stronger(
    context: list[dict[str, str]], responses: tuple[str, str], preference: float
) -> Iterator[Pair]:
    if preference:
        first, second = ([*context, {"role": "assistant", "content": r}] for r in responses)
        chosen, rejected = (first, second) if preference < 0 else (second, first)
        yield _pair(chosen, rejected, abs(preference))


_TURN = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")


def _turns(prompt: str) -> list[dict[str, str]]:
    """Split HelpSteer2's prompt of several turns, which begins with the user's."""
    parts = _TURN.split(prompt)
    roles = ["user", *(role.lower() for role in parts[1::2])]
    return [{"role": role, "content": text} for role, text in zip(roles, parts[::2], strict=True)]


FORMATS: Mapping[str, Callable[[Iterable[Row]], Iterator[Pair]]] = {
    "trl": _trl,
    "ultrafeedback": _ultrafeedback,
    "unified-feedback": _unified,
    "skywork": _skywork,
    "helpsteer2": _helpsteer2,
    "helpsteer3": _helpsteer3,
}
"""Name in the config -> converter."""
