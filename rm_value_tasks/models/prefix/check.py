"""Whether a model can share prefixes, found by scoring a few answers both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rm_value_tasks.models.prefix.block_attention import Form, default_form, input_device
from rm_value_tasks.models.prefix.forward import SharedPrefixEngine

__all__ = ["Report", "supports"]

Tokens = Sequence[int]

_CHECKED = 7
"""Answers to score: three a row, two rows a batch, and one more batch."""
_FORMS: dict[Form, str] = {
    "packed": "answers are packed side by side",
    "rows": "its attention takes no mask of ours, so each answer has a row to itself",
}


@dataclass(frozen=True)
class Report:
    """Whether a model can share prefixes.

    Attributes:
        ok: whether the answers came out as without sharing.
        reason: why not, or in which form it can; half a sentence.
        max_difference: largest relative difference of an answer's hidden state,
            ||shared - alone|| / ||alone||; NaN if the model could not be run.
        form: the form that works, for ``SharedPrefixEngine(form=...)``.
    """

    ok: bool
    reason: str
    max_difference: float
    form: Form | None = None


@torch.inference_mode()
def supports(
    backbone: Any,
    prefix: Tokens,
    suffixes: Sequence[Tokens],
    tolerance: float | None = None,
) -> Report:
    """Score a few answers with and without a shared prefix and compare.

    Args:
        backbone: the model without its head.
        prefix: the shared token ids.
        suffixes: answers; some of them, of different lengths, are tried.
        tolerance: largest relative difference to accept. By default 1e-4 in float32 and
            2e-2 in half precision, or four times what padding and batching change by
            themselves (at most 0.1).
    """
    sample = _spread(suffixes)
    whole = [[*prefix, *suffix] for suffix in sample]
    alone = torch.cat([_last_hidden(backbone, [tokens]) for tokens in whole]).float()
    if tolerance is None:
        floor = 1e-4 if backbone.dtype.itemsize >= 4 else 2e-2
        noise = _difference(_last_hidden(backbone, whole).float(), alone)
        tolerance = max(floor, min(4 * noise, 0.1))
    first = default_form(backbone)
    reports = []
    for form in dict.fromkeys((first, "rows")):
        reports.append(_compare(backbone, form, prefix, sample, alone, tolerance))
        if reports[-1].ok:
            return reports[-1]
    return reports[0]


def _spread(suffixes: Sequence[Tokens]) -> list[tuple[int, ...]]:
    """Return some suffixes, from the longest to the shortest."""
    unique = sorted({tuple(suffix) for suffix in suffixes}, key=lambda suffix: -len(suffix))
    count = min(_CHECKED, len(unique))
    return [unique[i * (len(unique) - 1) // max(1, count - 1)] for i in range(count)]


def _last_hidden(backbone: Any, sequences: Sequence[Tokens]) -> torch.Tensor:
    longest = max(len(tokens) for tokens in sequences)
    ids = torch.tensor([[*tokens, *[0] * (longest - len(tokens))] for tokens in sequences])
    lengths = torch.tensor([len(tokens) for tokens in sequences])
    mask = (torch.arange(longest) < lengths[:, None]).long()
    device = input_device(backbone)
    hidden = backbone(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)[0]
    return hidden[torch.arange(len(sequences)), lengths - 1]


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(((one - other).norm(dim=-1) / other.norm(dim=-1)).max())


def _compare(
    backbone: Any,
    form: Form,
    prefix: Tokens,
    sample: Sequence[Tokens],
    alone: torch.Tensor,
    tolerance: float,
) -> Report:
    engine = SharedPrefixEngine(backbone, per_row=3, rows=2, form=form)
    shared = torch.empty_like(alone)
    try:
        for members, hidden in engine.hidden(prefix, sample):
            shared[members] = hidden.float().to(shared.device)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model's own code may fail in any way
        return Report(
            False, f"it cannot run on a prefix ({type(error).__name__}: {error})", math.nan
        )
    worst = _difference(shared, alone)
    if worst <= tolerance:  # False for NaN
        return Report(True, _FORMS[form], worst, form)
    return Report(
        False,
        f"answers come out different (by {worst:.2g} of the hidden state, {tolerance:.2g} allowed)",
        worst,
    )
