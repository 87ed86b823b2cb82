"""lm-eval's output files as they lie on disk: which are there, and what each one holds.

lm-eval writes, for each run, ``results_DATE.json`` and, with ``--log_samples``, one
``samples_TASK_DATE.jsonl`` for each task (``lm_eval/loggers/evaluation_tracker.py``). In the
samples documents are JSON, while scores are strings.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results.word_metrics import combined, word_metrics
from rm_value_tasks.scores import Reward

__all__ = ["Samples", "Skipped", "find", "metrics_of", "read_results", "read_samples"]

Skipped = tuple[Path, str]
"""A file and why it was not used."""

_DATE = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?)\.jsonl?$")
_KEYS = ("results", "configs", "config", "date")
_LATEST = 2.5e11
"""Seconds since 1970 of a date with a four-digit year, about."""
_COLUMNS = ("prompts", "words", "categories", "forms")


@dataclass(frozen=True)
class Samples:
    """Every word's score on every prompt of one task.

    Attributes:
        prompts: shape (p,), prompt ids, each once.
        words: shape (w,).
        categories: shape (w,), each word's categories.
        forms: names of the surface forms, already combined in ``scores``.
        scores: shape (p, w); no NaN, infinities as the model gave them.
    """

    prompts: tuple[str, ...]
    words: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    forms: tuple[str, ...]
    scores: NDArray[np.float64]


def find(paths: Iterable[str | Path]) -> tuple[list[Path], list[Skipped]]:
    """Find the results files below folders, or beside samples files.

    Args:
        paths: folders (searched to any depth), results files or samples files.

    Returns:
        Results files, each once, in the order found; and the files that are none.

    Raises:
        DataError: if a path does not exist.
    """
    found: dict[Path, None] = {}
    skipped: list[Skipped] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = _below(path)
        else:
            # Given --output_path NAME.json, lm_eval writes NAME_DATE.json.
            dated = sorted(path.parent.glob(f"{glob.escape(path.stem)}_[0-9]*{path.suffix}"))
            files = [path] if os.path.lexists(path) else dated
        if not files and not path.is_dir():
            raise DataError(
                f"there is no file or folder {path}; give what lm_eval wrote to --output_path."
            )
        for file in files:
            # A pipe or a device would be read for ever.
            regular = file.is_file()
            named = not path.is_dir()
            reason = _sort(file, found, named=named) if regular else "it is no regular file"
            if reason:
                skipped.append((file, reason))
    return list(found), skipped


def _below(folder: Path) -> list[Path]:
    """List a folder's JSON files; of a training run (``cell.json``) those of its probes only."""
    cells = {path.parent for path in folder.rglob("cell.json")}

    def is_output(file: Path) -> bool:
        around = next((cell for cell in file.parents if cell in cells), None)
        return around is None or file.relative_to(around).parts[0] == "probes"

    return [file for file in sorted(folder.rglob("*.json*")) if is_output(file)]


def _sort(file: Path, found: dict[Path, None], *, named: bool) -> str:
    """Enter a results file into ``found``, or return why the file is not used."""
    date = _DATE.search(file.name)
    whole = Path(os.path.realpath(file))
    if file.suffix == ".jsonl":
        if not date or not file.name.startswith("samples_"):
            return "it is not one of lm-eval's samples files (samples_TASK_DATE.jsonl)"
        partners = list(file.parent.glob(f"*_{date[1]}.json"))
        if not partners:
            return "there is no results file of the same date beside it: a stopped or moved run"
        if named:
            found[Path(os.path.realpath(partners[0]))] = None
    elif date or named:
        found[whole] = None
    else:
        return "it is not one of lm-eval's results files (results_DATE.json)"
    return ""


