"""What every readout is, and what some of them do to a model's padding id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch

__all__ = ["Batch", "Readout", "no_padding_id"]

Batch = dict[str, torch.Tensor]
"""``input_ids`` and ``attention_mask``, (B, T), right-padded; maybe ``token_type_ids``."""


class Readout(Protocol):
    """One family's way from a batch of conversations to rewards."""

    name: str
    needs_equal_lengths: bool
    """Whether a batch must hold no padding at all."""

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Return the rewards of a batch, shape (B,), float32."""


@contextmanager
def no_padding_id(model: Any, input_ids: torch.Tensor) -> Iterator[None]:
    """Give the model a padding id that its batch lacks, so that it finds no padding."""
    config = model.config
    before, config.pad_token_id = config.pad_token_id, _absent_id(input_ids)
    try:
        yield
    finally:
        config.pad_token_id = before


def _absent_id(input_ids: torch.Tensor) -> int:
    used = set(input_ids.unique().tolist())
    return next(token for token in range(len(used) + 1) if token not in used)
