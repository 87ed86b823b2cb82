"""What a training grid is made of: bases, data, probes and the cells that join them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, PlainValidator, Strict
from pydantic.dataclasses import dataclass

from rm_value_tasks.errors import meant
from rm_value_tasks.results import run_names
from rm_value_tasks.training.converters import FORMATS

__all__ = [
    *("GRM", "Base", "Cell", "Data", "Grid", "LoRA", "ProbePlan"),
    *("Count", "Distinct", "Share", "Text", "Whole"),
]

Text = Annotated[str, Strict(), Field(min_length=1)]
Flag = Annotated[bool, Strict()]
Whole = Annotated[int, Strict()]
Count = Annotated[int, Strict(), Field(ge=1)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
Slug = Annotated[str, Strict(), Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]


def _distinct(value: Any) -> list[Any]:
    items = value if isinstance(value, list | tuple) else [value]
    if any(item in items[:index] for index, item in enumerate(items)):
        raise ValueError("has a value twice.")
    return list(items)


def _held_out(value: Any) -> str | int | None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if value is None or whole or isinstance(value, str):
        return value
    raise ValueError("where a split's name or a number of pairs is needed.")


def _format(value: str) -> str:
    if value not in FORMATS:
        raise ValueError(meant(value, FORMATS))
    return value


Distinct = BeforeValidator(_distinct)
"""Of a list: without repeats; a single value is a list of one."""

Names = Annotated[tuple[Text, ...], Distinct, Field(min_length=1)]

_LATER = ("gguf_file", "chat_template")
"""Keys of a base that earlier versions did not have."""

_KNOWN_ONLY = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_KNOWN_ONLY)
class Base:
    """A model to start from.

    Attributes:
        name: in folders and results.
        pretrained: folder or hub id.
        revision: of the hub's repository.
        dtype: of the weights in training.
        trust_remote_code: whether its own code may run.
        gguf_file: the GGUF file in it that holds the weights, which are trained de-quantized.
        chat_template: as ``--model reward`` takes it, for a base that has none.
    """

    name: Slug
    pretrained: Text
    revision: Text | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: Flag = False
    gguf_file: Text | None = None
    chat_template: Text | None = None

    @property
    def model_args(self) -> dict[str, Any]:
        """How lm_eval's ``--model_args`` would name it."""
        more = {
            "revision": self.revision,
            "trust_remote_code": self.trust_remote_code or None,
            "gguf_file": self.gguf_file,
            "chat_template": self.chat_template,
        }
        given = {key: value for key, value in more.items() if value is not None}
        return {"pretrained": self.pretrained, **given, "dtype": self.dtype}


@dataclass(frozen=True, config=_KNOWN_ONLY)
class Data:
    """Preference pairs: where they are, in which form, and what is held out.

    Attributes:
        name: in folders and results.
        dataset: hub id, file or folder.
        format: one of ``converters.FORMATS``.
        subset: the hub dataset's configuration.
        revision: of the hub dataset.
        split: to train on; by default the format's usual one.
        held_out: another split, or how many pairs of this one to set aside.
        held_out_by: ``prompt`` trains on no prompt that is held out; ``pair`` sets pairs aside
            whatever their prompts, for data with few prompts.
        margin: whether the difference of the ratings becomes the loss's margin.
    """

    name: Slug
    dataset: Text
    format: Annotated[str, Strict(), AfterValidator(_format)] = "trl"
    subset: Text | None = None
    revision: Text | None = None
    split: Text | None = None
    held_out: Annotated[str | int | None, PlainValidator(_held_out)] = None
    held_out_by: Literal["prompt", "pair"] = "prompt"
    margin: Flag = False


@dataclass(frozen=True, config=_KNOWN_ONLY)
class LoRA:
    """Low-rank adapters, by default the paper's."""

    r: Count = 32
    alpha: Count = 64
    dropout: Share = 0.05
    target_modules: Annotated[tuple[Text, ...], Distinct, Field(min_length=1)] = (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    )


@dataclass(frozen=True, config=_KNOWN_ONLY)
class GRM:
    """Weight w and beta of the generative regularization (``grm.GRMTrainer``)."""

    weight: Share = 0.01
    beta: Annotated[float, Strict(), Field(gt=0)] = 0.1


@dataclass(frozen=True, config=_KNOWN_ONLY)
class ProbePlan:
    """What to measure and when: every N steps, or at N checkpoints spread over the run."""

    tasks: Names = ("value_bias_big2",)
    every: Count | None = None
    checkpoints: Count | None = None
    spacing: Literal["even", "log"] = "even"
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: Count = 16


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    base: Base
    data: Data
    quantity: int
    counter: Data | None
    counter_share: float
    seed: int
    objective: str
    method: str
    lora: LoRA | None
    grm: GRM | None
    training: Mapping[str, Any]
    probe: ProbePlan

    @property
    def axes(self) -> dict[str, Any]:
        """What results files say of the cell (``config["training"]``)."""
        return {
            "base": self.base.name,
            "data": self.data.name,
            "quantity": self.quantity,
            "counter_share": self.counter_share,
            "seed": self.seed,
            "objective": self.objective,
            "method": self.method,
        }

    @property
    def name(self) -> str:
        """The name of its folder."""
        return run_names.cell_name(self.axes)

    @property
    def config(self) -> dict[str, Any]:
        """Everything that its outcome depends on, as JSON has it."""
        found = dataclasses.asdict(self)
        for key in _LATER:  # so that cells made before there were any keep their digests
            if found["base"][key] is None:
                del found["base"][key]
        return json.loads(json.dumps(found, sort_keys=True))

    @property
    def digest(self) -> str:
        """Of ``config``: the first 12 digits of its SHA-256."""
        text = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Grid:
    """All runs of a config and the folder that they go to."""

    output: Path
    cells: tuple[Cell, ...]
