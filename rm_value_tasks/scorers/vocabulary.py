"""The reward of every token of the vocabulary as the answer to a prompt.

The search for optimal and pessimal tokens of Christian et al. (Reward Model
Interpretability via Optimal and Pessimal Tokens, FAccT 2025), for any reward model. A
token is put between the chat template's two halves by its id. It is never decoded and
tokenized again, so tokens that no text leads to are scored as well.
"""

from __future__ import annotations

import fnmatch
import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from tqdm import tqdm

from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.scorers.conversation import Tokens
from rm_value_tasks.scorers.reward import RewardLM
from rm_value_tasks.scorers.score_store import Chunk, ScoreStore
from rm_value_tasks.scorers.token_table import TokenTable, printable

__all__ = ["Run", "choose_prompts", "score_vocabulary"]

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


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        store: its folder; ``store.merged`` is the Parquet file.
        prompts: from prompt id to text.
        tokens: the vocabulary.
    """

    store: ScoreStore
    prompts: Mapping[str, str]
    tokens: TokenTable


def score_vocabulary(
    lm: RewardLM,
    prompts: Mapping[str, str],
    folder: Path,
    *,
    model_args: Mapping[str, Any],
    chunk_size: int = 4096,
) -> Run | None:
    """Score every token as the answer to every prompt, going on where a run was stopped.

    Under ``accelerate launch``, process r of n takes every n-th chunk, from the r-th on.

    Args:
        lm: the reward model.
        prompts: from prompt id to text.
        folder: gets ``run.json``, ``chunks/`` while running, and ``tokens.parquet``: one
            row for each prompt and token (token_id, token, decoded, is_special, is_byte,
            is_undecodable, prompt_id, prompt, score).
        model_args: what the model was made with; kept, so that a run is not continued
            with other arguments.
        chunk_size: tokens between two saves.

    Returns:
        The run, in the first process; None in the others.

    Raises:
        ModelError: if a token cannot be put into the template, the conversation is too
            long, or a reward is NaN or infinite.
        DataError: if the folder holds a run with other settings.
    """
    tokens = TokenTable(lm.tokenizer, lm.model.get_input_embeddings().weight.shape[0])
    halves = {name: lm.encoder.halves(text) for name, text in prompts.items()}
    for name, (before, after) in halves.items():
        _refuse_long(lm, name, len(before["input_ids"]) + 1 + len(after["input_ids"]))
    store = ScoreStore(
        folder,
        _settings(lm, prompts, halves, tokens, model_args),
        prompts=len(prompts),
        tokens=len(tokens.ids),
        chunk_size=chunk_size,
    )
    rank, _ = _place(lm)
    with store.alone() if rank == 0 else nullcontext():
        _score_missing(lm, store, list(halves.items()), tokens)
        accelerator = getattr(lm, "accelerator", None)
        if accelerator is not None:
            accelerator.wait_for_everyone()
        if rank != 0:
            return None
        if not store.complete:
            store.merge(_columns(tokens), prompts)
        store.clean()
    return Run(store, prompts, tokens)


def _score_missing(
    lm: RewardLM,
    store: ScoreStore,
    halves: Sequence[tuple[str, tuple[Tokens, Tokens]]],
    tokens: TokenTable,
) -> None:
    rank, world = _place(lm)
    # Of all chunks, not of the missing ones: processes look at different times.
    mine = store.chunks[rank::world]
    missing = set(store.missing())
    _settle_batch_size(lm, halves[0][1], tokens.ids[: lm.max_batch_size], needed=bool(missing))
    label = "Scoring tokens" + (f" (process 1 of {world})" if world > 1 else "")
    total = sum(chunk.stop - chunk.start for chunk in mine)
    with tqdm(total=total, desc=label, unit="token", disable=rank != 0) as progress:
        for chunk in mine:
            if chunk in missing:
                name, around = halves[chunk.prompt]
                scores = _score(lm, around, tokens.ids[chunk.start : chunk.stop])
                _refuse_non_finite(scores, tokens, chunk, name)
                store.save(chunk, scores)
            else:
                progress.initial += chunk.stop - chunk.start
            progress.update(chunk.stop - chunk.start)


def _score(lm: RewardLM, around: tuple[Tokens, Tokens], ids: Sequence[int]) -> list[float]:
    """Return the rewards of token ids as the answer between two halves."""
    before, after = around
    if before.keys() == {"input_ids"}:
        ending = after["input_ids"]
        return lm.score_suffixes(before["input_ids"], [[token, *ending] for token in ids])
    # A sentence pair: the answer has the segment of the separator that closes it.
    answers = [{**{key: after[key][:1] for key in after}, "input_ids": [token]} for token in ids]
    whole = [{key: [*before[key], *each[key], *after[key]] for key in before} for each in answers]
    rewards = [math.nan] * len(whole)
    for members, values in lm._score_batched(whole, range(len(whole))):
        for index, value in zip(members, values, strict=True):
            rewards[index] = value
    return rewards


def _settle_batch_size(
    lm: RewardLM, around: tuple[Tokens, Tokens], ids: Sequence[int], *, needed: bool
) -> None:
    """Find the batch size once where lm-eval would search it anew for every chunk.

    The search is a collective operation, and processes may have different numbers of
    chunks left: searching for each would leave one process waiting for ever.
    """
    if lm.batch_size != "auto" or not (needed or _place(lm)[1] > 1):
        return
    lm.batch_sizes = {}
    _score(lm, around, ids)
    if lm.batch_sizes:
        lm.batch_size_per_gpu = min(lm.batch_sizes.values())


def _place(lm: RewardLM) -> tuple[int, int]:
    """Return (rank, number of processes) over all machines."""
    accelerator = getattr(lm, "accelerator", None)
    if accelerator is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            raise ModelError(
                "processes that hold one model together (tp_plan=) cannot run this; spread the "
                "model with parallelize=True, or start a copy a process with accelerate launch."
            )
        return 0, 1
    return accelerator.process_index, accelerator.num_processes


def _settings(
    lm: RewardLM,
    prompts: Mapping[str, str],
    halves: Mapping[str, tuple[Tokens, Tokens]],
    tokens: TokenTable,
    model_args: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the scores depend on, for the manifest and the Parquet file."""
    encoding = lm.encoder.describe()
    encoding.pop("first_token_ids")
    encoding.pop("bos_count", None)
    return {
        "format": 1,
        "model_args": {
            key: value if isinstance(value, int | float | bool) else str(value)
            for key, value in sorted(model_args.items())
            if key not in _MACHINE | _SECRET
        },
        "weights_sample_sha256": _weights_sample(lm.model),
        "readout": lm.readout.name,
        "head_dtype": getattr(lm.readout, "head_dtype", "model"),
        "encoding": encoding,
        "prompts": [
            {
                "id": name,
                "text": text,
                "ids_before": halves[name][0]["input_ids"],
                "ids_after": halves[name][1]["input_ids"],
            }
            for name, text in prompts.items()
        ],
        "tokens": len(tokens.ids),
        "embedding_rows_without_token": tokens.rows_without_token,
        "tokens_without_embedding_row": tokens.tokens_without_row,
        "vocabulary_sha256": tokens.sha256(),
    }


