"""``--model implicit-reward``: the log-ratio of two language models as a reward model.

What one model finds more likely than another is a reward (Rafailov et al. 2023): a policy
trained with DPO against its reference, an instruct model against its base, or one family
against another. Scores are of words or whole responses, so vocabularies may differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from tqdm import tqdm

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.answer_log_probabilities import AnswerLM
from rm_value_tasks.models.common.arguments import kept_arguments
from rm_value_tasks.models.common.content import checkpoint_digest
from rm_value_tasks.models.common.conversation import Conversation
from rm_value_tasks.models.common.harness import FromArguments, set_processes
from rm_value_tasks.models.common.log_ratio_arguments import SCORES, check_models, check_score
from rm_value_tasks.models.common.refusals import (
    refuse_non_finite,
    refuse_single_answers,
    short,
)
from rm_value_tasks.models.common.reward_model import RewardsOnly
from rm_value_tasks.scores import Reward
from rm_value_tasks.scores.log_ratios import log_ratio, mwlr

__all__ = ["SCORES", "SHARED_ARGUMENTS", "ImplicitRewardLM"]

SHARED_ARGUMENTS = (
    "batch_size",
    "device",
    "max_batch_size",
    "parallelize",
    "shared_prefix",
    "softmax_dtype",
    "template_date",
)
"""Arguments that the reference takes over where ``reference_X`` does not say otherwise: where
and how the models run, never what they are nor whether their code is trusted."""

_PREFIX = "reference_"
_CHUNK = 16384
"""Requests scored by both models before their rewards go to lm-eval's cache."""


