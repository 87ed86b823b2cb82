"""Where a tokenizer's chat template comes from, and what is passed to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["template_args", "use_chat_template"]

_FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
"""Where ``transformers`` looks for a template in a folder, the first that has one."""


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


def use_chat_template(tokenizer: Any, given: str | None) -> None:
    """Give a tokenizer the one template that counts.

    Args:
        tokenizer: keeps the template that it has if none is given; of several named ones the
            one called ``default``.
        given: the name of one of the tokenizer's templates; a Jinja file; a JSON file of
            ``transformers`` (``chat_template.json``, ``tokenizer_config.json``); a model's folder.

    Raises:
        ModelError: if it cannot be read, or several templates are there and none is named.
    """
    named = tokenizer.chat_template if isinstance(tokenizer.chat_template, dict) else {}
    tokenizer.named_chat_templates = dict(named)  # lm-eval may name one later
    if given in named:
        tokenizer.chat_template = named[given]
    elif given is not None:
        tokenizer.chat_template = _read(Path(given))
    elif named:
        tokenizer.chat_template = _default(named, f"the tokenizer of {tokenizer.name_or_path!r}")


def _default(named: Mapping[str, str], where: str) -> str:
    if "default" not in named and len(named) > 1:
        raise ModelError(
            f"{where} has several chat templates and none called default; give "
            f"chat_template=NAME, one of {', '.join(sorted(named))}."
        )
    return named.get("default") or next(iter(named.values()))


def _read(path: Path) -> str:
    if path.is_dir():
        texts = (_text(path / name) for name in _FILES if (path / name).is_file())
        found = next((text for text in texts if text), None)
    else:
        found = _text(path)
    if not found:
        raise ModelError(
            f"chat_template={str(path)!r} holds no chat template; give a Jinja file, or a folder "
            f"with {', '.join(_FILES[:2])}."
        )
    return found


def _text(path: Path) -> str:
    """Return a file's template; empty if it is JSON without one."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else text
    except OSError as error:
        raise ModelError(
            f"chat_template={str(path)!r} cannot be read ({error.strerror})."
        ) from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON
        raise ModelError(f"chat_template={str(path)!r} cannot be read ({error}).") from error
    if isinstance(content, dict):
        content = content.get("chat_template")
    if isinstance(content, list):
        try:
            content = {each["name"]: each["template"] for each in content}
        except (KeyError, TypeError):
            content = None
    if isinstance(content, dict):
        content = _default(content, repr(str(path)))
    return content if isinstance(content, str) else ""
