"""The YAML of ``rm-value-tasks train``: which reward models to train and how to watch them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path, PurePath
from typing import Any

import yaml

from rm_value_tasks.errors import DataError
from rm_value_tasks.training.converters import FORMATS
from rm_value_tasks.training.fields import Fields
from rm_value_tasks.training.plan import GRM, Base, Cell, Data, Grid, LoRA, ProbePlan

__all__ = ["DEFAULTS", "load"]

_KEYS = (
    *("output", "bases", "data", "quantities", "counter", "seeds", "objective", "method"),
    *("training", "probe", "lora", "grm"),
)
_OURS = {
    "output_dir": "each cell has its folder in output",
    "seed": "give seeds beside training",
    "data_seed": "give seeds beside training",
    "resume_from_checkpoint": "the same command again resumes",
    "model_init_kwargs": "give dtype, revision and trust_remote_code in bases",
    "save_only_model": "a killed cell could not be resumed as it was",
}
"""Training arguments that cannot be given, and why."""

DTYPES = ("float32", "bfloat16", "float16")

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


def load(path: str | Path) -> Grid:
    """Read and check a config.

    Args:
        path: the YAML file.

    Raises:
        DataError: if it cannot be read, or a key is unknown, missing or has a wrong value;
            the message names the key.
    """
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    fields = Fields(value, "the config", _KEYS)
    counter, shares = _counter(fields)
    objective = fields.choice("objective", ("bradley-terry", "grm"), "bradley-terry")
    method = fields.choice("method", ("full", "lora"), "full")
    for key, axis, wanted in (("lora", method, "lora"), ("grm", objective, "grm")):
        if key in fields and axis != wanted:
            raise DataError(f"{key} is given but not used; leave it out or ask for {wanted}.")
    bases = _bases(fields)
    if method == "full" and (half := [base for base in bases if base.dtype != "float32"]):
        raise DataError(
            f"the base {half[0].name!r} has dtype {half[0].dtype}, in which full training loses "
            "steps smaller than the weights' precision; leave dtype out (passes run in bfloat16 "
            "where the device can) or use method: lora."
        )
    quantities = fields.listed("quantities", int)
    if min(quantities) < 1:
        raise DataError(f"quantities has {min(quantities)}; give numbers of pairs from 1 up.")
    axes = product(bases, _datasets(fields), quantities, shares, fields.listed("seeds", int, [0]))
    training = _training(fields.raw("training", {}))
    probe = _probe(fields.raw("probe", {}))
    cells = tuple(
        Cell(
            base=base,
            data=data,
            quantity=quantity,
            counter=counter if share else None,
            counter_share=share,
            seed=seed,
            objective=objective,
            method=method,
            lora=_lora(fields.raw("lora", {})) if method == "lora" else None,
            grm=_grm(fields.raw("grm", {})) if objective == "grm" else None,
            training=training,
            probe=probe,
        )
        for base, data, quantity, share, seed in axes
    )
    names = [cell.name for cell in cells]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise DataError(
            f"two cells would both go to the folder {double!r}; give bases, data or shares that "
            "make other names."
        )
    return Grid(Path(fields.need("output", str)), cells)


def _bases(fields: Fields) -> list[Base]:
    found = []
    for where, item in _items(fields, "bases"):
        keys = [key.name for key in dataclasses.fields(Base)]
        base = Fields({"pretrained": item} if isinstance(item, str) else item, where, keys)
        pretrained = base.need("pretrained", str)
        found.append(
            Base(
                name=_slug(base.get("name", str) or PurePath(pretrained).name, f"{where}.name"),
                pretrained=pretrained,
                revision=base.get("revision", str),
                dtype=base.choice("dtype", DTYPES, "float32"),
                trust_remote_code=base.get("trust_remote_code", bool, False),
            )
        )
    return _distinct(found, "bases")


def _datasets(fields: Fields) -> list[Data]:
    return _distinct([_data(item, where) for where, item in _items(fields, "data")], "data")


def _data(item: Any, where: str) -> Data:
    data = Fields(item, where, [key.name for key in dataclasses.fields(Data)])
    dataset = data.need("dataset", str)
    held_out = data.raw("held_out")
    if held_out is not None and (
        isinstance(held_out, bool)
        or not isinstance(held_out, str | int)
        or (isinstance(held_out, int) and held_out < 1)
    ):
        raise DataError(
            f"{where}.held_out is {held_out!r} where a split's name or a number of pairs is needed."
        )
    return Data(
        name=_slug(data.get("name", str) or PurePath(dataset).stem, f"{where}.name"),
        dataset=dataset,
        format=data.choice("format", FORMATS, "trl"),
        subset=data.get("subset", str),
        revision=data.get("revision", str),
        split=data.get("split", str),
        held_out=held_out,
        held_out_by=data.choice("held_out_by", ("prompt", "pair"), "prompt"),
        margin=data.get("margin", bool, False),
    )


def _counter(fields: Fields) -> tuple[Data | None, list[float]]:
    if "counter" not in fields:
        return None, [0.0]
    counter = Fields(fields.raw("counter"), "counter", ["data", "shares"])
    shares = counter.listed("shares", float)
    if min(shares) < 0 or max(shares) > 1:
        raise DataError(f"counter.shares has {shares}; give shares from 0 to 1.")
    return _data(counter.raw("data", {}), "counter.data"), shares


def _items(fields: Fields, key: str) -> list[tuple[str, Any]]:
    items = fields.raw(key)
    if not isinstance(items, list) or not items:
        raise DataError(f"{key} is missing, empty or no list; give at least one.")
    return [(f"{key}[{index}]", item) for index, item in enumerate(items)]


def _distinct(items: list[Any], key: str) -> list[Any]:
    names = [item.name for item in items]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{key} has two of the name {name!r}; give each its own name.")
    return items


def _slug(name: str, where: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise DataError(
            f"{where} is {name!r}, which cannot be part of a folder's name; use letters, digits, "
            "'.', '_', '+' and '-'."
        )
    return name


def _training(value: Any) -> dict[str, Any]:
    from trl import RewardConfig

    known = [item.name for item in dataclasses.fields(RewardConfig) if item.init]
    fields = Fields(value, "training", ["batch_size", *known])
    for key in value:
        if key in _OURS:
            raise DataError(f"training.{key} cannot be given: {_OURS[key]}.")
    if fields.get("batch_size", int, 1) < 1:
        raise DataError(f"training.batch_size is {value['batch_size']}; give 1 or more pairs.")
    # YAML takes 1e-5, without a dot, for a text.
    number = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
    given = {
        key: float(item) if isinstance(item, str) and number.fullmatch(item) else item
        for key, item in value.items()
    }
    return {**DEFAULTS, **given}


def _lora(value: Any) -> LoRA:
    fields = Fields(value, "lora", [key.name for key in dataclasses.fields(LoRA)])
    usual = LoRA()
    return LoRA(
        r=fields.get("r", int, usual.r),
        alpha=fields.get("alpha", int, usual.alpha),
        dropout=fields.get("dropout", float, usual.dropout),
        target_modules=tuple(fields.listed("target_modules", str, list(usual.target_modules))),
    )


def _grm(value: Any) -> GRM:
    fields = Fields(value, "grm", [key.name for key in dataclasses.fields(GRM)])
    found = GRM(fields.get("weight", float, GRM.weight), fields.get("beta", float, GRM.beta))
    if not 0 <= found.weight <= 1 or found.beta <= 0:
        raise DataError(f"grm is {value!r}; give a weight from 0 to 1 and a beta above 0.")
    return found


def _probe(value: Any) -> ProbePlan:
    fields = Fields(value, "probe", [key.name for key in dataclasses.fields(ProbePlan)])
    every, checkpoints = fields.get("every", int), fields.get("checkpoints", int)
    if every is not None and checkpoints is not None:
        raise DataError("probe has both every and checkpoints; give one of them.")
    for key, number in (("every", every), ("checkpoints", checkpoints)):
        if number is not None and number < 1:
            raise DataError(f"probe.{key} is {number}; give 1 or more.")
    metadata = fields.raw("metadata", {})
    if not isinstance(metadata, Mapping):
        raise DataError(f"probe.metadata is {metadata!r} where a mapping is needed.")
    return ProbePlan(
        tasks=tuple(fields.listed("tasks", str, ["value_bias_big2"])),
        every=every,
        checkpoints=checkpoints if every or checkpoints else 10,
        spacing=fields.choice("spacing", ("even", "log"), "even"),
        metadata=dict(metadata),
        batch_size=fields.get("batch_size", int, 16),
    )
