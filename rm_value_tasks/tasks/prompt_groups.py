"""lm-eval tasks whose documents hold several prompts, which YAML alone cannot say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

from rm_value_tasks.errors import DataError

__all__ = ["PromptGroupTask"]


class PromptGroupTask(ConfigurableTask):
    """A multiple-choice task that asks for every answer's score on each of a document's prompts.

    Subclasses say how a document splits (``one_by_one``) and which requests it makes.
    """

    def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
        # "class" names this class in the YAML; the base takes no such field.
        own = {key: value for key, value in config.items() if key != "class"}
        super().__init__(config=own, **kwargs)

    def one_by_one(self, doc: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return one document for each prompt, of which ``doc_to_text`` is the context."""
        raise NotImplementedError

    def build_all_requests(self, *, tokenizer_name: str = "", **kwargs: Any) -> None:
        """Build the requests; ``--cache_requests`` keeps those of other documents apart."""
        documents = [self.task_docs[:], self.config.target_delimiter]
        digest = hashlib.sha256(json.dumps(documents).encode()).hexdigest()[:16]
        super().build_all_requests(tokenizer_name=f"{tokenizer_name}-{digest}", **kwargs)

    def process_results(self, doc: dict[str, Any], results: Any) -> dict[str, float]:
        """Return the document's metrics; none with ``--predict_only``."""
        return {} if "bypass" in self._metric_fn_list else super().process_results(doc, results)

    def fewshot_context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> list[str]:
        """Return one rendered context for each of the document's prompts."""
        return [self._context(one, *args, **kwargs) for one in self.one_by_one(doc)]

    def turns_of(self, doc: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the turns of a prompt that is a conversation; none for a single question."""
        return []

    def _context(self, doc: dict[str, Any], *args: Any, **kwargs: Any) -> str:
        if turns := self.turns_of(doc):
            template = kwargs.get("chat_template")
            if not kwargs.get("apply_chat_template") or template is None:
                raise DataError(
                    f"the prompt {str(doc.get('id'))!r} has {len(turns)} turns, which only a chat "
                    "template can write; run with --apply_chat_template."
                )

            def with_turns(history: list[dict[str, str]], **options: Any) -> Any:
                return template([*history[:-1], *turns], **options)  # the last is all as one text

            kwargs["chat_template"] = with_turns
        return super().fewshot_context(doc, *args, **kwargs)
