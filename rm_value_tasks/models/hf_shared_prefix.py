"""``--model hf-shared-prefix``: ``hf`` with each prompt run once for all its answers.

A drop-in for ``hf`` in multiple-choice tasks: the same arguments, the same numbers. Only the
log-probabilities' way differs; generation and perplexities are ``hf``'s own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm
from transformers.modeling_outputs import BaseModelOutputWithPast

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.adapters import underlying
from rm_value_tasks.models.common.arguments import kept_arguments, switch
from rm_value_tasks.models.common.harness import HarnessHF, Request
from rm_value_tasks.models.common.score_cache import OneSettingCache
from rm_value_tasks.models.prefix.check import Report
from rm_value_tasks.models.prefix.sharing import Sharing

__all__ = ["SharedPrefixLM"]

Answer = tuple[float, bool]

_CPU_OVERHEAD, _GPU_OVERHEAD = 64, 1024
"""Tokens that a group must save: about what a forward pass of few tokens wastes."""
_CHECKED = 6

eval_logger = logging.getLogger("lm_eval.models.hf_shared_prefix")


class SharedPrefixLM(OneSettingCache, HarnessHF):
    """``hf`` for multiple-choice tasks at the cost of the answers' own tokens.

    Args:
        pretrained: as for ``hf``.
        shared_prefix: ``False`` makes this ``hf``.
        **kwargs: every argument of ``hf``. ``batch_size=auto`` also times the sizes of the
            packed batches; a number is the batch size of what is not packed.

    Requests that share a prefix with few others, seq2seq models and models that the
    self-check finds unfit (once, with a warning) take ``hf``'s own path.
    """

    drop_in = True

    def __init__(self, pretrained: Any, *, shared_prefix: bool = True, **kwargs: Any) -> None:
        shared_prefix = switch("shared_prefix", shared_prefix)
        self._loaded_with = {"pretrained": pretrained, **kwargs}
        super().__init__(pretrained, **kwargs)
        shares = shared_prefix and kwargs.get("tp_plan") is None and self.backend == "causal"
        self._sharing = self._make_sharing() if shares else Sharing(None, least=0)
        self._head: _Head | None = None

    def cache_settings(self) -> dict[str, Any]:
        """Return what the log-probabilities depend on; sharing and batches change none."""
        return {**kept_arguments(self._loaded_with), **self.digests()}

    def score_tokens(
        self,
        requests: list[Request],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[Answer]:
        """Return (log-probability, is greedy) of each request, in order."""
        if not self._sharing.possible or override_bs is not None:
            return super().score_tokens(requests, disable_tqdm, override_bs)
        groups = self._groups(requests)
        answers: list[Answer | None] = [None] * len(requests)
        if groups and self._ready(requests, groups):
            with tqdm(
                total=sum(len(group.members) for group in groups),
                disable=disable_tqdm or self.rank != 0,
                desc="Running loglikelihood requests on shared prefixes",
            ) as progress:
                for group in groups:
                    for member, answer in zip(group.members, self._score(group), strict=True):
                        answers[member] = answer
                        self._warn_of_truncation(requests[member])
                        if (key := requests[member][0]) is not None:
                            self.cache_hook.add_partial("loglikelihood", key, answer)
                    progress.update(len(group.members))
        rest = [index for index, answer in enumerate(answers) if answer is None]
        if rest:
            ordinary = super().score_tokens([requests[i] for i in rest], disable_tqdm)
            for index, answer in zip(rest, ordinary, strict=True):
                answers[index] = answer
        return [answer for answer in answers if answer is not None]

    def _truncated(self, request: Request) -> list[int]:
        """Return context and continuation as ``hf`` would see them."""
        _, context, continuation = request
        return (context + continuation)[-(self.max_length + 1) :]

    def _warn_of_truncation(self, request: Request) -> None:
        _, context, continuation = request
        excess = len(context) + len(continuation) - self.max_length - 1
        if excess > 0:
            eval_logger.warning(
                f"Combined length of context ({len(context)}) and continuation "
                f"({len(continuation)}) exceeds model's maximum length ({self.max_length}). "
                f"Truncating {excess} tokens from the left."
            )

    def _groups(self, requests: Sequence[Request]) -> list[_Answers]:
        """Return the groups that are worth sharing.

        Requests that differ in their last token alone are one forward pass for ``hf`` too,
        so they count once.
        """
        sequences = [self._truncated(request) for request in requests]
        scored = [len(continuation) for _, _, continuation in requests]
        same: dict[tuple[int, ...], list[int]] = {}
        for index, sequence in enumerate(sequences):
            same.setdefault(tuple(sequence[:-1]), []).append(index)
        runs = list(same.values())
        found = []
        for group in self._sharing.groups(
            [sequences[run[0]] for run in runs],
            limits=[min(len(sequences[i]) - scored[i] for i in run) for run in runs],
        ):
            if group.prefix:
                members = [index for member in group.members for index in runs[member]]
                suffixes = [sequences[index][len(group.prefix) :] for index in members]
                found.append(
                    _Answers(members, group.prefix, suffixes, [scored[index] for index in members])
                )
        return found

    def _score(self, group: _Answers) -> list[Answer]:
        engine = self._sharing.engine(group.prefix, group.suffixes)
        assert engine is not None
        assert self._head is not None
        with torch.autocast(
            device_type=self.device.type,
            dtype=self.mixed_precision_dtype,
            enabled=self.mixed_precision_dtype is not None,
        ):
            return engine.loglikelihood(
                group.prefix, group.suffixes, self._head, scored=group.scored
            )

    def _make_sharing(self) -> Sharing:
        least = _CPU_OVERHEAD if self.device.type == "cpu" else _GPU_OVERHEAD
        try:
            backbone = _backbone(self.model)
        except _UnfitError as error:
            self._warn(str(error))
            return Sharing(None, least=least, why_not=str(error))
        return Sharing(backbone, least=least, measure=self.batch_size == "auto")

    def _ready(self, requests: Sequence[Request], groups: Sequence[_Answers]) -> bool:
        """Check backbone and head at the first use; where they do not fit, nothing is shared."""
        if self._head is not None:
            return True
        longest = max(groups, key=lambda group: len(group.prefix))
        if self._sharing.engine(longest.prefix, longest.suffixes) is not None:
            backbone = _backbone(self.model)
            self._head = _Head(underlying(self.model), backbone)
            self._check_head(requests, longest, 1e-3 if backbone.dtype.itemsize >= 4 else 5e-2)
        if not self._sharing.possible:
            self._head = None
            self._warn(self._sharing.reason)
        return self._sharing.possible

    def _check_head(self, requests: Sequence[Request], group: _Answers, most: float) -> None:
        """Compare with ``hf``'s own log-probabilities, which it rounds to the model's dtype."""
        few = group.first(_CHECKED)
        anonymous: list[Request] = [(None, *requests[member][1:]) for member in few.members]
        ordinary = super().score_tokens(anonymous, disable_tqdm=True, override_bs=1)
        worst = max(
            abs(one - other) / (1 + abs(other))
            for (one, _), (other, _) in zip(self._score(few), ordinary, strict=True)
        )
        if not worst <= most:
            reason = f"log-probabilities come out different, by {worst:.2g}"
            self._sharing.refuse(Report(False, reason, worst))

    def _warn(self, reason: str) -> None:
        eval_logger.warning(
            f"{type(self.model).__name__} cannot share prefixes ({reason}); scoring "
            "in ordinary batches, as --model hf does."
        )


@dataclass(frozen=True)
class _Answers:
    """Requests that share a prefix: indices, suffixes, tokens at each end that count."""

    members: list[int]
    prefix: list[int]
    suffixes: list[list[int]]
    scored: list[int]

    def first(self, count: int) -> _Answers:
        parts = self.members[:count], self.prefix, self.suffixes[:count], self.scored[:count]
        return _Answers(*parts)


class _UnfitError(Exception):
    """Why a model cannot be taken apart into backbone and head."""


class _Head:
    """A causal model's own way from hidden states (m, hidden) to logits (m, vocabulary).

    The model's forward pass runs with the hidden states in place of its backbone's output, so
    that soft-capping, scaling and biases are what the model says they are.
    """

    def __init__(self, model: Any, backbone: Any) -> None:
        self._model = model
        self._backbone = backbone

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        ids = torch.zeros(1, len(hidden), dtype=torch.long, device=hidden.device)
        with _returning(self._backbone, _Output(last_hidden_state=hidden[None])):
            return self._model(input_ids=ids, use_cache=False).logits[0]


class _Output(BaseModelOutputWithPast):
    """A backbone's output; what some families add (router logits, ...) reads as None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


@contextmanager
def _returning(module: Any, output: Any) -> Iterator[None]:
    before = module.__dict__.get("forward")  # accelerate's hooks live there
    module.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


def _backbone(model: Any) -> Any:
    try:
        model = underlying(model)
    except ModelError as error:
        raise _UnfitError(str(error).rstrip(".")) from error
    backbone = getattr(model, "base_model", model)
    if backbone is model:
        raise _UnfitError("it has no backbone apart from its head")
    return backbone
