"""Where the time goes in a large probe when scoring itself is free.

Runs ``value_bias_paper_mfd2_complete`` (54 prompts x 2,040 words = 110,160 requests) on
recorded scores, in one process, with samples written, and tells lm-eval's time from ours.
Needs the published lexicon (``rm-value-tasks download`` or RM_VALUE_TASKS_DATA).

Run: python benchmarks/overhead.py
"""

import logging
import tempfile
import time
from collections import defaultdict
from functools import wraps
from pathlib import Path

import lm_eval
import lm_eval.evaluator
import numpy as np
import pandas as pd
import torch  # noqa: F401  (lm-eval imports it in any case; not counted)
import transformers.utils  # noqa: F401
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from rm_value_tasks import lexicons, task_config_dir, tasks
from rm_value_tasks.models.recorded_rewards import RecordedRewards
from rm_value_tasks.prompts import PROMPTS

TASK = "value_bias_paper_mfd2_complete"
spent: dict[str, float] = defaultdict(float)


def timed(name, function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start

    return wrapper


def instrument():
    """Put clocks around lm-eval's phases and around our parts of them."""
    probe = tasks.ValueProbe
    probe.construct_requests = timed("ours: requests of a document", probe.construct_requests)
    probe.process_results = timed("ours: metrics of a document", probe.process_results)
    probe.build_all_requests = timed("lm-eval: build requests (all)", probe.build_all_requests)
    probe.apply_filters = timed("lm-eval: filters", probe.apply_filters)
    RecordedRewards.__init__ = timed("ours: read the scores' file", RecordedRewards.__init__)
    RecordedRewards.loglikelihood = timed("ours: look up", RecordedRewards.loglikelihood)
    lm_eval.evaluator.evaluate = timed("lm-eval: evaluate (all)", lm_eval.evaluator.evaluate)


def main():
    logging.disable(logging.WARNING)
    lexicon = lexicons.load("mfd2_complete")
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.csv"
        columns = {prompt.id: generator.normal(size=len(lexicon.words)) for prompt in PROMPTS}
        pd.DataFrame({"response": lexicon.words, **columns}).to_csv(path, index=False)
        manager = TaskManager(include_path=task_config_dir(), include_defaults=False)
        instrument()
        run = lm_eval.simple_evaluate(
            model="recorded-rewards",
            model_args={"path": str(path)},
            tasks=[TASK],
            task_manager=manager,
        )
        tracker = EvaluationTracker(output_path=folder)
        samples = run.pop("samples")
        save = timed("lm-eval: write samples", tracker.save_results_samples)
        tracker.save_results_aggregated(results=run, samples=samples)
        save(task_name=TASK, samples=samples[TASK])
    requests = len(PROMPTS) * len(lexicon.words)
    print(f"{requests} requests\n\n| part | seconds |\n|---|---|")
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"| {name} | {seconds:.2f} |")
    ours = sum(seconds for name, seconds in spent.items() if name.startswith("ours"))
    total = spent["lm-eval: evaluate (all)"] + spent["lm-eval: write samples"]
    total += spent["ours: read the scores' file"]
    print(f"\nours: {ours:.2f} s of {total:.2f} s ({ours / total:.0%})")


if __name__ == "__main__":
    main()
