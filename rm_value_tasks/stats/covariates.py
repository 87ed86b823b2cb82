"""What may make a word score high whatever its category: length, tokens, frequency."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rm_value_tasks.errors import DataError

__all__ = ["NAMES", "word_covariates"]

NAMES = ("length", "frequency", "tokens")


def word_covariates(
    words: Sequence[str], names: Sequence[str], tokenizer: str = ""
) -> pd.DataFrame:
    """Measure words, for ``crossed.crossed_model``.

    Args:
        words: the list.
        names: of ``NAMES``: ``length`` (letters), ``frequency`` (Zipf: base-10 logarithm of
            occurrences per billion English words, by wordfreq; 0 for unknown words) and
            ``tokens`` (how many, without special tokens).
        tokenizer: for ``tokens``, a folder or the Hub's id.

    Returns:
        Index ``words``, columns ``names``.

    Raises:
        DataError: if a name is unknown, wordfreq is not installed, or there is no tokenizer.
    """
    found = pd.DataFrame(index=pd.Index(words, name="word"))
    for name in names:
        if name == "length":
            found[name] = [float(len(word)) for word in words]
        elif name == "frequency":
            found[name] = _frequencies(words)
        elif name == "tokens":
            found[name] = _token_counts(words, tokenizer)
        else:
            raise DataError(f"no word covariate {name!r}; known: {', '.join(NAMES)}.")
    return found


def _frequencies(words: Sequence[str]) -> list[float]:
    try:
        from wordfreq import zipf_frequency
    except ModuleNotFoundError as error:
        raise DataError(
            "the covariate frequency needs wordfreq, which is not installed; pip install wordfreq."
        ) from error
    return [zipf_frequency(word, "en") for word in words]


def _token_counts(words: Sequence[str], name: str) -> list[float]:
    from transformers import AutoTokenizer

    if not name:
        raise DataError("the covariate tokens needs a tokenizer; name its folder or Hub id.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"no tokenizer can be loaded from {name!r} ({reason}).") from error
    return [float(len(tokenizer(word, add_special_tokens=False)["input_ids"])) for word in words]
