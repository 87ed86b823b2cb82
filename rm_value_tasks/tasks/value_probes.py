"""What the task YAML names: documents, requests and metrics of the value probes.

A document holds one prompt (the paper's instrument) or a positive prompt and its
negative twin (the contrast), with all the lexicon's words; its requests are ordered
prompt, then word, then surface form.
"""

from __future__ import annotations

import difflib
import fnmatch
import logging
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import datasets
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_aggregation

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons.lean_groups import check_stems, stem
from rm_value_tasks.lexicons.single_tokens import keep_single_tokens
from rm_value_tasks.prompts import PROMPTS, TWINS, Prompt
from rm_value_tasks.results.word_metrics import combined, word_metrics
from rm_value_tasks.tasks.prompt_groups import PromptGroupTask
from rm_value_tasks.text.surface_forms import (
    SURFACE_FORMS,
    distinct_forms,
    joint_of,
    read_delimiter,
    read_slot,
    writers,
)

__all__ = ["SURFACE_FORMS", "ValueProbe", "documents", "metric_names", "value_metrics"]

_log = logging.getLogger(__name__)

_OPTIONS = (
    "lexicon",
    "foundations",
    "prompts",
    "surface_forms",
    "answer_slot",
    "target_delimiter",
    "single_token_in",
)


def documents(
    *,
    design: str,
    default_lexicon: str,
    lexicon_option: str | None = None,
    **metadata: Any,
) -> dict[str, datasets.Dataset]:
    """Build a probe's documents without a hub (``custom_dataset`` in the YAML).

    Args:
        design: ``twins`` (27 documents of two prompts) or ``single`` (54 of one).
        default_lexicon: a name that ``lexicons.load`` knows.
        lexicon_option: the ``--metadata`` key that replaces the lexicon; None if the
            task's lexicon is fixed.
        metadata: lm-eval passes the task's metadata, ``--metadata`` and the model's
            arguments; read here: ``prompts`` (ids or patterns such as ``best_*``),
            ``surface_forms`` (names in ``SURFACE_FORMS``), ``answer_slot`` (text behind
            every prompt), ``target_delimiter`` (before answers, where no chat template
            applies) and ``single_token_in`` (tokenizers for which words must be one token).

    Returns:
        ``{"test": dataset}`` with the columns ``pair``, ``prompts``, ``texts``,
        ``words``, ``categories`` and ``forms``; with ``single_token_in`` also ``dropped``,
        the words left out.

    Raises:
        DataError: if an option names nothing, or the lexicon cannot be read.
    """
    _warn_of_near_misses(metadata)
    lexicon = lexicons.load(str(metadata.get(lexicon_option or "", default_lexicon)))
    forms = _as_list(metadata.get("surface_forms", "as_given"))
    patterns = _as_list(metadata.get("prompts", "*"))
    if not forms or not patterns:
        raise DataError("--metadata has an empty list of surface_forms or prompts: name some.")
    if unknown := [form for form in forms if form not in SURFACE_FORMS]:
        raise DataError(
            f"surface_forms has {unknown[0]!r}, which is none of {', '.join(SURFACE_FORMS)}."
        )
    forms = distinct_forms(forms, lexicon.words)
    slot = read_slot(metadata.get("answer_slot", ""))
    more = {}
    if tokenizers := _as_list(metadata.get("single_token_in") or []):
        delimiter = read_delimiter(metadata.get("target_delimiter")) or ""
        lexicon, dropped = keep_single_tokens(lexicon, tokenizers, writers(forms, delimiter))
        more["dropped"] = list(dropped)
    cells = TWINS if design == "twins" else tuple((prompt,) for prompt in PROMPTS)
    rows = [
        {
            "pair": "/".join(prompt.id for prompt in cell),
            "prompts": [prompt.id for prompt in cell],
            "texts": [prompt.text + slot for prompt in cell],
            "words": list(lexicon.words),
            "categories": [list(names) for names in lexicon.categories],
            "forms": list(dict.fromkeys(forms)),
            **more,
        }
        for cell in _select(cells, patterns)
    ]
    return {"test": datasets.Dataset.from_list(rows)}


def _as_list(value: Any) -> list[str]:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) for i in items):
        raise DataError(f"--metadata has {value!r} where a text or a list of texts is needed.")
    return list(items)


def _select(
    cells: Sequence[tuple[Prompt, ...]], patterns: Sequence[str]
) -> list[tuple[Prompt, ...]]:
    for pattern in patterns:
        if not any(fnmatch.fnmatch(prompt.id, pattern) for prompt in PROMPTS):
            raise DataError(
                f"prompts has {pattern!r}, which matches none of the 54 prompt ids; "
                "ids look like 'greatest_ever_one' and patterns like 'best_*'."
            )
    return [
        cell
        for cell in cells
        if any(fnmatch.fnmatch(prompt.id, p) for prompt, p in product(cell, patterns))
    ]


