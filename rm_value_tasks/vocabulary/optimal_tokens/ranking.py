"""Texts that are tokens of two models, ordered by implicit reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.scores.log_probability_tables import LogProbabilities
from rm_value_tasks.scores.log_ratios import log_ratio, mwlr
from rm_value_tasks.vocabulary.word_filter import WordFilter

__all__ = ["SCORES", "average_forms", "join", "rank_tokens", "word_scores"]

SCORES: dict[str, Callable[[Any, Any], Any]] = {"mwlr": mwlr, "log_ratio": log_ratio}
"""Name -> implicit reward of two log-probabilities."""


def join(first: LogProbabilities, second: LogProbabilities, prompt: str) -> pd.DataFrame:
    """Return both models' log-probabilities of the texts that are tokens of both.

    Vocabularies number and spell tokens differently, so tokens meet in the text that they
    stand for, case and spaces included; tokens of one text count together
    (``LogProbabilities.of_texts``). What only one vocabulary has is left out.

    Args:
        first: a model.
        second: another.
        prompt: a prompt id that both have.

    Returns:
        Indexed by text, in the order of the first vocabulary; columns ``first``, ``second``.

    Raises:
        DataError: if one lacks the prompt, or no text is shared.
    """
    one, other = first.of_texts(prompt), second.of_texts(prompt)
    shared = one.index.intersection(other.index, sort=False)
    if shared.empty:
        raise DataError(f"{first.name} and {second.name} share no token's text (token_decoded).")
    return pd.DataFrame({"first": one.loc[shared], "second": other.loc[shared]}, index=shared)


def rank_tokens(
    first: LogProbabilities,
    second: LogProbabilities,
    prompt: str,
    *,
    score: str = "mwlr",
    each_form: bool = False,
    only: WordFilter | None = None,
) -> pd.DataFrame:
    """Order the texts that both models know by implicit reward, highest first.

    Args:
        first: the model whose likely tokens get high scores.
        second: the model whose likely tokens get low scores.
        prompt: a prompt id that both have.
        score: a name in ``SCORES``.
        each_form: keep every text apart, as the authors' script does for Table 1, instead of
            averaging a word's surface forms (``average_forms``).
        only: leaves out other texts, before ranks are given.

    Returns:
        Columns ``rank`` (1 = highest score; ties in alphabetical order), ``word`` (the text,
        or a word's most probable form), ``forms`` (how many were averaged) and ``score``.

    Raises:
        DataError: as ``join``, or if ``score`` is unknown, or no text is left.
    """
    if score not in SCORES:
        raise DataError(f"score {score!r} is none of {', '.join(SCORES)}.")
    joint = join(first, second, prompt)
    if only is not None:
        joint = joint[[only.keeps(text) for text in joint.index]]
        if joint.empty:
            raise DataError(
                f"{first.name} and {second.name} share no token that is one of the {only.said}."
            )
    scored = pd.DataFrame({
        "word": joint.index,
        "score": SCORES[score](joint["first"].to_numpy(), joint["second"].to_numpy()),
        "weight": joint.max(axis=1).to_numpy(),
    })  # fmt: skip
    ordered = scored.assign(forms=1) if each_form else average_forms(scored)
    ordered = ordered.sort_values(["score", "word"], ascending=[False, True], kind="stable")
    ordered.insert(0, "rank", range(1, len(ordered) + 1))
    return ordered[["rank", "word", "forms", "score"]].reset_index(drop=True)


def average_forms(scored: pd.DataFrame) -> pd.DataFrame:
    """Average the scores of texts that differ in case and outer white space alone.

    ``freedom``, ``Freedom`` and `` freedom`` are one word; its score is the plain mean over
    the forms that both vocabularies have, as in the authors' script for Figure 3. Texts of
    nothing but white space stay apart.

    Args:
        scored: ``word``, ``score`` and ``weight``; the form of the largest weight (of equal
            ones, the first in the alphabet) gives the word's spelling.

    Returns:
        One row for each word: ``word``, ``forms``, ``score``.
    """
    ordered = scored.sort_values(["weight", "word"], ascending=[False, True], kind="stable")
    bare = ordered["word"].str.strip()
    blank = bare == ""
    grouped = ordered.assign(
        word=bare.mask(blank, ordered["word"]), key=bare.str.lower().mask(blank, ordered["word"])
    ).groupby("key", sort=False)
    found = grouped.agg(word=("word", "first"), forms=("word", "size"), score=("score", "mean"))
    return found.reset_index(drop=True)


def word_scores(
    first: LogProbabilities,
    second: LogProbabilities,
    prompt: str,
    words: Sequence[str],
    *,
    score: str = "mwlr",
) -> dict[str, float]:
    """Return words' scores, each the mean over its surface forms (``average_forms``).

    Raises:
        DataError: as ``rank_tokens``, or if no form of a word is a token of both models.
    """
    ranked = rank_tokens(first, second, prompt, score=score)
    found = dict(zip(ranked["word"].str.lower(), ranked["score"], strict=True))
    for word in words:
        if word.strip().lower() not in found:
            raise DataError(
                f"{word!r} is no token of both {first.name} and {second.name} in any surface "
                "form; choose another word."
            )
    return {word: float(found[word.strip().lower()]) for word in words}
