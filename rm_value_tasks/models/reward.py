"""``--model reward``: a reward model as an lm-eval model.

``loglikelihood`` returns the reward of the conversation (context, continuation), so that
the value probes and lm-eval's multiple-choice tasks run unchanged: the answer with the
highest reward wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import transformers
from lm_eval.models.utils import Collator

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.adapters import underlying
from rm_value_tasks.models.common.arguments import (
    NAMES,
    RewardArguments,
    describe_label,
    kept_arguments,
)
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.common.conversation import Conversation, Tokens
from rm_value_tasks.models.common.harness import HarnessHF
from rm_value_tasks.models.common.reward_model import Receive, RewardModel
from rm_value_tasks.models.common.sentence_pairs import PairEncoder
from rm_value_tasks.models.loading import checkpoints, readouts
from rm_value_tasks.models.loading.specification import Specification, specify
from rm_value_tasks.models.prefix.block_attention import input_device
from rm_value_tasks.models.prefix.sharing import Sharing

__all__ = ["RewardLM"]

_LEAST_SAVING = {"cpu": 256}
"""Tokens that a group must save to be taken out of the ordinary batches; others: 8,192."""


class RewardLM(RewardModel, HarnessHF):
    """Any reward model that ``transformers`` loads; takes every argument of ``hf``.

    Args:
        pretrained: folder, hub id or loaded model, as for ``hf``.
        engine: ``hf``; lm_eval's ``engine=vllm`` makes a ``VLLMRewardLM`` (see
            ``create_from_arg_obj``).
        **kwargs: ``RewardArguments``'s, and ``hf``'s own: ``revision``, ``dtype``,
            ``parallelize``, ``peft``, ...

    Raises:
        ModelError: if the checkpoint is no reward model of the named kind, or its
            conversations cannot be rendered.
    """

    ARGUMENTS = NAMES

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Any:
        """Make the model of lm_eval's arguments; another engine's with ``engine=``."""
        if arg_dict.get("engine") == "vllm":
            from rm_value_tasks.models.reward_vllm import VLLMRewardLM

            others = {key: value for key, value in arg_dict.items() if key != "engine"}
            return VLLMRewardLM.create_from_arg_obj(others, additional_config)
        return super().create_from_arg_obj(arg_dict, additional_config)

    def __init__(self, pretrained: Any, *, engine: str = "hf", **kwargs: Any) -> None:
        if engine != "hf":
            raise ModelError(
                f"engine={engine!r} is neither 'hf' nor 'vllm'; in Python, vLLM's is the class "
                "rm_value_tasks.models.reward_vllm.VLLMRewardLM."
            )
        self._arguments, kwargs = RewardArguments.take(kwargs)
        self._sizing_alone = False
        super().__init__(pretrained, **kwargs)
        self.join_accelerate()
        if not isinstance(pretrained, str):
            config = self.config.to_dict()
            self.specification = Specification.of_loaded(config, self._arguments)
        self.specification.choose_template(self.tokenizer)
        reading = self.specification.reading(self.tokenizer)
        self.readout = readouts.build(underlying(self.model), self.specification.readout, **reading)
        self._made_with, self._reading = {"pretrained": pretrained, **kwargs}, reading
        self.encoder: ChatEncoder | PairEncoder = self.specification.encoder(
            self.tokenizer,
            self.config,
            self.chat_template_args,
            whole=isinstance(self.readout, readouts.ModelReadout),
        )
        self._sharing = self._make_sharing()

    def _make_sharing(self) -> Sharing:
        least = _LEAST_SAVING.get(self._input_device.type, 8192)
        if not self._arguments.shared_prefix:
            return Sharing(None, least=least)
        if not isinstance(self.readout, readouts.HiddenReadout):
            return Sharing(None, least=least, why_not="the readout needs the whole model")
        auto = self.batch_size == "auto"
        return Sharing(self.readout.backbone, least=least, measure=auto)

    def choose_backend(self, config: Any, **kwargs: Any) -> None:
        """Take the causal one always: a reward model only ever reads."""
        self.backend = "causal"

    def load_weights(self, pretrained: str, **kwargs: Any) -> None:
        """Load the checkpoint as its specification says, refusing a random head."""
        where = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key)}
        self.specification = specify(
            pretrained,
            self.file_config,
            self._arguments,
            trust_remote_code=bool(kwargs.get("trust_remote_code")),
            **where,
        )
        adapter = kwargs.get("peft")
        labels = checkpoints.adapter_labels(adapter) if adapter else None
        if labels is not None:
            kwargs["num_labels"] = labels
        self.AUTO_MODEL_CLASS = checkpoints.CheckedLoader(
            self.specification,
            adapter_head=labels is not None,
            native=self.config.model_type in transformers.CONFIG_MAPPING,
        )
        super().load_weights(pretrained, **kwargs)
        if adapter:
            checkpoints.refuse_lost_adapter_weights(adapter, pretrained, self.model)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages so that the answer can be its last turn."""
        if isinstance(self.encoder, PairEncoder):  # there is no template to render with
            return Conversation("\n".join(turn["content"] for turn in chat_history), chat_history)
        text = self.encoder.template.render_kept(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return Conversation(text, chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return the template's text, taking the one that is named."""
        if isinstance(self.encoder, PairEncoder) or not chat_template:
            return ""
        return self.encoder.template.choose(chat_template)

    def score(self, tokens: Sequence[Tokens], receive: Receive) -> None:
        """Score conversations: first the groups that share a prefix, then the rest."""
        rest = dict.fromkeys(range(len(tokens)))
        for group in self._sharing.groups([encoded["input_ids"] for encoded in tokens]):
            suffixes = [tokens[i]["input_ids"][len(group.prefix) :] for i in group.members]
            if (rewards := self._shared(group.prefix, suffixes)) is not None:
                receive(group.members, rewards)
                for index in group.members:
                    del rest[index]
        for members, rewards in self.score_batched(tokens, list(rest)):
            receive(members, rewards)

    def score_suffixes(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]]
    ) -> list[float]:
        """Return the rewards of conversations given as token ids that share a prefix.

        Args:
            prefix: token ids that come first.
            suffixes: what follows in each conversation, at least one token.
        """
        shared = self._shared(prefix, suffixes)
        if shared is not None:
            return shared
        return self.score_sequences([[*prefix, *suffix] for suffix in suffixes])

    def _shared(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]]
    ) -> list[float] | None:
        """Return the rewards of ``prefix`` + each suffix; None if the model cannot share."""
        readout = self.readout
        with self._autocast():
            engine = self._sharing.engine(prefix, suffixes)
            if engine is None or not isinstance(readout, readouts.HiddenReadout):
                return None
            return engine.score(prefix, suffixes, readout.from_hidden).tolist()

    def score_sequences(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Return the rewards of whole conversations given as token ids, in order."""
        tokens: list[Tokens] = [{"input_ids": list(sequence)} for sequence in sequences]
        rewards = [math.nan] * len(tokens)
        for members, values in self.score_batched(tokens, range(len(tokens))):
            for index, value in zip(members, values, strict=True):
                rewards[index] = value
        return rewards

    def score_batched(
        self, tokens: Sequence[Tokens], members: Sequence[int]
    ) -> Iterator[tuple[list[int], list[float]]]:
        """Score whole conversations in right-padded batches, longest first."""
        requests: list[Any] = [(index, tokens[index]["input_ids"], []) for index in members]
        order = Collator(requests, sort_fn=lambda request: (-len(request[1]), request[1]))
        auto = self.batch_size == "auto"
        self.batch_sizes: dict[int, int] = {}
        batches = order.get_batched(
            n=0 if auto else self.batch_size, batch_fn=self.batch_scheduler if auto else None
        )
        for batch in batches:
            for part in self._split(batch):
                indices = [index for index, *_ in part]
                yield indices, self._score_batch([tokens[index] for index in indices])

    def _split(self, batch: Sequence[Any]) -> list[Sequence[Any]]:
        if not self.readout.needs_equal_lengths:
            return [batch]
        lengths: dict[int, list[Any]] = {}
        for request in batch:
            lengths.setdefault(len(request[1]), []).append(request)
        return list(lengths.values())

    def _score_batch(self, tokens: Sequence[Tokens]) -> list[float]:
        batch = self.tokenizer.pad(
            {key: [encoded[key] for encoded in tokens] for key in tokens[0]},
            padding_side="right",
            return_tensors="pt",
        )
        if self.tokenizer.pad_token_id >= self.embedding_rows:  # added after training
            batch["input_ids"].masked_fill_(batch["attention_mask"] == 0, 0)
        return self._forward(dict(batch)).tolist()

    @property
    def _input_device(self) -> torch.device:
        # HFLM takes the first weight's place, which is "meta" where accelerate moved it.
        return input_device(self.model) if self.device.type == "meta" else self.device

    @property
    def embedding_rows(self) -> float:
        """How many tokens the model has embeddings for."""
        return getattr(self.model.config.get_text_config(), "vocab_size", math.inf)

    def _forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = {key: value.to(self._input_device) for key, value in batch.items()}
        with self._without_gradients(), self._autocast():
            return self.readout(batch)

    def _without_gradients(self) -> AbstractContextManager[Any]:
        return torch.inference_mode()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            device_type=self._input_device.type,
            dtype=self.mixed_precision_dtype,
            enabled=self.mixed_precision_dtype is not None,
        )

    def find_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        """Return the largest batch that fits this process."""
        # HFLM gathers over the processes here; ours need not all have batches to size.
        self._sizing_alone = True
        try:
            return super().find_batch_size(requests, pos)
        finally:
            self._sizing_alone = False

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Gather a tensor over the processes, except while each sizes its own batches."""
        return tensor.reshape(-1) if self._sizing_alone else super().all_gather(tensor)

    def forward_of_size(self, ids: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Return the rewards of a batch without padding, (B, 1)."""
        return self._forward({"input_ids": ids, "attention_mask": torch.ones_like(ids)})[:, None]

    def cache_settings(self) -> dict[str, Any]:
        """Return all that the rewards depend on; sharing and batches change none."""
        return {
            **kept_arguments(self._made_with),
            **self._reading,
            **self.encoder.settings(),
            **self.digests(),
            "readout": self.readout.name,
        }

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        model = underlying(self.model)
        return {
            **super().get_model_info(),
            **self.encoder.describe(),
            "score_kind": "reward",
            "family": self.specification.family.name,
            "readout": self.readout.name,
            **describe_label(self.specification.label, model.config.to_dict()),
            "head_dtype": getattr(self.readout, "head_dtype", "model"),
            "shared_prefix": self._sharing.describe(),
            "attn_implementation": getattr(model.config, "_attn_implementation", None),
        }
