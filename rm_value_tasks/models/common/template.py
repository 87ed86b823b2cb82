"""A tokenizer's chat template at work: run with a time limit, on a pinned date, and checked.

A template is a program from a model's folder. Every failure is one sentence, and it is trusted only
once it has been seen to keep what it is given: question, system text and answer, with whatever
signs are in them.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import string
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.confined import clock_at, pinned, time_limit

__all__ = ["DATE", "Template"]

_logger = logging.getLogger(__name__)

DATE = "2024-07-26"
"""What a template that asks for today gets: the date that Llama 3's own templates fall back on."""

_SECONDS = 10
"""A template that takes longer would never end: usual ones take a ten-thousandth of a second."""
_WORD = "freedom"
_HOSTILE = (
    "What is 2 < 3 & 'four' > \"five\"?",
    "A back\\slash, {{ braces }}, {% a block %} and {# a note #}",
    "One line\nand another",
    "Ünïcode, 日本 and ☃",
    '{"answer": ["freedom", 2]}',
    "  spaces around  ",
)
"""Texts that a template has to keep, but for the white space around them."""
_THOUGHTS = ("a </think> b", "a [/think] b", "<think>a</think>b", "[think]a[/think]b")
"""Answers of which a template may cut what the model only thought."""
_TAGS = frozenset("<>[]{}|")
"""Signs of tags, of which every template has its own; answers with them are always rendered."""
_MARKS = (*(f"a{mark}b" for mark in string.punctuation), *_HOSTILE[:5], *_THOUGHTS, "a  b")
"""Answers with every sign that a template may act on."""


