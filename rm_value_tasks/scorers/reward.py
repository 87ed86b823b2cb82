"""``--model reward``: a reward model as an lm-eval model.

``loglikelihood`` returns the reward of the conversation (context, continuation), so that
the value probes and lm-eval's multiple-choice tasks run unchanged: the answer with the
highest reward wins.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import Collator
from tqdm import tqdm

from rm_value_tasks.errors import ModelError
from rm_value_tasks.scorers import checkpoints, readouts
from rm_value_tasks.scorers.conversation import ChatEncoder, Conversation, Encoder, PairEncoder
from rm_value_tasks.scores import Reward

__all__ = ["RewardLM"]


class RewardLM(HFLM):
    """Any reward model that ``transformers`` loads; takes every argument of ``hf``.

    Args:
        pretrained: folder, hub id or loaded model, as for ``hf``.
        readout: ``auto``, or one of ``readouts.READOUTS``.
        attribute: the output's attribute for ``readout=attribute``.
        label: which of a classifier's labels is the reward.
        weights: for ``readout=weighted``; ``0.3;0.74;0.46`` on the command line.
        head_dtype: ``float32``, or ``model`` for the head as it was trained.
        bos: ``one``, or ``paper`` for a doubled BOS (see ``ChatEncoder``).
        chat_template: a Jinja file, for a tokenizer that has none or the wrong one.
        shared_prefix: whether to run each prompt once for all its answers.
        **kwargs: ``hf``'s own: ``revision``, ``dtype``, ``parallelize``, ``peft``, ...

    Raises:
        ModelError: if the checkpoint is no reward model of the named kind, or its
            conversations cannot be rendered.
    """

    def __init__(
        self,
        pretrained: Any,
        *,
        readout: str = "auto",
        attribute: str = "score",
        label: int | None = None,
        weights: str | Sequence[float] | None = None,
        head_dtype: str = "float32",
        bos: str = "one",
        chat_template: str | None = None,
        shared_prefix: bool = True,
        **kwargs: Any,
    ) -> None:
        if readout not in ("auto", *readouts.READOUTS):
            raise ModelError(
                f"readout={readout!r} is none of auto, {', '.join(readouts.READOUTS)}."
            )
        self._readout_name = readout
        self._shared_prefix = shared_prefix
        super().__init__(pretrained, **kwargs)
        self._join_accelerate()
        if chat_template is not None:
            self.tokenizer.chat_template = _read_template(chat_template)
        if self._readout_name == "auto":  # a loaded model was passed in
            self._readout_name = checkpoints.choose_readout(self.config, {})
        self.readout = readouts.build(
            _underlying(self.model),
            self._readout_name,
            attribute=attribute,
            label=label,
            weights=_numbers(weights),
            head_dtype=head_dtype,
        )
        self.encoder = self._make_encoder(bos)

    def _get_backend(self, config: Any, **kwargs: Any) -> None:
        # HFLM tells causal from seq2seq models here; a reward model only ever reads.
        self.backend = "causal"

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:
        where = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key)}
        tensors = {}
        if self._readout_name in ("auto", "position") and not kwargs.get("gguf_file"):
            tensors = checkpoints.value_head_tensors(pretrained, **where)
        if self._readout_name == "auto":
            self._readout_name = checkpoints.choose_readout(self.config, tensors)
        adapter = kwargs.get("peft")
        labels = checkpoints.adapter_labels(adapter) if adapter else None
        if labels is not None:
            kwargs["num_labels"] = labels
        self.AUTO_MODEL_CLASS = checkpoints.CheckedLoader(
            self._readout_name, tensors, adapter_head=labels is not None
        )
        super()._create_model(pretrained, **kwargs)

    def _join_accelerate(self) -> None:
        # HFLM takes part in data parallelism on GPUs only; ``accelerate launch --cpu`` would
        # otherwise score everything in every process.
        if hasattr(self, "accelerator") and self.world_size == 1:
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes

    def _make_encoder(self, bos: str) -> Encoder:
        whole = isinstance(self.readout, readouts.ModelReadout)
        if whole and not self.tokenizer.chat_template:
            return PairEncoder(self.tokenizer)
        return ChatEncoder(
            self.tokenizer, bos=bos, template_args=self.chat_template_args, closed=whole
        )

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages so that the answer can be its last turn."""
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
        _refuse_single_answers(requests)
        pairs = [request.args for request in requests]
        tokens = self.encoder.encode(pairs)
        self._refuse_long(pairs, tokens)
        rewards = self._score_batched(tokens, disable_tqdm=disable_tqdm)
        results: list[tuple[float, bool]] = []
        for pair, reward in zip(pairs, rewards, strict=True):
            if not math.isfinite(reward):
                raise ModelError(
                    f"the reward of the answer {pair[1].strip()!r} to {_short(pair[0])} is "
                    f"{reward}; try another dtype (dtype=float32) or attn_implementation=eager."
                )
            results.append((Reward(reward), False))
            self.cache_hook.add_partial("loglikelihood", pair, results[-1])
        return results

    def _refuse_long(
        self, pairs: Sequence[tuple[str, str]], tokens: Sequence[dict[str, list[int]]]
    ) -> None:
        for pair, encoded in zip(pairs, tokens, strict=True):
            if (length := len(encoded["input_ids"])) > self.max_length:
                raise ModelError(
                    f"the conversation of {_short(pair[0])} and the answer {_short(pair[1])} has "
                    f"{length} tokens but the model takes {self.max_length}; a truncated "
                    "conversation has another reward, so leave the task out or raise max_length=."
                )

    def _score_batched(
        self, tokens: Sequence[dict[str, list[int]]], *, disable_tqdm: bool
    ) -> list[float]:
        """Score whole conversations in right-padded batches, longest first."""
        requests: list[Any] = [(encoded, encoded["input_ids"], []) for encoded in tokens]
        order = Collator(requests, sort_fn=lambda request: (-len(request[1]), request[1]))
        auto = self.batch_size == "auto"
        self.batch_sizes: dict[int, int] = {}
        batches = order.get_batched(
            n=0 if auto else self.batch_size, batch_fn=self._batch_scheduler if auto else None
        )
        rewards: list[float] = []
        with tqdm(
            total=len(tokens), disable=disable_tqdm or self.rank != 0, desc="Scoring rewards"
        ) as progress:
            for batch in batches:
                for part in self._split(batch):
                    rewards += self._score_batch([encoded for encoded, *_ in part])
                    progress.update(len(part))
        return order.get_original(rewards)

    def _split(self, batch: Sequence[Any]) -> list[Sequence[Any]]:
        if not self.readout.needs_equal_lengths:
            return [batch]
        lengths: dict[int, list[Any]] = {}
        for request in batch:
            lengths.setdefault(len(request[1]), []).append(request)
        return list(lengths.values())

    def _score_batch(self, tokens: Sequence[dict[str, list[int]]]) -> list[float]:
        batch = self.tokenizer.pad(
            {key: [encoded[key] for encoded in tokens] for key in tokens[0]},
            padding_side="right",
            return_tensors="pt",
        )
        return self._forward(dict(batch)).tolist()

    def _forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        batch = {key: value.to(self.device) for key, value in batch.items()}
        with (
            torch.inference_mode(),
            torch.autocast(
                device_type=self.device.type,
                dtype=self.mixed_precision_dtype,
                enabled=self.mixed_precision_dtype is not None,
            ),
        ):
            return self.readout(batch)

    def _model_call(self, inps: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        # HFLM's search for the largest batch calls this.
        return self._forward({"input_ids": inps, "attention_mask": torch.ones_like(inps)})[:, None]

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Refuse: a reward model has no perplexity."""
        _refuse(requests, "perplexities")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse: a reward model writes nothing."""
        _refuse(requests, "generated text")

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        model = _underlying(self.model)
        return {
            **super().get_model_info(),
            **self.encoder.describe(),
            "score_kind": "reward",
            "readout": self.readout.name,
            "head_dtype": getattr(self.readout, "head_dtype", "model"),
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


def _read_template(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"chat_template={path!r} cannot be read ({error.strerror}).") from error


def _numbers(weights: str | Sequence[float] | None) -> list[float] | None:
    if weights is None or not isinstance(weights, str):
        return None if weights is None else [float(weight) for weight in weights]
    try:
        return [float(weight) for weight in weights.split(";")]
    except ValueError:
        raise ModelError(f"weights={weights!r} is not numbers separated by ';'.") from None


def _refuse_single_answers(requests: Sequence[Instance]) -> None:
    answers = Counter((request.task_name, request.doc_id) for request in requests)
    for (task, _), count in answers.items():
        if task is not None and count == 1:
            raise ModelError(
                f"the task {task!r} asks for one answer's log-likelihood on its own, which a "
                "reward model cannot give: rewards only compare answers to the same prompt; leave "
                "the task out or run it with --model hf."
            )


def _refuse(requests: Sequence[Instance], what: str) -> NoReturn:
    names = ", ".join(sorted({str(request.task_name) for request in requests}))
    raise ModelError(
        f"the task {names} asks for {what}, which a reward model cannot give; leave it out or run "
        "it with --model hf."
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 120 else "..." + text[-117:])
