"""What all our reward models do alike, whatever computes their rewards."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lm_eval.api.instance import Instance
from tqdm import tqdm

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.conversation import Encoder, Tokens
from rm_value_tasks.models.common.refusals import (
    refuse_long,
    refuse_non_finite,
    refuse_single_answers,
    refuse_tasks,
    refuse_unknown_tokens,
)
from rm_value_tasks.models.common.score_cache import OneSettingCache
from rm_value_tasks.scores import Reward

__all__ = ["Receive", "RewardModel", "RewardsOnly"]

Receive = Callable[[Sequence[int], Sequence[float]], None]
"""Takes the indices of some conversations and their rewards, as they come."""


class RewardsOnly(OneSettingCache):
    """Stands before an lm-eval ``LM`` that gives rewards and nothing else."""

    drop_in = False
    kind = "a reward model"
    """What cannot answer, in the sentence of a refusal."""

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        """Refuse: a reward model has no perplexity."""
        refuse_tasks(requests, self.kind, "perplexities")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        """Refuse: a reward model writes nothing."""
        refuse_tasks(requests, self.kind, "generated text")


class RewardModel(RewardsOnly):
    """Scores finished conversations given as tokens.

    A subclass has an ``encoder`` and lm-eval's ``cache_hook`` and ``rank``, and says how
    tokens become rewards.
    """

    encoder: Encoder
    max_length: Any
    """The most tokens that a conversation may have; None if that is not known."""
    cache_hook: Any
    rank: Any

    @property
    def embedding_rows(self) -> float:
        """How many tokens the model has embeddings for, where that is known."""
        return math.inf

    @abstractmethod
    def score(self, tokens: Sequence[Tokens], receive: Receive) -> None:
        """Score conversations, calling ``receive`` as rewards come.

        Every index goes to ``receive`` exactly once, or an error is raised.
        """

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return ``(reward, False)`` for each request, in order.

        Raises:
            ModelError: if a document has a single answer (a reward alone means nothing), an
                input is too long, a reward is NaN or infinite, or one does not come.
        """
        refuse_single_answers(requests, resumed=self.cache_hook.dbdict is not None)
        pairs = [request.args for request in requests]
        tokens = self.encoder.encode(pairs)
        if self.max_length is not None:
            refuse_long(pairs, [len(encoded["input_ids"]) for encoded in tokens], self.max_length)
        refuse_unknown_tokens([each["input_ids"] for each in tokens], self.embedding_rows)
        results: list[Any] = [None] * len(requests)
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(tokens), disable=hidden, desc="Scoring rewards") as progress:

            def receive(members: Sequence[int], rewards: Sequence[float]) -> None:
                for index, reward in zip(members, rewards, strict=True):
                    refuse_non_finite(pairs[index], reward)
                    results[index] = (Reward(reward), False)
                    # As they come in, so that lm-eval's cache keeps them if a run is stopped.
                    self.cache_hook.add_partial("loglikelihood", pairs[index], results[index])
                progress.update(len(members))

            self.score(tokens, receive)
        if missing := results.count(None):
            raise ModelError(f"{missing} of {len(results)} conversations have no score.")
        return results
