"""One evaluation of a model in training: lm-eval's tasks, its files, held-out accuracy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from rm_value_tasks import task_config_dir
from rm_value_tasks.errors import DataError, meant
from rm_value_tasks.models.common.harness import machine_described_once
from rm_value_tasks.training.reward_in_training import InTrainingRewardLM

__all__ = ["ValueTasks", "accuracy", "recorded_accuracy"]


class ValueTasks:
    """Tasks to run again and again.

    Args:
        tasks: names of this package's tasks and groups.
        metadata: lm-eval's ``--metadata``.

    Raises:
        DataError: if there is no such task.
    """

    def __init__(self, tasks: Sequence[str], metadata: Mapping[str, Any]) -> None:
        self._tasks = list(tasks)
        # lm-eval's own tasks would take seconds to list.
        self._manager = TaskManager(
            include_path=task_config_dir(), include_defaults=False, metadata=dict(metadata)
        )
        known = sorted(self._manager.task_index)
        if unknown := [task for task in self._tasks if task not in known]:
            raise DataError(
                f"probe.tasks has an unknown task {unknown[0]!r}; {meant(unknown[0], known)}"
            )

    def run(
        self,
        lm: InTrainingRewardLM,
        folder: Path,
        *,
        training: Mapping[str, Any],
        model_args: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Run them and write lm-eval's results and samples below ``folder``, or nothing.

        Args:
            lm: the model.
            folder: must not exist; appears when everything is written.
            training: goes into the results' ``config``.
            model_args: as if given to lm_eval's command.

        Returns:
            lm-eval's results in the first process, None in the others.

        Raises:
            DataError: if the files cannot be written.
        """
        partial = folder.with_name(f".{folder.name}.partial")
        tracker = EvaluationTracker(output_path=str(partial))
        with machine_described_once():
            results = lm_eval.simple_evaluate(
                model=lm,
                model_args=dict(model_args),
                tasks=self._tasks,
                task_manager=self._manager,
                evaluation_tracker=tracker,
                batch_size=lm.batch_size,
                random_seed=None,
                numpy_random_seed=None,
                torch_random_seed=None,
            )
        if results is None or not lm.writes:
            return None
        shutil.rmtree(partial, ignore_errors=True)
        results["config"].update(model="reward", training=dict(training))
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task, samples[task])
        # The tracker only warns if it cannot write.
        written = {path.name.partition("_")[0] for path in partial.rglob("*.json*")}
        if written != {"results", "samples"}:
            raise DataError(f"lm-eval's result files cannot be written below {folder.parent}.")
        partial.rename(folder)
        return results


def accuracy(lm: InTrainingRewardLM, pairs: Any) -> float | None:
    """Return the share of pairs whose chosen answer has the higher reward (ties do not count).

    Args:
        lm: the model; processes that share the work score every n-th pair.
        pairs: rows with ``chosen_ids`` and ``rejected_ids``, TRL's tokenized form; else None.
    """
    if pairs is None or "chosen_ids" not in (getattr(pairs, "column_names", None) or ()):
        return None
    own = pairs.select(range(lm.rank, len(pairs), lm.world_size))
    chosen, rejected = (
        lm.score_sequences(own["chosen_ids"]),
        lm.score_sequences(own["rejected_ids"]),
    )
    right = sum(a > b for a, b in zip(chosen, rejected, strict=True))
    total = lm.all_gather(torch.tensor([right], device=lm.device)).sum().item()
    return total / len(pairs) if len(pairs) else None


def recorded_accuracy(folder: Path) -> float | None:
    """Return the held-out accuracy that a checkpoint's results hold."""
    (results,) = folder.rglob("results_*.json")
    content = json.loads(results.read_text(encoding="utf-8"))
    return content["config"]["training"]["held_out_accuracy"]
