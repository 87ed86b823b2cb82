"""Arguments of models as lm-eval's command line hands them over."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError

__all__ = ["kept_arguments", "numbers", "refuse_misspelt", "resolve_token", "resolve_tokens"]

_OWN = (
    "append_token",
    "attribute",
    "chat_template",
    "head_dtype",
    "label",
    "readout",
    "shared_prefix",
    "step_token",
    "token_id",
    "weights",
)
"""What ``--model reward`` takes beside the arguments of lm-eval's ``hf``."""

_MACHINE = {
    "batch_size",
    "device",
    "max_batch_size",
    "max_cpu_memory",
    "max_memory_per_gpu",
    "offload_folder",
    "parallelize",
}
"""Arguments that a run may be continued without: they change no score but in rounding."""
_SECRET = {"token", "use_auth_token"}


def kept_arguments(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that scores depend on, as JSON can hold them, without secrets."""
    return {
        key: value if isinstance(value, int | float | bool) else str(value)
        for key, value in sorted(model_args.items())
        if key not in _MACHINE | _SECRET
    }


def refuse_misspelt(given: Iterable[str]) -> None:
    """Refuse names that nearly are ours; any other may be the model's own argument.

    Raises:
        ModelError: naming the argument that was meant.
    """
    known = {*_OWN, *inspect.signature(HFLM.__init__).parameters}
    for name in given:
        close = difflib.get_close_matches(name, _OWN, n=1, cutoff=0.8)
        if close and name not in known:
            raise ModelError(f"there is no argument {name}=; did you mean {close[0]}=?")


def numbers(weights: str | float | Sequence[float] | None) -> list[float] | None:
    """Return the numbers of ``0.3;0.74;0.46``.

    Raises:
        ModelError: if they are no numbers.
    """
    if weights is None:
        return None
    if isinstance(weights, int | float):  # lm-eval reads a single one as a number
        return [float(weights)]
    try:
        parts = weights.split(";") if isinstance(weights, str) else weights
        return [float(weight) for weight in parts]
    except ValueError:
        raise ModelError(f"weights={weights!r} is not numbers separated by ';'.") from None


def resolve_tokens(named: str | int, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of one token, or of two separated by ``;``.

    Raises:
        ModelError: as ``resolve_token``, or if there are more.
    """
    parts = [part for part in str(named).split(";") if part]
    if not 1 <= len(parts) <= 2:
        raise ModelError(f"token_id={named!r} is not one token, or two separated by ';'.")
    return [resolve_token(part, tokenizer, "token_id") for part in parts]


def resolve_token(token: str | int, tokenizer: PreTrainedTokenizerBase, argument: str) -> int:
    """Return the id of a token that a user names by its text or its id.

    Raises:
        ModelError: if the text is not one token, or the id is none of the vocabulary.
    """
    if isinstance(token, int) or token.lstrip("-").isdecimal():
        found = int(token)
        if not 0 <= found < len(tokenizer):
            raise ModelError(f"{argument}={token} is no id of the {len(tokenizer)} tokens.")
        return found
    ids = tokenizer(token.replace("\\n", "\n"), add_special_tokens=False).input_ids
    if len(ids) != 1:
        raise ModelError(
            f"{argument}={token!r} is {len(ids)} tokens of {tokenizer.name_or_path!r}, not one; "
            "give one token, or its id."
        )
    return int(ids[0])
