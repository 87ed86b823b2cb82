"""One cell of a grid: one run of TRL's ``RewardTrainer``, watched and resumable."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from trl import RewardConfig, RewardTrainer

from rm_value_tasks.errors import DataError
from rm_value_tasks.training import models
from rm_value_tasks.training.config import Cell
from rm_value_tasks.training.probe import LeanProbe

__all__ = ["last_checkpoint", "train"]


def train(cell: Cell, folder: Path, pairs: Any, held_out: Any) -> dict[str, Any]:
    """Train, probe and save one model, going on from its last checkpoint if there is one.

    Args:
        cell: what to train.
        folder: gets ``checkpoints/``, ``probes/`` and, at the end, ``model/``.
        pairs: the pairs to train on.
        held_out: pairs to measure the accuracy on; None for none.

    Returns:
        What was measured: ``steps``, ``pairs`` (fewer than the quantity where some were
        longer than ``max_length``), ``held_out_accuracy`` and ``model_args`` for
        ``lm_eval --model reward``.
    """
    arguments = _arguments(cell, folder / "checkpoints")
    trainer = _trainer(cell, arguments, pairs, held_out)
    if not len(trainer.train_dataset):
        raise DataError(
            f"no pair of {cell.data.name!r} is within training.max_length="
            f"{arguments.max_length} tokens; raise it."
        )
    probe = LeanProbe(
        folder / "probes",
        cell.probe.tasks,
        every=cell.probe.every,
        checkpoints=cell.probe.checkpoints,
        spacing=cell.probe.spacing,
        metadata=cell.probe.metadata,
        batch_size=cell.probe.batch_size,
        training={**cell.axes, "digest": cell.digest},
        model_args=cell.base.model_args,
    ).attach(trainer)
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    model_args = _save(trainer, cell, folder / "model")
    return {
        "steps": trainer.state.global_step,
        "pairs": len(trainer.train_dataset),
        "held_out_pairs": len(trainer.eval_dataset) if held_out is not None else 0,
        "held_out_accuracy": probe.held_out_accuracy,
        "model_args": model_args,
    }


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; None if there is none."""
    complete: dict[int, Path] = {}
    for checkpoint in folder.glob("checkpoint-*"):
        try:  # the trainer writes this file last
            state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        complete[int(state["global_step"])] = checkpoint
    return str(complete[max(complete)]) if complete else None


def _arguments(cell: Cell, output: Path) -> RewardConfig:
    given = dict(cell.training)
    batch, processes = given.pop("batch_size"), PartialState().num_processes
    if "per_device_train_batch_size" not in given:
        accumulated = given.setdefault("gradient_accumulation_steps", 1)
        given["per_device_train_batch_size"] = max(1, batch // (processes * accumulated))
    each = given["per_device_train_batch_size"] * processes
    given.setdefault("gradient_accumulation_steps", max(1, batch // each))
    if each * given["gradient_accumulation_steps"] != batch:
        raise DataError(
            f"training.batch_size is {batch} pairs a step, which {processes} processes of "
            f"{given['per_device_train_batch_size']} pairs and "
            f"{given['gradient_accumulation_steps']} accumulated batches cannot make; give a "
            "multiple."
        )
    if "bf16" not in given and "fp16" not in given:
        dtype = cell.base.dtype
        able = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        given["fp16"] = dtype == "float16"
        given["bf16"] = dtype == "bfloat16" or (dtype == "float32" and able)
    given.setdefault("run_name", cell.name)
    try:
        return RewardConfig(output_dir=str(output), **given, seed=cell.seed)
    except (TypeError, ValueError) as error:
        raise DataError(f"training is not usable: {' '.join(str(error).split())}.") from error


def _trainer(cell: Cell, arguments: RewardConfig, pairs: Any, held_out: Any) -> Any:
    grm = cell.grm
    model = models.load_model(
        cell.base,
        seed=cell.seed,
        dropout=not arguments.disable_dropout,
        language_head=grm is not None,
    )
    arguments.disable_dropout = False  # done; the adapters' own stays
    parts: dict[str, Any] = {
        "model": model,
        "args": arguments,
        "train_dataset": pairs,
        "eval_dataset": held_out,
        "processing_class": models.load_tokenizer(cell.base),
        "peft_config": models.adapter(cell.lora) if cell.lora else None,
    }
    if grm is None:
        return RewardTrainer(**parts)
    from rm_value_tasks.training.grm import GRMTrainer

    return GRMTrainer(**parts, weight=grm.weight, beta=grm.beta)


def _save(trainer: Any, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Save the model, whole or not at all; returns ``--model_args`` for it.

    Adapters are merged into a float32 base. Half precision would round them away, and sharded
    weights are not at hand, so there the adapter is saved, with the reward head in it.
    """
    partial = folder.with_name("model.partial")
    writes = trainer.is_world_process_zero()
    if writes:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    merge = not sharded and cell.base.dtype == "float32"
    if cell.lora and merge:
        if writes:
            trainer.model.merge_and_unload().save_pretrained(partial)
            trainer.processing_class.save_pretrained(partial)
    else:
        trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if writes:
        partial.rename(folder)
    if cell.lora and not merge:
        return {**cell.base.model_args, "peft": str(folder)}
    return {"pretrained": str(folder)}
