"""Models that were loaded from GGUF files, as models like any other."""

from __future__ import annotations

from typing import Any

__all__ = ["unquantized"]


def unquantized(model: Any) -> Any:
    """Return a model whose weights ``transformers`` has de-quantized as one that can be saved.

    A model loaded from GGUF is taken for a quantized one and refuses to be saved; others are
    returned as they are.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return model
    del model.config.quantization_config
    plain = type(model)(model.config).to(model.dtype)
    plain.load_state_dict(model.state_dict())
    return plain
