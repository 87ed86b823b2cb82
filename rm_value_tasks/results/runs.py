"""lm-eval output folders, of any models, tasks and dates, as one tidy table."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results import run_names
from rm_value_tasks.results.files import (
    Samples,
    Skipped,
    find,
    metrics_of,
    read_results,
    read_samples,
)
from rm_value_tasks.results.instruments import WORDS, instruments

__all__ = ["COLUMNS", "Results", "Run", "load"]

COLUMNS = ("model", "task", "prompt", "valence", "word", "category", "score")
"""Of the tidy table: one row for each model, task, prompt, word and category."""


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

    @property
    def valences(self) -> dict[str, str]:
        """Prompt id -> ``positive`` or ``negative``; empty without samples."""
        return {prompt: by_id(prompt).valence for prompt in self.prompts}


@dataclass(frozen=True)
class Results:
    """What was loaded.

    Attributes:
        table: columns ``COLUMNS``; one row for each model, task, prompt, word and category.
            A word of several categories has a row for each.
        runs: the value probes' runs, which the table holds, in the table's order.
        others: the runs of this package's other tasks (dilemmas, preferences).
        skipped: files that were not used, with the reason.
    """

    table: pd.DataFrame
    runs: tuple[Run, ...]
    others: tuple[Run, ...]
    skipped: tuple[Skipped, ...]


def load(
    paths: Iterable[str | Path] | str | Path, *, all_runs: bool = False, need_samples: bool = True
) -> Results:
    """Load what ``lm_eval --output_path ... --log_samples`` wrote.

    Of several runs of one model on one task in one setup (lexicon, prompts, surface forms,
    template, ...) the newest is taken. Different models or setups that would have one name get
    what differs added to it. Damaged, partial and foreign files are never half-read: they are
    left out and named in ``skipped``.

    Args:
        paths: output folders (searched to any depth), results files or samples files.
        all_runs: take every run; older and newer ones get their date added to the name.
        need_samples: without, runs that have no samples file are taken too (their metrics
            and standard errors; the table lacks them).

    Returns:
        The table, one entry for each run and the files skipped.

    Raises:
        DataError: if a path does not exist or nothing usable remains; the message names the
            first reason.
    """
    files, skipped = find([paths] if isinstance(paths, str | Path) else paths)
    loaded: list[tuple[Run, Samples | None]] = []
    for path in files:
        try:
            content = read_results(path)
        except DataError as error:
            skipped.append((path, str(error)))
            continue
        loaded += _read_runs(path, content, need_samples, skipped)
    if not any(run.instrument == WORDS for run, _ in loaded):
        skipped += [(run.path, f"not a value probe: {run.task}") for run, _ in loaded]
        _refuse(paths, skipped)
    newest = _name(_newest(loaded, all_runs))
    named = [entry for entry in newest if entry[0].instrument == WORDS]
    frames = [_frame(run, samples) for run, samples in named if samples]
    table = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS))
    others = tuple(run for run, _ in newest if run.instrument != WORDS)
    return Results(table, tuple(run for run, _ in named), others, tuple(skipped))


def _refuse(paths: Any, skipped: list[Skipped]) -> None:
    where = paths if isinstance(paths, str | Path) else ", ".join(map(str, paths))
    # A damaged results file says more than a stray JSON file beside it.
    reasons = sorted(skipped, key=lambda item: "it is not one of lm-eval's" in item[1])
    if not reasons:
        raise DataError(
            f"{where} holds no lm-eval results; give the folder of --output_path, after a run "
            "with --log_samples."
        )
    path, reason = reasons[0]
    more = f" ({len(reasons) - 1} more files are unusable)" if len(reasons) > 1 else ""
    raise DataError(f"nothing usable in {where}: {path}: {reason}{more}.")


def _read_runs(
    path: Path, content: Mapping[str, Any], need_samples: bool, skipped: list[Skipped]
) -> list[tuple[Run, Samples | None]]:
    runs: list[tuple[Run, Samples | None]] = []
    tasks = instruments(content)
    if foreign := sorted(set(content["configs"]) - set(tasks)):
        skipped.append((path, f"not tasks of this package: {', '.join(foreign)}"))
    for task, instrument in tasks.items():
        file = _samples_path(path, task)
        try:
            runs.append(_read_run(path, content, task, instrument, file, need_samples))
        except DataError as error:
            skipped.append((file if file.exists() else path, f"{task}: {error}"))
    return runs


def _samples_path(path: Path, task: str) -> Path:
    date = path.stem.rpartition("_")[2]
    return path.with_name(f"samples_{task}_{date}.jsonl")


def _read_run(
    path: Path,
    content: Mapping[str, Any],
    task: str,
    instrument: str,
    file: Path,
    need_samples: bool,
) -> tuple[Run, Samples | None]:
    config = content["config"]
    metrics, stderrs = metrics_of(content["results"][task])
    documents = content.get("n-samples", {}).get(task, {}).get("original", 0)
    limit = config.get("limit")
    if limit and (limit < 1 or limit < documents):
        raise DataError(f"a partial run (--limit {limit}); run it again without --limit")
    kind = "reward" if config.get("score_kind") == "reward" else "log-probability"
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
        lexicon_digest=lexicon_digest(samples.words, samples.categories) if samples else "",
        words=len(samples.words) if samples else 0,
        prompts=samples.prompts if samples else (),
        forms=samples.forms if samples else (),
        documents=documents,
        metrics=metrics,
        stderrs=stderrs,
        versions=_versions(content, task),
        hashes=_hashes(content, task),
        config=config,
        setup={},
    )
    return replace(run, setup=_setup(run, content)), samples


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


def _newest(
    loaded: list[tuple[Run, Samples | None]], all_runs: bool
) -> list[tuple[Run, Samples | None]]:
    groups: dict[tuple[Any, ...], list[tuple[Run, Samples | None]]] = defaultdict(list)
    for entry in loaded:
        run = entry[0]
        key = (run.task, *sorted(run.setup.items()), *sorted(run_names.identity(run).items()))
        # A copied folder is the same run, not a second one.
        groups[(*key, run.date) if all_runs else key].append(entry)
    newest = [max(entries, key=lambda entry: entry[0].date) for entries in groups.values()]
    return sorted(newest, key=lambda entry: (entry[0].model, entry[0].task, entry[0].date))


def _name(entries: list[tuple[Run, Samples | None]]) -> list[tuple[Run, Samples | None]]:
    names = run_names.tell_apart([run for run, _ in entries])
    return [
        (replace(run, model=name), samples)
        for (run, samples), name in zip(entries, names, strict=True)
    ]


def _frame(run: Run, samples: Samples) -> pd.DataFrame:
    """One run's rows: prompt-major, then word, then category."""
    repeats = np.array([len(names) for names in samples.categories])
    places = np.repeat(np.arange(len(samples.words)), repeats)
    words = np.array(samples.words, dtype=object)[places]
    categories = np.array([n for names in samples.categories for n in names], dtype=object)
    size = len(samples.prompts)
    valences = [by_id(prompt).valence for prompt in samples.prompts]
    return pd.DataFrame(
        {
            "model": run.model,
            "task": run.task,
            "prompt": np.repeat(np.array(samples.prompts, dtype=object), len(places)),
            "valence": np.repeat(np.array(valences, dtype=object), len(places)),
            "word": np.tile(words, size),
            "category": np.tile(categories, size),
            "score": samples.scores[:, places].ravel(),
        },
        columns=list(COLUMNS),
    )
