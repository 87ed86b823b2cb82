"""What the reward models behind a serving engine share, whether in-process or over HTTP.

The engine gets token ids, rendered here as for ``--model reward``: sent as text, an engine
would add special tokens of its own, and its chat template may be another one.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import jinja2
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import numbers
from rm_value_tasks.models.common.conversation import ChatEncoder, Conversation
from rm_value_tasks.models.common.hf_setup import use_chat_template
from rm_value_tasks.models.common.refusals import (
    refuse_long,
    refuse_non_finite,
    refuse_single_answers,
    refuse_tasks,
)
from rm_value_tasks.models.common.score_cache import FIRST_OUTPUTS, OneSettingCache
from rm_value_tasks.models.serving.raw_outputs import PROBES, Row, reduction, refuse_activated
from rm_value_tasks.scores import Reward

__all__ = ["EngineRewardLM", "Receive"]

Receive = Callable[[Sequence[int], Sequence[Row]], None]
"""Takes the indices of some conversations and their outputs, as they come."""

_logger = logging.getLogger(__name__)


class EngineRewardLM(OneSettingCache, LM):
    """A reward model behind an engine: a subclass only brings token ids there and rows back.

    Args:
        tokenizer: folder or hub id of the model's tokenizer.
        revision: its revision.
        trust_remote_code: whether to run the tokenizer's own code.
        bos: ``one``, or ``paper`` for a doubled BOS (see ``ChatEncoder``).
        chat_template: a Jinja file, for a tokenizer that has none or the wrong one.
        chat_template_args: passed to the template.
        enable_thinking: likewise, by lm-eval's name.
        label: which of several labels is the reward.
        weights: one for each label, for a weighted sum; ``0.3;0.74`` on the command line.

    Raises:
        ModelError: if the conversations cannot be rendered or the options do not fit.
    """

    engine: str
    """The engine's name in messages and results."""

    def __init__(
        self,
        tokenizer: str,
        *,
        revision: str = "main",
        trust_remote_code: bool = False,
        bos: str = "one",
        chat_template: str | None = None,
        chat_template_args: Mapping[str, Any] | None = None,
        enable_thinking: bool | None = None,
        label: int | None = None,
        weights: str | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self._reduce = reduction(label, numbers(weights))
        self._chosen = {"label": label, "weights": numbers(weights)}
        self._first_rows: list[Row] = []
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            tokenizer, revision=revision, trust_remote_code=trust_remote_code
        )
        use_chat_template(self, chat_template)
        thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        self._template_args = {**(chat_template_args or {}), **thinking}
        self.encoder = ChatEncoder(self.tokenizer, bos=bos, template_args=self._template_args)
        self.max_length: int | None = None
        self._activation = "not checked"

    @abstractmethod
    def _run(self, tokens: Sequence[Sequence[int]], receive: Receive) -> None:
        """Score conversations given as token ids, calling ``receive`` as outputs come.

        Every index goes to ``receive`` exactly once, or an error is raised.
        """

    @abstractmethod
    def _probe(self, tokens: Sequence[Sequence[int]], *, activation: bool) -> list[Row] | None:
        """Return the outputs for a few conversations; None if there is no such switch."""

    def check_activation(self) -> None:
        """Score a few conversations and refuse outputs that are not raw.

        Raises:
            ModelError: see ``refuse_activated``.
        """
        tokens = [encoded["input_ids"] for encoded in self.encoder.encode(PROBES)]
        self._first_rows = self._probe(tokens, activation=False) or []
        self._activation = refuse_activated(self._first_rows, self._probe(tokens, activation=True))
        if self._activation.startswith("not proven"):
            _logger.warning(
                "All first outputs of %s lie between 0 and 1. If the model's rewards do not, the "
                "engine has a sigmoid on and these are no rewards.",
                self.engine,
            )

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return ``(reward, False)`` for each request, in order.

        Raises:
            ModelError: if a document has a single answer, an input is too long, a reward is
                NaN or infinite, or the engine fails.
        """
        refuse_single_answers(requests, resumed=self.cache_hook.dbdict is not None)
        pairs = [request.args for request in requests]
        tokens = [encoded["input_ids"] for encoded in self.encoder.encode(pairs)]
        if self.max_length is not None:
            refuse_long(pairs, [len(ids) for ids in tokens], self.max_length)
        results: list[Any] = [None] * len(requests)
        with tqdm(total=len(tokens), disable=disable_tqdm, desc="Scoring rewards") as progress:

            def receive(members: Sequence[int], rows: Sequence[Row]) -> None:
                for index, row in zip(members, rows, strict=True):
                    reward = self._reduce(row)
                    refuse_non_finite(pairs[index], reward)
                    results[index] = (Reward(reward), False)
                    # As they come in, so that lm-eval's cache keeps them if a run is stopped.
                    self.cache_hook.add_partial("loglikelihood", pairs[index], results[index])
                progress.update(len(members))

            self._run(tokens, receive)
        if missing := results.count(None):
            raise ModelError(
                f"{self.engine} left {missing} of {len(results)} conversations without a score."
            )
        return results

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Refuse: a reward model has no perplexity."""
        refuse_tasks(requests, "a reward model", "perplexities")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse: a reward model writes nothing."""
        refuse_tasks(requests, "a reward model", "generated text")

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's request cache."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template that conversations are rendered with, for lm-eval's results."""
        return self.tokenizer.get_chat_template() if chat_template else ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages so that the answer can be its last turn."""
        try:
            text = self._render(chat_history, add_generation_prompt)
        except jinja2.exceptions.TemplateError:  # as lm-eval's hf does, and our encoder
            _logger.warning("The chat template refuses the system turn; leaving it out.")
            turns = [turn for turn in chat_history if turn["role"] != "system"]
            text = self._render(turns, add_generation_prompt)
        return Conversation(text, chat_history)

    def _render(self, turns: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        text = self.tokenizer.apply_chat_template(
            [dict(turn) for turn in turns],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **self._template_args,
        )
        return str(text)

    def cache_settings(self) -> dict[str, Any]:
        """Return what the rewards depend on, and some outputs, which tell models apart."""
        rows = [list(row) for row in self._first_rows]
        return {**self.encoder.settings(), **self._chosen, FIRST_OUTPUTS: rows}

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {
            **self.encoder.describe(),
            "score_kind": "reward",
            "engine": self.engine,
            "activation": self._activation,
            "max_length": self.max_length,
        }
