"""The whole model's output, as its own code makes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.readouts.base import Batch, no_padding_id
from rm_value_tasks.models.loading.readouts.reduce import Reduce

__all__ = ["AttributeReadout", "FirstOutputReadout", "ModelReadout"]


class ModelReadout:
    """Runs the whole classifier and reduces its logits (encoders, custom code).

    Other classes than encoders may look for the last token by the padding id, so they get
    batches of equal lengths and a padding id that the batch lacks (see AttributeReadout).
    """

    def __init__(self, model: nn.Module, reduce: Reduce, *, name: str) -> None:
        self.name = name
        self._model = model
        self._reduce = reduce
        self.needs_equal_lengths = not _native(model) or "Decoder" in type(model).__name__

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of a batch, shape (B,), float32."""
        if not self.needs_equal_lengths:
            return self._reduce(self._model(**batch).logits.float())
        with no_padding_id(self._model, batch["input_ids"]):
            return self._reduce(self._model(**batch).logits.float())


class AttributeReadout:
    """Reads an attribute of the model's output (custom code such as ArmoRM's ``score``).

    Such code looks for the last token by the padding id, in one way or another. It gets
    batches of equal lengths and a padding id that the batch lacks, so that every way ends
    at the true last token.
    """

    needs_equal_lengths = True

    def __init__(self, model: Any, attribute: str) -> None:
        if _native(model) and (attribute != "logits" or model.config.num_labels != 1):
            raise ModelError(
                "readout=attribute reads what a model's own code gives, but "
                f"{type(model).__name__} is transformers' own class, whose output has no "
                f"one reward as {attribute!r}; leave readout= out."
            )
        self.name = "attribute"
        self._model = model
        self._attribute = attribute

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of an unpadded batch, shape (B,), float32.

        Raises:
            ModelError: if the output lacks the attribute or has another shape.
        """
        with no_padding_id(self._model, batch["input_ids"]):
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


class FirstOutputReadout:
    """Takes the first output of a model's own code (InternLM2-Reward and the like).

    The output may be a tensor, a tuple or a ``ModelOutput``; its first tensor has one
    value for each conversation, or one for each token, of which the last counts.
    """

    needs_equal_lengths = True

    def __init__(self, model: Any, reduce: Reduce) -> None:
        if _native(model) and getattr(model, "base_model", model) is model:
            raise ModelError(
                f"readout=first_output reads what a model's own code gives, but "
                f"{type(model).__name__} is transformers' own class, whose first output is no "
                "reward; leave readout= out."
            )
        self.name = "first_output"
        self._model: Any = model
        self._reduce = reduce

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of an unpadded batch, shape (B,), float32.

        Raises:
            ModelError: if the first output is no such tensor.
        """
        with no_padding_id(self._model, batch["input_ids"]):
            output = self._model(**batch)
        value = output if isinstance(output, torch.Tensor) else output[0]
        size, length = batch["input_ids"].shape
        if not isinstance(value, torch.Tensor) or value.dim() == 0 or len(value) != size:
            shape = None if not isinstance(value, torch.Tensor) else tuple(value.shape)
            raise ModelError(
                f"the first output of {type(self._model).__name__} has shape {shape} where one "
                f"reward for each of {size} conversations is needed; name another readout=."
            )
        value = value.float()
        labels = getattr(self._model.config, "num_labels", None)
        if value.dim() == 3 or (value.dim() == 2 and value.shape[1] == length != labels):
            value = value[:, -1]
        return self._reduce(value)


def _native(model: Any) -> bool:
    return type(model).__module__.startswith("transformers.")
