"""Scoring many answers to one prompt at the cost of the answers' own tokens.

The prompt (the prefix) runs once and its keys and values are kept. Answers (suffixes) are
then packed several to a row and several rows to a batch. Each answer's position ids
continue the prefix, and a block mask lets it see the prefix and itself alone, so every
answer is computed as if it stood there by itself.

Attention that takes no such mask (flash attention, ALiBi, custom code) gets one answer a
row and answers of one length a batch, which needs no mask of ours: slower for one-token
answers, but the prefix still runs once. ``prefix.check.supports`` tells which form a model
can take, if any, by scoring a few answers both ways.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicCache

from rm_value_tasks.models.prefix.block_attention import (
    Form,
    SharedLayer,
    cache_name,
    default_form,
    input_device,
    masks,
)
from rm_value_tasks.models.prefix.log_probabilities import Totals
from rm_value_tasks.models.prefix.packing import Layout, Tuner, next_batch

__all__ = ["SharedPrefixEngine"]

Readout = Callable[[torch.Tensor], torch.Tensor]
Tokens = Sequence[int]

_CPU_ROW_TOKENS, _GPU_ROW_TOKENS = 32, 96
_CPU_BATCH_TOKENS, _GPU_BATCH_TOKENS = 384, 8192
"""Activations of 384 tokens stay in a CPU's cache; a GPU needs thousands to be busy."""
_CPU_SCORES, _GPU_SCORES = 2**25, 2**28
"""Elements of (batch tokens, heads, keys) of attention scores held at a time."""


@dataclass(frozen=True)
class _Prefix:
    tokens: tuple[int, ...]
    cache: Cache | None
    last: torch.Tensor | None
    """Hidden state of the last token, (1, hidden)."""


@dataclass(frozen=True)
class _Batch:
    """One forward pass: ``members[i]`` starts at ``hidden[row[i], start[i]]``."""

    members: list[int]
    row: torch.Tensor
    start: torch.Tensor
    hidden: torch.Tensor


