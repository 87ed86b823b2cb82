"""Where a tokenizer's chat template comes from, if not from the tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["use_chat_template"]


def use_chat_template(tokenizer: Any, path: str | None) -> None:
    """Replace a tokenizer's chat template by a Jinja file's text; None leaves it.

    Raises:
        ModelError: if the file cannot be read.
    """
    if path is None:
        return
    try:
        tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"chat_template={path!r} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"chat_template={path!r} cannot be read ({error}).") from error
