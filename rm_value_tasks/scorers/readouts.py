"""How a family of reward models turns a forward pass into one scalar.

A readout is chosen from the model's config and checkpoint, or named by the user:

==============  ==========================================================  =================
name            reward                                                      families
==============  ==========================================================  =================
``pooled``      the one logit of a sequence classifier                      Skywork, GRM-ft,
                (``label=`` picks one of several)                           TRL-trained, pairs
``weighted``    a weighted sum of a classifier's logits (``weights=``)      URM
``attribute``   an attribute of the model's output (``attribute=``)         ArmoRM, QRM
``position``    a per-token value head at the last token                    value heads
==============  ==========================================================  =================
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from rm_value_tasks.errors import ModelError

__all__ = [
    "READOUTS",
    "AttributeReadout",
    "HiddenReadout",
    "ModelReadout",
    "Readout",
    "build",
    "one_logit",
]

READOUTS = ("pooled", "weighted", "attribute", "position")

Batch = dict[str, torch.Tensor]
"""``input_ids`` and ``attention_mask``, (B, T), right-padded; maybe ``token_type_ids``."""


class Readout(Protocol):
    """One family's way from a batch of conversations to rewards."""

    name: str
    needs_equal_lengths: bool
    """Whether a batch must hold no padding at all."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of a batch, shape (B,), float32."""


class HiddenReadout:
    """Applies a head to the last token's hidden state (decoders).

    The hidden state is taken at the known last position. Looking for the last token that
    is not padding, as ``transformers`` does, reads one token too early where the padding
    token is the end-of-turn token.

    Args:
        backbone: the model without its head; gives ``last_hidden_state``.
        head: module from (m, hidden) to (m, labels).
        reduce: from (m, labels) to (m,).
        name: the readout's public name.
        head_dtype: ``float32`` computes the head in float32, whatever the model's dtype
            (a bfloat16 head leaves few distinct rewards and so makes ties); ``model``
            leaves it as it was trained.
    """

    needs_equal_lengths = False

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        reduce: Callable[[torch.Tensor], torch.Tensor],
        *,
        name: str,
        head_dtype: str = "float32",
    ) -> None:
        self.name = name
        self.backbone = backbone
        self._reduce = reduce
        self._head = head
        if head_dtype == "float32" and all(p.is_floating_point() for p in head.parameters()):
            self._head = copy.deepcopy(head).float()
        parameter = next(self._head.parameters())
        self._device, self._dtype = parameter.device, parameter.dtype
        self.head_dtype = str(self._dtype).removeprefix("torch.")

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of a right-padded batch, shape (B,), float32."""
        hidden = self.backbone(**batch, use_cache=False).last_hidden_state
        last = batch["attention_mask"].sum(dim=1).to(hidden.device) - 1
        return self.from_hidden(hidden[torch.arange(len(hidden), device=hidden.device), last])

    def from_hidden(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the rewards of last-token hidden states, (m, hidden) to (m,), float32."""
        with torch.autocast(self._device.type, enabled=False):  # else it undoes float32
            logits = self._head(hidden.to(self._device, self._dtype))
        return self._reduce(logits.float())


class ModelReadout:
    """Runs the whole classifier and reduces its logits (encoders, custom code).

    Other classes than encoders may look for the last token by the padding id, so they get
    batches of equal lengths and a padding id that the batch lacks (see AttributeReadout).
    """

    def __init__(
        self, model: nn.Module, reduce: Callable[[torch.Tensor], torch.Tensor], *, name: str
    ) -> None:
        self.name = name
        self._model = model
        self._reduce = reduce
        native = type(model).__module__.startswith("transformers.")
        self.needs_equal_lengths = not native or "Decoder" in type(model).__name__

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of a batch, shape (B,), float32."""
        if not self.needs_equal_lengths:
            return self._reduce(self._model(**batch).logits.float())
        with _no_padding_id(self._model, batch["input_ids"]):
            return self._reduce(self._model(**batch).logits.float())


class AttributeReadout:
    """Reads an attribute of the model's output (custom code such as ArmoRM's ``score``).

    Such code looks for the last token by the padding id, in one way or another. It gets
    batches of equal lengths and a padding id that the batch lacks, so that every way ends
    at the true last token.
    """

    needs_equal_lengths = True

    def __init__(self, model: nn.Module, attribute: str) -> None:
        self.name = "attribute"
        self._model = model
        self._attribute = attribute

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of an unpadded batch, shape (B,), float32.

        Raises:
            ModelError: if the output lacks the attribute or has another shape.
        """
        with _no_padding_id(self._model, batch["input_ids"]):
            output = self._model(**batch)
        value = getattr(output, self._attribute, None)
        size = len(batch["input_ids"])
        if not isinstance(value, torch.Tensor) or value.numel() != size:
            shape = None if not isinstance(value, torch.Tensor) else tuple(value.shape)
            raise ModelError(
                f"{type(self._model).__name__}'s output has {self._attribute!r} of shape {shape} "
                f"where one reward for each of {size} conversations is needed; name the right "
                "one with attribute=NAME."
            )
        return value.reshape(size).float()


