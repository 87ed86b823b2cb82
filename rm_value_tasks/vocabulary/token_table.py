"""What a tokenizer's vocabulary holds: which ids count, and how to show their tokens."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
from transformers import PreTrainedTokenizerBase

__all__ = ["TokenTable", "printable"]

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = "▁"
"""How SentencePiece writes a space; byte-level vocabularies have no such character."""
_LOST = "\N{REPLACEMENT CHARACTER}"
_LOST_AS_BYTES = "ï¿½"
"""How byte-level tokenizers write the replacement character itself."""


@dataclass(frozen=True)
class TokenTable:
    """The tokens that can stand in a conversation, by id.

    Args:
        tokenizer: whose tokens they are.
        rows: rows of the model's embedding matrix.

    An id counts if the tokenizer knows it and the model has an embedding for it. Rows
    beyond the tokenizer's ids are padding of the matrix and stand for no token.
    """

    tokenizer: PreTrainedTokenizerBase
    rows: int

    @cached_property
    def ids(self) -> list[int]:
        """Token ids, ascending."""
        return [token for token in self._known if token < self.rows]

    @property
    def rows_without_token(self) -> int:
        """How many embedding rows no token uses."""
        return self.rows - len(self.ids)

    @property
    def tokens_without_row(self) -> int:
        """How many tokens the model has no embedding for."""
        return len(self._known) - len(self.ids)

    @cached_property
    def raw(self) -> list[str]:
        """Tokens as the vocabulary spells them, in the order of ``ids``."""
        return [str(token) for token in self.tokenizer.convert_ids_to_tokens(self.ids)]

    @cached_property
    def decoded(self) -> list[str]:
        """The text that each token stands for within a text, in the order of ``ids``."""
        decode = self.tokenizer.decode
        texts = [str(decode([id_], clean_up_tokenization_spaces=False)) for id_ in self.ids]
        return [_with_its_spaces(raw, text) for raw, text in zip(self.raw, texts, strict=True)]

    @cached_property
    def special(self) -> list[bool]:
        """Whether each token is a control token rather than text."""
        added = self.tokenizer.added_tokens_decoder
        special = {id_ for id_, token in added.items() if token.special}
        special.update(self.tokenizer.all_special_ids)
        return [id_ in special for id_ in self.ids]

    @cached_property
    def byte(self) -> list[bool]:
        """Whether each token is one raw byte: a fallback (``<0x0A>``) or half a character."""
        return [
            (bool(_BYTE.fullmatch(raw)) and text != raw) or (lost and len(raw) == 1)
            for raw, text, lost in zip(self.raw, self.decoded, self.undecodable, strict=True)
        ]

    @cached_property
    def undecodable(self) -> list[bool]:
        """Whether each token's bytes alone are no valid text (part of a character)."""
        return [
            text.count(_LOST) > raw.count(_LOST) + raw.count(_LOST_AS_BYTES)
            for raw, text in zip(self.raw, self.decoded, strict=True)
        ]

    def columns(self) -> pa.Table:
        """Return token_id, token, decoded, is_special, is_byte and is_undecodable."""
        return pa.table(
            {
                "token_id": pa.array(self.ids, pa.int32()),
                "token": pa.array(self.raw, pa.string()),
                "decoded": pa.array(self.decoded, pa.string()),
                "is_special": pa.array(self.special, pa.bool_()),
                "is_byte": pa.array(self.byte, pa.bool_()),
                "is_undecodable": pa.array(self.undecodable, pa.bool_()),
            }
        )

    def describe(self) -> dict[str, Any]:
        """Return how many tokens count and do not, and a hash of ids and raw tokens."""
        pairs = zip(self.ids, self.raw, strict=True)
        return {
            "tokens": len(self.ids),
            "embedding_rows_without_token": self.rows_without_token,
            "tokens_without_embedding_row": self.tokens_without_row,
            "vocabulary_sha256": hashlib.sha256(repr(list(pairs)).encode()).hexdigest(),
        }

    def left_out(self) -> list[str]:
        """Say in sentences what does not count."""
        counts = {
            "embedding rows stand for no token": self.rows_without_token,
            "tokens have no embedding row": self.tokens_without_row,
        }
        return [f"{count} {what} and were left out." for what, count in counts.items() if count]

    @cached_property
    def _known(self) -> Sequence[int]:
        known = set(self.tokenizer.get_vocab().values())
        return sorted(known.union(self.tokenizer.added_tokens_decoder))


def _with_its_spaces(raw: str, text: str) -> str:
    """Give back the spaces that some tokenizers (Llama 2, Mistral) decode nothing to at a start."""
    if raw == "<0x20>" and not text:
        return " "
    spaces = len(raw) - len(raw.lstrip(_SPACE))
    return text if text.startswith(_SPACE) or not spaces else " " * spaces + text.lstrip(" ")


def printable(text: str, width: int = 40) -> str:
    """Quote a text so that a terminal shows it and does nothing else.

    Control, format and direction characters are escaped; a text longer than ``width``
    is cut.
    """
    quoted = repr(text)
    return quoted if len(quoted) <= width else quoted[: width - 1] + "…"
