"""One model's lean with its uncertainty, by lm-eval in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
from lm_eval.tasks import TaskManager
from numpy.typing import NDArray
from scipy import stats

import rm_value_tasks.models  # noqa: F401  (lets lm-eval know the models)
from rm_value_tasks import task_config_dir
from rm_value_tasks.stats.intervals import lean_interval
from rm_value_tasks.stats.lean import ranks

__all__ = ["Lean", "measure"]

_TASK = "value_bias_big2"


@dataclass(frozen=True)
class Lean:
    """What the probe says of one model.

    Attributes:
        agency_contrast: in [0, 1], 0.5 is neutral; so are the next two.
        agency_positive: on positive questions.
        agency_negative: on negative ones.
        stderr: lm-eval's, of the contrast, over pairs of questions (words held fixed); NaN for one.
        low: lower end of the contrast's 95% interval, over questions and words
            (``stats.intervals.lean_interval``).
        high: upper end.
        p: two-sided, of the contrast against 0.5, by permuting which words are agency words.
    """

    agency_contrast: float
    agency_positive: float
    agency_negative: float
    stderr: float
    low: float
    high: float
    p: float


def measure(
    model: str, folder: Path, prompts: Sequence[str] = ("*",), *, chat: bool = False
) -> Lean:
    """Run ``value_bias_big2`` on a model.

    Args:
        model: lm_eval's ``--model``, ``reward`` or ``hf-shared-prefix``.
        folder: the checkpoint.
        prompts: ids or patterns of the questions to ask.
        chat: lm_eval's ``--apply_chat_template``.
    """
    manager = TaskManager(
        include_path=task_config_dir(), include_defaults=False, metadata={"prompts": list(prompts)}
    )
    found = lm_eval.simple_evaluate(
        model=model,
        model_args={"pretrained": str(folder)},
        tasks=[_TASK],
        task_manager=manager,
        device="cpu",
        batch_size=32,
        apply_chat_template=chat,
        bootstrap_iters=0,
    )
    metrics, samples = found["results"][_TASK], found["samples"][_TASK]
    agency = np.array(["Agency" in names for names in samples[0]["doc"]["categories"]])
    contrasts = np.stack([_contrast(sample) for sample in samples])
    interval = lean_interval(contrasts, agency, ~agency)
    values = np.array([sample["agency_contrast"] for sample in samples])
    return Lean(
        **{f"agency_{kind}": metrics[f"agency_{kind},none"]
           for kind in ("contrast", "positive", "negative")},
        stderr=float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan,
        low=interval.low,
        high=interval.high,
        p=permutation_p(contrasts, agency),
    )  # fmt: skip


def _contrast(sample: Mapping[str, Any]) -> NDArray[np.float64]:
    """Shape (w,): each word's score on the positive question minus that on its twin."""
    scores = np.array([float(score) for score, _ in sample["filtered_resps"]])
    positive, negative = scores.reshape(2, -1)
    return positive - negative


def permutation_p(contrasts: NDArray[np.float64], agency: NDArray[np.bool_]) -> float:
    """Two-sided p of a lean of 0.5, over which words are agency words.

    Null hypothesis: categories are exchangeable over words. The statistic is the difference of
    the sides' mean ranks, averaged over questions, of which the mean AUROC is a linear
    function; unit of analysis: the word. 1,999 random permutations
    (``scipy.stats.permutation_test``, seed 0), so p is at least 0.001.

    Args:
        contrasts: shape (p, w), by pair of questions and word.
        agency: shape (w,), bool.
    """
    places = np.mean([ranks(row) for row in contrasts], axis=0)
    tested = stats.permutation_test(
        (places[agency], places[~agency]),
        lambda first, second, axis: first.mean(axis=axis) - second.mean(axis=axis),
        vectorized=True,
        n_resamples=1999,
        rng=np.random.default_rng(0),
    )
    return float(tested.pvalue)
