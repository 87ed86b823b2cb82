"""What a training grid is made of: bases, data, probes and the cells that join them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rm_value_tasks.results import run_names

__all__ = ["GRM", "Base", "Cell", "Data", "Grid", "LoRA", "ProbePlan"]


@dataclass(frozen=True)
class Base:
    """A model to start from: ``pretrained`` is a folder or hub id."""

    name: str
    pretrained: str
    revision: str | None = None
    dtype: str = "float32"
    trust_remote_code: bool = False

    @property
    def model_args(self) -> dict[str, Any]:
        """How lm_eval's ``--model_args`` would name it."""
        more = {"revision": self.revision, "trust_remote_code": self.trust_remote_code or None}
        given = {key: value for key, value in more.items() if value is not None}
        return {"pretrained": self.pretrained, **given, "dtype": self.dtype}


@dataclass(frozen=True)
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

    name: str
    dataset: str
    format: str = "trl"
    subset: str | None = None
    revision: str | None = None
    split: str | None = None
    held_out: str | int | None = None
    held_out_by: str = "prompt"
    margin: bool = False


@dataclass(frozen=True)
class LoRA:
    """Low-rank adapters, by default the paper's."""

    r: int = 32
    alpha: int = 64
    dropout: float = 0.05
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class GRM:
    """Weight w and beta of the generative regularization (``grm.GRMTrainer``)."""

    weight: float = 0.01
    beta: float = 0.1


@dataclass(frozen=True)
class ProbePlan:
    """What to measure and when: every N steps, or at N checkpoints spread over the run."""

    tasks: tuple[str, ...] = ("value_bias_big2",)
    every: int | None = None
    checkpoints: int | None = None
    spacing: str = "even"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 16


@dataclass(frozen=True)
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
        return json.loads(json.dumps(asdict(self), sort_keys=True))

    @property
    def digest(self) -> str:
        """Of ``config``: the first 12 digits of its SHA-256."""
        text = json.dumps(self.config, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Grid:
    """All runs of a config and the folder that they go to."""

    output: Path
    cells: tuple[Cell, ...]
