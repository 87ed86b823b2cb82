"""What a decoder is given so that packed answers see the prefix and themselves alone."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any, Literal

import torch
from transformers.cache_utils import DynamicLayer
from transformers.masking_utils import create_causal_mask

__all__ = ["Form", "SharedLayer", "cache_name", "default_form", "input_device", "masks"]

Form = Literal["packed", "rows"]
"""Several answers a row under a block mask, or one answer a row without a mask of ours."""


class SharedLayer(DynamicLayer):
    """A layer's prefix, shared by all rows of all batches: ``update`` keeps nothing.

    Args:
        filled: the cache layer that the prefix went through.
    """

    def __init__(self, filled: Any) -> None:
        super().__init__()
        self.keys: Any = filled.keys
        self.values: Any = filled.values
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prefix before the new states, (B, heads, P + T, head dim)."""
        rows = (len(key_states), -1, -1, -1)
        return (
            torch.cat([self.keys.expand(rows), key_states], dim=-2),
            torch.cat([self.values.expand(rows), value_states], dim=-2),
        )


def default_form(backbone: Any) -> Form:
    """Return ``rows`` where the attention in use takes no 4-D mask, else ``packed``."""
    attention = str(getattr(backbone.config, "_attn_implementation", ""))
    return "rows" if any(name in attention for name in ("flash", "flex", "paged")) else "packed"


def input_device(backbone: Any) -> torch.device:
    """Return the device that token ids go to."""
    embedding = backbone.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)  # where accelerate runs offloaded weights
    device = getattr(hook, "execution_device", None)
    return torch.device(embedding.weight.device if device is None else device)


def masks(
    backbone: Any, answer: torch.Tensor, positions: torch.Tensor, prefix: int
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the 4-D mask, (B, 1, T, P + T), or one for each type of layer.

    Args:
        backbone: tells its sliding window, layer types and form of attention.
        answer: which answer each token belongs to, (B, T); -1 for padding.
        positions: positions in the conversation, (B, T).
        prefix: P, the prefix's length.
    """
    rows, width = answer.shape
    steps = torch.arange(width, device=answer.device)
    own = (answer[:, :, None] == answer[:, None, :]) & (steps[:, None] >= steps)
    full = torch.cat([own.new_ones(rows, width, prefix), own], dim=-1)
    config = backbone.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    types = set(getattr(config, "layer_types", None) or ())
    if getattr(config, "use_sliding_window", True) is False or types == {"full_attention"}:
        window = None
    if window is None or int(positions.max()) < window:
        return _as_attended(backbone, full)
    # The window counts positions: in a row, an answer's neighbours lie between it and the prefix.
    before = torch.arange(prefix, device=answer.device).expand(rows, -1)
    keys = torch.cat([before, positions], dim=-1)
    near = full & (positions[:, :, None] - keys[:, None, :] < window)
    sliding = _as_attended(backbone, near)
    if len(types) < 2:
        return sliding
    if unknown := types - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layers of type {', '.join(sorted(unknown))} take another mask")
    return {"full_attention": _as_attended(backbone, full), "sliding_attention": sliding}


def _as_attended(backbone: Any, allowed: torch.Tensor) -> torch.Tensor:
    if backbone.config._attn_implementation == "sdpa":
        return allowed[:, None]
    mask = torch.zeros(allowed.shape, dtype=backbone.dtype, device=allowed.device)
    return mask.masked_fill_(~allowed, torch.finfo(mask.dtype).min)[:, None]


def cache_name(forward: Callable[..., Any]) -> str:
    """Return what a model calls its cache: transformers 5.24 renamed it, 5.40 forgets the old name.

    A forward pass that hands on whatever it gets is taken to end in transformers' own.
    """
    for function in (forward, create_causal_mask):
        known = signature(function).parameters
        if found := [name for name in ("cache", "past_key_values") if name in known]:
            return found[0]
    return "cache"