def _weights_sample(model: Any) -> str | None:
    """Hash some of every weight, so that a checkpoint that was replaced is noticed.

    None where weights are off-loaded to the disk.
    """
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            return None
        digest.update(name.encode())
        sample = parameter.detach().flatten()[:256].to("cpu", torch.float32)
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()


def _columns(tokens: TokenTable) -> pa.Table:
    return pa.table(
        {
            "token_id": pa.array(tokens.ids, pa.int32()),
            "token": pa.array(tokens.raw, pa.string()),
            "decoded": pa.array(tokens.decoded, pa.string()),
            "is_special": pa.array(tokens.special, pa.bool_()),
            "is_byte": pa.array(tokens.byte, pa.bool_()),
            "is_undecodable": pa.array(tokens.undecodable, pa.bool_()),
        }
    )


def _refuse_long(lm: RewardLM, name: str, length: int) -> None:
    if length > lm.max_length:
        raise ModelError(
            f"the conversation of the prompt {name!r} and one token has {length} tokens but the "
            f"model takes {lm.max_length}; shorten the prompt or raise max_length=."
        )


def _refuse_non_finite(
    scores: Sequence[float], tokens: TokenTable, chunk: Chunk, prompt: str
) -> None:
    for place, score in enumerate(scores, start=chunk.start):
        if not math.isfinite(score):
            raise ModelError(
                f"the reward of token {tokens.ids[place]} ({printable(tokens.raw[place])}) as the "
                f"answer to {prompt!r} is {score}; try another dtype (dtype=float32) or "
                "attn_implementation=eager."
            )
