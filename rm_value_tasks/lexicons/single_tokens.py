"""Which words are one token in every vocabulary, so that first tokens can be compared."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.scores import log_probability_tables

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["is_single_token", "keep_single_tokens"]

_log = logging.getLogger(__name__)

_BEFORE = "\n"
"""Stands before an answer: it merges with no word, but keeps tokenizers from writing the space
that some put before whatever comes first."""


def keep_single_tokens(
    lexicon: Lexicon, tokenizers: Sequence[str], forms: Sequence[Callable[[str], str]]
) -> tuple[Lexicon, tuple[str, ...]]:
    """Leave out the words that are not one token in every vocabulary, in every form.

    Args:
        lexicon: the words.
        tokenizers: folders or hub ids, as ``AutoTokenizer`` takes them, or tables of
            log-probabilities (``log_probability_tables.read``), which say what their tokens
            stand for.
        forms: how each word is written as an answer.

    Returns:
        The rest of the lexicon, without facets, and the words left out.

    Raises:
        DataError: if a tokenizer cannot be loaded, or a category would lose all its words.
    """
    checks = [_check(name) for name in tokenizers]
    kept = [all(check(form(word)) for form in forms for check in checks) for word in lexicon.words]
    rest = replace(
        lexicon,
        words=tuple(word for word, keep in zip(lexicon.words, kept, strict=True) if keep),
        categories=tuple(
            names for names, keep in zip(lexicon.categories, kept, strict=True) if keep
        ),
        facets=(),
    )
    if gone := [name for name in lexicon.category_names if name not in rest.category_names]:
        raise DataError(
            f"no {gone[0]} word of the lexicon {lexicon.name} is one token for all of "
            f"{', '.join(tokenizers)}; write the words otherwise (surface_forms) or leave "
            "single_token_in out."
        )
    _report(lexicon, rest)
    dropped = (word for word, keep in zip(lexicon.words, kept, strict=True) if not keep)
    return rest, tuple(dropped)


def _report(lexicon: Lexicon, rest: Lexicon) -> None:
    counts = ", ".join(
        f"{rest.in_category(name).sum()} of {lexicon.in_category(name).sum()} {name}"
        for name in lexicon.category_names
    )
    gone = len(lexicon) - len(rest)
    _log.warning(
        f"single_token_in drops {gone} of the {len(lexicon)} words of {lexicon.name}; left are "
        f"{counts}."
    )


def is_single_token(text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a text, at the start of a line, is one known token."""
    before, ids = (
        tokenizer(piece, add_special_tokens=False).input_ids for piece in (_BEFORE, _BEFORE + text)
    )
    one = len(ids) == len(before) + 1 and ids[:-1] == before
    return one and ids[-1] != tokenizer.unk_token_id


def _check(name: str) -> Callable[[str], bool]:
    """Return the function that says whether a text is one token."""
    if log_probability_tables.is_token_table(name):
        return _texts(name).__contains__
    return functools.partial(is_single_token, tokenizer=_load(name))


@functools.lru_cache(maxsize=8)
def _texts(path: str) -> frozenset[str]:
    table = log_probability_tables.read(path)
    return frozenset(table.of_texts(next(iter(table.prompts))).index)


@functools.lru_cache(maxsize=8)
def _load(name: str) -> PreTrainedTokenizerBase:
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DataError(
            f"single_token_in has {name!r}, whose tokenizer cannot be loaded ({reason}); give "
            "folders or hub ids of tokenizers."
        ) from error
