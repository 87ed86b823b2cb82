"""The YAML of ``rm-value-tasks train``: which reward models to train and how to watch them."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from rm_value_tasks.errors import DataError, meant
from rm_value_tasks.training.plan import (
    GRM,
    Base,
    Cell,
    Count,
    Data,
    Distinct,
    Grid,
    LoRA,
    ProbePlan,
    Share,
    Text,
    Whole,
)  # fmt: skip

__all__ = ["DEFAULTS", "load"]

_OURS = {
    "output_dir": "each cell has its folder in output",
    "seed": "give seeds beside training",
    "data_seed": "give seeds beside training",
    "resume_from_checkpoint": "the same command again resumes",
    "model_init_kwargs": "give dtype, revision and trust_remote_code in bases",
    "save_only_model": "a killed cell could not be resumed as it was",
}
"""Training arguments that cannot be given, and why."""

DEFAULTS: Mapping[str, Any] = {
    "learning_rate": 1e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "batch_size": 16,
    "max_length": 1024,
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 0.1,
    "save_total_limit": 1,
}
"""Of ``training``: the paper's (Christian et al. 2026, third part), and how often to save."""


class _Counter(BaseModel, extra="forbid"):
    data: Data
    shares: Annotated[list[Share], Distinct, Field(min_length=1)]


class _Config(BaseModel, extra="forbid"):
    output: Text
    bases: list[Base] = Field(min_length=1)
    data: list[Data] = Field(min_length=1)
    quantities: Annotated[list[Count], Distinct, Field(min_length=1)]
    counter: _Counter | None = None
    seeds: Annotated[list[Whole], Distinct, Field(min_length=1)] = [0]
    objective: Literal["bradley-terry", "grm"] = "bradley-terry"
    method: Literal["full", "lora"] = "full"
    training: dict[str, Any] = {}
    probe: ProbePlan = ProbePlan()
    lora: LoRA | None = None
    grm: GRM | None = None