class Template:
    """Runs a tokenizer's chat template.

    Args:
        tokenizer: has one template (``use_chat_template``).
        args: passed to the template (``enable_thinking`` and the like).
        date: what ``strftime_now`` tells, ``YYYY-MM-DD``.
        answers: whether answers are turns of the conversation, or follow it.

    Attributes:
        left_out: whether a system text was left out, since the template takes none.

    Raises:
        ModelError: if the tokenizer has no template, or the date is none.
    """

    def __init__(
        self,
        tokenizer: Any,
        args: Mapping[str, Any] | None = None,
        date: str = DATE,
        *,
        answers: bool = True,
    ) -> None:
        self._tokenizer = tokenizer
        self._answers = answers
        self.left_out = False
        self._system: dict[bool, bool] = {}
        if not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, so its "
                "conversations cannot be rendered; give the one that the model was trained with "
                "as chat_template=FILE.jinja."
            )
        try:
            self._date = datetime.datetime.fromisoformat(str(date))
        except ValueError:
            raise ModelError(f"template_date={date!r} is no date like {DATE}.") from None
        self._today = clock_at(self._date)
        self.args = dict(args or {})

    @property
    def text(self) -> str:
        """The template itself."""
        return str(self._tokenizer.get_chat_template())

    def choose(self, name: bool | str) -> str:
        """Take the template that lm_eval's ``--apply_chat_template`` names; return its text.

        Raises:
            ModelError: if the tokenizer has none of that name, or it loses what it is given.
        """
        named = getattr(self._tokenizer, "named_chat_templates", {}) or {"default": self.text}
        if isinstance(name, str):
            if name not in named:
                raise ModelError(
                    f"the tokenizer of {self._name} has no chat template {name!r}; give "
                    f"--apply_chat_template one of {', '.join(sorted(named))}."
                )
            self._tokenizer.chat_template = named[name]
            for seen in ("acts_on", "prompt_ending"):
                vars(self).pop(seen, None)
            self._system.clear()
            self.check()
        return self.text

    def render(self, messages: Sequence[Mapping[str, str]], **kwargs: Any) -> str:
        """Render a conversation.

        Raises:
            ModelError: if the template refuses it, fails, or does not end.
        """
        turns = [dict(message) for message in messages]
        options = {**self.args, **kwargs}
        try:
            with time_limit(_SECONDS), pinned(self._today):
                return str(self._tokenizer.apply_chat_template(turns, tokenize=False, **options))
        except Exception as error:  # whatever the model's own program does
            kind = "" if type(error).__name__ == "TemplateError" else f"{type(error).__name__}: "
            roles = [turn["role"] for turn in turns]
            hint = " (leave --system_instruction out)" if "system" in roles else ""
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise ModelError(
                f"the chat template of {self._name} refuses a conversation of {roles}: "
                f"{kind}{reason}{hint}."
            ) from error

    def render_kept(self, messages: Sequence[Mapping[str, str]], **kwargs: Any) -> str:
        """Render a conversation, without its system text where the template takes none.

        As lm-eval does; ``left_out`` then says so.

        Raises:
            ModelError: as ``render``, or if the template drops the system text without a word.
        """
        if self.takes(messages):
            return self.render(messages, **kwargs)
        if not self.left_out:
            _logger.warning("The chat template of %s takes no system text; left out.", self._name)
        self.left_out = True
        kept = [message for message in messages if message["role"] != "system"]
        return self.render(kept, **kwargs)

    def takes(self, messages: Sequence[Mapping[str, str]]) -> bool:
        """Say whether the template takes the system text of a conversation, if it has one.

        Raises:
            ModelError: if it drops the text without a word.
        """
        if not any(message["role"] == "system" for message in messages):
            return True
        answered = messages[-1]["role"] == "assistant"
        if answered not in self._system:
            self._system[answered] = self._takes_system(answered)
        return self._system[answered]

    def check(self) -> None:
        """Refuse a template that loses, or changes, a question or an answer.

        Raises:
            ModelError: naming the part that is lost.
        """
        for text in (_WORD, *_HOSTILE):
            if self._answers:
                question = self.render(_turns(text, "Zebra"))
            else:
                question = self.render(_turns(text, "")[:1], add_generation_prompt=True)
            if not _arrives(text, question):
                raise self._loses("question", text)
            if self._answers and not _arrives(text, self.render(_turns("Q", text))):
                raise self._loses("answer", text)

    @cached_property
    def acts_on(self) -> frozenset[str]:
        """Signs of answers for which the template may not write just the answer in its place.

        Such answers have to be rendered one by one; others can stand between what is written
        before and after any answer.
        """
        before, found, after = self.render(_turns("Q", _WORD)).rpartition(_WORD)
        signs: set[str] = set()
        for answer in _MARKS:
            try:
                joins = bool(found) and self.render(_turns("Q", answer)) == before + answer + after
            except ModelError:
                joins = False
            if not joins:
                odd = {mark for mark in answer if not mark.isalnum() or not mark.isascii()}
                signs.update(odd - _TAGS - {" "} or odd)
        return frozenset(signs)

    def is_plain(self, answer: str) -> bool:
        """Say whether an answer can stand between the halves of its context's rendering."""
        # An empty answer ends some conversations where the question ends.
        if (
            not answer
            or answer != answer.strip()
            or not answer.isprintable()
            or _TAGS.intersection(answer)
        ):
            return False
        odd = {mark for mark in answer if not mark.isascii()}
        acts = self.acts_on
        return not acts.intersection(answer) and not (odd and any(not m.isascii() for m in acts))

    @cached_property
    def prompt_ending(self) -> str:
        """What the template writes after a question for the answer to begin; maybe nothing."""
        try:
            user = [{"role": "user", "content": _WORD}]
            return self.render(user, add_generation_prompt=True).rpartition(_WORD)[2]
        except ModelError:
            return ""

    def settings(self) -> dict[str, Any]:
        """Return what a rendering depends on, and a digest of one."""
        dated = "strftime_now" in self.text
        try:
            rendering = self.render(_turns(_HOSTILE[0], _WORD))
        except ModelError:  # of a template that takes questions alone, or is not used
            rendering = ""
        digest = hashlib.sha256(rendering.encode()).hexdigest() if rendering else None
        return {
            "chat_template_sha256": hashlib.sha256(self.text.encode()).hexdigest(),
            "chat_template_args": self.args,
            "template_date": self._date.date().isoformat() if dated else None,
            "rendering_sha256": digest,
        }

    def _takes_system(self, answered: bool) -> bool:
        def render(text: str) -> str:
            turns = [{"role": "system", "content": text}, *_turns("Q", _WORD)]
            return self.render(
                turns if answered else turns[:-1], add_generation_prompt=not answered
            )

        try:
            render(_WORD)
        except ModelError:
            return False
        for text in ("Zebra", *_HOSTILE):
            if not _arrives(text, render(text)):
                raise self._loses("system text", text)
        return True

    def _loses(self, part: str, text: str) -> ModelError:
        hint = "leave --system_instruction out, or " if part == "system text" else ""
        return ModelError(
            f"the chat template of {self._name} leaves out or changes the {part} {text!r}, so "
            f"scores would be of something else; {hint}give the right one as "
            "chat_template=FILE.jinja."
        )

    @property
    def _name(self) -> str:
        return repr(self._tokenizer.name_or_path)


def _turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _arrives(text: str, rendered: str) -> bool:
    """Say whether a text is in a rendering, as it is or as JSON writes it."""
    text = text.strip()
    forms = (text, *(json.dumps(text, ensure_ascii=escaped)[1:-1] for escaped in (False, True)))
    return any(form in rendered for form in forms)
