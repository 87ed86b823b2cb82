"""One model's results in the forms that other places take; nothing is sent anywhere.

``hub-eval-results``: a ``.eval_results/*.yaml`` of the Hub, by huggingface_hub's own
``EvalResultEntry`` (form: huggingface.co/docs/hub/eval-results). ``model-index``: the block of a
model card, by ``ModelCardData`` and ``EvalResult``. ``every-eval-ever``: a record of Every Eval
Ever 0.3 (see ``every_eval_ever``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from rm_value_tasks.errors import DataError
from rm_value_tasks.publish import every_eval_ever
from rm_value_tasks.results import Run

__all__ = ["FORMATS", "Origin", "export", "one_model"]

_HEADS = ("recorded-rewards", "reward")
FORMATS = ("hub-eval-results", "model-index", "every-eval-ever")


@dataclass(frozen=True)
class Origin:
    """What a results file cannot tell and a submission asks for.

    Attributes:
        model_id: the model as others know it (``org/name``); its display name if empty.
        dataset: the Hub's benchmark dataset whose leaderboard takes the results.
        revision: of that dataset.
        source_url: where the run's files can be seen.
        source_name: what to call that place.
        organization: who ran the evaluation.
        relationship: of the evaluator to the model, one of
            ``every_eval_ever.RELATIONSHIPS``.
    """

    model_id: str = ""
    dataset: str = ""
    revision: str = ""
    source_url: str = ""
    source_name: str = ""
    organization: str = ""
    relationship: str = "other"


def export(runs: Sequence[Run], to: str, origin: Origin | None = None) -> str:
    """Write one model's runs in another place's form.

    Args:
        runs: of one model, on any number of tasks.
        to: one of ``FORMATS``.
        origin: what the results files do not tell.

    Returns:
        The file's text: YAML, or JSON for ``every-eval-ever``.

    Raises:
        DataError: if there is no such format, the runs are of several models, or the format
            needs something that ``origin`` lacks.
    """
    origin = origin or Origin()
    name = origin.model_id or one_model(runs)
    if origin.source_name and not origin.source_url:
        raise DataError("a source's name needs its address; give --source-url too.")
    if to == "hub-eval-results":
        return _hub_eval_results(runs, origin)
    if to == "model-index":
        return _model_index(runs, name, origin)
    if to == "every-eval-ever":
        record = every_eval_ever.record(
            runs,
            name,
            organization=origin.organization or "unknown",
            relationship=origin.relationship,
            created=time.time(),
        )
        return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    raise DataError(f"the format {to!r} is none of {', '.join(FORMATS)}.")


def one_model(runs: Sequence[Run]) -> str:
    """Return the name of the model that all runs are of.

    Raises:
        DataError: if there are several, or one task was run in several setups.
    """
    names = list(dict.fromkeys(run.model for run in runs))
    if len(names) != 1:
        raise DataError(
            f"an export is of one model in one setup, but these runs are of {len(names)}: "
            f"{', '.join(names)}; give the folder of one."
        )
    return names[0]


def _hub_eval_results(runs: Sequence[Run], origin: Origin) -> str:
    if not origin.dataset:
        raise DataError(
            "the Hub files results under a benchmark dataset, and no benchmark of these probes "
            "is known; give --dataset ORG/NAME of the one that takes them."
        )
    entries = [
        EvalResultEntry(
            dataset_id=origin.dataset,
            task_id=f"{run.task}_{metric}",
            value=value,
            dataset_revision=origin.revision or None,
            date=run.date,
            source_url=origin.source_url or None,
            source_name=origin.source_name or None,
            notes=_notes(run, metric),
        )
        for run in runs
        for metric, value in run.metrics.items()
    ]
    return _yaml(eval_result_entries_to_yaml(entries))


def _notes(run: Run, metric: str) -> str:
    error = run.stderrs[metric]
    return "; ".join(
        [
            every_eval_ever.meaning(metric),
            *([f"standard error {error:.6g}"] if error == error else []),
            f"{run.documents} documents",
            f"lexicon {run.lexicon}",
            f"{run.score_kind} of --model {run.model_type}",
            ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        ]
    )


def _model_index(runs: Sequence[Run], name: str, origin: Origin) -> str:
    results = [
        EvalResult(
            # The Hub files reward models under text-classification.
            task_type="text-classification" if run.model_type in _HEADS else "text-generation",
            task_name=f"value probe {run.task}",
            dataset_type=run.task,
            dataset_name=f"{run.task} (lexicon {run.lexicon})",
            dataset_config=run.lexicon,
            dataset_split="test",
            metric_type=metric,
            metric_name=every_eval_ever.meaning(metric),
            metric_value=value,
            metric_args={
                "documents": run.documents,
                **({"stderr": error} if (error := run.stderrs[metric]) == error else {}),
            },
            source_url=origin.source_url or None,
            source_name=origin.source_name or None,
        )
        for run in runs
        for metric, value in run.metrics.items()
    ]
    card = ModelCardData(model_name=name, eval_results=results)
    return _yaml(card.to_dict())


def _yaml(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
