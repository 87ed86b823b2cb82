"""Make ``published_models.csv``: the ten published reward models on the value probes.

Runs lm_eval's ``recorded-rewards`` on the reward scores that the paper's authors published
(arXiv 2601.20838; not shipped, their licence is not stated) with the published nouns::

    python -m benchmarks.lexicons.published_models FOLDER

where FOLDER holds ``reward_scores_big2_nouns/`` and the lexicon files.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["PUBLISHED_MODELS", "TASKS", "evaluate", "row"]

PUBLISHED_MODELS = Path(__file__).parents[2] / "rm_value_tasks" / "publish" / "published_models.csv"
TASKS = ("value_bias_big2", "value_bias_paper_big2")


def evaluate(scores: Path) -> dict[str, Any]:
    """Run lm_eval on one model's recorded scores; returns its results by task."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    import rm_value_tasks.models  # noqa: F401  (registers recorded-rewards)
    from rm_value_tasks import task_config_dir

    manager = TaskManager(
        include_path=task_config_dir(),
        include_defaults=False,
        metadata={"lexicon": "big2_nouns"},
    )
    run = lm_eval.simple_evaluate(
        model="recorded-rewards",
        model_args={"path": str(scores)},
        tasks=list(TASKS),
        task_manager=manager,
        log_samples=False,
    )
    return run["results"]


def row(scores: Path, results: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a model's line of the table: leans with standard errors, mean median ranks.

    Args:
        scores: the model's published file; its name is the model's.
        results: lm_eval's results by task; ``evaluate(scores)`` if left out.
    """
    results = evaluate(scores) if results is None else results
    leans, ranks = (results[task] for task in TASKS)
    values: dict[str, Any] = {
        "model": scores.stem.replace("_", "/", 1),
        "base": "Gemma" if "gemma" in scores.stem.lower() else "Llama",
    }
    for metric in ("agency_contrast", "agency_positive", "agency_negative"):
        values[metric] = round(leans[f"{metric},none"], 6)
        values[f"{metric}_stderr"] = round(leans[f"{metric}_stderr,none"], 6)
    for side in ("positive", "negative"):
        for category in ("agency", "communion"):
            metric = f"{category}_rank_{side}"
            values[metric] = round(ranks[f"{metric},none"], 6)
    return values


def main(folder: Path) -> None:
    """Write the table from the published files below ``folder``."""
    os.environ["RM_VALUE_TASKS_DATA"] = str(folder)
    files = sorted((folder / "reward_scores_big2_nouns").glob("*.csv"))
    pd.DataFrame([row(file) for file in files]).to_csv(PUBLISHED_MODELS, index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
