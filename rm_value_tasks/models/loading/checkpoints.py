"""Load a reward model, refusing one whose head did not come from its checkpoint."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import transformers

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.heads import build_head
from rm_value_tasks.models.loading.specification import Specification

__all__ = ["CheckedLoader", "adapter_labels", "refuse_lost_adapter_weights"]


class CheckedLoader:
    """Stands where lm-eval expects an auto class, and checks what was loaded.

    ``transformers`` fills a missing or mismatched head with random numbers and only
    logs a report; scores from such a head look like scores.

    Args:
        specification: how the checkpoint is read.
        adapter_head: whether a PEFT adapter brings the head.
        native: whether ``transformers`` itself has the model below a rebuilt head.
    """

    def __init__(
        self, specification: Specification, *, adapter_head: bool = False, native: bool = True
    ) -> None:
        files = specification.files
        self._head = files.read(specification.head) if files else {}
        self._class = specification.auto_class
        self._key_mapping = specification.key_mapping
        self._native = native
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
        _refuse_wrong_weights(name, report, set(self._head), adapter_head=self._adapter_head)
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


def _refuse_wrong_weights(
    name: str, report: Mapping[str, Any], head: set[str], *, adapter_head: bool
) -> None:
    missing = sorted(report["missing_keys"])
    mismatched = sorted(str(key[0]) for key in report["mismatched_keys"])
    if adapter_head:
        missing = [key for key in missing if not key.startswith(("score.", "classifier."))]
    unexpected = sorted(set(report["unexpected_keys"]) - head)
    unexpected = [key for key in unexpected if not _of_no_use(key)]
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


def _of_no_use(key: str) -> bool:
    # Old Llama checkpoints carry rotary_emb.inv_freq, which the config gives.
    return "lm_head" in key or key.endswith("rotary_emb.inv_freq")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


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
