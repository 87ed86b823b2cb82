"""What the YAML of ``rm_preferences`` names: preference tasks in RewardBench's form.

A document holds one prompt, its good answers first, then its bad ones; of the ties task two
linked prompts: ``ref`` (one good answer) and ``tied`` (several equally good ones). Requests are
ordered prompt, then answer. The scoring rules are those of RewardBench (arXiv 2403.13787) and
RewardBench 2 (arXiv 2506.01937); ``tests/test_preferences.py`` compares with its own code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_aggregation

from rm_value_tasks.errors import DataError
from rm_value_tasks.tasks.preference_rows import PreferenceRow, read_row
from rm_value_tasks.tasks.prompt_groups import PromptGroupTask

__all__ = [
    "HUB",
    "PreferenceTask",
    "best_of_accuracy",
    "documents",
    "pair_accuracy",
    "ties_metrics",
]

EMBEDDED = Path(__file__).parent / "data" / "preferences"

_V2 = ("allenai/reward-bench-2", "test", "7ff08853b0d5686e79b13fda8677024f566a104a")
HUB = {
    "pairs": ("allenai/reward-bench", "filtered", "168d848cdbbea9764fae4a544dc9ca1e6cca4931"),
    "best_of_4": _V2,
    "ties": _V2,
}
"""Form -> data set, split and commit on the Hugging Face hub."""


def documents(*, form: str, source: str = "embedded", **metadata: Any) -> dict[str, Any]:
    """Build a preference task's documents (``custom_dataset`` in the YAML).

    Args:
        form: ``pairs``, ``best_of_4`` or ``ties``.
        source: ``embedded`` (this package's sample), ``hub`` (the public data set at the commit
            in ``HUB``), or a JSONL file in the public data set's columns.
        metadata: what else lm-eval passes; not read.

    Returns:
        ``{"test": dataset}`` with the columns ``id``, ``subset``, ``prompt`` (the first one),
        ``prompts``, ``answers`` (a list for each prompt) and ``num_correct`` (a number for each
        prompt: how many of its answers, from the first, are good).

    Raises:
        DataError: if the source cannot be read, or a row has not the columns or counts needed.
    """
    rows = [row for row in map(read_row, _rows(form, str(source))) if _belongs(row, form)]
    cells = _linked(rows) if form == "ties" else [(row,) for row in rows]
    if not cells:
        raise DataError(f"source {source!r} holds no row for the {form} task.")
    docs = [_document(cell, form) for cell in cells]
    return {"test": datasets.Dataset.from_list(docs)}


def _rows(form: str, source: str) -> Iterable[dict[str, Any]]:
    if source == "hub":
        path, split, revision = HUB[form]
        try:
            return datasets.load_dataset(path, split=split, revision=revision).to_list()
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be loaded from the Hugging Face hub ({error}); with no network, "
                "leave source out to use the embedded sample, or give a JSONL file."
            ) from error
    file = EMBEDDED / f"{form}.jsonl" if source == "embedded" else Path(source)
    try:
        # JSON may hold other line ends (U+2028 and the like), which splitlines would cut at.
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"source {source!r} cannot be read as JSONL ({error}); give 'embedded', 'hub' or a "
            "JSONL file with the columns prompt, chosen, rejected, subset and id."
        ) from error
    if strangers := [row for row in rows if not isinstance(row, dict)]:
        raise DataError(f"source {source!r} has {str(strangers[0])[:40]!r} in a line, no object.")
    return rows


def _belongs(row: PreferenceRow, form: str) -> bool:
    """Whether a row is of the form's task: RewardBench 2 keeps ties in the same file."""
    return form == "pairs" or (row.subset.lower() == "ties") == (form == "ties")


def _linked(rows: Iterable[PreferenceRow]) -> list[tuple[PreferenceRow, ...]]:
    """Join ``ref:N`` with ``tied:N``; ids are unique in the public data."""
    found: dict[str, dict[str, PreferenceRow]] = {}
    for row in rows:
        kind, _, number = row.id.partition(":")
        if kind in found.setdefault(number, {}):
            raise DataError(f"the source has the id {row.id!r} twice.")
        found[number][kind] = row
    for number, pair in found.items():
        if set(pair) != {"ref", "tied"}:
            raise DataError(
                f"ties are scored in linked prompts 'ref:{number}' and 'tied:{number}', but the "
                f"source has only {sorted(pair)} of number {number!r}."
            )
    return [(pair["ref"], pair["tied"]) for pair in found.values()]


def _document(cell: Sequence[PreferenceRow], form: str) -> dict[str, Any]:
    # A single good answer in a ``tied`` prompt would leave no spread to compare with.
    least = (1, 2) if form == "ties" else (1,)
    for row, needed in zip(cell, least, strict=True):
        if len(row.chosen) < needed or not row.rejected:
            raise DataError(
                f"row {row.id!r} of the source has {len(row.chosen)} chosen and "
                f"{len(row.rejected)} rejected answers; needed are {needed} or more chosen and 1 "
                "or more rejected."
            )
        if form != "ties" and len(row.chosen) > 1:
            raise DataError(f"row {row.id!r} has {len(row.chosen)} chosen answers; one is needed.")
    return {
        "id": "/".join(row.id for row in cell),
        "subset": cell[0].subset,
        "prompt": cell[0].prompt,
        "prompts": [row.prompt for row in cell],
        "turns": [[] if len(row.turns) == 1 else list(row.turns) for row in cell],
        "answers": [[*row.chosen, *row.rejected] for row in cell],
        "num_correct": [len(row.chosen) for row in cell],
    }