@contextmanager
def _no_padding_id(model: Any, input_ids: torch.Tensor) -> Iterator[None]:
    config = model.config
    before, config.pad_token_id = config.pad_token_id, _absent_id(input_ids)
    try:
        yield
    finally:
        config.pad_token_id = before


def _absent_id(input_ids: torch.Tensor) -> int:
    used = set(input_ids.unique().tolist())
    return next(token for token in range(len(used) + 1) if token not in used)


def one_logit(label: int | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what takes a classifier's one logit, or that of ``label``, as the reward."""

    def reduce(logits: torch.Tensor) -> torch.Tensor:
        if logits.dim() == 1:
            return logits
        if logits.dim() != 2:
            raise ModelError(
                f"the model gives logits of shape {tuple(logits.shape)}, not one row for each "
                "conversation: it is no sequence classifier."
            )
        if label is None and logits.shape[-1] != 1:
            raise ModelError(
                f"the model has {logits.shape[-1]} labels, and which one is the reward is not "
                "known; give label=INDEX, or readout=weighted,weights=W1;W2;..."
            )
        if not 0 <= (label or 0) < logits.shape[-1]:
            raise ModelError(f"label={label} is none of the model's {logits.shape[-1]} labels.")
        return logits[:, label or 0]

    return reduce


def _weighted(weights: Sequence[float]) -> Callable[[torch.Tensor], torch.Tensor]:
    def reduce(logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[-1] != len(weights):
            raise ModelError(
                f"weights has {len(weights)} numbers but the model has {logits.shape[-1]} labels; "
                "give one weight for each (0 for those that do not count)."
            )
        return logits @ torch.tensor(list(weights), dtype=logits.dtype, device=logits.device)

    return reduce


def build(
    model: Any,
    name: str,
    *,
    attribute: str = "score",
    label: int | None = None,
    weights: Sequence[float] | None = None,
    head_dtype: str = "float32",
) -> Readout:
    """Build the readout ``name`` of a loaded model.

    Args:
        model: a ``PreTrainedModel``; a PEFT model's underlying model.
        name: ``pooled``, ``weighted``, ``attribute`` or ``position``.
        attribute: for ``attribute``, the output's attribute.
        label: for ``pooled`` and ``position``, which of several labels is the reward.
        weights: for ``weighted``, one weight for each label.
        head_dtype: ``float32`` or ``model``.

    Raises:
        ModelError: if the options do not fit the model.
    """
    if name not in READOUTS:
        raise ModelError(f"readout={name!r} is none of {', '.join(READOUTS)}.")
    if head_dtype not in ("float32", "model"):
        raise ModelError(f"head_dtype={head_dtype!r} is neither 'float32' nor 'model'.")
    if name == "attribute":
        return AttributeReadout(model, attribute)
    if name == "weighted" and not weights:
        raise ModelError("readout=weighted needs weights=W1;W2;..., one for each label.")
    reduce = _weighted(weights or ()) if name == "weighted" else one_logit(label)
    head = getattr(model, "score", None)
    if name == "position":
        head = getattr(model, "v_head", head)
        if head is None:
            raise ModelError(f"{type(model).__name__} has no value head for readout=position.")
    # A model's own code may do more in forward() than apply its head.
    native = type(model).__module__.startswith("transformers.")
    if isinstance(head, nn.Module) and (native or name == "position"):
        return HiddenReadout(model.base_model, head, reduce, name=name, head_dtype=head_dtype)
    return ModelReadout(model, reduce, name=name)
