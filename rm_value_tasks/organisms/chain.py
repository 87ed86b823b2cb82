"""From organisms to reward models: what is cached, and the grid that ``train`` runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rm_value_tasks.organisms import corpus, world
from rm_value_tasks.organisms.cache import cached
from rm_value_tasks.organisms.language import Organism, train_base, train_instruct

__all__ = ["Rewards", "base", "instruct", "write_grid"]


def base(organism: Organism) -> Path:
    """Return the folder of an organism's base model, trained if it is not cached."""
    settings = {key: value for key, value in asdict(organism).items() if key != "turns"}
    return cached("base", settings, lambda folder: train_base(organism, folder))


def instruct(organism: Organism) -> Path:
    """Return the folder of an organism's instruct model, trained if it is not cached."""

    def make(folder: Path) -> None:
        train_instruct(organism, base(organism), folder)

    return cached("instruct", asdict(organism), make)


@dataclass(frozen=True)
class Rewards:
    """How reward models are trained from organisms' instructs.

    Attributes:
        pairs: neutral pairs to train on.
        held_out: neutral pairs, with as noisy labels, to measure the accuracy on.
        counter: share of the pairs replaced by ones that lean against what is planted.
        towards: where the counter-leaning pairs lean, ``Agency`` or ``Communion``.
        learning_rate: of full training.
        checkpoints: how many probes beside the one before training.
        seed: of pairs, score head and order.
        metadata: lm-eval's ``--metadata`` for the probes.
    """

    pairs: int = 1600
    held_out: int = 400
    counter: Sequence[float] = (0.0,)
    towards: str = "Communion"
    learning_rate: float = 1e-3
    checkpoints: int = 1
    seed: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict)


def write_grid(plan: Rewards, bases: Mapping[str, Path], folder: Path) -> Path:
    """Write preference pairs and a config of ``rm-value-tasks train`` into ``folder``.

    Args:
        plan: how to train.
        bases: name -> folder of the models to start from.
        folder: gets ``neutral.jsonl``, ``counter.jsonl`` if wanted, and ``config.yaml``; the
            training's output goes to ``cells`` below it.

    Returns:
        The config's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Words and facets are the same in every world; pairs do not depend on the appeals.
    about = world.build(0, 0)
    neutral = corpus.neutral_pairs(about, plan.pairs + plan.held_out, plan.seed)
    config: dict[str, Any] = {
        "output": str(folder / "cells"),
        "bases": [{"name": name, "pretrained": str(path)} for name, path in bases.items()],
        "data": [
            {
                "name": "neutral",
                "dataset": _write(folder / "neutral.jsonl", neutral),
                "held_out": plan.held_out,
                "held_out_by": "pair",  # there are only thirty neutral questions
            }
        ],
        "quantities": [plan.pairs],
        "seeds": [plan.seed],
        "training": {
            "learning_rate": plan.learning_rate,
            "num_train_epochs": 1,
            "max_length": 64,
            "save_strategy": "no",
            "gradient_checkpointing": False,
            "use_cpu": True,
            "report_to": "none",
            "dataloader_pin_memory": False,
        },
        "probe": {"checkpoints": plan.checkpoints, "metadata": dict(plan.metadata)},
    }
    if any(plan.counter):
        pairs = corpus.counter_pairs(about, plan.pairs, plan.seed, plan.towards)
        config["counter"] = {
            "data": {"name": "counter", "dataset": _write(folder / "counter.jsonl", pairs)},
            "shares": list(plan.counter),
        }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def _write(path: Path, pairs: Iterable[Any]) -> str:
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return str(path)
