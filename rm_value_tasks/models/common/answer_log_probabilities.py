r"""Log-probabilities of answers, one model's share of an implicit reward.

An answer starts exactly where its prompt ends. lm-eval moves white space at a context's
end to the continuation, so that ``hf`` scores ``"\nfreedom"`` after ``<|im_start|>assistant``;
the constant hardly matters to a ranking but a probability is weighed by it. Here the newline
that ends a chat template's generation prompt stays in the prompt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.utils_hf import clear_torch_cache

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.chat_templates import use_chat_template
from rm_value_tasks.models.common.conversation import Conversation, Message
from rm_value_tasks.models.common.refusals import refuse_unknown_tokens, short
from rm_value_tasks.models.common.template import DATE, Template
from rm_value_tasks.models.hf_shared_prefix import SharedPrefixLM

__all__ = ["AnswerLM"]

_SENTINEL = "freedom"


class AnswerLM(SharedPrefixLM):
    """A language model that scores answers to prompts which it renders itself.

    Args:
        pretrained: as for ``hf``.
        whole_response: count the end of the answer too: what the chat template writes after
            it, or the end-of-sequence token where the context is plain text.
        chat_template: for a tokenizer that has none or the wrong one: a Jinja file, or what else
            ``chat_templates.use_chat_template`` takes.
        template_date: what a chat template that asks for today gets.
        softmax_dtype: as for ``hf``; float32, as bfloat16 gives many words the same score.
        **kwargs: every argument of ``hf``.

    Raises:
        ModelError: if ``chat_template`` cannot be read.
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        whole_response: bool = False,
        chat_template: str | None = None,
        template_date: str = DATE,
        softmax_dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(pretrained, softmax_dtype=softmax_dtype, **kwargs)
        self.join_accelerate()
        use_chat_template(self.tokenizer, chat_template)
        self._whole_response = whole_response
        self._date = template_date
        self._template: Template | None = None

    @property
    def template(self) -> Template:
        """The tokenizer's chat template, checked when it is first used.

        Raises:
            ModelError: if there is none, or it loses what it is given.
        """
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer of {self._name} has no chat template; leave --apply_chat_template "
                "out, or give one as chat_template=FILE.jinja (reference_chat_template=FILE.jinja "
                "for the reference)."
            )
        if self._template is None:
            found = self._unchecked()
            found.check()
            self._template = found
        return self._template

    def _unchecked(self) -> Template:
        return Template(self.tokenizer, self.chat_template_args, self._date, answers=False)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the template's text, taking the one that is named."""
        if not chat_template or not self.tokenizer.chat_template:
            return ""
        if isinstance(chat_template, str):  # of which the usual one need not be fit
            self._template = self._template or self._unchecked()
        return self.template.choose(chat_template)

    def release(self) -> None:
        """Free the weights; what else lm-eval asks of a model stays."""
        self.drop_model()
        self._sharing.release()
        self._head = None
        clear_torch_cache()

    def render(self, messages: Sequence[Message]) -> Conversation:
        """Render a conversation up to where the answer starts.

        Raises:
            ModelError: if the tokenizer has no chat template, or it refuses the messages, or
                drops their system text.
        """
        opened = messages[-1]["role"] != "assistant"
        self.template.takes(messages)  # refuses one that would drop the system text
        text = self.template.render(
            messages, add_generation_prompt=opened, continue_final_message=not opened
        )
        return Conversation(text, messages)

    def log_probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the natural log-probability of each continuation given its context.

        Args:
            pairs: (context, continuation); a ``Conversation`` is rendered with this model's
                own template, any other context is read as it is.

        Raises:
            ModelError: if a conversation cannot be rendered or is too long for the model.
        """
        rendered: dict[int, Conversation] = {}
        endings = {chat: self._ending(chat) for chat in {_is_chat(pair) for pair in pairs}}
        instances = []
        for index, (context, continuation) in enumerate(pairs):
            own = context
            if isinstance(context, Conversation):
                key = id(context)
                own = rendered[key] if key in rendered else self.render(context.messages)
                rendered[key] = own
            arguments = (own, continuation + endings[_is_chat((context, continuation))])
            instances.append(Instance("loglikelihood", {}, arguments, index))
        return [score for score, _ in self.loglikelihood(instances, disable_tqdm=True)]

    def prompt_ids(self, context: str) -> list[int]:
        """Return the tokens of a context, up to where its answer starts.

        As in ``log_probabilities``: a rendered prompt keeps its last newline, other white
        space at the end belongs to the answer.

        Raises:
            ModelError: if the tokenizer puts something behind every text.
        """
        keeps = isinstance(context, Conversation) and context.endswith("\n")
        text = str(context) if keeps else context.rstrip()
        ids, plain = self.tok_encode(text), self.tok_encode(text, add_special_tokens=False)
        if ids[-len(plain) :] != plain:
            raise ModelError(
                f"the tokenizer of {self._name} ends every text with "
                f"{self.tokenizer.decode(ids[-1:])!r}, so no answer follows the prompt; give "
                "add_bos_token=False."
            )
        return ids

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {
            **super().get_model_info(),
            "softmax_dtype": str(self.softmax_dtype),
            **self.template_settings(),
            "attn_implementation": getattr(self.config, "_attn_implementation", None),
        }

    def template_settings(self) -> dict[str, Any]:
        """Return what rendered prompts depend on; of a model without a template, nothing."""
        if not self.tokenizer.chat_template:
            return {}
        return self._unchecked().settings()

    def split_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokenize a context and its continuation, the context's last newline apart."""
        # A newline never merges with the word behind it; other white space at the end of a
        # context does, and lm-eval's own split keeps such words as the model knows them.
        newline = isinstance(context, Conversation) and context.endswith("\n")
        if newline and self.backend == "causal":
            before = self.tok_encode(str(context))
            whole = self.tok_encode(context + continuation)
            if whole[: len(before)] == before:
                return before, whole[len(before) :]
        return super().split_pair(str(context), continuation)

    def score_tokens(self, requests: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Return (log-probability, is greedy) of each request, refusing what would be truncated."""
        rows = getattr(self.config.get_text_config(), "vocab_size", None) or math.inf
        refuse_unknown_tokens((part for _, *parts in requests for part in parts), rows)
        for pair, context, continuation in requests:
            length = len(context) + len(continuation) - 1  # the last token is only predicted
            if pair is not None and self.backend == "causal" and length > self.max_length:
                raise ModelError(
                    f"{short(pair[0])} with the answer {short(pair[1])} takes {length} tokens "
                    f"but {self._name} takes {self.max_length}; a truncated prompt has other "
                    "probabilities, so leave the task out or raise max_length=."
                )
        return super().score_tokens(requests, *args, **kwargs)

    @property
    def _name(self) -> str:
        return repr(self.tokenizer.name_or_path)

    def _ending(self, chat: bool) -> str:
        """Return what ends a whole response."""
        if not self._whole_response:
            return ""
        if not chat:
            return self._eos()
        turns = [{"role": role, "content": _SENTINEL} for role in ("user", "assistant")]
        _, found, ending = self.template.render(turns).rpartition(_SENTINEL)
        if not found or not ending.strip():
            raise ModelError(
                f"the chat template of {self._name} writes nothing after an answer, so a whole "
                "response has no end; leave whole_response out or correct the template."
            )
        return ending

    def _eos(self) -> str:
        if self.tokenizer.eos_token is None:
            raise ModelError(
                f"the tokenizer of {self._name} has no end-of-sequence token, so a whole response "
                "has no end; leave whole_response out."
            )
        return str(self.tokenizer.eos_token)


def _is_chat(pair: tuple[str, str]) -> bool:
    return isinstance(pair[0], Conversation)