def read_results(path: Path) -> dict[str, Any]:
    """Read a results file.

    Raises:
        DataError: if it is cut off, no JSON, or not lm-eval's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"it cannot be read as JSON ({error})") from error
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"it is not lm-eval's results file (it has no {missing[0]!r})")
    if not _well_formed(content):
        raise DataError("it is not lm-eval's results file (its parts have other types)")
    return content


def _well_formed(content: Mapping[str, Any]) -> bool:
    tables = [content[key] for key in _KEYS[:3]]
    tables += [content.get(key, {}) for key in ("versions", "n-samples", "task_hashes")]
    if not all(isinstance(table, dict) for table in tables):
        return False
    rows = [*content["results"].values(), *content["configs"].values()]
    rows += content.get("n-samples", {}).values()
    rows += [row.get("metadata") or {} for row in rows if isinstance(row, dict)]
    date, limit = content["date"], content["config"].get("limit") or 0
    return (
        all(isinstance(row, dict) for row in rows)
        and isinstance(limit, int | float)
        and isinstance(date, int | float)
        and abs(date) < _LATEST
    )


def metrics_of(result: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    """Split a task's results into values and standard errors.

    Returns:
        Metric -> value, and metric -> standard error, NaN where lm-eval gives none.

    Raises:
        DataError: if there is no metric, or one is not a number.
    """
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    for key, value in result.items():
        metric, _, kind = key.partition(",")
        if kind != "none":
            continue
        stem = metric.removesuffix("_stderr")
        number = float(value) if isinstance(value, int | float) else float("nan")
        (values if stem == metric else errors)[stem] = number
    wrong = [metric for metric, value in values.items() if not np.isfinite(value)]
    if wrong or not values:
        what = f"its {wrong[0]} is not a number" if wrong else "it holds no metric"
        raise DataError(f"{what}: the run failed or was made with --predict_only")
    return values, {metric: errors.get(metric, float("nan")) for metric in values}


def read_samples(
    path: Path, *, documents: int, reward: bool, metrics: Mapping[str, float]
) -> Samples:
    """Read a samples file of a value probe, whole or not at all.

    Args:
        path: ``samples_TASK_DATE.jsonl``.
        documents: how many documents the task has.
        reward: whether scores are rewards (surface forms combine by mean) or
            log-probabilities (log-sum-exp), see ``rm_value_tasks.scores``.
        metrics: what the results file says; the samples must agree.

    Raises:
        DataError: if a line is cut off or of another task, a score is missing or not a
            number, documents are missing or doubled, or the metrics disagree.
    """
    lines = list(_parsed(path))
    if len(lines) != documents or not lines:
        raise DataError(
            f"it holds {len(lines)} of the task's {documents} documents: a run that was cut off, "
            "limited (--limit, --samples) or written to twice"
        )
    first = lines[0]["doc"]
    words = _tuple(first["words"])
    categories = tuple(map(_tuple, first["categories"]))
    if len(categories) != len(words):
        raise DataError(f"it has {len(words)} words and categories of {len(categories)}")
    scores = []
    for number, sample in enumerate(lines, 1):
        doc = sample["doc"]
        if doc["words"] != first["words"] or doc["categories"] != first["categories"]:
            raise DataError(f"line {number} has other words than line 1")
        scores.append(_scores(sample, number, len(words), reward))
        _check_line(sample, number, word_metrics(doc["prompts"], words, categories, scores[-1]))
    _check_metrics(lines, metrics)
    prompts = _tuple(prompt for sample in lines for prompt in sample["doc"]["prompts"])
    if len(set(prompts)) < len(prompts):
        raise DataError("it holds a prompt twice")
    return Samples(
        prompts=prompts,
        words=words,
        categories=categories,
        forms=_tuple(first["forms"]),
        scores=np.concatenate(scores),
    )


def _tuple(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(map(str, items))


def _parsed(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                sample = json.loads(line)
                doc = sample["doc"]
                known = all(isinstance(doc[key], list) for key in _COLUMNS)
                for prompt in doc["prompts"]:
                    by_id(prompt)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"line {number} is cut off or not a value probe's sample ({error})"
                ) from error
            if not known or not sample.get("filtered_resps"):
                raise DataError(f"line {number} is not a value probe's sample")
            yield sample


def _scores(sample: Mapping[str, Any], number: int, words: int, reward: bool) -> NDArray[Any]:
    doc = sample["doc"]
    shape = (len(doc["prompts"]), words, len(doc["forms"]))
    kind = Reward if reward else float
    try:
        flat = [kind(pair[0]) for pair in sample["filtered_resps"]]
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise DataError(f"line {number} has a score that is not a number ({error})") from error
    if len(flat) != np.prod(shape):
        raise DataError(f"line {number} has {len(flat)} scores for {np.prod(shape)} answers")
    if np.isnan(flat).any():
        raise DataError(f"line {number} has a score that is not a number (NaN)")
    return combined(flat, *shape)


def _check_line(sample: Mapping[str, Any], number: int, metrics: Mapping[str, float]) -> None:
    """Refuse a document whose words, scores and metrics are not of one run."""
    for metric, value in metrics.items():
        said = sample.get(metric)
        if not isinstance(said, int | float) or not np.isclose(said, value, rtol=0, atol=1e-6):
            raise DataError(
                f"line {number} says {said} for {metric}, which its own scores make {value:.6g}: "
                "scores or metrics were changed"
            )
    # As lm_eval's evaluator writes it.
    text = json.dumps(sample["doc"], indent=2, ensure_ascii=False)
    if sample.get("doc_hash", digest := hashlib.sha256(text.encode()).hexdigest()) != digest:
        raise DataError(f"line {number} has words or prompts that were changed (its doc_hash)")


def _check_metrics(lines: Sequence[Mapping[str, Any]], metrics: Mapping[str, float]) -> None:
    """Refuse samples that are not the ones the results were computed from."""
    for metric, value in metrics.items():
        own = [line[metric] for line in lines if metric in line]
        if not all(isinstance(number, int | float) for number in own):
            raise DataError(f"its {metric} is not a number in some line")
        if not own or not np.isclose(np.mean(own), value, rtol=1e-9, atol=1e-9):
            raise DataError(
                f"its {metric} averages {np.mean(own) if own else 'nothing'}, the results file "
                f"says {value}: they are of different runs"
            )
