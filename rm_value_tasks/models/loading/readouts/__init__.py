"""How a family of reward models turns a forward pass into one scalar.

A readout is chosen from the model's config and checkpoint (``loading.families``), or named
by the user:

================  ============================================================
name              reward
================  ============================================================
``pooled``        the one logit of a sequence classifier (``label=`` picks one of several)
``weighted``      a weighted sum of a classifier's logits (``weights=``)
``attribute``     an attribute of the output of the model's own code (``attribute=``)
``position``      a head on the last token's hidden state
``process``       the probability of the positive class at the last step's token
``first_output``  the first output of the model's own code
``lm_logit``      the logit of a vocabulary id at the last token (``token_id=``)
================  ============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import READOUTS
from rm_value_tasks.models.loading.readouts.base import Batch, Readout
from rm_value_tasks.models.loading.readouts.hidden import HiddenReadout, vocabulary_head
from rm_value_tasks.models.loading.readouts.reduce import (
    Reduce,
    difference,
    one_logit,
    positive_class,
    weighted,
)
from rm_value_tasks.models.loading.readouts.whole import (
    AttributeReadout,
    FirstOutputReadout,
    ModelReadout,
)

__all__ = [
    "READOUTS",
    "AttributeReadout",
    "Batch",
    "FirstOutputReadout",
    "HiddenReadout",
    "ModelReadout",
    "Readout",
    "build",
    "one_logit",
    "reduction",
    "shares_prefixes",
]


def build(
    model: Any,
    name: str,
    *,
    attribute: str = "score",
    label: int | None = None,
    weights: Sequence[float] | None = None,
    token_ids: Sequence[int] = (0,),
    head_dtype: str = "float32",
) -> Readout:
    """Build the readout ``name`` of a loaded model.

    Args:
        model: a ``PreTrainedModel``; a PEFT model's underlying model. A head rebuilt from the
            checkpoint is its ``reward_head``.
        name: one of ``READOUTS``.
        attribute: for ``attribute``, the output's attribute.
        label: which of several labels is the reward.
        weights: one weight for each label.
        token_ids: for ``lm_logit``, the vocabulary id; of two, the reward is the probability
            of the first against the second.
        head_dtype: ``float32`` or ``model``.

    Raises:
        ModelError: if the options do not fit the model.
    """
    reduce = reduction(name, label, weights)
    if name == "attribute":
        return AttributeReadout(model, attribute)
    if name == "pooled" and weights:
        name = "weighted"
    if name == "first_output":
        return FirstOutputReadout(model, reduce)
    if name == "lm_logit":
        head: Any = vocabulary_head(model, list(token_ids))
        return HiddenReadout(model.base_model, head, reduce, name=name, head_dtype=head_dtype)
    head = getattr(model, "reward_head", None)
    if head is None and name == "position":
        head = getattr(model, "v_head", None)
    if head is None and shares_prefixes(model, name):
        head = getattr(model, "score", None)
    if isinstance(head, nn.Module):
        return HiddenReadout(model.base_model, head, reduce, name=name, head_dtype=head_dtype)
    if name in ("position", "process"):
        raise ModelError(f"{type(model).__name__} has no value head for readout={name}.")
    return ModelReadout(model, reduce, name=name)


def shares_prefixes(model: Any, name: str) -> bool:
    """Say whether a readout takes the last hidden state, which answers can share a prefix for.

    Args:
        model: a ``PreTrainedModel``, of which only class and modules count.
        name: the readout.
    """
    if name in ("attribute", "first_output"):
        return False
    # A model's own code may do more in forward() than apply its head.
    native = type(model).__module__.startswith("transformers.")
    head = isinstance(getattr(model, "score", None), nn.Module)
    return name in ("position", "process", "lm_logit") or (native and head)


def reduction(name: str, label: int | None, weights: Sequence[float] | None) -> Reduce:
    """Return what makes one reward of a head's labels.

    Args:
        name: the readout.
        label: see ``build``.
        weights: see ``build``.

    Raises:
        ModelError: if the options do not go together.
    """
    if label is not None and weights:
        raise ModelError("label= and weights= exclude each other; give one of them.")
    if name == "process":
        return positive_class(label)
    if name == "lm_logit":
        return difference
    return weighted(weights) if weights else one_logit(label)
