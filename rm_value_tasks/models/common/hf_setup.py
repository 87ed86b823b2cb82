"""What our subclasses of lm-eval's ``HFLM`` do on top of its own set-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from rm_value_tasks.errors import ModelError

__all__ = ["join_accelerate", "use_chat_template"]


def join_accelerate(lm: HFLM) -> None:
    """Take part in data parallelism on CPUs too; ``HFLM`` does so on GPUs only.

    Otherwise every process of a CPU launch would score everything.
    """
    if hasattr(lm, "accelerator") and lm.world_size == 1:
        lm._rank = lm.accelerator.process_index
        lm._world_size = lm.accelerator.num_processes


def use_chat_template(lm: Any, path: str | None) -> None:
    """Replace the chat template of ``lm.tokenizer`` by a Jinja file's text; None leaves it.

    Raises:
        ModelError: if the file cannot be read.
    """
    if path is None:
        return
    try:
        lm.tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"chat_template={path!r} cannot be read ({error.strerror}).") from error