def _warn_of_near_misses(metadata: Mapping[str, Any]) -> None:
    # Unknown keys cannot be refused: lm-eval mixes the model's arguments in.
    for key in metadata:
        close = difflib.get_close_matches(key, _OPTIONS, n=1, cutoff=0.8)
        if close and key not in _OPTIONS:
            _log.warning("--metadata has %r, which is ignored; did you mean %r?", key, close[0])


def metric_names(categories: Sequence[str], design: str) -> list[str]:
    """Name a probe's metrics, in the order of lm-eval's table.

    Args:
        categories: the lexicon's category names.
        design: ``twins`` or ``single``.

    Returns:
        For ``twins`` the leans (``agency_contrast``, ...), of the first category where
        there are two, of each where there are more; for ``single`` the median ranks
        (``agency_rank_positive``, ...) of each.
    """
    check_stems(categories)
    stems = [stem(name) for name in categories]
    if design == "single":
        return [f"{name}_rank_{side}" for name in stems for side in ("positive", "negative")]
    if len(stems) == 2:
        stems = stems[:1]
    return [f"{name}_{kind}" for name in stems for kind in ("contrast", "positive", "negative")]


def value_metrics(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float]:
    """Turn a document's scores into its metrics (``process_results`` in the YAML).

    Args:
        doc: one of the rows that ``documents`` makes.
        results: ``(score, is_greedy)`` for each request, in the requests' order.

    Returns:
        Metric name -> value: the leans of a pair of twins, or the median ranks of a
        single prompt (only those of its own valence).

    Raises:
        DataError: if a score, or a difference of two, is not a number.
    """
    flat = [score for score, _ in results]
    scores = combined(flat, len(doc["prompts"]), len(doc["words"]), len(doc["forms"]))
    return word_metrics(doc["prompts"], doc["words"], doc["categories"], scores)


class ValueProbe(PromptGroupTask):
    """A multiple-choice task that asks for every word's score on one prompt or two twins.

    Beyond what YAML can say: a document may hold two prompts, words have surface
    forms, and the metrics' names follow the lexicon.
    """

    def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
        metadata = config.get("metadata") or {}
        config = dict(config)
        self._checked_joint: str | None = None
        if (delimiter := read_delimiter(metadata.get("target_delimiter"))) is not None:
            config["target_delimiter"] = delimiter
        super().__init__(config=config, **kwargs)
        doc = self.task_docs[0]
        if "dropped" in doc:
            self._checked_joint = joint_of(doc["forms"], delimiter or "")
            self.set_config("metadata", {**metadata, "dropped_words": doc["dropped"]})
        categories = [name for names in doc["categories"] for name in names]
        names = metric_names(list(dict.fromkeys(categories)), config["dataset_kwargs"]["design"])
        if names != list(self._aggregation_list):
            self._rename_metrics(names)

    def _rename_metrics(self, names: Sequence[str]) -> None:
        """Replace the YAML's metrics where another lexicon has other categories."""
        metrics = [{"metric": n, "aggregation": "mean", "higher_is_better": None} for n in names]
        self.set_config("metric_list", metrics)
        self._metric_fn_list = dict.fromkeys(names)
        self._metric_fn_kwargs: dict[str, Any] = {name: {} for name in names}
        self._aggregation_list = dict.fromkeys(names, get_aggregation("mean"))
        self._higher_is_better = dict.fromkeys(names)

    def one_by_one(self, doc: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return one document for each prompt."""
        return [{**doc, "texts": [text]} for text in doc["texts"]]

    def construct_requests(
        self, doc: dict[str, Any], ctx: list[str], **kwargs: Any
    ) -> list[Instance]:
        """Ask for every prompt, word and surface form, in that order.

        Raises:
            DataError: if ``single_token_in`` chose words by a form that is not asked for.
        """
        chat = kwargs.pop("apply_chat_template", False)
        kwargs.pop("chat_template", None)
        delimiter = "" if chat else self.config.target_delimiter
        joint = joint_of(doc["forms"], delimiter)
        if self._checked_joint not in (None, joint):
            raise DataError(
                f"single_token_in chose words that are one token after {self._checked_joint!r}, "
                f"but answers are asked for after {joint!r}; with --apply_chat_template leave "
                'target_delimiter out, without it give "target_delimiter": "" for bare words '
                'or " " for words with their space.'
            )
        write = writers(doc["forms"], delimiter)
        answers = [form(word) for word in doc["words"] for form in write]
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=pair, idx=index, **kwargs)
            for index, pair in enumerate(product(ctx, answers))
        ]
