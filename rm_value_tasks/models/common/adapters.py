"""PEFT adapters on a model that is loaded."""

from __future__ import annotations

from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["underlying"]


def underlying(model: Any) -> Any:
    """Return a PEFT model's own model, whose layers hold the adapter already.

    Raises:
        ModelError: if the adapter is of a kind that is not in the layers.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None:
        return model
    if config.is_prompt_learning:
        raise ModelError(
            f"the adapter is of type {config.peft_type}, which puts virtual tokens before the "
            "prompt; only adapters that change layers (LoRA and its kin) can be read out."
        )
    return model.get_base_model()
