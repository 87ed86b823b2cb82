"""Load a reward model, refusing one whose head did not come from its checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
import transformers
from safetensors import safe_open
from torch import nn
from transformers.utils import cached_file

from rm_value_tasks.errors import ModelError

__all__ = [
    "CheckedLoader",
    "adapter_labels",
    "choose_readout",
    "refuse_lost_adapter_weights",
    "value_head",
    "value_head_tensors",
]

_VALUE_HEADS = ("v_head.", "value_head.")
_SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_EXTRA = ("value_head.safetensors",)


def choose_readout(config: Any, head_tensors: Mapping[str, torch.Tensor]) -> str:
    """Name the readout of a checkpoint.

    Args:
        config: its ``transformers`` config.
        head_tensors: what ``value_head_tensors`` found.

    Returns:
        ``position``, ``attribute`` or ``pooled``.
    """
    architectures = " ".join(getattr(config, "architectures", None) or [])
    if head_tensors or "ForTokenClassification" in architectures:
        return "position"
    if "RewardModelWithGating" in architectures:  # ArmoRM and QRM
        return "attribute"
    return "pooled"


class CheckedLoader:
    """Stands where lm-eval expects an auto class, and checks what was loaded.

    ``transformers`` fills a missing or mismatched head with random numbers and only
    logs a report; scores from such a head look like scores.

    Args:
        readout: the readout's name.
        head_tensors: the value head's tensors, for ``position``.
        adapter_head: whether a PEFT adapter brings the head.
    """

    def __init__(
        self, readout: str, head_tensors: Mapping[str, torch.Tensor], *, adapter_head: bool
    ) -> None:
        self._readout = readout
        self._tensors = head_tensors
        self._adapter_head = adapter_head
        self._class: Any = transformers.AutoModelForSequenceClassification
        if readout == "position":
            token_heads = transformers.AutoModelForTokenClassification
            self._class = transformers.AutoModel if head_tensors else token_heads

    def from_pretrained(self, name: str, **kwargs: Any) -> transformers.PreTrainedModel:
        """Load ``name`` as lm-eval asks.

        Raises:
            ModelError: if a weight is missing, left over or of another shape, or if the
                model's own code does not run with this version of ``transformers``.
        """
        try:
            model, report = self._class.from_pretrained(name, output_loading_info=True, **kwargs)
        except (AttributeError, ImportError, NameError, TypeError) as error:
            if not kwargs.get("trust_remote_code"):
                raise
            raise ModelError(
                f"the code that {name!r} brings along does not run with transformers "
                f"{transformers.__version__} ({type(error).__name__}: {error}); use the version "
                "that its model card names."
            ) from error
        _refuse_wrong_weights(name, report, self._readout, adapter_head=self._adapter_head)
        if self._tensors:
            parameter = next(model.parameters())
            head = value_head(self._tensors)
            model.add_module("v_head", head.to(parameter.device, parameter.dtype))
        return model


def _refuse_wrong_weights(
    name: str, report: Mapping[str, Any], readout: str, *, adapter_head: bool
) -> None:
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(key[0]) for key in report["mismatched_keys"])
    unexpected = sorted(report["unexpected_keys"])
    if adapter_head:
        missing = [key for key in missing if not key.startswith(("score.", "classifier."))]
    if readout == "position":
        unexpected = [key for key in unexpected if not key.startswith(_VALUE_HEADS)]
    unexpected = [key for key in unexpected if "lm_head" not in key]
    if unexpected and not missing and not mismatched:
        raise ModelError(
            f"the checkpoint {name!r} has weights that its reward model class does not use "
            f"({_some(unexpected)}), so its scores would not be its own; load it with its own "
            "code (trust_remote_code=True) or name the right readout=."
        )
    if missing or mismatched:
        wrong = "has no" if missing else "has another shape of"
        raise ModelError(
            f"the checkpoint {name!r} {wrong} {_some(missing or mismatched)}, so its reward head "
            "would be random numbers: it is not a reward model of this kind (for a language "
            "model use --model hf; for a custom head name its readout= or trust_remote_code=True)."
        )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def value_head_tensors(name: str, **where: Any) -> dict[str, torch.Tensor]:
    """Read the tensors of a per-token value head (``v_head.*``) from a checkpoint.

    Args:
        name: a folder or a repository on the hub.
        where: ``revision`` and ``subfolder``.

    Returns:
        Their names without the prefix, empty if there is none.
    """
    found: dict[str, torch.Tensor] = {}
    for file in _weight_files(name, **where):
        for key, tensor in _read(file).items():
            found[key.partition(".")[2]] = tensor
    return found


def _weight_files(name: str, **where: Any) -> list[str]:
    options = {"_raise_exceptions_for_missing_entries": False, **where}
    for index in _SHARDED:
        if path := cached_file(name, index, **options):
            shards = set(
                re.findall(
                    r'"[^"]*?v(?:alue)?_head\.[^"]*"\s*:\s*"([^"]+)"',
                    Path(path).read_text(encoding="utf-8"),
                )
            )
            return [str(cached_file(name, shard, **where)) for shard in sorted(shards)]
    files = [cached_file(name, file, **options) for file in (*_SINGLE[:1], *_EXTRA)]
    if not any(files):
        files = [cached_file(name, _SINGLE[1], **options)]
    return [file for file in files if file]


def _read(path: str) -> dict[str, torch.Tensor]:
    if not path.endswith(".safetensors"):
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
        return {key: tensors[key] for key in tensors if key.startswith(_VALUE_HEADS)}
    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(_VALUE_HEADS)]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in keys}


def value_head(tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """Rebuild a value head: one linear layer, or several with ReLU between (GRM-sftreg).

    Args:
        tensors: ``summary.weight`` and ``summary.bias`` (TRL), ``weight`` (Starling), or
            ``summary.0.weight``, ``summary.2.weight``, ... (GRM), each (out, in).

    Raises:
        ModelError: if the tensors are no chain of linear layers that ends in one value.
    """
    weights = sorted(
        (key for key in tensors if key.endswith("weight")),
        key=lambda key: [int(number) for number in re.findall(r"\d+", key)],
    )
    layers: list[nn.Module] = []
    for key in weights:
        weight, bias = tensors[key], tensors.get(key.removesuffix("weight") + "bias")
        if weight.dim() != 2:
            break
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
        linear.load_state_dict(
            {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
        )
        layers += [nn.ReLU(), linear] if layers else [linear]
    if not layers or layers[-1].out_features != 1:
        raise ModelError(
            f"the value head ({_some(sorted(tensors))}) is not a chain of linear layers that "
            "ends in one value, so readout=position cannot rebuild it."
        )
    return nn.Sequential(*layers)


def adapter_labels(adapter: str) -> int | None:
    """Return how many labels a PEFT adapter's own score head has; None if it has none.

    Args:
        adapter: a folder or a repository on the hub.
    """
    from peft.utils import load_peft_weights

    for key, tensor in load_peft_weights(adapter, device="cpu").items():
        if re.search(r"(^|\.)(score|classifier)\.(?:.*\.)?weight$", key) and tensor.dim() == 2:
            return int(tensor.shape[0])
    return None


def refuse_lost_adapter_weights(adapter: str, name: str, model: Any) -> None:
    """Refuse a PEFT adapter of which the model took only a part, or nothing.

    PEFT leaves out what it finds no layer for; the scores would be the base's.

    Raises:
        ModelError: naming the first weights without a place.
    """
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    lost = set(load_peft_weights(adapter, device="cpu")) - set(get_peft_model_state_dict(model))
    if lost:
        raise ModelError(
            f"the adapter {adapter!r} has weights for which {name!r} has no place "
            f"({_some(sorted(lost))}), so its scores would not be its own; load it on the model "
            "that it was trained on."
        )
