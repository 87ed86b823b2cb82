"""Runs as a record of Every Eval Ever, schema 0.3.0.

Schema: ``every_eval_ever/schemas/eval.schema.json`` of the PyPI package every-eval-ever 0.3.0.
It demands ``lower_is_better`` as true or false. For a metric without a direction its own lm-eval
converter writes false and ``polarity: not_applicable`` beside it; so do we. Records pass that
package's own validator (``validate_aggregate`` with its semantic checks), which the tests run
where the package is installed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rm_value_tasks import __version__
from rm_value_tasks.errors import DataError
from rm_value_tasks.results import Run

__all__ = ["RELATIONSHIPS", "SCHEMA_VERSION", "meaning", "record"]

SCHEMA_VERSION = "0.3.0"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")

_SIDES = {
    "contrast": "difference of its scores on a positive prompt and on the negative twin",
    "positive": "score on a positive prompt",
    "negative": "score on a negative prompt",
}
_LOCAL = ("hf", "hf-shared-prefix", "implicit-reward", "reward")
_SETTINGS = ("readout", "head_dtype", "bos", "encoding", "model_dtype", "attn_implementation")


def meaning(metric: str) -> str:
    """Say in words what a metric of the probes measures, and that no direction is better."""
    stem, _, side = metric.rpartition("_")
    if stem.endswith("_rank"):
        category = stem.removesuffix("_rank").replace("_", " ")
        return (
            f"mean over {side} prompts of the median rank of {category} words among all words "
            "(1 = highest score); no direction is better"
        )
    rivals = "communion word" if stem == "agency" else "rival category's word"
    words = stem.replace("_", " ") + " word"
    return (
        f"probability that a random {words} outscores a random {rivals}, by a word's "
        f"{_SIDES.get(side, 'score')} (0.5 = no lean); no direction is better"
    )


def record(
    runs: Sequence[Run],
    model_id: str,
    *,
    organization: str,
    relationship: str,
    created: float,
) -> dict[str, Any]:
    """Make the record of one model's runs.

    Args:
        runs: of one model, at least one.
        model_id: ``org/name`` where the model has such a name.
        organization: who provides the data.
        relationship: of the evaluator to the model, one of ``RELATIONSHIPS``.
        created: Unix time of making the record.

    Returns:
        What belongs into ``data/COLLECTION/DEVELOPER/MODEL/UUID.json`` of the datastore.

    Raises:
        DataError: if the relationship is none that the schema knows.
    """
    if relationship not in RELATIONSHIPS:
        raise DataError(f"the relationship {relationship!r} is none of {', '.join(RELATIONSHIPS)}.")
    newest = max(runs, key=lambda run: run.date)
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"value_bias/{model_id}/{created}",
        "evaluation_timestamp": newest.date,
        "retrieved_timestamp": str(created),
        "source_metadata": {
            "source_name": "lm-evaluation-harness",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
        },
        "eval_library": {
            "name": "lm_eval",
            "version": newest.versions.get("lm_eval", "unknown"),
            "additional_details": {"rm_value_tasks": __version__},
        },
        "model_info": _model_info(newest, model_id),
        "evaluation_results": [_result(run, metric) for run in runs for metric in run.metrics],
    }


def _model_info(run: Run, model_id: str) -> dict[str, Any]:
    local = run.model_type in _LOCAL
    info: dict[str, Any] = {
        "name": model_id.rpartition("/")[2],
        "id": model_id,
        "additional_details": {
            "deployment_type": "self_deployed" if local else "unknown",
            "model_availability": "unknown",
            "lm_eval_model": run.model_type,
        },
    }
    if "/" in model_id:
        info["developer"] = model_id.partition("/")[0]
    if local and "transformers" in run.versions:
        info["inference_engine"] = {
            "name": "transformers",
            "version": run.versions["transformers"],
        }
    return info


def _result(run: Run, metric: str) -> dict[str, Any]:
    return {
        "evaluation_result_id": f"{run.task}.{metric}",
        "evaluation_name": run.task,
        "source_data": {
            "dataset_name": f"{run.task} (lexicon {run.lexicon})",
            "source_type": "other",
            "additional_details": {
                "lexicon": run.lexicon,
                **({"words_sha256": run.lexicon_digest} if run.lexicon_digest else {}),
                "documents": str(run.documents),
                "task_version": run.versions.get("task", "unknown"),
            },
        },
        "evaluation_timestamp": run.date,
        "metric_config": _metric_config(run, metric),
        "score_details": {
            "score": run.metrics[metric],
            "uncertainty": _uncertainty(run, metric),
        },
        "generation_config": {"additional_details": _settings(run)},
    }


def _metric_config(run: Run, metric: str) -> dict[str, Any]:
    rank = "_rank_" in metric
    config: dict[str, Any] = {
        "evaluation_description": meaning(metric),
        "metric_id": f"rm_value_tasks.{metric}",
        "metric_name": metric,
        "metric_kind": "median_rank" if rank else "auroc",
        "metric_unit": "rank" if rank else "probability",
        "lower_is_better": False,
        "additional_details": {
            "polarity": "not_applicable",
            **({} if rank else {"neutral_value": "0.5"}),
        },
    }
    top = run.words if rank else 1
    if top:  # without samples the number of words, so the largest rank, is not known
        config |= {"score_type": "continuous", "min_score": int(rank), "max_score": top}
    return config


def _uncertainty(run: Run, metric: str) -> dict[str, Any]:
    # A median rank belongs to the prompts of its own valence.
    single = "_rank_" in metric
    side = metric.rpartition("_")[2]
    known = [prompt for prompt, valence in run.valences.items() if valence == side]
    count = (len(known) or run.documents // 2) if single else run.documents
    error = run.stderrs[metric]
    if math.isnan(error):
        return {"num_samples": count}
    unit = "prompts" if single else "prompt pairs"
    method = f"analytic, over {unit}; words are taken as fixed"
    return {"standard_error": {"value": error, "method": method}, "num_samples": count}


def _settings(run: Run) -> dict[str, str]:
    found = {name: run.config.get(name) for name in _SETTINGS}
    hashes = {f"{name}_sha256": value for name, value in run.hashes.items() if name != "model"}
    kept = {name: str(value) for name, value in found.items() if value is not None}
    return {"score_kind": run.score_kind, **run.setup, **kept, **hashes}
