"""``--model generative-judge``: a language model's rating, or its choice, as a reward.

A judge reads a question and an answer and says a rating; the reward is the expected rating
under its probabilities of the ratings' tokens (G-Eval, Liu et al. 2023, section 3.1). Or it
reads two answers, A and B, and names the better one; the reward is the probability of each
answer's letter, averaged over both orders, since judges prefer a place (Zheng et al. 2023).
Both ask lm-eval's own ``hf`` for log-probabilities of single tokens.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

from lm_eval.api.instance import Instance

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.answer_log_probabilities import AnswerLM
from rm_value_tasks.models.common.arguments import kept_arguments
from rm_value_tasks.models.common.conversation import Conversation, messages_of
from rm_value_tasks.models.common.judge_prompts import (
    CHOICE_PROMPT,
    MODES,
    RATING_PROMPT,
    RATINGS,
    JudgePrompt,
)
from rm_value_tasks.models.common.refusals import (
    refuse_non_finite,
    refuse_single_answers,
)
from rm_value_tasks.models.common.reward_model import RewardsOnly
from rm_value_tasks.scores import Reward

__all__ = ["CHOICE_PROMPT", "MODES", "RATING_PROMPT", "GenerativeJudgeLM"]

_LEAST_MASS = 0.5
"""Probability of the labels together below which a judge mostly says something else."""

eval_logger = logging.getLogger("lm_eval.models.generative_judge")


class GenerativeJudgeLM(RewardsOnly, AnswerLM):
    """A chat model that rates answers; takes every argument of ``hf``.

    Args:
        pretrained: as for ``hf``.
        mode: ``rating`` for one answer at a time, ``choice`` for tasks of two answers.
        ratings: the ratings, each one token and a number, as ``1;2;3;4;5``.
        judge_prompt: a text file with ``{question}`` and ``{answer}``, or ``{answer_a}`` and
            ``{answer_b}``; ``{lowest}`` and ``{highest}`` are the ends of the scale.
        **kwargs: ``hf``'s own, and ``chat_template``.

    Raises:
        ModelError: if an argument means nothing, or the ratings are not single tokens.
    """

    kind = "a judge"

    def __init__(
        self,
        pretrained: Any,
        *,
        mode: str = "rating",
        ratings: str | Sequence[float] = RATINGS,
        judge_prompt: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._judge = JudgePrompt(mode, ratings, judge_prompt)
        self._masses: list[float] = []
        super().__init__(pretrained, **kwargs)
        self._made_with = {"pretrained": pretrained, **kwargs}
        self._refuse_long_labels()

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return ``(reward, False)`` for each request, in order.

        Raises:
            ModelError: if a document has a single answer, or with ``mode=choice`` not two.
        """
        resumed = self.cache_hook.dbdict is not None
        if self._judge.mode == "choice":
            if resumed:
                raise ModelError(
                    "mode=choice judges two answers together, and lm-eval's cache keeps them "
                    "apart; leave --use_cache out."
                )
            rewards = self._choices(requests, disable_tqdm)
        else:
            refuse_single_answers(requests, resumed=resumed)
            rewards = self._rated(requests, disable_tqdm)
        results: list[tuple[float, bool]] = []
        for request, reward in zip(requests, rewards, strict=True):
            refuse_non_finite(request.args, reward)
            results.append((Reward(reward), False))
            if self._judge.mode == "rating":
                self.cache_hook.add_partial("loglikelihood", request.args, results[-1])
        if self._masses and (mass := mean(self._masses)) < _LEAST_MASS:
            labels = " ".join(self._judge.labels)
            eval_logger.warning(
                f"The judge {self._name} gives its labels, {labels}, a probability of {mass:.2f} "
                "on average: it would mostly have said something else, so its ratings say little "
                "(a model that thinks first: enable_thinking=False)."
            )
        return results

    def _rated(self, requests: Sequence[Instance], disable_tqdm: bool) -> list[float]:
        """Return the expected ratings."""
        prompts = []
        for request in requests:
            question, answer = _question_and_answer(request)
            prompts.append(self._judge.fill(question=question, answer=answer))
        values = list(self._judge.ratings.values())
        return [
            math.fsum(value * share for value, share in zip(values, shares, strict=True))
            for shares in self._shares_of_labels(prompts, disable_tqdm)
        ]

    def _choices(self, requests: Sequence[Instance], disable_tqdm: bool) -> list[float]:
        """Return the probability that each answer wins, averaged over both orders."""
        # By the answer's number: lm-eval repeats requests so that all processes have as many.
        documents: dict[Any, dict[int, list[int]]] = {}
        for index, request in enumerate(requests):
            answers = documents.setdefault((request.task_name, request.doc_id), {})
            answers.setdefault(request.idx, []).append(index)
        prompts = []
        for (task, _), members in documents.items():
            pairs = [_question_and_answer(requests[index]) for index, *_ in members.values()]
            if len(members) != 2 or pairs[0][0] != pairs[1][0]:
                raise ModelError(
                    f"the task {task!r} has {len(members)} answers to a document where "
                    "mode=choice needs two to one question; use mode=rating."
                )
            (question, first), (_, second) = pairs
            for a, b in ((first, second), (second, first)):
                prompts.append(self._judge.fill(question=question, answer_a=a, answer_b=b))
        shares = self._shares_of_labels(prompts, disable_tqdm)
        rewards = [math.nan] * len(requests)
        for place, answers in enumerate(documents.values()):
            wins = (shares[2 * place][0] + shares[2 * place + 1][1]) / 2
            for reward, indices in zip((wins, 1 - wins), answers.values(), strict=True):
                for index in indices:
                    rewards[index] = reward
        return rewards

    def _shares_of_labels(self, prompts: Sequence[str], disable_tqdm: bool) -> list[list[float]]:
        """Return each label's share of the labels' probability, for each prompt."""
        rendered = {
            prompt: self.render([{"role": "user", "content": prompt}])
            for prompt in dict.fromkeys(prompts)
        }
        asked = [
            ((rendered[prompt], label), *self.split_pair(rendered[prompt], label))
            for prompt in rendered
            for label in self._judge.labels
        ]
        cache: Any = self.cache_hook
        self.cache_hook: Any = _NoCache()
        try:
            found = [score for score, _ in self.score_tokens(asked, disable_tqdm)]
        finally:
            self.cache_hook = cache
        shares: dict[str, list[float]] = {}
        for place, prompt in enumerate(rendered):
            scores = found[place * len(self._judge.labels) : (place + 1) * len(self._judge.labels)]
            self._masses.append(math.fsum(map(math.exp, scores)))
            odds = [math.exp(score - max(scores)) for score in scores]
            shares[prompt] = [each / math.fsum(odds) for each in odds]
        return [shares[prompt] for prompt in prompts]

    def _refuse_long_labels(self) -> None:
        context = self.render([{"role": "user", "content": self._judge.text}])
        for label in self._judge.labels:
            tokens = self.split_pair(context, label)[1]
            if len(tokens) != 1:
                raise ModelError(
                    f"{label!r} is {len(tokens)} tokens of {self._name} where a judge's reply "
                    "starts, not one; give other ratings=, such as 1;2;3;4;5."
                )

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render a history, keeping its messages: the judge reads their text, not the template."""
        text = self.template.render_kept(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return Conversation(text, chat_history)

    def cache_settings(self) -> dict[str, Any]:
        """Return what the ratings depend on."""
        return {
            **kept_arguments(self._made_with),
            **self.digests(),
            **self.template_settings(),
            "judge_mode": self._judge.mode,
            "judge_labels": self._judge.labels,
            "judge_prompt": self._judge.text,
        }

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {
            **super().get_model_info(),
            "score_kind": "reward",
            "judge_mode": self._judge.mode,
            "judge_labels": self._judge.labels,
            "judge_prompt": self._judge.text,
            # Near 0, the judge would have said something else than a rating.
            "judge_label_probability": mean(self._masses) if self._masses else None,
        }


class _NoCache:
    """Keeps the tokens' log-probabilities out of lm-eval's cache, which is for rewards."""

    dbdict = None

    def add_partial(self, *args: Any) -> None:
        """Keep nothing."""


def _question_and_answer(request: Instance) -> tuple[str, str]:
    *turns, last = messages_of(*request.args)
    if len(turns) == 1:
        return turns[0]["content"], last["content"]
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns), last["content"]
