"""One run: what lm-eval recorded of a model on a task of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results import run_names
from rm_value_tasks.results.files import Samples, metrics_of, read_samples
from rm_value_tasks.results.instruments import WORDS

__all__ = ["Run", "lexicon_digest", "read_run", "samples_path"]


@dataclass(frozen=True)
class Run:
    """One model on one task: what lm-eval recorded of it.

    Attributes:
        model: display name, unique for each task among the runs loaded together.
        task: the task's name.
        instrument: what the task measures with (``rm_value_tasks.results.instruments``).
        date: when the run started, ISO 8601, UTC.
        path: the results file.
        samples: the samples file; None if there is none.
        model_type: lm_eval's ``--model``.
        model_args: lm_eval's ``--model_args``.
        score_kind: ``reward`` or ``log-probability``.
        lexicon: the lexicon's name, or the name of its file.
        lexicon_digest: SHA-256 of the words and categories (``lexicon_digest``); empty without
            samples.
        words: how many words; 0 without samples.
        prompts: prompt ids; empty without samples.
        forms: surface forms; empty without samples.
        documents: the task's number of documents.
        metrics: metric -> value, as lm-eval computed it.
        stderrs: metric -> lm-eval's standard error, NaN where it gives none.
        versions: of ``lm_eval``, ``transformers`` and the ``task``.
        hashes: of the task's samples, chat template, system instruction and scores file,
            where recorded.
        config: lm-eval's ``results["config"]``, readout and the like included.
        setup: what may differ between two runs of a model on a task, for telling them apart.
        scores: every word's score on every prompt; None without samples.
    """

    model: str
    task: str
    instrument: str
    date: str
    path: Path
    samples: Path | None
    model_type: str
    model_args: Mapping[str, Any]
    score_kind: str
    lexicon: str
    lexicon_digest: str
    words: int
    prompts: tuple[str, ...]
    forms: tuple[str, ...]
    documents: int
    metrics: Mapping[str, float]
    stderrs: Mapping[str, float]
    versions: Mapping[str, str]
    hashes: Mapping[str, str]
    config: Mapping[str, Any] = field(repr=False)
    setup: Mapping[str, str] = field(repr=False)
    scores: Samples | None = field(repr=False, default=None)

    @property
    def valences(self) -> dict[str, str]:
        """Prompt id -> ``positive`` or ``negative``; empty without samples."""
        return {prompt: by_id(prompt).valence for prompt in self.prompts}


def samples_path(path: Path, task: str) -> Path:
    """Return where the samples of a task lie beside a results file."""
    date = path.stem.rpartition("_")[2]
    return path.with_name(f"samples_{task}_{date}.jsonl")


def read_run(
    path: Path,
    content: Mapping[str, Any],
    task: str,
    instrument: str,
    file: Path,
    need_samples: bool,
) -> Run:
    """Read one task of a results file, with its samples where it is a word probe.

    Args:
        path: the results file.
        content: what it holds.
        task: the task's name.
        instrument: what the task measures with.
        file: the samples file; need not exist.
        need_samples: whether a word probe without samples is refused.

    Raises:
        DataError: if the run was partial or failed, or samples are missing or damaged.
    """
    config = content["config"]
    metrics, stderrs = metrics_of(content["results"][task])
    documents = _documents(content, task)
    kind = "reward" if config.get("score_kind") == "reward" else "log-probability"
    _refuse_beyond_scale(metrics if instrument == WORDS else {})
    samples = None
    if instrument != WORDS:
        pass  # its samples are no words' scores; its metrics say all
    elif file.exists():
        samples = read_samples(file, documents=documents, reward=kind == "reward", metrics=metrics)
    elif need_samples:
        raise DataError(
            f"there is no {file.name} beside it, so words' scores are missing; run lm_eval again "
            "with --log_samples"
        )
    run = Run(
        **_of_samples(samples),
        model=run_names.base_name(content),
        task=task,
        instrument=instrument,
        date=datetime.fromtimestamp(content["date"], timezone.utc).isoformat(),
        path=path,
        samples=file if file.exists() else None,
        model_type=str(config.get("model", "")),
        model_args=run_names.model_arguments(content),
        score_kind=kind,
        lexicon=_lexicon(content["configs"][task]) if instrument == WORDS else "",
        documents=documents,
        metrics=metrics,
        stderrs=stderrs,
        versions=_versions(content, task),
        hashes=_hashes(content, task),
        config=config,
        setup={},
    )
    return replace(run, setup=_setup(run, content))


def _of_samples(samples: Samples | None) -> dict[str, Any]:
    if samples is None:
        return {"lexicon_digest": "", "words": 0, "prompts": (), "forms": (), "scores": None}
    return {
        "lexicon_digest": lexicon_digest(samples.words, samples.categories),
        "words": len(samples.words),
        "prompts": samples.prompts,
        "forms": samples.forms,
        "scores": samples,
    }


def _refuse_beyond_scale(metrics: Mapping[str, float]) -> None:
    for name, value in metrics.items():
        lean = "_rank_" not in name and name.endswith(("_contrast", "_positive", "_negative"))
        if lean and not 0 <= value <= 1:
            raise DataError(f"its {name} is {value:g}, beyond a lean's scale from 0 to 1")


def _documents(content: Mapping[str, Any], task: str) -> int:
    """Return the task's number of documents, refusing a run of a part of them."""
    documents: int = content.get("n-samples", {}).get(task, {}).get("original", 0)
    limit = content["config"].get("limit")
    if limit and (limit < 1 or limit < documents):
        raise DataError(f"a partial run (--limit {limit}); run it again without --limit")
    return documents


