"""Log-probabilities of answers from the hidden states before their tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

__all__ = ["Totals"]

_LOGITS_AT_ONCE = 2**25
"""Elements of (positions, vocabulary) held at a time."""


class Totals:
    """Log-probabilities of suffixes, added up as their tokens come in."""

    def __init__(self, lm_head: Callable[[torch.Tensor], torch.Tensor], count: int) -> None:
        self._lm_head = lm_head
        self._sums = torch.zeros(count, dtype=torch.float64)
        self._greedy = torch.ones(count, dtype=torch.bool)
        self._at_once = 1  # positions; raised once the vocabulary is known

    def add(self, hidden: torch.Tensor, targets: Sequence[tuple[int, int, int]]) -> None:
        """Add ``targets``, (row of ``hidden`` (m, hidden), next token, suffix), rows ascending."""
        if not targets:
            return
        row, token, suffix = torch.tensor(targets).T.contiguous()
        start = 0
        while start < len(hidden):
            logits = self._lm_head(hidden[start : start + self._at_once]).float()
            first, last = torch.searchsorted(row, torch.tensor([start, start + len(logits)]))
            where = (row[first:last] - start).to(logits.device)
            wanted = token[first:last].to(logits.device)
            logp = logits[where, wanted] - logits.logsumexp(dim=-1)[where]
            self._sums.index_add_(0, suffix[first:last], logp.double().cpu())
            misses = logits.argmax(dim=-1)[where] != wanted
            self._greedy[suffix[first:last][misses.cpu()]] = False
            start += len(logits)
            self._at_once = max(1, _LOGITS_AT_ONCE // logits.shape[-1])

    def result(self) -> list[tuple[float, bool]]:
        """Return (log-probability, is greedy) of each suffix."""
        return list(zip(self._sums.tolist(), self._greedy.tolist(), strict=True))