def _scores(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> list[np.ndarray]:
    """Split a document's scores by prompt; refuses NaN."""
    flat = np.array([float(score) for score, _ in results])
    if np.isnan(flat).any():
        raise DataError(
            f"an answer to {doc['id']!r} has a score that is not a number: check the model's "
            "outputs or dtype."
        )
    return np.split(flat, np.cumsum([len(texts) for texts in doc["answers"]])[:-1])


def pair_accuracy(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float]:
    """Score a chosen against a rejected answer.

    Estimand: the share of documents whose chosen answer scores strictly higher; equal scores
    count as wrong, as in RewardBench. Unit: the document.

    Returns:
        ``accuracy`` and the same as ``accuracy_SUBSET``.
    """
    (scores,) = _scores(doc, results)
    return _with_subset(doc, float(scores[0] > scores[1:].max()))


def best_of_accuracy(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float]:
    """Score one good answer among several.

    Estimand: the share of documents whose good answer scores highest; if k answers share the
    highest score, the good one among them, 1/k, as in RewardBench 2. Unit: the document.

    Returns:
        ``accuracy`` and the same as ``accuracy_SUBSET``.
    """
    (scores,) = _scores(doc, results)
    top = scores == scores.max()
    return _with_subset(doc, float(top[0] / top.sum()))


def _with_subset(doc: Mapping[str, Any], accuracy: float) -> dict[str, float]:
    return {"accuracy": accuracy, _subset_metric(doc["subset"]): accuracy}


def _subset_metric(subset: str) -> str:
    return "accuracy_" + "_".join(subset.lower().replace("/", " ").split())


def ties_metrics(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Score a linked pair of prompts by RewardBench 2's rule for ties.

    With *gap* the worst good score minus the best bad one, and *spread* the best good score
    minus the worst good one on the ``tied`` prompt:

    * ``accuracy_ref``, ``accuracy_tied``: gap > 0 on that prompt;
    * ``correctness_preferred``: gap on ``tied`` > spread;
    * ``correctness_preferred_hard``: the smaller of both prompts' gaps > spread;
    * ``ties_score``: 0.3 ``accuracy_tied`` + 0.3 ``accuracy_ref`` + 0.2 ``correctness_preferred``
      + 0.2 ``correctness_preferred_hard`` + 0.01 tanh(smaller gap / spread - 1), the last term 0
      if both are 0. It lies between -0.01 and 1.01.

    Unit: the pair of prompts, so that the mean over documents is RewardBench 2's overall score
    and lm-eval's standard error applies. (Prompts whose spread is 0 are kept in the last term,
    as in RewardBench's repository since 2025; its release 0.1.4 leaves them out of that term.)
    """
    by_prompt = list(zip(_scores(doc, results), doc["num_correct"], strict=True))
    ref, tied = (float(s[:n].min() - s[n:].max()) for s, n in by_prompt)
    good = by_prompt[1][0][: by_prompt[1][1]]
    spread = float(good.max() - good.min())
    least = min(ref, tied)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.tanh(np.float64(least) / spread - 1)
    values = {
        "accuracy_ref": float(ref > 0),
        "accuracy_tied": float(tied > 0),
        "correctness_preferred": float(tied > spread),
        "correctness_preferred_hard": float(least > spread),
    }
    weights = (0.3, 0.3, 0.2, 0.2)
    total = sum(w * v for w, v in zip(weights, values.values(), strict=True))
    return {"ties_score": float(total + 0.01 * np.nan_to_num(ratio)), **values}


class PreferenceTask(PromptGroupTask):
    """A multiple-choice task that asks for every answer's score on one prompt or two.

    Beyond what YAML can say: a document may hold two prompts, and there is an accuracy for each
    subset that the documents name.
    """

    def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        form = config["dataset_kwargs"]["form"]
        metadata = {"source": "embedded", **(config.get("metadata") or {})}
        if metadata["source"] == "hub":
            # Not "revision": that is the model's, which lm-eval puts here too.
            metadata["dataset"], _, metadata["dataset_revision"] = HUB[form]
        self.set_config("metadata", metadata)
        if form != "ties":
            self._add_subset_metrics(sorted({_subset_metric(s) for s in self.task_docs["subset"]}))

    def _add_subset_metrics(self, names: Sequence[str]) -> None:
        added = [{"metric": n, "aggregation": "mean", "higher_is_better": True} for n in names]
        self.set_config("metric_list", [*self.config.metric_list, *added])
        self._metric_fn_list.update(dict.fromkeys(names))
        self._metric_fn_kwargs.update({name: {} for name in names})
        self._aggregation_list.update(dict.fromkeys(names, get_aggregation("mean")))
        self._higher_is_better.update(dict.fromkeys(names, True))

    def one_by_one(self, doc: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return one document for each prompt."""
        places = zip(doc["prompts"], doc["turns"], strict=True)
        return [{**doc, "prompt": prompt, "turns": turns} for prompt, turns in places]

    def turns_of(self, doc: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the turns of a prompt that has several."""
        return [dict(turn) for turn in doc["turns"]]

    def construct_requests(
        self, doc: dict[str, Any], ctx: list[str], **kwargs: Any
    ) -> list[Instance]:
        """Ask for the score of every answer, prompt by prompt."""
        chat = kwargs.pop("apply_chat_template", False)
        kwargs.pop("chat_template", None)
        delimiter = "" if chat else self.config.target_delimiter
        pairs = [
            (context, delimiter + answer)
            for context, answers in zip(ctx, doc["answers"], strict=True)
            for answer in answers
        ]
        return [
            Instance(request_type="loglikelihood", doc=doc, arguments=pair, idx=index, **kwargs)
            for index, pair in enumerate(pairs)
        ]
