"""The log-probability of every token of the vocabulary as the start of an answer.

One forward pass a prompt gives all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.answer_log_probabilities import AnswerLM
from rm_value_tasks.models.common.arguments import kept_arguments
from rm_value_tasks.vocabulary.store import Chunk, ScoreStore
from rm_value_tasks.vocabulary.token_runs import Run, complete
from rm_value_tasks.vocabulary.token_table import TokenTable

__all__ = ["score_next_tokens"]


def score_next_tokens(
    lm: AnswerLM,
    prompts: Mapping[str, str],
    folder: Path,
    *,
    chat: bool,
    model_args: Mapping[str, Any],
) -> Run | None:
    """Write the whole next-token distribution after each prompt, going on where it stopped.

    The probabilities are those of the model's softmax (float32), over all rows of its
    output; rows without a token have a share of them but no row in the file.

    Args:
        lm: the language model.
        prompts: from prompt id to text.
        folder: as for ``vocabulary.score_vocabulary``; ``score`` is the natural
            log-probability. Each prompt is saved as it is done.
        chat: whether the prompt is the user's turn in the model's chat template and the
            answer follows its generation prompt, or the answer follows the plain text. Then
            tokens that start a word are those with a leading space.
        model_args: as for ``vocabulary.score_vocabulary``.

    Returns:
        The run, in the first process; None in the others.

    Raises:
        ModelError: if the model is not a causal one, has no chat template where it is asked
            for, a prompt is too long or ends in white space, or a log-probability is NaN or
            infinite.
        DataError: if the folder holds a run with other settings.
    """
    _refuse_non_causal(lm)
    ids = {name: _prompt_ids(lm, name, text, chat) for name, text in prompts.items()}
    tokens = TokenTable(lm.tokenizer, _rows(lm.model))
    store = ScoreStore(
        folder,
        {
            "format": 1,
            "score_kind": "log-probability",
            "model_args": kept_arguments(model_args),
            **lm.digests(),
            "softmax_dtype": str(lm.softmax_dtype),
            "apply_chat_template": chat,
            "prompts": [
                {"id": name, "text": text, "ids": ids[name]} for name, text in prompts.items()
            ],
            **tokens.describe(),
        },
        prompts=len(prompts),
        tokens=len(tokens.ids),
        chunk_size=len(tokens.ids),
    )
    around = list(ids.values())

    def score(chunk: Chunk) -> list[float]:
        return _next(lm, around[chunk.prompt])[tokens.ids].tolist()

    return complete(lm, store, prompts, tokens, score, what="log-probability")


def _refuse_non_causal(lm: AnswerLM) -> None:
    if lm.backend != "causal":
        raise ModelError(
            f"{type(lm.model).__name__} is no causal language model, so its answer does not "
            "follow the prompt; give one that AutoModelForCausalLM loads."
        )


def _prompt_ids(lm: AnswerLM, name: str, text: str, chat: bool) -> list[int]:
    if not chat and text != text.rstrip():
        raise ModelError(
            f"the prompt {name!r} ends in white space, but tokens bring their own; leave it out."
        )
    ids = lm.prompt_ids(lm.render([{"role": "user", "content": text}]) if chat else text)
    if len(ids) > lm.max_length:
        raise ModelError(
            f"the prompt {name!r} has {len(ids)} tokens but the model takes {lm.max_length}; "
            "shorten it or raise max_length=."
        )
    return ids


def _rows(model: Any) -> int:
    head = model.get_output_embeddings() or model.get_input_embeddings()
    # A quantized weight has another shape than its layer.
    return int(getattr(head, "out_features", None) or head.weight.shape[0])


def _next(lm: AnswerLM, ids: list[int]) -> torch.Tensor:
    """Return the log-probabilities (rows,) of what follows, on the CPU."""
    logits = lm.forward_of_size(torch.tensor([ids], device=lm.device))[0, -1]
    return torch.log_softmax(logits, dim=-1, dtype=lm.softmax_dtype).float().cpu()
