"""Two synthetic families with a planted inherited share of one half, as runs of lm_eval.

A family's base has a taste for each word: agency words a little more in one family, communion
words in the other, and words of their own in both. The instruct model keeps most of it. The
reward model keeps half of the base's taste, learns tastes that both families share, and
gains a liking for its family's category as large as the part of it that it kept: of the reward
models' difference in the lean one half is therefore inherited. (On the scale of these tastes;
noise in the scores makes what can be measured a little smaller.)

Run ``python -m rm_value_tasks.organisms.demo.families FOLDER``; it writes recorded scores and runs
lm_eval on them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from rm_value_tasks import lexicons, task_config_dir
from rm_value_tasks.prompts import PROMPTS

__all__ = ["FAMILIES", "STAGES", "main", "tastes"]

FAMILIES = {"Llama-like": 0.25, "Gemma-like": -0.25}
"""Name -> how much more the base likes agency words, against a word's own spread of 0.4."""
STAGES = ("base", "instruct", "reward")
_KEPT = 0.5
_NOISE = 0.5


def tastes(agency: np.ndarray, seed: int = 0) -> dict[tuple[str, str], np.ndarray]:
    """Draw every stage's taste of each word.

    Args:
        agency: shape (w,), 1 for agency words, 0 for communion words.
        seed: of the draws.

    Returns:
        (family, stage) -> shape (w,), what a word gains on positive prompts and loses on
        negative ones.
    """
    generator = np.random.default_rng(seed)

    def draw(scale: float) -> np.ndarray:
        drawn = generator.normal(scale=scale, size=len(agency))
        for side in (agency == 1, agency == 0):  # so that the plant is exact in these words
            drawn[side] -= drawn[side].mean()
        return drawn

    learned = draw(0.4)
    found = {}
    for family, lean in FAMILIES.items():
        base = lean * agency + draw(0.4)
        found[family, "base"] = base
        found[family, "instruct"] = 0.8 * base + draw(0.2)
        found[family, "reward"] = _KEPT * base + learned + _KEPT * lean * agency
    return found


def main(folder: Path) -> None:
    """Write ``FAMILY-STAGE.csv`` and lm_eval's runs of them, ``FAMILY-STAGE/``, below a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lexicon = lexicons.load("big2")
    agency = lexicon.in_category("Agency").astype(float)
    generator = np.random.default_rng(1)
    own = generator.normal(size=len(agency))
    for (family, stage), taste in tastes(agency).items():
        columns: dict[str, object] = {"response": list(lexicon.words)}
        for prompt in PROMPTS:
            sign = 1 if prompt.valence == "positive" else -1
            noise = generator.normal(scale=_NOISE, size=len(agency))
            columns[prompt.id] = np.round(own + sign * taste + noise, 4)
        name = f"{family}-{stage}"
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
        _evaluate(folder / f"{name}.csv", folder / name)


def _evaluate(scores: Path, output: Path) -> None:
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    import rm_value_tasks.models  # noqa: F401

    tracker = EvaluationTracker(output_path=str(output))
    results = lm_eval.simple_evaluate(
        model="recorded-rewards",
        model_args={"path": str(scores)},
        tasks=["value_bias_big2"],
        task_manager=TaskManager(include_path=task_config_dir(), include_defaults=False),
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task, rows in samples.items():
        tracker.save_results_samples(task, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
