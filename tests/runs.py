"""Real lm_eval output, made once a session: a recorded model, a shifted one, plain ``hf``."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_value_tasks.scores import Reward
from rm_value_tasks.tasks.value_probes import value_metrics
from tests import tiny

PROMPTS = ["best_ever_*", "good_time_one"]
"""Four pairs of twins."""

WORDS = "word,category\nability,Agency\npower,Agency\nlove,Communion\ncare,Communion\n"


def evaluate(folder: Path, model: str, arguments: dict[str, Any], tasks: list[str], **metadata):
    """Run lm_eval as its command does, writing results and samples below ``folder``."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    import rm_value_tasks.models
    import rm_value_tasks.organisms.demo
    from rm_value_tasks import task_config_dir

    tracker = EvaluationTracker(output_path=str(folder))
    limit, chat = metadata.pop("limit", None), metadata.pop("chat", False)
    results = lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=tasks,
        task_manager=TaskManager(
            include_path=[
                task_config_dir(),
                str(Path(rm_value_tasks.organisms.demo.__file__).parent),
            ],
            include_defaults=False,
            metadata=metadata,
        ),
        evaluation_tracker=tracker,
        limit=limit,
        apply_chat_template=chat,
        device="cpu",
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task, samples[task])
    return folder


def shifted_scores(path: Path, shift: float, seed: int = 0) -> Path:
    """The example's scores with a shift of agency words on positive prompts, and noise."""
    from rm_value_tasks import lexicons
    from rm_value_tasks.organisms.demo.example_scores import EXAMPLE_SCORES

    table = pd.read_csv(EXAMPLE_SCORES).set_index("response")
    lexicon = lexicons.load("big2")
    agency = {w for w, c in zip(lexicon.words, lexicon.categories, strict=True) if "Agency" in c}
    noise = np.random.default_rng(seed).normal(0, 0.05, table.shape)
    positive = [name.split("_")[0] in ("best", "greatest", "good") for name in table.columns]
    member = table.index.isin(agency)
    table += noise + shift * np.outer(member, positive)
    table.to_csv(path)
    return path


def all_of(base: Path) -> Path:
    """Make every run of the session once; returns the folder that holds them.

    ``first/`` the example's recorded rewards; ``second/`` the same shifted towards communion;
    ``plain/`` a tiny causal model by ``hf``, with two surface forms and a foreign task.
    """
    root = base / "lm_eval_runs"
    if (root / "done").exists():
        return root
    from rm_value_tasks.organisms.demo.example_scores import EXAMPLE_SCORES

    root.mkdir()
    task = ["value_bias_big2"]
    evaluate(
        root / "first", "recorded-rewards", {"path": str(EXAMPLE_SCORES)}, task, prompts=PROMPTS
    )
    scores = shifted_scores(root / "shifted.csv", -0.4)
    evaluate(root / "second", "recorded-rewards", {"path": str(scores)}, task, prompts=PROMPTS)
    words = root / "words.csv"
    words.write_text(WORDS)
    causal = _causal(root / "tiny-causal")
    evaluate(
        root / "plain",
        "hf",
        {"pretrained": str(causal)},
        [*task, "demo_capitals"],
        prompts="best_ever_one",
        lexicon=str(words),
        surface_forms=["lower", "space_title"],
    )
    (root / "done").touch()
    return root


def _causal(folder: Path) -> Path:
    from transformers import AutoModelForCausalLM

    return tiny.save(folder, "llama", tiny.build("llama", AutoModelForCausalLM))


def copy(source: Path, target: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(source, target))


def results_of(folder: Path) -> Path:
    (path,) = folder.glob("**/results_*.json")
    return path


def samples_of(folder: Path, task: str = "value_bias_big2") -> Path:
    (path,) = folder.glob(f"**/samples_{task}_*.jsonl")
    return path


def remake(folder: Path, change, task: str = "value_bias_big2") -> None:
    """Change a run's documents or scores, and all that lm-eval would have made of them."""
    samples = [json.loads(line) for line in samples_of(folder, task).read_text().splitlines()]
    content = json.loads(results_of(folder).read_text())
    reward = content["config"].get("score_kind") == "reward"
    found: dict[str, list[float]] = {}
    for sample in samples:
        change(sample)
        doc = sample["doc"]
        flat = [(Reward if reward else float)(pair[0]) for pair in sample["filtered_resps"]]
        metrics = value_metrics(doc, [(score, False) for score in flat])
        sample.update(metrics)
        text = json.dumps(doc, indent=2, ensure_ascii=False)
        sample["doc_hash"] = hashlib.sha256(text.encode()).hexdigest()
        for name, value in metrics.items():
            found.setdefault(name, []).append(value)
    means = {f"{name},none": float(np.mean(values)) for name, values in found.items()}
    content["results"][task].update(means)
    results_of(folder).write_text(json.dumps(content))
    lines = (json.dumps(sample) + "\n" for sample in samples)
    samples_of(folder, task).write_text("".join(lines))


def with_words(results, part, **changes):
    """Results of one run cut to a part (a slice) of its words, as a lexicon with words dropped."""
    (run,) = results.runs
    cut = replace(
        run.scores,
        words=run.scores.words[part],
        categories=run.scores.categories[part],
        scores=run.scores.scores[:, part],
    )
    table = results.table[results.table["word"].isin(cut.words)]
    run = replace(run, scores=cut, lexicon_digest="1" * 64, **changes)
    return replace(results, table=table, runs=(run,))