def _lexicon(config: Mapping[str, Any]) -> str:
    options = config["dataset_kwargs"]
    asked = (config.get("metadata") or {}).get(options.get("lexicon_option") or "")
    name = str(asked or options.get("default_lexicon", ""))
    # Of a file its name only: exports and reports are public, folders are not.
    return Path(name).name if Path(name).suffix else name


def lexicon_digest(words: Iterable[str], categories: Iterable[Iterable[str]]) -> str:
    """SHA-256 of words with their categories, whatever file or name they came from."""
    pairs = zip(words, categories, strict=True)
    lines = sorted(f"{word}\t{'|'.join(sorted(names))}" for word, names in pairs)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _versions(content: Mapping[str, Any], task: str) -> dict[str, str]:
    found = {
        "lm_eval": content.get("lm_eval_version"),
        "transformers": content.get("transformers_version"),
        "task": content.get("versions", {}).get(task),
    }
    return {name: str(version) for name, version in found.items() if version is not None}


def _hashes(content: Mapping[str, Any], task: str) -> dict[str, str]:
    config = content["config"]
    found = {
        "samples": content.get("task_hashes", {}).get(task),
        "chat_template": content.get("chat_template_sha") or config.get("chat_template_sha256"),
        "system_instruction": content.get("system_instruction_sha"),
        "scores_file": config.get("scores_sha256"),
        "model": config.get("model_sha"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _setup(run: Run, content: Mapping[str, Any]) -> dict[str, str]:
    config = content["configs"][run.task]
    metadata = config.get("metadata") or {}
    options = {name: metadata.get(name) for name in ("prompts", "answer_slot", "single_token_in")}
    found = {
        "lexicon": run.lexicon,
        "words": run.lexicon_digest[:8],
        "source": metadata.get("source"),
        **options,
        "forms": "+".join(run.forms),
        "target_delimiter": config.get("target_delimiter"),
        "num_fewshot": config.get("num_fewshot"),
        "chat_template": run.hashes.get("chat_template", "")[:8],
        "system_instruction": run.hashes.get("system_instruction", "")[:8],
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}
