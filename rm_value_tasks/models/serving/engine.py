"""What the reward models behind a serving engine share, whether in-process or over HTTP.

The engine gets token ids, rendered here as for ``--model reward``: sent as text, an engine
would add special tokens of its own, and its chat template may be another one.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lm_eval.api.model import LM

from rm_value_tasks.models.common.arguments import READING, RewardArguments, describe_label
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.common.chat_templates import template_args, use_chat_template
from rm_value_tasks.models.common.conversation import Conversation, Tokens
from rm_value_tasks.models.common.harness import FromArguments, refuse_unknown
from rm_value_tasks.models.common.opening import open_tokenizer
from rm_value_tasks.models.common.reward_model import Receive, RewardModel
from rm_value_tasks.models.common.score_cache import FIRST_OUTPUTS
from rm_value_tasks.models.loading import readouts
from rm_value_tasks.models.serving.raw_outputs import PROBES, Row, refuse_activated

__all__ = ["EngineRewardLM", "ReceiveRows"]

ReceiveRows = Callable[[Sequence[int], Sequence[Row]], None]
"""Takes the indices of some conversations and their outputs, as they come."""

_logger = logging.getLogger(__name__)


class EngineRewardLM(RewardModel, FromArguments, LM):
    """A reward model behind an engine: a subclass only brings token ids there and rows back.

    Args:
        tokenizer: folder or hub id of the model's tokenizer.
        config: the model's, for the names of its labels, where it is known.
        revision: the tokenizer's revision.
        trust_remote_code: whether to run the tokenizer's own code.
        chat_template_args: passed to the template.
        enable_thinking: likewise, by lm-eval's name.
        **reading: ``READING`` of ``RewardArguments``: how conversations are rendered and labels
            become one reward.

    Raises:
        ModelError: if the conversations cannot be rendered or the options do not fit.
    """

    ARGUMENTS = READING
    encoder: ChatEncoder
    engine: str
    """The engine's name in messages and results."""

    def __init__(
        self,
        tokenizer: str,
        *,
        config: Mapping[str, Any] | None = None,
        revision: str = "main",
        trust_remote_code: bool = False,
        chat_template_args: Mapping[str, Any] | None = None,
        enable_thinking: bool | None = None,
        **reading: Any,
    ) -> None:
        super().__init__()
        refuse_unknown(reading, READING, others=False)
        self._config = config or {}
        arguments = RewardArguments(**reading).numbered(self._config, tokenizer)
        weights: Any = arguments.weights  # RewardArguments has made them numbers
        label = None if arguments.label is None else int(arguments.label)
        reduce = readouts.reduction("weighted" if weights else "pooled", label, weights)
        self._reduce = lambda row: float(reduce(torch.tensor([row], dtype=torch.float64)))
        self._chosen = {"label": label, "weights": weights}
        self._first_rows: list[Row] = []
        self.tokenizer = open_tokenizer(
            tokenizer, revision=revision, trust_remote_code=trust_remote_code
        )
        use_chat_template(self.tokenizer, arguments.chat_template)
        self.encoder = ChatEncoder(
            self.tokenizer,
            bos=arguments.bos,
            template_args=template_args(chat_template_args, enable_thinking),
            template_date=arguments.template_date,
        )
        self.max_length: int | None = None
        self._activation = "not checked"

    @abstractmethod
    def _run(self, tokens: Sequence[Sequence[int]], receive: ReceiveRows) -> None:
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

    def score(self, tokens: Sequence[Tokens], receive: Receive) -> None:
        """Score conversations on the engine."""

        def reduced(members: Sequence[int], rows: Sequence[Row]) -> None:
            receive(members, [self._reduce(row) for row in rows])

        self._run([encoded["input_ids"] for encoded in tokens], reduced)

    @property
    def tokenizer_name(self) -> str:
        """A name for lm-eval's request cache."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return the template that conversations are rendered with, for lm-eval's results."""
        return self.encoder.template.choose(chat_template) if chat_template else ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages so that the answer can be its last turn."""
        text = self.encoder.template.render_kept(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return Conversation(text, chat_history)

    def cache_settings(self) -> dict[str, Any]:
        """Return what the rewards depend on, and some outputs, which tell models apart."""
        rows = [list(row) for row in self._first_rows]
        return {**self.encoder.settings(), **self._chosen, FIRST_OUTPUTS: rows}

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {
            **self.encoder.describe(),
            "score_kind": "reward",
            **describe_label(self._chosen["label"], self._config),
            "engine": self.engine,
            "activation": self._activation,
            "max_length": self.max_length,
        }
