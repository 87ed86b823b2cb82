"""What all runs over a vocabulary share: prompts, processes, and going on where one stopped."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.vocabulary.store import Chunk, ScoreStore
from rm_value_tasks.vocabulary.token_table import TokenTable, printable

__all__ = ["Run", "choose_prompts", "complete", "place"]


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        store: its folder; ``store.merged`` is the Parquet file.
        prompts: from prompt id to text.
        tokens: the vocabulary; None where rows are texts that two vocabularies share.
        left_out: sentences on tokens that have no row.
    """

    store: ScoreStore
    prompts: Mapping[str, str]
    tokens: TokenTable | None
    left_out: Sequence[str] = ()


def choose_prompts(patterns: Sequence[str] = (), texts: Sequence[str] = ()) -> dict[str, str]:
    """Return prompts by id: those of the 54 that match, then free texts.

    Args:
        patterns: ids such as ``greatest_ever_one``, or patterns such as ``worst_*``.
        texts: free texts; their ids are ``prompt_1``, ``prompt_2``, ...

    Raises:
        DataError: if a pattern matches nothing, or a text is empty.
    """
    chosen = {}
    for pattern in patterns:
        found = [prompt for prompt in PROMPTS if fnmatch.fnmatchcase(prompt.id, pattern)]
        if not found:
            raise DataError(
                f"{pattern!r} matches none of the 54 prompt ids; ids look like "
                "'greatest_ever_one' and patterns like 'best_*'; free text goes into --prompt."
            )
        chosen.update({prompt.id: prompt.text for prompt in found})
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise DataError(f"prompt {number} is empty; give the question that tokens answer.")
        chosen[f"prompt_{number}"] = text
    if not chosen:
        raise DataError("no prompt is given; name ids or patterns of the 54, or a free text.")
    return chosen


def complete(
    lm: Any,
    store: ScoreStore,
    prompts: Mapping[str, str],
    tokens: TokenTable,
    score: Callable[[Chunk], Sequence[float]],
    *,
    what: str,
) -> Run | None:
    """Finish a run: score the chunks that it lacks and merge all.

    Under ``accelerate launch``, process r of n takes every n-th chunk, from the r-th on.

    Args:
        lm: whose processes share the work.
        store: the run's folder.
        prompts: from prompt id to text.
        tokens: the vocabulary.
        score: gives one number for each token of a chunk.
        what: what a score is, for errors: ``reward``.

    Returns:
        The run, in the first process; None in the others.

    Raises:
        ModelError: if a score is NaN or infinite.
        DataError: if another run is writing there, or chunks of other processes are missing.
    """
    rank, world = place(lm)
    with store.alone() if rank == 0 else nullcontext():
        # Of all chunks, not of the missing ones: processes look at different times.
        mine = store.chunks[rank::world]
        missing = set(store.missing())
        names = list(prompts)
        label = "Scoring tokens" + (f" (process 1 of {world})" if world > 1 else "")
        total = sum(chunk.stop - chunk.start for chunk in mine)
        with tqdm(total=total, desc=label, unit="token", disable=rank != 0) as progress:
            for chunk in mine:
                if chunk in missing:
                    scores = score(chunk)
                    _refuse_non_finite(scores, tokens, chunk, f"{what} of", names[chunk.prompt])
                    store.save(chunk, scores)
                else:
                    progress.initial += chunk.stop - chunk.start
                progress.update(chunk.stop - chunk.start)
        accelerator = getattr(lm, "accelerator", None)
        if accelerator is not None:
            accelerator.wait_for_everyone()
        if rank != 0:
            return None
        if not store.complete:
            store.merge(tokens.columns(), prompts)
        store.clean()
    return Run(store, prompts, tokens, tokens.left_out())


def place(lm: Any) -> tuple[int, int]:
    """Return (rank, number of processes) over all machines.

    Raises:
        ModelError: if several processes hold one model together.
    """
    accelerator = getattr(lm, "accelerator", None)
    if accelerator is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            raise ModelError(
                "processes that hold one model together (tp_plan=) cannot run this; spread the "
                "model with parallelize=True, or start a copy a process with accelerate launch."
            )
        return 0, 1
    return accelerator.process_index, accelerator.num_processes


def _refuse_non_finite(
    scores: Sequence[float], tokens: TokenTable, chunk: Chunk, what: str, prompt: str
) -> None:
    for index, score in enumerate(scores, start=chunk.start):
        if not math.isfinite(score):
            raise ModelError(
                f"the {what} token {tokens.ids[index]} ({printable(tokens.raw[index])}) as the "
                f"answer to {prompt!r} is {score}; try another dtype (dtype=float32) or "
                "attn_implementation=eager."
            )