class SharedPrefixEngine:
    """Runs a decoder over many answers to one prompt.

    Args:
        backbone: the model without its head (``LlamaModel``, not
            ``LlamaForSequenceClassification``), in eval mode.
        per_row: answers a row; by default from the answers' lengths.
        rows: rows a batch; by default from the device, the model and the lengths.
        form: ``packed`` or ``rows`` (one answer a row, without a mask of ours); by
            default ``rows`` where the attention in use takes no mask.
        measure: time several sizes on the first batches and go on with the fastest.

    Memory does not grow with the number of answers: batches are made, scored and dropped.
    A batch that does not fit the device is tried again at half the size.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        per_row: int | None = None,
        rows: int | None = None,
        form: Form | None = None,
        measure: bool = False,
    ) -> None:
        self.backbone: Any = backbone
        self.form: Form = form or default_form(self.backbone)
        self._cache_name = cache_name(type(self.backbone).forward)
        self._per_row = 1 if self.form == "rows" else per_row
        self._rows = rows
        self._measure = measure and (per_row is None or rows is None)
        self._halvings = 0
        self._prefix: _Prefix | None = None
        self._tuners: dict[int, Tuner] = {}

    @torch.inference_mode()
    def score(self, prefix: Tokens, suffixes: Sequence[Tokens], readout: Readout) -> torch.Tensor:
        """Score each suffix by its last token's hidden state.

        Args:
            prefix: token ids that come before every suffix; may be empty.
            suffixes: token ids of the answers, each at least one long.
            readout: from hidden states (m, hidden) to scores (m,).

        Returns:
            Scores (n,), float32, on the CPU, in the order given.
        """
        unique: dict[tuple[int, ...], int] = {}
        owner = [unique.setdefault(tuple(suffix), len(unique)) for suffix in suffixes]
        scores = torch.empty(len(unique), dtype=torch.float32)
        for members, hidden in self.hidden(prefix, list(unique)):
            scores[members] = readout(hidden).float().cpu()
        return scores[owner]

    @torch.inference_mode()
    def hidden(
        self, prefix: Tokens, suffixes: Sequence[Tokens]
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield (indices of suffixes, hidden states of their last tokens (m, hidden))."""
        for batch in self._batches(self._run_prefix(prefix), suffixes):
            ends = [len(suffixes[member]) - 1 for member in batch.members]
            last = batch.start + torch.tensor(ends, device=batch.start.device)
            yield batch.members, batch.hidden[batch.row, last]

    @torch.inference_mode()
    def loglikelihood(
        self,
        prefix: Tokens,
        suffixes: Sequence[Tokens],
        lm_head: Readout,
        *,
        scored: Sequence[int] | None = None,
    ) -> list[tuple[float, bool]]:
        """Return each suffix's log-probability and whether greedy decoding would give it.

        Suffixes of one token cost no forward pass, and those that differ in their last
        token alone are run once.

        Args:
            prefix: token ids that come before every suffix; at least one.
            suffixes: token ids, each at least one long.
            lm_head: from hidden states (m, hidden) to logits (m, vocabulary).
            scored: how many tokens at each suffix's end count; by default all.
        """
        state = self._run_prefix(prefix)
        if state.last is None:
            raise ValueError("a log-probability needs at least one token before the suffix")
        counts = [len(suffix) for suffix in suffixes] if scored is None else list(scored)
        totals = Totals(lm_head, len(suffixes))
        bodies: dict[tuple[int, ...], list[int]] = {}
        at_prefix = []
        for index, suffix in enumerate(suffixes):
            if counts[index] == len(suffix):
                at_prefix.append((0, suffix[0], index))
            if counts[index] and len(suffix) > 1:
                bodies.setdefault(tuple(suffix[:-1]), []).append(index)
        totals.add(state.last, at_prefix)
        owners = list(bodies.values())
        for batch in self._batches(state, list(bodies)):
            rows: list[int] = []
            columns: list[int] = []
            targets: list[tuple[int, int, int]] = []
            starts = zip(batch.members, batch.row.tolist(), batch.start.tolist(), strict=True)
            for body, row, start in starts:
                length = len(suffixes[owners[body][0]])
                first = max(1, length - max(counts[index] for index in owners[body]))
                for place in range(first, length):
                    for index in owners[body]:
                        if place >= length - counts[index]:
                            targets.append((len(rows), suffixes[index][place], index))
                    rows.append(row)
                    columns.append(start + place - 1)
            totals.add(batch.hidden[rows, columns], targets)
        return totals.result()

    def _run_prefix(self, prefix: Tokens) -> _Prefix:
        tokens = tuple(prefix)
        if self._prefix is None or self._prefix.tokens != tokens:
            self._prefix = None  # freed before the next one is made
            if tokens:
                # A cache made from the config would drop what lies outside a sliding window.
                cache = DynamicCache()
                ids = torch.tensor([tokens], device=input_device(self.backbone))
                output = self.backbone(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    use_cache=True,
                    **{self._cache_name: cache},
                )
                layers: list[Any] = [SharedLayer(layer) for layer in cache.layers]
                if not layers or cache.get_seq_length() != len(tokens):
                    raise ValueError("the model keeps no keys and values of its prefix")
                self._prefix = _Prefix(tokens, Cache(layers=layers), output[0][:, -1])
            else:
                self._prefix = _Prefix(tokens, None, None)
        return self._prefix

    def _batches(self, prefix: _Prefix, suffixes: Sequence[Tokens]) -> Iterator[_Batch]:
        lengths = [len(suffix) for suffix in suffixes]
        if 0 in lengths:
            raise ValueError("a suffix is empty, so it has no last token to score")
        order = sorted(range(len(suffixes)), key=lambda index: -lengths[index])
        tuner = self._tuner(len(prefix.tokens))
        done = 0
        while done < len(order):
            longest = lengths[order[done]]
            layout = tuner.layout.smaller(longest, self._halvings)
            end = len(order)
            if self.form == "rows":  # answers of one length, so that nothing is padded
                end = bisect_right(order, -longest, key=lambda index: -lengths[index])
            rows, now = next_batch(lengths, order[:end], done, layout)
            started = time.perf_counter()
            try:
                batch = self._forward(prefix, rows, suffixes)
            except torch.OutOfMemoryError:
                if now - done == 1:
                    raise
                self._halvings += 1
                continue
            yield batch
            if self._measure:  # the caller has read the batch out, so the device is done
                tokens = sum(lengths[member] for member in batch.members)
                tuner.record(tuner.layout, tokens, time.perf_counter() - started)
            done = now

    def _forward(
        self, prefix: _Prefix, rows: list[list[int]], suffixes: Sequence[Tokens]
    ) -> _Batch:
        width = max(sum(len(suffixes[member]) for member in row) for row in rows)
        ids, places, answers = [], [], []
        members, at_row, at_start = [], [], []
        for number, row in enumerate(rows):
            row_ids: list[int] = []
            row_places: list[int] = []
            row_answers: list[int] = []
            for member in row:
                members.append(member)
                at_row.append(number)
                at_start.append(len(row_ids))
                length = len(suffixes[member])
                row_ids += suffixes[member]
                row_places += range(length)
                row_answers += [member] * length
            missing = width - len(row_ids)
            ids.append(row_ids + [0] * missing)
            places.append(row_places + [0] * missing)
            answers.append(row_answers + [-1] * missing)
        device = input_device(self.backbone)
        positions = torch.tensor(places, device=device) + len(prefix.tokens)
        if self.form == "packed":
            answer = torch.tensor(answers, device=device)
            mask = masks(self.backbone, answer, positions, len(prefix.tokens))
        else:
            mask = positions.new_ones(len(rows), len(prefix.tokens) + width)
        hidden = self.backbone(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=mask,
            position_ids=positions,
            use_cache=prefix.cache is not None,
            **{self._cache_name: prefix.cache},
        )[0]
        index = torch.tensor([at_row, at_start], device=hidden.device)
        return _Batch(members, index[0], index[1], hidden)

    def _tuner(self, prefix: int) -> Tuner:
        key = prefix.bit_length()
        if key not in self._tuners:
            layouts = self._layouts(prefix)
            self._tuners[key] = Tuner(layouts if self._measure else layouts[:1])
        return self._tuners[key]

    def _layouts(self, prefix: int) -> list[Layout]:
        """Return sizes to try, the best guess first.

        Longer rows waste attention (an answer's scores against its neighbours are masked),
        shorter ones copy the prefix more often; larger batches feed the device better, up
        to what its memory holds.
        """
        on_cpu = input_device(self.backbone).type == "cpu"
        row = max(_CPU_ROW_TOKENS if on_cpu else _GPU_ROW_TOKENS, prefix // 8)
        batch = _CPU_BATCH_TOKENS if on_cpu else _GPU_BATCH_TOKENS
        config = self.backbone.config.get_text_config()
        heads = getattr(config, "num_attention_heads", 1)
        most = (_CPU_SCORES if on_cpu else _GPU_SCORES) // heads
        found = []
        for row_factor, batch_factor in ((1, 1), (1, 2), (2, 1), (3, 2), (1, 0.5), (2, 4)):
            row_tokens = max(1, int(row * row_factor))
            batch_tokens = min(int(batch * batch_factor), most // (prefix + row_tokens))
            layout = Layout(row_tokens, max(1, batch_tokens), self._per_row, self._rows)
            if layout not in found:
                found.append(layout)
        return found