class ImplicitRewardLM(RewardsOnly, FromArguments, LM):
    """The reward ``beta * (log p_A - log p_B)`` of an answer, or its mixture-weighted form.

    Args:
        pretrained: model A, the policy: folder, hub id or loaded model.
        reference: model B; ``none`` for ``beta * log p_A``, a reference-free reward.
        score: ``log_ratio`` or ``mwlr``.
        beta: scale of ``log_ratio``; it changes no ranking.
        whole_response: count the end of the answer too, as DPO does (the chat template's
            ending, or the end-of-sequence token where no template applies). False scores
            the answer's own words, as the paper does.
        sequential: hold one model at a time: A is loaded, scores everything and is freed
            before B is loaded. The same numbers at the peak memory of the larger one.
        **kwargs: arguments of ``hf``, and ``chat_template`` (a Jinja file), for A; those
            that start with ``reference_`` for B. ``SHARED_ARGUMENTS`` go to both.

    Raises:
        ModelError: if an argument means nothing or contradicts another.
    """

    kind = "an implicit reward"
    ARGUMENTS = ("chat_template", "shared_prefix")
    passes_on = True

    def __init__(
        self,
        pretrained: Any = "",
        reference: Any = "",
        *,
        score: str = "log_ratio",
        beta: float = 1.0,
        whole_response: bool = False,
        sequential: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if isinstance(reference, str) and reference.lower() == "none":
            reference = None
        check_models(pretrained, reference, sequential)
        check_score(score, beta, reference)
        self._score, self._beta, self._whole_response = score, float(beta), whole_response
        self._sequential = sequential and reference is not None
        first = {key: value for key, value in kwargs.items() if not key.startswith(_PREFIX)}
        second = {
            key.removeprefix(_PREFIX): value
            for key, value in kwargs.items()
            if key.startswith(_PREFIX)
        }
        if reference is None and second:
            raise ModelError(
                f"{_PREFIX}{next(iter(second))}= is given but reference=none has no reference; "
                "leave one of them out."
            )
        shared = {key: first[key] for key in SHARED_ARGUMENTS if key in first}
        common = {"whole_response": whole_response}
        self._first = {**first, **common, "pretrained": pretrained}
        self._second = {**shared, **second, **common, "pretrained": reference}
        self.policy = AnswerLM(**self._first)
        self.reference: AnswerLM | None = None
        self._policy_freed = False
        self._infos: dict[str, dict[str, Any]] = {}
        if reference is not None and not self._sequential:
            self.reference = AnswerLM(**self._second)
        set_processes(self, self.policy)

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return ``(reward, False)`` for each request, in order.

        Raises:
            ModelError: if a document has a single answer (a reward alone means nothing), a
                context cannot be rendered for both models or is too long for one, or a
                reward is NaN or infinite.
        """
        refuse_single_answers(requests, resumed=self.cache_hook.dbdict is not None)
        pairs = [request.args for request in requests]
        if self._second["pretrained"] is not None:
            self._refuse_foreign_renderings(pairs)
        results: list[tuple[float, bool]] = []
        hidden = disable_tqdm or self.rank != 0
        count = len(pairs) * (1 if self._second["pretrained"] is None else 2)
        with tqdm(total=count, disable=hidden, desc="Scoring implicit rewards") as progress:
            for part, first, second in self._log_probabilities(pairs, progress):
                for pair, reward in zip(part, self.rewards(first, second), strict=True):
                    refuse_non_finite(pair, reward)
                    results.append((Reward(reward), False))
                    self.cache_hook.add_partial("loglikelihood", pair, results[-1])
        return results

    def models(self) -> Iterator[tuple[str, AnswerLM, dict[str, Any]]]:
        """Yield each model and its arguments; with ``sequential`` the next one replaces it."""
        self._load_policy()
        yield "policy", self.policy, self._first
        if self._sequential:
            self._swap()
        if self.reference is not None:
            yield "reference", self.reference, self._second
        if self._sequential:
            self._free_reference()

    def _log_probabilities(
        self, pairs: Sequence[tuple[str, str]], progress: tqdm
    ) -> Iterator[tuple[Sequence[tuple[str, str]], list[float], list[float]]]:
        """Yield chunks of pairs with their log-probabilities under A and under B."""
        chunks = [pairs[start : start + _CHUNK] for start in range(0, len(pairs), _CHUNK)]

        def run(model: AnswerLM, chunk: Sequence[tuple[str, str]]) -> list[float]:
            scores = model.log_probabilities(chunk)
            progress.update(len(chunk))
            return scores

        if self._sequential:
            self._load_policy()
            ahead = [run(self.policy, chunk) for chunk in chunks]
            self._swap()
        for index, chunk in enumerate(chunks):
            first = ahead[index] if self._sequential else run(self.policy, chunk)
            reference = self.reference
            yield chunk, first, [0.0] * len(chunk) if reference is None else run(reference, chunk)
        if self._sequential:
            self._free_reference()

    def rewards(self, first: Sequence[float], second: Sequence[float]) -> list[float]:
        """Return the rewards of answers from their log-probabilities under A and under B."""
        if self._score == "mwlr":
            return mwlr(first, second).tolist()
        return log_ratio(first, second, self._beta).tolist()

    def _load_policy(self) -> None:
        if self._policy_freed:
            self.policy = AnswerLM(**self._first)
            self._policy_freed = False

    def _swap(self) -> None:
        """Free A before B is loaded."""
        self._infos["policy"] = self.policy.get_model_info()
        self.policy.release()
        self._policy_freed = True
        self.reference = AnswerLM(**self._second)

    def _free_reference(self) -> None:
        if self.reference is not None:
            self._infos["reference"] = self.reference.get_model_info()
            self.reference.release()
            self.reference = None

    def _refuse_foreign_renderings(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Refuse text that bears A's template but has lost its messages: B would read it."""
        plain = {context for context, _ in pairs if not isinstance(context, Conversation)}
        if not plain or not self.policy.tokenizer.chat_template:
            return
        word = "freedom"
        try:
            ending = self.policy.render([{"role": "user", "content": word}]).rpartition(word)[2]
        except ModelError:  # a template that cannot be used has rendered nothing
            return
        for context in plain:
            if ending.strip() and context.endswith(ending):
                raise ModelError(
                    f"the context {short(context)} bears the policy's chat template, which the "
                    "reference would read as text; let lm-eval render it with "
                    "--apply_chat_template, so that each model gets its own."
                )

    @property
    def tokenizer(self) -> Any:
        """Model A's tokenizer, which lm-eval describes in its results."""
        return self.policy.tokenizer

    @property
    def tokenizer_name(self) -> str:
        """Model A's, for lm-eval's request cache: contexts bear its template."""
        return self.policy.tokenizer_name

    @property
    def max_length(self) -> int:
        """Model A's longest input, in tokens."""
        return self.policy.max_length

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Return model A's chat template."""
        return self.policy.chat_template(chat_template)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> Conversation:
        """Render with A's template; the messages stay, for B to render with its own."""
        return self.policy.render(chat_history)

    def all_gather(self, tensor: Any) -> Any:
        """Gather a tensor across data-parallel ranks."""
        return self.policy.all_gather(tensor)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """Gather an object to one of the data-parallel ranks."""
        return self.policy.gather_object(obj, dst)

    def barrier(self) -> None:
        """Wait for all data-parallel ranks."""
        self.policy.barrier()

    def cache_settings(self) -> dict[str, Any]:
        """Return what the rewards depend on, of both models."""
        second = {**kept_arguments(self._second), **self._reference_digests()}
        return {
            **kept_arguments(self._first),
            **self.policy.digests(),
            **{_PREFIX + key: value for key, value in second.items()},
            **{key: value for key, value in self.settings.items() if key != "sequential"},
            **self.policy.template_settings(),
        }

    def _reference_digests(self) -> dict[str, str | None]:
        if not isinstance(self._second["pretrained"], str):
            return self.reference.digests() if self.reference else {}
        # Of its files, as with sequential=True it is loaded only after A is freed.
        revision = self._second.get("revision")
        given = {key: self._second.get(key) for key in ("pretrained", "peft", "tokenizer")}
        inside = {"pretrained": str(self._second.get("subfolder") or "")}
        return {
            f"{key}_digest": checkpoint_digest(str(name), revision, subfolder=inside.get(key, ""))
            for key, name in given.items()
            if name is not None
        }

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``; B's keys are prefixed."""
        first = self._infos["policy"] if self._policy_freed else self.policy.get_model_info()
        second = self.reference.get_model_info() if self.reference else self._infos.get("reference")
        prefixed = {_PREFIX + key: value for key, value in (second or {}).items()}
        return {**first, **prefixed, **self.settings}

    @property
    def settings(self) -> dict[str, Any]:
        """How rewards are made, and of which reference."""
        name = self._second["pretrained"]
        return {
            "reference": name if isinstance(name, str | None) else name.name_or_path,
            "score_kind": "reward",
            "score": self._score,
            "beta": self._beta,
            "whole_response": self._whole_response,
            "sequential": self._sequential,
        }
