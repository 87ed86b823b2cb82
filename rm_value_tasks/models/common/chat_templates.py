"""Where a tokenizer's chat template comes from, and what is passed to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["template_args", "use_chat_template"]


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


def template_args(given: Any, enable_thinking: bool | None) -> dict[str, Any]:
    """Return what is passed to the template, of ``chat_template_args`` and ``enable_thinking``.

    Raises:
        ModelError: if ``given`` is no mapping.
    """
    if not isinstance(given, Mapping | None):
        raise ModelError(
            f"chat_template_args={given!r} is no mapping; enable_thinking= can be given by itself."
        )
    thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    return {**(given or {}), **thinking}
