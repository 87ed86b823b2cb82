"""From a head's labels, (m, labels), to one reward each, (m,)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from rm_value_tasks.errors import ModelError

__all__ = ["Reduce", "difference", "one_logit", "positive_class", "weighted"]

Reduce = Callable[[torch.Tensor], torch.Tensor]


def one_logit(label: int | None) -> Reduce:
    """Return what takes the only label, or the one that ``label`` names."""

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


def weighted(weights: Sequence[float]) -> Reduce:
    """Return what takes the weighted sum of the labels."""

    def reduce(logits: torch.Tensor) -> torch.Tensor:
        if logits.shape[-1] != len(weights):
            raise ModelError(
                f"weights has {len(weights)} numbers but the model has {logits.shape[-1]} labels; "
                "give one weight for each (0 for those that do not count)."
            )
        return logits @ torch.tensor(list(weights), dtype=logits.dtype, device=logits.device)

    return reduce


def positive_class(label: int | None) -> Reduce:
    """Return what takes the probability of one class, the second if ``label`` is None."""
    index = 1 if label is None else label

    def reduce(logits: torch.Tensor) -> torch.Tensor:
        if logits.dim() != 2 or not 0 <= index < logits.shape[-1] or logits.shape[-1] < 2:
            raise ModelError(
                f"the model gives {tuple(logits.shape[1:])} values for each step where classes "
                f"up to {index} are needed; a process reward model has two, and label= names the "
                "one that stands for a good step."
            )
        return logits.softmax(dim=-1)[:, index]

    return reduce


def difference(logits: torch.Tensor) -> torch.Tensor:
    """Take one logit as it is; of two, the probability of the first against the second."""
    return logits[:, 0] if logits.shape[-1] == 1 else (logits[:, 0] - logits[:, 1]).sigmoid()
