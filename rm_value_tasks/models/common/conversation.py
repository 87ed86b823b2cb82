"""From an lm-eval request to the tokens that a reward model reads.

A request is ``(context, continuation)``. A reward model reads a finished conversation:
the context as the user's turn, the continuation as the assistant's turn with the chat
template's own ending, and exactly one BOS where the tokenizer has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = [
    "CHUNK",
    "SENTINELS",
    "Conversation",
    "Encoder",
    "Message",
    "Tokens",
    "messages_of",
]

Message = Mapping[str, str]
Tokens = dict[str, list[int]]
"""One tokenized conversation: ``input_ids`` and, for pairs, ``token_type_ids``."""

SENTINELS = ("freedom", "Zebra")
"""Answers that stand in for others while a template is looked at."""
CHUNK = 8192
"""Texts tokenized at once, so that memory stays flat in the number of requests."""


class Conversation(str):
    """A rendered context that remembers its messages.

    lm-eval hands contexts through as strings; with ``--apply_chat_template`` the rendered
    string alone no longer says where the turns are, nor how the template ends the answer.
    """

    messages: list[Message]

    def __new__(cls, text: str, messages: Sequence[Message] = ()) -> Conversation:
        """Make the string ``text`` with its ``messages``."""
        self = super().__new__(cls, text)
        self.messages = list(messages)
        return self

    def __getnewargs__(self) -> tuple[str, list[Message]]:  # type: ignore[override]
        """Let lm-eval's request cache pickle it whole."""
        return str(self), self.messages


def messages_of(context: str, continuation: str) -> list[Message]:
    """Return the conversation whose last turn is the answer.

    Without ``--apply_chat_template`` the context is one user turn, and the single space
    that lm-eval puts between context and continuation is not part of the answer. With
    it, the continuation is the answer as it stands (after ``gen_prefix``, if any).
    """
    if not isinstance(context, Conversation):
        return [
            {"role": "user", "content": context},
            {"role": "assistant", "content": continuation.removeprefix(" ")},
        ]
    *turns, last = context.messages
    if last["role"] == "assistant":
        return [*turns, {"role": "assistant", "content": last["content"] + continuation}]
    return [*turns, last, {"role": "assistant", "content": continuation}]


class Encoder(Protocol):
    """Turns requests into token ids."""

    def encode(self, requests: Sequence[tuple[str, str]]) -> list[Tokens]:
        """Tokenize every ``(context, continuation)``, in order."""

    def halves(self, context: str) -> tuple[Tokens, Tokens]:
        """Tokenize what stands before and after the answers to ``context``."""

    def settings(self) -> dict[str, Any]:
        """Return what the encoding depends on."""

    def describe(self) -> dict[str, Any]:
        """Return what a reader of the results needs to repeat the encoding."""
