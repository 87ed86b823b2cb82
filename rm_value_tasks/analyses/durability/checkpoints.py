"""Runs of a training ablation: which checkpoint of which cell each one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.results import Results, Run

__all__ = ["CELL", "COLUMNS", "SETTING", "checkpoints", "finals", "settings"]

SETTING = ("data", "quantity", "counter_share", "objective", "method")
"""What two bases must share to be compared at each checkpoint."""

CELL = ("base", *SETTING, "seed")
"""What makes one training run."""

COLUMNS = (*CELL, "step", "pairs_seen", "held_out_accuracy", "model", "lean", "stderr")


def checkpoints(results: Results, task: str, metric: str) -> pd.DataFrame:
    """List the checkpoints of training runs with their lean.

    Args:
        results: of ``results.load`` on the output of ``rm-value-tasks train``.
        task: the value task.
        metric: one of its leans, such as ``agency_contrast``.

    Returns:
        Columns ``COLUMNS``, one row a checkpoint, sorted by cell and step. ``pairs_seen``
        counts preference pairs up to that step, repeated epochs counted again; ``lean`` and
        ``stderr`` are lm-eval's; ``model`` is the run's name in ``results``.

    Raises:
        DataError: if no run is a checkpoint, one lacks what it should record, the metric does
            not exist, or one checkpoint is there twice.
    """
    rows = [_row(run, metric) for run in results.runs if run.task == task and _training(run)]
    if not rows:
        known = sorted({run.task for run in results.runs if _training(run)})
        hint = f"--task {known[0]}" if known else "the output folder of rm-value-tasks train"
        raise DataError(f"no run of {task} records a training step; give {hint}.")
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values([*CELL, "step"])
    double = table[table.duplicated([*CELL, "step"])]
    if len(double):
        first = double.iloc[0]
        raise DataError(
            f"step {first['step']} of base {first['base']}, data {first['data']}, quantity "
            f"{first['quantity']}, seed {first['seed']} is there twice; give one run of each cell."
        )
    return table.reset_index(drop=True)


def _training(run: Run) -> Mapping[str, Any]:
    found = run.config.get("training")
    return found if isinstance(found, Mapping) else {}


def _row(run: Run, metric: str) -> dict[str, Any]:
    training = _training(run)
    if missing := [key for key in (*CELL, "step", "pairs_seen") if key not in training]:
        raise DataError(f"{run.path}: its training record has no {missing[0]!r}.")
    if metric not in run.metrics:
        raise DataError(
            f"{run.path}: {run.task} has no metric {metric!r}; it has {', '.join(run.metrics)}."
        )
    row = {key: training.get(key) for key in COLUMNS}
    accuracy = training.get("held_out_accuracy")
    return row | {
        "held_out_accuracy": float("nan") if accuracy is None else float(accuracy),
        "model": run.model,
        "lean": run.metrics[metric],
        "stderr": run.stderrs[metric],
    }


def finals(table: pd.DataFrame) -> pd.DataFrame:
    """Return the last checkpoint of each cell."""
    return table.loc[table.groupby(list(CELL), dropna=False)["step"].idxmax()].reset_index(
        drop=True
    )


def settings(table: pd.DataFrame, keys: Iterable[str] = SETTING) -> list[tuple[str, pd.DataFrame]]:
    """Split a table of checkpoints by setting, naming each by what differs among them."""
    keys = list(keys)
    varying = [key for key in keys if table[key].nunique(dropna=False) > 1] or keys[:1]
    return [
        (", ".join(f"{key.replace('_', ' ')} {rows[key].iloc[0]}" for key in varying), rows)
        for _, rows in table.groupby(keys, sort=True, dropna=False)
    ]
