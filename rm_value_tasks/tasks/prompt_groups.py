"""lm-eval tasks whose documents hold several prompts, which YAML alone cannot say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lm_eval.api.task import ConfigurableTask

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
        return [
            super(PromptGroupTask, self).fewshot_context(one, *args, **kwargs)
            for one in self.one_by_one(doc)
        ]
