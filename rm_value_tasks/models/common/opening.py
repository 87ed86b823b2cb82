"""Opening what a user names: config, tokenizer, weights; each failure is one sentence.

What a wrong path, a cut file or a foreign format raises in the libraries below depends on where
it is met; here it ends in the same words for every model, command and ``doctor``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import transformers
from transformers.utils import cached_file

from rm_value_tasks.errors import ModelError, RMValueTasksError

__all__ = ["in_one_sentence", "no_such_model", "open_tokenizer", "read_config", "refuse_missing"]


@contextmanager
def in_one_sentence(what: str) -> Iterator[None]:
    """Turn whatever a library raises into ``what`` "cannot be read", and why.

    Raises:
        ModelError: the error's first line in it.
    """
    try:
        yield
    except RMValueTasksError:
        raise
    except UnpicklingError as error:
        raise ModelError(
            f"{what} cannot be read: it is damaged, or holds Python objects, which could run any "
            "code when they are read; convert it to safetensors where you trust it."
        ) from error
    except Exception as error:
        lines = str(error).strip().split("\n")
        told = 2 if lines[0].endswith(":") else 1
        reason = " ".join(" ".join(lines[:told]).split())[:300].rstrip(".")
        kind = type(error).__name__
        why = f"{kind}: {reason}" if reason else kind
        raise ModelError(f"{what} cannot be read ({why}).") from error


def no_such_model(name: str, what: str = "model") -> ModelError:
    """Return the sentence for what is nowhere; of a path it does not speak of a hub."""
    if _looks_like_path(name):
        return ModelError(f"no {what} {name!r}: there is no such folder; check the path.")
    return ModelError(
        f"no {what} {name!r}: there is no such folder here, and neither hub nor cache gives it; "
        "check the path, or the name and your access."
    )


def _looks_like_path(name: str) -> bool:
    return not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name)


def refuse_missing(name: str, what: str) -> None:
    """Refuse a name that is no folder and cannot be a hub's.

    Raises:
        ModelError: if so, or if it is a file, or no text.
    """
    if not isinstance(name, str):
        raise ModelError(f"{name!r} names no {what}; give a folder or a hub id.")
    if Path(name).is_file():
        raise ModelError(f"{name!r} is a file; give the folder that holds it, or a hub id.")
    if not Path(name).is_dir() and _looks_like_path(name):
        raise no_such_model(name, what)


def read_config(name: str, **where: Any) -> dict[str, Any]:
    """Return a model's ``config.json``.

    Args:
        name: a folder or a repository on the hub.
        where: ``revision`` and ``subfolder``.

    Raises:
        ModelError: if there is no such model, it is an adapter, or its config cannot be read.
    """
    refuse_missing(name, "model")
    options = {"_raise_exceptions_for_missing_entries": False, **where}
    with in_one_sentence(f"the config of {name!r}"):
        try:
            path = cached_file(name, "config.json", **options)
        except (OSError, ValueError) as error:
            raise no_such_model(name) from error
        if path is None:
            adapter = cached_file(name, "adapter_config.json", **options)
            if adapter is None and not Path(name).is_dir():
                raise no_such_model(name)
            if adapter is not None:
                raise ModelError(
                    f"{name!r} is a PEFT adapter; run it on the model that it was trained on, "
                    f"with --model_args pretrained=BASE,peft={name}."
                )
            raise ModelError(f"{name!r} has no config.json; give a model's folder or its hub id.")
        config, _ = transformers.PreTrainedConfig.get_config_dict(name, **where)
        return dict(config)


def open_tokenizer(name: str, **kwargs: Any) -> Any:
    """Load a tokenizer as ``AutoTokenizer`` does.

    Raises:
        ModelError: if there is none, or it cannot be read.
    """
    refuse_missing(name, "tokenizer")
    with in_one_sentence(f"the tokenizer of {name!r}"):
        return transformers.AutoTokenizer.from_pretrained(name, **kwargs)
