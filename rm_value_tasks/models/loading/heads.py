"""Reward heads rebuilt from the tensors of a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.weight_files import WeightFiles

__all__ = ["DistributionHead", "build_head", "head_labels", "own_copy"]

Tensors = Mapping[str, torch.Tensor]


def build_head(tensors: Tensors, config: Mapping[str, Any]) -> nn.Module:
    """Rebuild a head from its tensors.

    Args:
        tensors: full names, such as ``v_head.summary.weight`` (TRL), ``score.0.weight``
            (INF-ORM, Qwen2-RM), ``regression_head.weight`` (UltraRM), ``score_head.weight``
            (safe-rlhf); ``regression_layer.*`` and ``gating_layer.*`` (LDL).
        config: the checkpoint's config.

    Returns:
        A module from (m, hidden) to (m, labels).

    Raises:
        ModelError: if the tensors are no chain of linear layers.
    """
    if any(key.startswith("gating_layer.") for key in tensors):
        return DistributionHead(tensors, config)
    head = _chain(tensors, nn.ReLU)
    if config.get("do_normalize") and any(key.startswith("score_head.") for key in tensors):
        _fold_normalizer(head, tensors, config)
    return head


class DistributionHead(nn.Module):
    """LDL's head: gated objectives, each a distribution over scores from 0 to 1.

    Args:
        tensors: ``regression_layer.network.*`` (objectives x bins) and
            ``gating_layer.network.*`` (objectives).
        config: may hold ``temperature`` and ``softmax`` of the gate.
    """

    def __init__(self, tensors: Tensors, config: Mapping[str, Any]) -> None:
        super().__init__()
        parts = {
            name: {key: value for key, value in tensors.items() if key.startswith(name)}
            for name in ("regression_layer.", "gating_layer.")
        }
        self.regression = _chain(parts["regression_layer."], nn.LeakyReLU)
        self.gate = _chain(parts["gating_layer."], nn.LeakyReLU)
        self._objectives = self.gate[-1].out_features
        self._temperature = float(config.get("temperature", 1.0))
        self._softmax = bool(config.get("softmax", False))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the expected scores, (m, hidden) to (m, 1)."""
        bins = self.regression(hidden).view(len(hidden), self._objectives, -1).softmax(dim=-1)
        gate = self.gate(hidden)
        if self._softmax:
            gate = (gate / self._temperature).softmax(dim=-1)
        scores = torch.linspace(0, 1, bins.shape[-1], dtype=bins.dtype, device=bins.device)
        return (gate[:, :, None] * bins * scores).sum(dim=(1, 2))[:, None]


def _chain(tensors: Tensors, activation: type[nn.Module]) -> nn.Sequential:
    """Return linear layers with activations between, in the order of the names' numbers."""
    weights = sorted(
        (key for key in tensors if key.endswith("weight")),
        key=lambda key: [int(number) for number in re.findall(r"\d+", key)],
    )
    layers: list[nn.Module] = []
    for key in weights:
        weight, bias = tensors[key], tensors.get(key.removesuffix("weight") + "bias")
        if weight.dim() != 2 or (layers and weight.shape[1] != layers[-1].out_features):
            layers = []
            break
        layers += [activation(), _linear(weight, bias)] if layers else [_linear(weight, bias)]
    if not layers:
        names = sorted(tensors)
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        raise ModelError(
            f"the head ({shown or 'no tensors'}) is not a chain of linear layers, so it cannot be "
            "rebuilt; load the model with its own code (trust_remote_code=True)."
        )
    return nn.Sequential(*layers)


def _linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    linear.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return linear.requires_grad_(False)


def _fold_normalizer(head: nn.Sequential, tensors: Tensors, config: Mapping[str, Any]) -> None:
    """Put safe-rlhf's running mean and variance into the last layer."""
    last: Any = head[-1]
    mean, var = (
        torch.as_tensor(tensors.get(f"normalizer.{key}", default)).float().reshape(-1)
        for key, default in (("mean", 0.0), ("var", 1.0))
    )
    scale = 1 / (var.sqrt() + 1e-8)
    shift = -mean if config.get("score_type", "reward") == "reward" else torch.zeros_like(mean)
    bias = last.bias.float() if last.bias is not None else torch.zeros(last.out_features)
    folded = _linear(last.weight.float() * scale[:, None], (bias + shift) * scale)
    head[-1] = folded


def own_copy(head: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Return a copy of a head that accelerate does not move, in ``dtype`` if it is given.

    Weights that accelerate keeps elsewhere (on the disk, in main memory) are fetched once:
    a head is small.

    Raises:
        ModelError: if such a head has other layers than linear ones.
    """
    if not any(parameter.is_meta for parameter in head.parameters()):
        import copy

        return copy.deepcopy(head) if dtype is None else copy.deepcopy(head).to(dtype)
    layers = list(head) if isinstance(head, nn.Sequential) else [head]
    return nn.Sequential(*(_fetched(layer, dtype) for layer in layers))


def _fetched(layer: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    from accelerate.utils import align_module_device

    if not list(layer.parameters()):
        return layer
    if not isinstance(layer, nn.Linear):
        raise ModelError(
            f"the reward head has a {type(layer).__name__} whose weights are off-loaded, which "
            "cannot be read out; give the model more memory (max_memory_per_gpu=) or load it "
            "without parallelize."
        )
    hook = getattr(layer, "_hf_hook", None)
    device = getattr(hook, "execution_device", None) or "cpu"
    with align_module_device(layer, execution_device=device):
        bias = None if layer.bias is None else layer.bias.detach().clone()
        linear = _linear(layer.weight.detach().clone(), bias)
    return linear.to(device, dtype)


_SCORES = ("score.weight", "classifier.weight", "classifier.out_proj.weight")
"""Names of the last layer of a classifier's head."""


def head_labels(name: str, config: Mapping[str, Any], files: WeightFiles) -> int | None:
    """Return how many labels a classifier's head has if its config is silent about it.

    ``transformers`` then takes two, whatever is in the checkpoint.

    Raises:
        ModelError: if the config says another number than the head has rows.
    """
    key = next((key for key in _SCORES if key in files.files), None)
    said = config.get("num_labels")
    if isinstance(names := config.get("id2label"), Mapping):
        said = len(names)
    if key is None or "ForTokenClassification" in str(config.get("architectures")):
        return None
    shape = files.shapes().get(key)
    if shape is None or len(shape) != 2 or said == shape[0]:
        return None
    if said is not None:
        raise ModelError(
            f"the config of {name!r} names {said} labels, but its head ({key}) has {shape[0]} "
            "rows; correct id2label in its config.json."
        )
    return shape[0]
