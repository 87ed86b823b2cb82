"""Preference pairs: loaded once, held-out ones set aside, nested subsets taken."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from rm_value_tasks import __version__
from rm_value_tasks.errors import DataError
from rm_value_tasks.training.converters import SPLITS, convert
from rm_value_tasks.training.plan import Cell, Data

__all__ = ["Pairs", "apart", "load", "subset"]

_log = logging.getLogger(__name__)

_HELD_OUT, _MAIN, _COUNTER = 0, 1, 2
"""Streams of random numbers, so that one choice does not move another."""
_BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}


@dataclass(frozen=True)
class Pairs:
    """A dataset's pairs: columns ``chosen``, ``rejected`` and, if wanted, ``margin``.

    Attributes:
        train: to train on.
        held_out: to measure the accuracy on; None for none.
        asked: a digest of each training pair's prompt.
        asked_held_out: those of the held-out pairs; none with ``held_out_by: pair``.
    """

    train: datasets.Dataset
    held_out: datasets.Dataset | None
    asked: tuple[str, ...]
    asked_held_out: frozenset[str]


def load(data: Data) -> Pairs:
    """Load a dataset in TRL's form.

    The held-out pairs are another split's, or so many of this one's, the same for every cell.
    Pairs with a prompt of theirs (datasets have several pairs to one prompt, and splits that
    overlap) are not trained on, unless ``held_out_by`` is ``pair``. Of texts without a ``prompt``
    the prompt is not known; there only the same pair is found.

    Raises:
        DataError: if it cannot be loaded, is in another format, or nothing remains.
    """
    split, subset_name = SPLITS[data.format]
    split = data.split or split
    if _is_local(data.dataset):
        split, subset_name = data.split or "train", None
    subset_name = data.subset or subset_name
    train = _convert(_rows(data, split, subset_name), data)
    held_out = None
    if isinstance(data.held_out, str):
        held_out = _convert(_rows(data, data.held_out, subset_name), data)
    elif data.held_out is not None:
        if data.held_out >= len(train):
            raise DataError(
                f"the data {data.name!r} have {len(train)} pairs, of which {data.held_out} cannot "
                "be held out; lower held_out."
            )
        order = np.random.default_rng(_HELD_OUT).permutation(len(train))
        held_out = train.select(order[: data.held_out])
        train = train.select(np.sort(order[data.held_out :]))
    asked = tuple(train["asked"][:])
    kept_out: frozenset[str] = frozenset()
    if held_out is not None and data.held_out_by == "prompt":
        kept_out = frozenset(held_out["asked"][:])
    train = _without(train, asked, kept_out, data.name)
    return Pairs(
        train.remove_columns("asked"),
        None if held_out is None else held_out.remove_columns("asked"),
        tuple(train["asked"][:]),
        kept_out,
    )


def apart(counter: Pairs, main: Pairs, name: str) -> datasets.Dataset:
    """Return the training pairs of ``counter`` whose prompts ``main`` does not hold out.

    Args:
        counter: the counter-leaning pairs.
        main: the data that they are mixed into.
        name: of ``counter``, for messages.

    Raises:
        DataError: if nothing remains.
    """
    return _without(counter.train, counter.asked, main.asked_held_out, name)


def _without(
    pairs: datasets.Dataset, asked: tuple[str, ...], kept_out: frozenset[str], name: str
) -> datasets.Dataset:
    kept = [index for index, prompt in enumerate(asked) if prompt not in kept_out]
    if len(kept) == len(asked):
        return pairs
    if not kept:
        raise DataError(f"every pair of the data {name!r} has a prompt that is held out.")
    _log.warning(
        "%d pairs of the data %r have a prompt that is held out and are not trained on.",
        len(asked) - len(kept),
        name,
    )
    return pairs.select(kept)


def subset(cell: Cell, train: datasets.Dataset, counter: datasets.Dataset | None) -> Any:
    """Take a cell's pairs.

    Of the seed's order of the data the first pairs are taken, so that of one seed's subsets a
    larger one contains the smaller, whatever the base. A share of the quantity is replaced by
    counter-leaning pairs, which are nested likewise.

    Args:
        cell: says quantity, share and seed.
        train: the data's pairs.
        counter: the counter-leaning pairs; None without.

    Returns:
        A dataset of ``cell.quantity`` pairs.

    Raises:
        DataError: if there are not enough pairs, or the two datasets are not of one form.
    """
    leaning = round(cell.counter_share * cell.quantity)
    parts = [_first(train, cell.quantity - leaning, (cell.seed, _MAIN), cell.data.name)]
    if leaning and counter is not None and cell.counter is not None:
        if counter.features != train.features:
            raise DataError(
                f"the data {cell.data.name!r} and {cell.counter.name!r} are not of one form (one "
                "has messages and the other texts, or only one has margin: true)."
            )
        parts.append(_first(counter, leaning, (cell.seed, _COUNTER), cell.counter.name))
    return datasets.concatenate_datasets([part for part in parts if len(part)])


def _first(pairs: datasets.Dataset, count: int, seed: tuple[int, int], name: str) -> Any:
    if count > len(pairs):
        raise DataError(
            f"the data {name!r} have {len(pairs)} pairs, {count} are asked for; lower quantities."
        )
    return pairs.select(np.random.default_rng(seed).permutation(len(pairs))[:count])


def _is_local(name: str) -> bool:
    return Path(name).exists()


def _rows(data: Data, split: str, subset_name: str | None) -> datasets.Dataset:
    path = Path(data.dataset)
    try:
        if path.is_dir() and any((path / f).exists() for f in ("state.json", "dataset_dict.json")):
            found = datasets.load_from_disk(str(path))
            return found[split] if isinstance(found, datasets.DatasetDict) else found
        if path.is_file():
            builder = _BUILDERS.get(path.suffix)
            if builder is None:
                raise DataError(
                    f"{data.dataset} is no preference file; give one of {', '.join(_BUILDERS)}."
                )
            return datasets.load_dataset(builder, data_files=str(path), split=split)
        return datasets.load_dataset(data.dataset, subset_name, split=split, revision=data.revision)
    except (OSError, ValueError, KeyError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"the data {data.name!r} ({data.dataset}, split {split}) cannot be loaded: "
            f"{type(error).__name__}: {reason}."
        ) from error


def _convert(rows: datasets.Dataset, data: Data) -> datasets.Dataset:
    if not isinstance(rows, datasets.Dataset):
        raise DataError(f"the data {data.name!r} have several splits; name one with split:.")
    try:
        pairs = datasets.Dataset.from_generator(
            _with_prompts,
            gen_kwargs={
                "rows": rows,
                "format_name": data.format,
                "where": data.dataset,
                "version": __version__,
            },
        )
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, DataError):
            raise error.__cause__ from None
        raise
    if not len(pairs):
        raise DataError(f"the data {data.name!r} ({data.dataset}) hold no pair without a tie.")
    return pairs if data.margin else pairs.remove_columns("margin")


def _with_prompts(
    rows: datasets.Dataset, format_name: str, where: str, version: str
) -> Iterator[dict[str, Any]]:
    """Convert, for ``datasets``' cache; ``version`` makes it new with each release."""
    for pair in convert(rows, format_name, where):
        digest = hashlib.sha256(json.dumps(_prompt(pair)).encode()).hexdigest()
        yield {**pair, "asked": digest[:16]}


def _prompt(pair: Mapping[str, Any]) -> Any:
    """Return what is asked: the prompt, the turns that both sides begin with, or else both."""
    chosen, rejected = pair["chosen"], pair["rejected"]
    if "asked" in pair or isinstance(chosen, str):
        return pair.get("asked", [chosen, rejected])
    turns = zip(chosen, rejected, strict=False)
    return [a for a, _ in takewhile(lambda sides: sides[0] == sides[1], turns)] or [
        chosen,
        rejected,
    ]
