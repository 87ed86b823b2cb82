"""The implicit reward of every token that two language models know, as the start of an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
from rm_value_tasks.scores import log_probability_tables
from rm_value_tasks.scores.log_probability_tables import LogProbabilities
from rm_value_tasks.vocabulary.next_tokens import score_next_tokens
from rm_value_tasks.vocabulary.optimal_tokens import join
from rm_value_tasks.vocabulary.store import ScoreStore
from rm_value_tasks.vocabulary.token_runs import Run

__all__ = ["score_ratios"]


def score_ratios(
    lm: ImplicitRewardLM, prompts: Mapping[str, str], folder: Path, *, chat: bool
) -> Run | None:
    """Write the implicit reward of every token after each prompt, one pass a model and prompt.

    With one vocabulary a row is a token. With two, a row is a text that tokens of both stand
    for (``optimal_tokens.join``), and bears the id of the policy's first such token.

    Args:
        lm: the two models; with ``sequential``, one is held at a time.
        prompts: from prompt id to text.
        folder: gets ``policy/`` and ``reference/``, each a run of ``score_next_tokens``, and
            the joined ``tokens.parquet``, whose ``score`` is the reward.
        chat: as for ``score_next_tokens``; each model has its own template.

    Returns:
        The run, in the first process; None in the others.

    Raises:
        ModelError: as ``score_next_tokens``, or if rewards are of whole responses or have no
            reference.
        DataError: if a folder holds a run with other settings, or the vocabularies share no
            text.
    """
    _refuse_what_no_token_has(lm)
    runs = []
    for role, model, made_with in lm.models():
        arguments = {key: value for key, value in made_with.items() if key != "whole_response"}
        runs.append(
            score_next_tokens(model, prompts, folder / role, chat=chat, model_args=arguments)
        )
    paths = [run.store.merged for run in runs if run is not None]
    if not paths:  # not the first process
        return None
    policy, reference = (log_probability_tables.read(path) for path in paths)
    columns, left_out = _rows(paths[0], policy, reference, next(iter(prompts)))
    settings = {
        "format": 1,
        **{key: value for key, value in lm.settings.items() if key != "sequential"},
        "policy": _settings(paths[0]),
        "reference": _settings(paths[1]),
    }
    rows = columns.num_rows
    store = ScoreStore(folder, settings, prompts=len(prompts), tokens=rows, chunk_size=rows)
    names = list(prompts)
    with store.alone():
        for chunk in store.missing():
            first, second = _pair(policy, reference, names[chunk.prompt])
            store.save(chunk, lm.rewards(first.tolist(), second.tolist()))
        if not store.complete:
            store.merge(columns, prompts)
        store.clean()
    return Run(store, prompts, None, left_out)


def _refuse_what_no_token_has(lm: ImplicitRewardLM) -> None:
    if lm.settings["whole_response"]:
        raise ModelError(
            "whole_response=True counts the end of a response, which a single token does not "
            "have; leave it out."
        )
    if lm.settings["reference"] is None:
        raise ModelError(
            "reference=none leaves the policy's log-probability alone; give --model hf for that."
        )


def _settings(path: Path) -> dict[str, object]:
    return json.loads(pq.read_schema(path).metadata[b"rm_value_tasks"])


def _same_vocabulary(policy: LogProbabilities, reference: LogProbabilities) -> bool:
    columns = ["token_id", "token_name"]
    return policy.table[columns].equals(reference.table[columns])


def _pair(
    policy: LogProbabilities, reference: LogProbabilities, prompt: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return both models' log-probabilities, in the order of ``_rows``."""
    if _same_vocabulary(policy, reference):
        return policy.table[prompt].to_numpy(float), reference.table[prompt].to_numpy(float)
    joint = join(policy, reference, prompt)
    return joint["first"].to_numpy(), joint["second"].to_numpy()


def _rows(
    path: Path, policy: LogProbabilities, reference: LogProbabilities, prompt: str
) -> tuple[pa.Table, list[str]]:
    """Return what each row is, from the policy's file, and what has no row."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        tokens = file.read_row_group(0).drop_columns(["prompt_id", "prompt", "score"])
    if _same_vocabulary(policy, reference):
        return tokens, []
    shared = join(policy, reference, prompt).index
    decoded = tokens["decoded"].to_pylist()
    first = {text: place for place, text in reversed(list(enumerate(decoded)))}
    counts = [len(model.of_texts(prompt)) - len(shared) for model in (policy, reference)]
    return tokens.take([first[text] for text in shared]), [
        f"{counts[0]} texts of the policy's tokens and {counts[1]} of the reference's are no token "
        "of the other and were left out."
    ]
