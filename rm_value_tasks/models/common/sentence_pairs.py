"""Questions and answers as sentence pairs, for encoders without a chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.conversation import CHUNK, SENTINELS, Tokens, messages_of

__all__ = ["PairEncoder"]


class PairEncoder:
    """Encodes (question, answer) as a sentence pair, for encoders without a chat template.

    Raises:
        ModelError: if the tokenizer puts nothing between the two, as decoders' tokenizers do.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        ends = {tokenizer.sep_token_id, tokenizer.eos_token_id} - {None}
        if not ends & set(tokenizer("a", "b").input_ids[:-1]):
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, and puts "
                "nothing between a question and its answer; give the template that the reward "
                "model was trained with as chat_template=FILE.jinja."
            )
        self._tokenizer = tokenizer
        self._first_ids: list[int] = []

    def encode(self, requests: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Tokenize every ``(context, continuation)`` as a pair, in order.

        Raises:
            ModelError: if a context has more than one turn before the answer.
        """
        tokens: list[Tokens] = []
        for start in range(0, len(requests), CHUNK):
            turns = [messages_of(*request) for request in requests[start : start + CHUNK]]
            if any(len(messages) != 2 for messages in turns):
                raise ModelError(
                    "a sentence-pair reward model reads one question and one answer, but a "
                    "request has more turns; leave out system text and --fewshot_as_multiturn."
                )
            batch = self._tokenizer(
                [question["content"] for question, _ in turns],
                [answer["content"] for _, answer in turns],
                return_attention_mask=False,
            )
            keys = [key for key in ("input_ids", "token_type_ids") if key in batch]
            tokens += [{key: batch[key][row] for key in keys} for row in range(len(turns))]
        if tokens:
            self._first_ids = tokens[0]["input_ids"][:8]
        return tokens

    def halves(self, context: str) -> tuple[Tokens, Tokens]:
        """Tokenize what stands before and after the answers to ``context``.

        Raises:
            ModelError: as ``encode``.
        """
        word = SENTINELS[0]
        (whole,) = self.encode([(context, word)])
        answer = self._tokenizer(word, add_special_tokens=False).input_ids
        ids = whole["input_ids"]
        places = range(len(ids) - len(answer), -1, -1)
        start = next(i for i in places if ids[i : i + len(answer)] == answer)
        stop = start + len(answer)
        return (
            {key: values[:start] for key, values in whole.items()},
            {key: values[stop:] for key, values in whole.items()},
        )

    def settings(self) -> dict[str, Any]:
        """Return the encoding's name."""
        return {"encoding": "sentence pair"}

    def describe(self) -> dict[str, Any]:
        """Return the encoding's name and the first ids of the first pair."""
        return {**self.settings(), "first_token_ids": self._first_ids}