def load(path: str | Path) -> Grid:
    """Read and check a config.

    Args:
        path: the YAML file.

    Raises:
        DataError: if it cannot be read, or a key is unknown, missing or has a wrong value;
            the message names the key.
    """
    try:
        value = _named(_given(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    try:
        config = _Config.model_validate(value)
    except ValidationError as error:
        raise DataError(_sentence(error.errors())) from error
    _check(config)
    axes = product(config.bases, config.data, config.quantities, _shares(config), config.seeds)
    training, probe = _training(config.training), _probe(config.probe)
    cells = tuple(
        Cell(
            base=base,
            data=data,
            quantity=quantity,
            counter=config.counter.data if config.counter and share else None,
            counter_share=share,
            seed=seed,
            objective=config.objective,
            method=config.method,
            lora=(config.lora or LoRA()) if config.method == "lora" else None,
            grm=(config.grm or GRM()) if config.objective == "grm" else None,
            training=training,
            probe=probe,
        )
        for base, data, quantity, share, seed in axes
    )
    if double := _twice([cell.name for cell in cells]):
        raise DataError(
            f"two cells would both go to the folder {double!r}; give bases, data or shares that "
            "make other names."
        )
    return Grid(Path(config.output), cells)


def _given(value: Any) -> Any:
    """Leave out what is null, as if the key were not there, but in what is passed on."""
    if isinstance(value, Mapping):
        return {
            key: item if key in ("training", "metadata") else _given(item)
            for key, item in value.items()
            if item is not None
        }
    return [_given(item) for item in value] if isinstance(value, list) else value


def _named(value: Any) -> Any:
    """Name bases and data that have no name after their folder, hub id or file."""
    if not isinstance(value, dict):
        return value
    value = dict(value)
    if isinstance(bases := value.get("bases"), list):
        value["bases"] = [{"pretrained": base} if isinstance(base, str) else base for base in bases]
    if isinstance(counter := value.get("counter"), dict):
        value["counter"] = counter | {"data": counter.get("data", {})}
    for item in _sources(value):
        pretrained, dataset = item.get("pretrained"), item.get("dataset")
        if isinstance(pretrained, str):
            item.setdefault("name", PurePath(pretrained).name)
        elif isinstance(dataset, str):
            item.setdefault("name", PurePath(dataset).stem)
    return value


def _sources(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = [*_list(value.get("bases")), *_list(value.get("data"))]
    if isinstance(counter := value.get("counter"), dict):
        items.append(counter["data"])
    yield from (item for item in items if isinstance(item, dict))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_SECTIONS = {
    "bases": Base, "data": Data, "counter": _Counter, "probe": ProbePlan, "lora": LoRA, "grm": GRM,
}  # fmt: skip
_NEEDED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
}


def _sentence(errors: Sequence[ErrorDetails]) -> str:
    """Say what is wrong first, an unknown key before what is missing for it."""

    def rank(error: ErrorDetails) -> tuple[bool, bool]:
        return not error["type"].startswith(_UNKNOWN), error["loc"][-1:] == ("name",)

    error = min(errors, key=rank)
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    where = _path(error["loc"])
    if kind.startswith(_UNKNOWN):
        inside = _path(error["loc"][:-1])
        known = _keys(error["loc"][:-1])
        return f"{inside} has an unknown key {error['loc'][-1]!r}; {meant(error['loc'][-1], known)}"
    if kind in ("too_short", "list_type") or (kind == "missing" and where in ("bases", "data")):
        return f"{where} is missing, empty or no list; give at least one."
    if kind in ("missing", "string_too_short"):
        return f"{where} is missing; give it."
    if kind == "string_pattern_mismatch":
        return (
            f"{where} is {value!r}, which cannot be part of a folder's name; use letters, digits, "
            "'.', '_', '+' and '-'."
        )
    if kind in _NEEDED:
        return f"{where} is {value!r} where {_NEEDED[kind]} is needed."
    if kind == "literal_error":
        choices = re.findall("'(.*?)'", limits["expected"])
        return f"{where} is {value!r}; {meant(value, choices)}"
    if kind == "value_error":
        return f"{where} is {value!r}: {limits['error']}"
    return f"{where} is {value!r}; {error['msg'][0].lower()}{error['msg'][1:]}."


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def _path(loc: Sequence[str | int]) -> str:
    """Write pydantic's location as the YAML's reader would: ``bases[0].name``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".") or "the config"


def _keys(loc: Sequence[str | int]) -> list[str]:
    names = [part for part in loc if isinstance(part, str)]
    if not names:
        return list(inspect.signature(_Config).parameters)
    section = Data if names == ["counter", "data"] else _SECTIONS[names[0]]
    return list(inspect.signature(section).parameters)


def _twice(names: Sequence[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def _check(config: _Config) -> None:
    for key, given, axis, wanted in (
        ("lora", config.lora, config.method, "lora"),
        ("grm", config.grm, config.objective, "grm"),
    ):
        if given and axis != wanted:
            raise DataError(f"{key} is given but not used; leave it out or ask for {wanted}.")
    for key, items in (("bases", config.bases), ("data", config.data)):
        if double := _twice([item.name for item in items]):
            raise DataError(f"{key} has two of the name {double!r}; give each its own name.")
    half = [base for base in config.bases if base.dtype != "float32"]
    if config.method == "full" and half:
        raise DataError(
            f"the base {half[0].name!r} has dtype {half[0].dtype}, in which full training loses "
            "steps smaller than the weights' precision; leave dtype out (passes run in bfloat16 "
            "where the device can) or use method: lora."
        )


def _shares(config: _Config) -> list[float]:
    return config.counter.shares if config.counter else [0.0]


def _training(value: Mapping[str, Any]) -> dict[str, Any]:
    from trl import RewardConfig

    known = ["batch_size", *(item.name for item in dataclasses.fields(RewardConfig) if item.init)]
    for key, item in value.items():
        if key not in known:
            raise DataError(f"training has an unknown key {key!r}; {meant(key, known)}")
        if key in _OURS:
            raise DataError(f"training.{key} cannot be given: {_OURS[key]}.")
        whole = isinstance(item, int) and not isinstance(item, bool)
        if key == "batch_size" and (not whole or item < 1):
            raise DataError(f"training.batch_size is {item!r}; give 1 or more pairs.")
    # YAML takes 1e-5, without a dot, for a text.
    number = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
    given = {
        key: float(item) if isinstance(item, str) and number.fullmatch(item) else item
        for key, item in value.items()
    }
    return {**DEFAULTS, **given}


def _probe(plan: ProbePlan) -> ProbePlan:
    if plan.every and plan.checkpoints:
        raise DataError("probe has both every and checkpoints; give one of them.")
    return plan if plan.every or plan.checkpoints else dataclasses.replace(plan, checkpoints=10)
