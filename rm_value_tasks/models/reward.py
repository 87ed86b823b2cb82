"""``--model reward``: a reward model as an lm-eval model.

``loglikelihood`` returns the reward of the conversation (context, continuation), so that
the value probes and lm-eval's multiple-choice tasks run unchanged: the answer with the
highest reward wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator
from tqdm import tqdm

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import (
    kept_arguments,
    numbers,
    refuse_misspelt,
    resolve_token,
    resolve_tokens,
)
from rm_value_tasks.models.common.conversation import ChatEncoder, Conversation, Encoder, Tokens
from rm_value_tasks.models.common.hf_setup import join_accelerate, use_chat_template
from rm_value_tasks.models.common.refusals import (
    refuse_long,
    refuse_non_finite,
    refuse_single_answers,
    refuse_tasks,
)
from rm_value_tasks.models.common.score_cache import OneSettingCache
from rm_value_tasks.models.common.sentence_pairs import PairEncoder
from rm_value_tasks.models.loading import checkpoints, readouts
from rm_value_tasks.models.loading.families import by_name, detect
from rm_value_tasks.models.loading.specification import appended_ids, make_plan
from rm_value_tasks.models.prefix.block_attention import input_device
from rm_value_tasks.models.prefix.sharing import Sharing
from rm_value_tasks.scores import Reward

__all__ = ["RewardLM"]


class RewardLM(OneSettingCache, HFLM):
    """Any reward model that ``transformers`` loads; takes every argument of ``hf``.

    Args:
        pretrained: folder, hub id or loaded model, as for ``hf``.
        readout: ``auto``, or one of ``readouts.READOUTS``.
        attribute: the output's attribute for ``readout=attribute``.
        label: which of a classifier's labels is the reward.
        weights: for ``readout=weighted``; ``0.3;0.74;0.46`` on the command line.
        token_id: for ``readout=lm_logit``, the vocabulary id whose logit is the reward; two,
            ``648;387``, for the probability of the first against the second.
        append_token: a token, or its id, to end every conversation with.
        step_token: a token, or its id, that ends a step; the reward is read at the last one.
        head_dtype: ``float32``, or ``model`` for the head as it was trained.
        bos: ``one``, or ``paper`` for a doubled BOS (see ``ChatEncoder``).
        chat_template: a Jinja file, for a tokenizer that has none or the wrong one.
        shared_prefix: whether to run each prompt once for all its answers.
        engine: ``hf``, or ``vllm`` for a ``VLLMRewardLM`` in this object's place.
        **kwargs: ``hf``'s own: ``revision``, ``dtype``, ``parallelize``, ``peft``, ...

    Raises:
        ModelError: if the checkpoint is no reward model of the named kind, or its
            conversations cannot be rendered.
    """

    def __new__(cls, *args: Any, engine: str = "hf", **kwargs: Any) -> Any:
        """Make room for this class's object, or make the whole one of another engine."""
        if engine == "vllm":
            from rm_value_tasks.models.reward_vllm import VLLMRewardLM

            return VLLMRewardLM(*args, **kwargs)
        if engine != "hf":
            raise ModelError(f"engine={engine!r} is neither 'hf' nor 'vllm'.")
        return super().__new__(cls)

    def __init__(
        self,
        pretrained: Any,
        *,
        readout: str = "auto",
        attribute: str = "score",
        label: int | None = None,
        weights: str | float | Sequence[float] | None = None,
        token_id: str | int = 0,
        append_token: str | int | None = None,
        step_token: str | int | None = None,
        head_dtype: str = "float32",
        bos: str = "one",
        chat_template: str | None = None,
        shared_prefix: bool = True,
        engine: str = "hf",
        **kwargs: Any,
    ) -> None:
        refuse_misspelt(kwargs)
        if readout not in ("auto", *readouts.READOUTS):
            raise ModelError(
                f"readout={readout!r} is none of auto, {', '.join(readouts.READOUTS)}."
            )
        self._readout_name = readout
        self.family = by_name("sequence classifier")
        self._sizing_alone = False
        super().__init__(pretrained, **kwargs)
        join_accelerate(self)
        use_chat_template(self, chat_template)
        if not self.tokenizer.chat_template and self.family.template:
            self.tokenizer.chat_template = self.family.template
        if not isinstance(pretrained, str):
            self.family = detect(self.config.to_dict(), ())
            if self._readout_name == "auto":
                self._readout_name = self.family.readout or "pooled"
        reading: dict[str, Any] = {
            "attribute": attribute,
            "label": label,
            "weights": numbers(weights) or self.family.weights,
            "token_ids": resolve_tokens(token_id, self.tokenizer),
            "head_dtype": head_dtype,
        }
        self.readout = readouts.build(_underlying(self.model), self._readout_name, **reading)
        self._made_with, self._reading = {"pretrained": pretrained, **kwargs}, reading
        self.encoder = self._make_encoder(bos, append_token, step_token)
        self._sharing = Sharing(
            self.readout,
            self._input_device,
            enabled=shared_prefix,
            measure=self.batch_size == "auto",
        )

    def _get_config(self, pretrained: str, **kwargs: Any) -> None:
        try:
            super()._get_config(pretrained, **kwargs)
        except OSError as error:
            raise ModelError(
                f"no model {pretrained!r}: there is no such folder with a config.json here, and "
                "neither hub nor cache gives it; check the path, or the name and your access."
            ) from error
        except ValueError as error:
            if "trust_remote_code" not in str(error):
                raise
            raise ModelError(
                f"{pretrained!r} has a config that only the code that it brings along can read; "
                "read that code, then give trust_remote_code=True."
            ) from error

    def _get_backend(self, config: Any, **kwargs: Any) -> None:
        # HFLM tells causal from seq2seq models here; a reward model only ever reads.
        self.backend = "causal"

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:
        where = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key)}
        plan = make_plan(
            pretrained,
            self.config.to_dict(),
            self._readout_name,
            trust_remote_code=bool(kwargs.get("trust_remote_code")),
            **where,
        )
        self.family, self._readout_name = plan.family, plan.readout
        adapter = kwargs.get("peft")
        labels = checkpoints.adapter_labels(adapter) if adapter else None
        if labels is not None:
            kwargs["num_labels"] = labels
        self.AUTO_MODEL_CLASS = checkpoints.CheckedLoader(
            plan.readout,
            plan.files.read(plan.head),
            adapter_head=labels is not None,
            native=self.config.model_type in transformers.CONFIG_MAPPING,
            key_mapping=plan.key_mapping,
        )
        super()._create_model(pretrained, **kwargs)
        if adapter:
            checkpoints.refuse_lost_adapter_weights(adapter, pretrained, self._model)

    def _make_encoder(self, bos: str, append: str | int | None, step: str | int | None) -> Encoder:
        whole = isinstance(self.readout, readouts.ModelReadout)
        if whole and not self.tokenizer.chat_template:
            return PairEncoder(self.tokenizer)
        step = self.family.step or None if step is None else step
        return ChatEncoder(
            self.tokenizer,
            bos=bos,
            template_args=self.chat_template_args,
            closed=whole and not self.family.code,
            append=appended_ids(append, self.family, self.config, self.tokenizer),
            step=None if step is None else resolve_token(step, self.tokenizer, "step_token"),
        )

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages so that the answer can be its last turn."""
        if isinstance(self.encoder, PairEncoder):  # there is no template to render with
            return Conversation("\n".join(turn["content"] for turn in chat_history), chat_history)
        text = super().apply_chat_template(chat_history, add_generation_prompt)
        return Conversation(text, chat_history)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return ``(reward, False)`` for each request, in order.

        Raises:
            ModelError: if a document has a single answer (a reward alone means nothing), an
                input is too long, or a reward is NaN or infinite.
        """
        refuse_single_answers(requests, resumed=self.cache_hook.dbdict is not None)
        pairs = [request.args for request in requests]
        tokens = self.encoder.encode(pairs)
        refuse_long(pairs, [len(encoded["input_ids"]) for encoded in tokens], self.max_length)
        results: list[Any] = [None] * len(requests)
        with tqdm(
            total=len(tokens), disable=disable_tqdm or self.rank != 0, desc="Scoring rewards"
        ) as progress:
            for members, rewards in self._score(tokens):
                for index, reward in zip(members, rewards, strict=True):
                    refuse_non_finite(pairs[index], reward)
                    results[index] = (Reward(reward), False)
                    # As they come in, so that lm-eval's cache keeps them if a run is stopped.
                    self.cache_hook.add_partial("loglikelihood", pairs[index], results[index])
                progress.update(len(members))
        return results

    def score_suffixes(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]]
    ) -> list[float]:
        """Return the rewards of conversations given as token ids that share a prefix.

        Args:
            prefix: token ids that come first.
            suffixes: what follows in each conversation, at least one token.
        """
        with self._autocast():
            shared = self._sharing.score(prefix, suffixes)
        if shared is not None:
            return shared
        return self.score_sequences([[*prefix, *suffix] for suffix in suffixes])

    def score_sequences(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """Return the rewards of whole conversations given as token ids, in order."""
        tokens: list[Tokens] = [{"input_ids": list(sequence)} for sequence in sequences]
        rewards = [math.nan] * len(tokens)
        for members, values in self._score_batched(tokens, range(len(tokens))):
            for index, value in zip(members, values, strict=True):
                rewards[index] = value
        return rewards

    def _score(self, tokens: Sequence[Tokens]) -> Iterator[tuple[list[int], list[float]]]:
        """Yield (indices, rewards): first the groups that share a prefix, then the rest."""
        groups, rest = self._sharing.groups([encoded["input_ids"] for encoded in tokens])
        for group in groups:
            suffixes = [tokens[i]["input_ids"][len(group.prefix) :] for i in group.members]
            with self._autocast():
                rewards = self._sharing.score(group.prefix, suffixes)
            if rewards is None:
                rest += group.members
            else:
                yield group.members, rewards
        yield from self._score_batched(tokens, rest)

    def _score_batched(
        self, tokens: Sequence[Tokens], members: Sequence[int]
    ) -> Iterator[tuple[list[int], list[float]]]:
        """Score whole conversations in right-padded batches, longest first."""
        requests: list[Any] = [(index, tokens[index]["input_ids"], []) for index in members]
        order = Collator(requests, sort_fn=lambda request: (-len(request[1]), request[1]))
        auto = self.batch_size == "auto"
        self.batch_sizes: dict[int, int] = {}
        batches = order.get_batched(
            n=0 if auto else self.batch_size, batch_fn=self._batch_scheduler if auto else None
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
        if self.tokenizer.pad_token_id >= self._embedding_rows:  # added after training
            batch["input_ids"].masked_fill_(batch["attention_mask"] == 0, 0)
        return self._forward(dict(batch)).tolist()

    @property
    def _input_device(self) -> torch.device:
        # HFLM takes the first weight's place, which is "meta" where accelerate moved it.
        return input_device(self.model) if self.device.type == "meta" else self.device

    @property
    def _embedding_rows(self) -> float:
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

    def _detect_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        # HFLM gathers over the processes here; ours need not all have batches to size.
        self._sizing_alone = True
        try:
            return super()._detect_batch_size(requests, pos)
        finally:
            self._sizing_alone = False

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Gather a tensor over the processes, except while each sizes its own batches."""
        return tensor.reshape(-1) if self._sizing_alone else super().all_gather(tensor)

    def _model_call(self, inps: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        # HFLM's search for the largest batch calls this.
        return self._forward({"input_ids": inps, "attention_mask": torch.ones_like(inps)})[:, None]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Refuse: a reward model has no perplexity."""
        refuse_tasks(requests, "a reward model", "perplexities")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse: a reward model writes nothing."""
        refuse_tasks(requests, "a reward model", "generated text")

    def cache_settings(self) -> dict[str, Any]:
        """Return all that the rewards depend on; sharing and batches change none."""
        return {
            **kept_arguments(self._made_with),
            **self._reading,
            **self.encoder.settings(),
            "readout": self.readout.name,
        }

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        model = _underlying(self.model)
        return {
            **super().get_model_info(),
            **self.encoder.describe(),
            "score_kind": "reward",
            "family": self.family.name,
            "readout": self.readout.name,
            "head_dtype": getattr(self.readout, "head_dtype", "model"),
            "shared_prefix": self._sharing.describe(),
            "attn_implementation": getattr(model.config, "_attn_implementation", None),
        }


def _underlying(model: Any) -> Any:
    """Return a PEFT model's own model, whose layers hold the adapter already."""
    config = getattr(model, "active_peft_config", None)
    if config is None:
        return model
    if config.is_prompt_learning:
        raise ModelError(
            f"the adapter is of type {config.peft_type}, which puts virtual tokens before the "
            "prompt; only adapters that change layers (LoRA and its kin) can be read out."
        )
    return model.get_base_model()
