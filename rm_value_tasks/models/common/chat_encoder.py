"""Conversations rendered with a tokenizer's chat template, as token ids."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.conversation import (
    CHUNK,
    SENTINELS,
    Conversation,
    Message,
    Tokens,
    messages_of,
)
from rm_value_tasks.models.common.template import DATE, Template

__all__ = ["ChatEncoder"]


class ChatEncoder:
    """Renders conversations with the tokenizer's chat template.

    Args:
        tokenizer: must have a chat template.
        bos: ``one`` for exactly one BOS (none where the tokenizer has none), ``paper``
            for what rendering and then calling the tokenizer gives: a second BOS where
            both template and tokenizer write one, as the published scores probably had.
        template_args: passed to the template (``enable_thinking`` and the like).
        template_date: what a template that asks for today gets.
        closed: whether the tokenizer's special tokens frame the text at both ends
            (encoders), rather than only a BOS before it.
        append: token ids that end every conversation, unless the template writes them.
        step: the token id that ends a step. Steps of an answer are separated by an empty
            line; what the template writes after the answer is left out, so that the last
            token is the last step's.

    Raises:
        ModelError: if the tokenizer has no chat template, or one that loses what it is given, or
            ``bos`` is unknown.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        bos: str = "one",
        template_args: Mapping[str, Any] | None = None,
        template_date: str = DATE,
        closed: bool = False,
        append: Sequence[int] = (),
        step: int | None = None,
    ) -> None:
        if bos not in ("one", "paper"):
            raise ModelError(f"bos={bos!r} is neither 'one' nor 'paper'.")
        self.template = Template(tokenizer, template_args, template_date)
        self.template.check()
        self._tokenizer = tokenizer
        self._bos = bos
        self._closed = closed
        self._append = list(append) if step is None else [step]
        self._step = None if step is None else tokenizer.decode([step])
        start = tokenizer("a").input_ids[:1]
        self._adds_bos = tokenizer.bos_token_id is not None and start == [tokenizer.bos_token_id]
        self._first_ids: list[int] = []

    def encode(self, requests: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Tokenize every ``(context, continuation)``, in order.

        Raises:
            ModelError: if the template refuses a conversation or drops its answer, or
                a context looks rendered already but has lost its messages.
        """
        halves: dict[Hashable, tuple[str, str] | None] = {}
        tokens: list[Tokens] = []
        for start in range(0, len(requests), CHUNK):
            texts = [self._text(*request, halves) for request in requests[start : start + CHUNK]]
            tokens += [{"input_ids": self._framed(ids)} for ids in self._tokenize(texts)]
        if tokens:
            self._first_ids = tokens[0]["input_ids"][:8]
        return tokens

    def halves(self, context: str) -> tuple[Tokens, Tokens]:
        """Tokenize what the template writes before and after the answers to ``context``.

        For answers given as token ids: each half is tokenized on its own, with the BOS
        that whole conversations get.

        Raises:
            ModelError: as ``encode``, or if the template does not leave answers as they are.
        """
        split = self._halves(context, messages_of(context, SENTINELS[0]))
        if split is None:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path!r} writes different text "
                "around different answers, so a token cannot be put in an answer's place."
            )
        start, end = self._frame()
        if self._step is not None:
            split = (split[0], "")
        before = self._one_bos([*start, *self._plain_ids(split[0])])
        # Behind a word, as some tokenizers write a space before whatever comes first.
        word, text = (self._plain_ids(SENTINELS[0] + half) for half in ("", split[1]))
        joined = text[: len(word)] == word
        after = text[len(word) :] if joined else self._plain_ids(split[1])
        self._first_ids = before[:8]
        return {"input_ids": before}, {"input_ids": self._appended([*after, *end])}

    def settings(self) -> dict[str, Any]:
        """Return what the encoding depends on: template, appended tokens, BOS rule."""
        return {
            "encoding": "chat",
            **self.template.settings(),
            "appended_token_ids": self._append,
            "bos": self._bos,
        }

    def describe(self) -> dict[str, Any]:
        """Return template hash, BOS rule and the first ids of the first conversation."""
        bos = self._tokenizer.bos_token_id
        if not self._first_ids:  # all scores came from lm-eval's cache
            self.encode([(SENTINELS[0], " " + SENTINELS[1])])
        leading = list(takewhile(lambda token: token == bos, self._first_ids))
        return {
            **self.settings(),
            "system_text_left_out": self.template.left_out,
            "bos_count": len(leading),
            "first_token_ids": self._first_ids,
        }

    def _text(
        self, context: str, continuation: str, halves: dict[Hashable, tuple[str, str] | None]
    ) -> str:
        messages = messages_of(context, continuation)
        answer = messages[-1]["content"]
        key = (type(context), context)
        if key not in halves:
            halves[key] = self._halves(context, messages)
        split = halves[key]
        # Rendering takes 100 times as long as joining: a plain answer goes between the
        # halves of its context's rendering, anything that the template acts on is rendered.
        plain = self.template.is_plain(answer)
        if self._step is not None:
            return split[0] + answer if plain and split else self._text_of_steps(messages, split)
        return (
            split[0] + answer + split[1] if plain and split else self.template.render_kept(messages)
        )

    def _text_of_steps(self, messages: Sequence[Message], split: tuple[str, str] | None) -> str:
        """Render up to the answer's end, its steps separated by the step's token."""
        answer = messages[-1]["content"].strip()
        text = self.template.render_kept(messages)
        # The answer may occur in what the template writes after it.
        before, middle, _ = text.removesuffix(split[1] if split else "").rpartition(answer)
        if not middle or not answer:
            raise ModelError(
                f"the chat template of {self._tokenizer.name_or_path!r} does not write the answer "
                f"{answer!r} as it is, so its steps cannot be marked."
            )
        steps = (part.strip() for part in answer.split("\n\n"))
        return before + str(self._step).join(part for part in steps if part)

    def _halves(self, context: str, messages: Sequence[Message]) -> tuple[str, str] | None:
        """Split the rendering around the answer; None if the template acts on answers."""
        if not isinstance(context, Conversation) and self._looks_rendered(context):
            raise ModelError(
                "a context already ends with the chat template's generation prompt but was not "
                "rendered by this model, so rendering it again would nest two templates; let "
                "lm-eval render it with --apply_chat_template."
            )
        found = []
        for sentinel in SENTINELS:
            turn = {"role": "assistant", "content": sentinel}
            before, middle, after = self.template.render_kept([*messages[:-1], turn]).rpartition(
                sentinel
            )
            if not middle:
                raise ModelError(
                    f"the chat template of {self._tokenizer.name_or_path!r} leaves the "
                    "assistant's answer out, so every answer would score the same."
                )
            found.append((before, after))
        return found[0] if found[0] == found[1] else None

    def _looks_rendered(self, context: str) -> bool:
        ending = self.template.prompt_ending
        return bool(ending.strip()) and context.endswith(ending)

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        special = self._closed or self._bos == "paper"
        return self._tokenizer(
            texts, add_special_tokens=special, return_attention_mask=False
        ).input_ids

    def _plain_ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that ``_tokenize`` puts around a text."""
        if not (self._closed or self._bos == "paper"):
            return [], []
        framed, plain = self._tokenizer("a").input_ids, self._plain_ids("a")
        start = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
        return framed[:start], framed[start + len(plain) :]

    def _framed(self, ids: list[int]) -> list[int]:
        return self._appended(self._one_bos(ids))

    def _appended(self, ids: list[int]) -> list[int]:
        there = not self._append or ids[-len(self._append) :] == self._append
        return ids if there and self._step is None else [*ids, *self._append]

    def _one_bos(self, ids: list[int]) -> list[int]:
        if self._bos == "paper":
            return ids
        bos = self._tokenizer.bos_token_id
        if self._adds_bos and ids[:1] != [bos]:
            return [bos, *ids]
        while len(ids) > 1 and ids[0] == ids[1] == bos:
            ids = ids[1:]
        return ids
