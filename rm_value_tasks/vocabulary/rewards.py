"""The reward of every token of the vocabulary as the answer to a prompt.

The search for optimal and pessimal tokens of Christian et al. (Reward Model
Interpretability via Optimal and Pessimal Tokens, FAccT 2025), for any reward model. A
token is put between the chat template's two halves by its id. It is never decoded and
tokenized again, so tokens that no text leads to are scored as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import kept_arguments
from rm_value_tasks.models.common.conversation import Tokens
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.vocabulary.store import Chunk, ScoreStore
from rm_value_tasks.vocabulary.token_runs import Run, complete, place
from rm_value_tasks.vocabulary.token_table import TokenTable

__all__ = ["score_vocabulary"]


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
    around = list(halves.values())
    few = tokens.ids[: lm.max_batch_size]
    _settle_batch_size(lm, around[0], few, needed=bool(store.missing()))

    def score(chunk: Chunk) -> list[float]:
        return _score(lm, around[chunk.prompt], tokens.ids[chunk.start : chunk.stop])

    return complete(lm, store, prompts, tokens, score, what="reward")


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
    for members, values in lm.score_batched(whole, range(len(whole))):
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
    if lm.batch_size != "auto" or not (needed or place(lm)[1] > 1):
        return
    lm.batch_sizes = {}
    _score(lm, around, ids)
    if lm.batch_sizes:
        lm.batch_size_per_gpu = min(lm.batch_sizes.values())


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
        "model_args": kept_arguments(model_args),
        **lm.digests(),
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
        **tokens.describe(),
    }


def _refuse_long(lm: RewardLM, name: str, length: int) -> None:
    if length > lm.max_length:
        raise ModelError(
            f"the conversation of the prompt {name!r} and one token has {length} tokens but the "
            f"model takes {lm.max_length}; shorten the prompt or raise max_length=."
        )
