"""The last token's hidden state, and a head on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.heads import own_copy
from rm_value_tasks.models.loading.readouts.base import Batch
from rm_value_tasks.models.loading.readouts.reduce import Reduce

__all__ = ["HiddenReadout", "vocabulary_head"]


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
        reduce: Reduce,
        *,
        name: str,
        head_dtype: str = "float32",
    ) -> None:
        self.name = name
        self.backbone = backbone
        self._reduce = reduce
        self._head = head
        if head_dtype == "float32" and all(p.is_floating_point() for p in head.parameters()):
            self._head = own_copy(head, torch.float32)
        elif any(p.is_meta for p in head.parameters()):
            self._head = own_copy(head, None)
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


def vocabulary_head(model: Any, tokens: list[int]) -> nn.Module:
    """Return the rows of a language model's head that stand for ``tokens``.

    Args:
        model: a causal language model.
        tokens: vocabulary ids.

    Raises:
        ModelError: if the model has no such rows, or changes its logits afterwards.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ModelError(
            f"{type(model).__name__} has no vocabulary head for readout=lm_logit; it needs a "
            "causal language model."
        )
    config = model.config.get_text_config()
    for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
        if getattr(config, name, None) not in (None, 1, 1.0):
            raise ModelError(
                f"{type(model).__name__} changes its logits ({name}), which readout=lm_logit does "
                "not do; score it with --model hf or --model generative-judge."
            )
    if not all(0 <= token < head.out_features for token in tokens):
        raise ModelError(
            f"token_id={';'.join(map(str, tokens))} is outside the vocabulary of "
            f"{head.out_features} rows."
        )
    if head.weight.is_meta:
        fetched: Any = own_copy(head, None)
        head = fetched[0]
    rows = nn.Linear(
        head.in_features, len(tokens), head.bias is not None, head.weight.device, head.weight.dtype
    ).requires_grad_(False)
    rows.weight.copy_(head.weight[tokens])
    if head.bias is not None:
        rows.bias.copy_(head.bias[tokens])
    return rows
