"""Load a reward model, refusing one whose head did not come from its checkpoint."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.opening import in_one_sentence, refuse_missing
from rm_value_tasks.models.loading.heads import build_head
from rm_value_tasks.models.loading.specification import Specification

__all__ = [
    "CheckedLoader",
    "adapter_labels",
    "refuse_lost_adapter_weights",
    "refuse_wrong_weights",
]


class CheckedLoader:
    """Stands where lm-eval expects an auto class, and checks what was loaded.

    ``transformers`` fills a missing or mismatched head with random numbers and only
    logs a report; scores from such a head look like scores.

    Args:
        specification: how the checkpoint is read.
        adapter_head: whether a PEFT adapter brings the head.
        labels: how many the adapter's head has, where it brings one.
        native: whether ``transformers`` itself has the model below a rebuilt head.
    """

    def __init__(
        self,
        specification: Specification,
        *,
        adapter_head: bool = False,
        native: bool = True,
        labels: int | None = None,
    ) -> None:
        files = specification.files
        self._head = files.read(specification.head) if files else {}
        self._class = specification.auto_class
        self._key_mapping = specification.key_mapping
        self._native = native
        self._labels = specification.labels if labels is None else labels
        self._shapes = files.shapes() if files else {}
        self._adapter_head = adapter_head

    def from_pretrained(self, name: str, **kwargs: Any) -> transformers.PreTrainedModel:
        """Load ``name`` as lm-eval asks.

        Raises:
            ModelError: if a weight is missing, left over or of another shape, or if the
                model's own code does not run with this version of ``transformers``.
        """
        if self._head and self._native:  # its own code would load its own head
            kwargs["trust_remote_code"] = False
        if self._key_mapping:
            kwargs["key_mapping"] = self._key_mapping
        if self._labels is not None:
            kwargs.setdefault("num_labels", self._labels)
        kwargs["ignore_mismatched_sizes"] = True  # they are in the report, and refused below
        try:
            with _without_report():  # it would call the head's tensors unexpected
                model, report = self._class.from_pretrained(
                    name, output_loading_info=True, **kwargs
                )
        except (AttributeError, ImportError, NameError, TypeError) as error:
            if not kwargs.get("trust_remote_code"):
                raise
            raise ModelError(
                f"the code that {name!r} brings along does not run with transformers "
                f"{transformers.__version__} ({type(error).__name__}: {error}); use the version "
                "that its model card names."
            ) from error
        unexpected = set(report["unexpected_keys"]) - set(self._head)
        refuse_wrong_weights(
            name,
            missing=report["missing_keys"],
            mismatched=[str(key[0]) for key in report["mismatched_keys"]],
            unexpected=[key for key in unexpected if not _of_no_use(key, self._shapes.get(key))],
            adapter_head=self._adapter_head,
        )
        if self._head:
            head = build_head(self._head, model.config.to_dict())
            parameter = next(model.parameters())
            where = torch.device("cpu") if parameter.is_meta else parameter.device
            model.add_module("reward_head", head.to(where, parameter.dtype))
        return model


@contextmanager
def _without_report() -> Iterator[None]:
    """Leave out the report on weights that ``transformers`` logs, which we read ourselves."""
    logger = logging.getLogger("transformers.modeling_utils")

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def refuse_wrong_weights(
    name: str,
    *,
    missing: Iterable[str],
    mismatched: Iterable[str],
    unexpected: Iterable[str],
    adapter_head: bool = False,
) -> None:
    """Refuse a checkpoint that is not of its class, for the model and for ``doctor`` alike.

    Args:
        name: the checkpoint.
        missing: names of tensors that the class has and the checkpoint lacks.
        mismatched: those of another shape.
        unexpected: those that only the checkpoint has.
        adapter_head: whether a PEFT adapter brings the head.

    Raises:
        ModelError: naming the first tensors.
    """
    missing, mismatched, unexpected = sorted(missing), sorted(mismatched), sorted(unexpected)
    if adapter_head:
        heads = ("score.", "classifier.")
        missing = [key for key in missing if not key.startswith(heads)]
        mismatched = [key for key in mismatched if not key.startswith(heads)]
    if mismatched:
        raise ModelError(
            f"the checkpoint {name!r} has another shape of {_some(mismatched)} than its config "
            "makes, so it would be random numbers; correct its config.json, or copy it again."
        )
    if body := [key for key in missing if re.search(r"(^|\.)(layers?|h|blocks?)\.\d+\.", key)]:
        raise ModelError(
            f"the checkpoint {name!r} has no {_some(body)}, so layers would be random numbers; "
            "copy it again, or correct its config.json."
        )
    if missing:
        raise ModelError(
            f"the checkpoint {name!r} has no {_some(missing)}, so its reward head would be random "
            "numbers: it is not a reward model of this kind. A language model is scored with "
            "--model hf, --model generative-judge, or --model implicit-reward with its reference; "
            "for a custom head name its readout= or trust_remote_code=True."
        )
    if unexpected:
        raise ModelError(
            f"the checkpoint {name!r} has weights that its reward model class does not use "
            f"({_some(unexpected)}), so its scores would not be its own; load it with its own "
            "code (trust_remote_code=True) or name the right readout=."
        )


_MASKS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|masked_bias|causal_mask|position_ids)$")
"""Buffers that old checkpoints carry, and that config and code give."""


def _of_no_use(key: str, shape: tuple[int, ...] | None) -> bool:
    # GPT-2's causal mask is called bias, as a layer's own is, but has four dimensions.
    mask = key.endswith((".attn.bias", ".attention.bias")) and len(shape or ()) == 4
    return "lm_head" in key or mask or bool(_MASKS.search(key))


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


_BESIDE = ("value_head.safetensors", "value_head.bin")


def adapter_labels(adapter: str) -> int | None:
    """Return how many labels the whole score head has that a PEFT adapter brings.

    Args:
        adapter: a folder or a repository on the hub.

    Returns:
        None if it brings none, or only low-rank changes of the base's.

    Raises:
        ModelError: if it cannot be read, lacks half of a low-rank pair, or has a value head in a
            file beside it.
    """
    refuse_missing(adapter, "adapter")
    for file in _BESIDE:
        if (Path(adapter) / file).is_file():
            raise ModelError(
                f"the adapter {adapter!r} has its value head in {file}, which is read only beside "
                "the whole model: merge the adapter into its base (merge_and_unload), save that, "
                f"put {file} into the same folder, and give it as pretrained=."
            )
    tensors = _adapter_weights(adapter)
    for key in tensors:
        for one, other in (("lora_A", "lora_B"), ("lora_B", "lora_A")):
            twin = key.replace(f".{one}.", f".{other}.")
            if f".{one}." in key and key.endswith(".weight") and twin not in tensors:
                raise ModelError(
                    f"the adapter {adapter!r} has {key} without {twin}, so a layer would stay the "
                    "base's; copy the adapter again."
                )
    for key, tensor in tensors.items():
        head = re.search(r"(^|\.)(score|classifier)\.(?:.*\.)?weight$", key)
        if head and ".lora_" not in key and tensor.dim() == 2:
            return int(tensor.shape[0])
    return None


def _adapter_weights(adapter: str) -> dict[str, torch.Tensor]:
    from peft.utils import load_peft_weights

    with in_one_sentence(f"the adapter {adapter!r}"):
        return dict(load_peft_weights(adapter, device="cpu"))


def refuse_lost_adapter_weights(adapter: str, name: str, model: Any) -> None:
    """Refuse a PEFT adapter of which the model took only a part, or that has only a part.

    PEFT leaves out what it finds no layer for, and leaves layers untrained that the adapter
    lacks; the scores would be the base's.

    Raises:
        ModelError: naming the first weights without a place, or places without weights.
    """
    from peft import get_peft_model_state_dict

    there, places = set(_adapter_weights(adapter)), set(get_peft_model_state_dict(model))
    if lacking := sorted(places - there):
        raise ModelError(
            f"the adapter {adapter!r} lacks {_some(lacking)} of the layers that its config names, "
            "so they would stay the base's; copy the adapter again."
        )
    lost = there - places
    if lost:
        raise ModelError(
            f"the adapter {adapter!r} has weights for which {name!r} has no place "
            f"({_some(sorted(lost))}), so its scores would not be its own; load it on the model "
            "that it was trained on."
        )
