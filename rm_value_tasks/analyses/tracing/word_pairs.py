"""Two words under every pair of language models: the paper's freedom against love."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.analyses.tracing.inheritance import interval
from rm_value_tasks.analyses.tracing.stages import Design, Traced
from rm_value_tasks.errors import DataError
from rm_value_tasks.scores.log_ratios import log_ratio, mwlr

__all__ = ["SCORES", "WordsNotFoundError", "differences"]

SCORES = {"log_ratio": log_ratio, "mwlr": mwlr}
"""How two models' log-probabilities become one implicit reward; see ``log_ratios``."""


class WordsNotFoundError(DataError):
    """The runs have too few log-probabilities of the two words."""


def differences(
    design: Design,
    words: tuple[str, str] = ("freedom", "love"),
    *,
    score: str = "log_ratio",
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute how much more one model than another favours the first word over the second.

    Estimand: implicit reward of the first word minus that of the second, the first model's
    against the second's (Christian et al. 2026), mean over the positive prompts; above 0 the
    first model favours the first word more than the second model does. Unit of analysis: the
    prompt; the interval (95%, percentile bootstrap over prompts, NaN for one prompt) takes
    words and models as fixed. Every pair of runs with log-probabilities counts once, in the
    order given, and every implicit-reward run of that score is a pair already. Rewards of
    reward models have a unit of their own and are left out.

    Args:
        design: what ``stages.align`` gives.
        words: two of its common words.
        score: a key of ``SCORES``; the mixture-weighted form depends on how probable the
            words are, the log-ratio only on their odds.
        resamples: how many.
        seed: of the resampling.

    Returns:
        One row a pair: ``first`` and ``second`` (models), ``families`` (one name, or
        ``A / B``), ``word``, ``other_word``, ``score``, ``difference``, ``low``, ``high``,
        ``prompts`` (how many).

    Raises:
        WordsNotFoundError: if a word is not among the common ones, or there is no pair.
        DataError: if a difference is not a finite number.
    """
    _refuse_words(design, words)
    prompts = [good for good, _ in design.pairs]
    drawn = np.random.default_rng(seed).integers(len(prompts), size=(resamples, len(prompts)))
    rows = []
    for first, second, values in _pairs(design, words, prompts, score):
        if not np.isfinite(values).all():
            raise DataError(
                f"{_name(design, first)} or its partner gives {words[0]} or {words[1]} no "
                "probability at all; run it in a wider dtype."
            )
        resampled = values[drawn].mean(axis=1) if len(prompts) > 1 else np.full(2, np.nan)
        found = interval(np.append(values.mean(), resampled))
        families = [f for f in design.families if f in (first.stage[0], second.stage[0])]
        rows.append({
            "first": _name(design, first), "second": _second(design, first, second),
            "families": " / ".join(families), "word": words[0], "other_word": words[1],
            "score": score, "difference": found.estimate, "low": found.low, "high": found.high,
            "prompts": len(prompts),
        })  # fmt: skip
    if not rows:
        raise WordsNotFoundError(
            f"no difference of {' and '.join(words)}: it takes two runs with log-probabilities, "
            f"or one of --model implicit-reward with score={score}."
        )
    return pd.DataFrame(rows)


def _refuse_words(design: Design, words: tuple[str, str]) -> None:
    if len({*words}) != 2 or not {*words} <= {*design.lexicon.words}:
        absent = [word for word in words if word not in design.lexicon.words]
        reason = f"{absent[0]!r} is not among the words of all runs" if absent else "they are one"
        raise WordsNotFoundError(f"no difference of {' and '.join(words)}: {reason}.")


def _pairs(
    design: Design, words: tuple[str, str], prompts: list[str], score: str
) -> list[tuple[Traced, Traced, NDArray[np.float64]]]:
    """Two runs (one twice, if it is a pair itself) and the difference on each prompt."""
    found = []
    for traced in design.runs:
        if _is_pair(traced, score):
            one, other = (traced.scores.loc[word, prompts].to_numpy(float) for word in words)
            found.append((traced, traced, one - other))
    models = [traced for traced in design.runs if traced.run.score_kind == "log-probability"]
    for pair in combinations(models, 2):
        one, other = (
            SCORES[score](*(run.scores.loc[word, prompts].to_numpy(float) for run in pair))
            for word in words
        )
        found.append((*pair, one - other))
    return found


def _is_pair(traced: Traced, score: str) -> bool:
    """Whether a run is the implicit reward of two models, on the scale asked for."""
    arguments = traced.run.model_args
    return (
        traced.run.model_type == "implicit-reward"
        and str(arguments.get("reference")).lower() != "none"
        and str(arguments.get("score") or "log_ratio") == score
        and float(arguments.get("beta") or 1) == 1
    )


def _name(design: Design, traced: Traced) -> str:
    """Family and stage, with the model where the stage has several."""
    name = " ".join(traced.stage)
    several = sum(other.stage == traced.stage for other in design.runs) > 1
    return f"{name} ({traced.run.model})" if several else name


def _second(design: Design, first: Traced, second: Traced) -> str:
    if first is second:  # an implicit reward names its own reference
        return first.run.model.rpartition(" against ")[2]
    return _name(design, second)
