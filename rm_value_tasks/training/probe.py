"""The lean at checkpoints: a callback that scores the value tasks on the model in training.

For any ``transformers`` trainer of a reward model::

    from rm_value_tasks.training.probe import LeanProbe

    trainer = RewardTrainer(model=..., args=..., train_dataset=..., eval_dataset=...)
    LeanProbe("runs/mine", checkpoints=10).attach(trainer)
    trainer.train()

Nothing is reloaded and no second copy of the model is held. Training goes on as without the
callback, bit for bit.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState

from rm_value_tasks.errors import DataError
from rm_value_tasks.training import evaluation
from rm_value_tasks.training.reward_in_training import InTrainingRewardLM
from rm_value_tasks.training.untouched import untouched

__all__ = ["LeanProbe", "probe_steps"]


def probe_steps(
    last: int, *, every: int | None = None, checkpoints: int | None = None, spacing: str = "even"
) -> list[int]:
    """Return the steps to probe at: always before training (0) and after the last one.

    Args:
        last: the number of training steps.
        every: probe each time so many steps are done.
        checkpoints: how many to spread over the run, beside step 0.
        spacing: ``even``, or ``log`` for geometrically growing distances.
    """
    steps = {0, last}
    if every:
        steps.update(range(0, last + 1, every))
    elif checkpoints and last > 0:
        spread = np.geomspace if spacing == "log" else np.linspace
        start = 1 if spacing == "log" else last / checkpoints
        steps.update(round(float(step)) for step in spread(start, last, checkpoints))
    return sorted(steps)


class LeanProbe(TrainerCallback):
    """Writes lm-eval's result files of value tasks at chosen steps.

    Args:
        output: folder; each checkpoint gets ``step-NNNNNN`` below it. What an earlier run left
            there is replaced, by a resumed run from its step on.
        tasks: names of lm-eval tasks and groups.
        every: see ``probe_steps``; by default ten checkpoints.
        checkpoints: see ``probe_steps``.
        spacing: see ``probe_steps``.
        metadata: lm-eval's ``--metadata``.
        batch_size: conversations at once, where no prefix is shared.
        training: what to record of the run beside what the trainer knows
            (``config["training"]`` in the results: ``base``, ``data``, ``quantity``, ...).
        model_args: what results files are to give as ``--model_args``.

    Where the trainer has tokenized preference pairs as its ``eval_dataset``, the share of
    them whose chosen answer has the higher reward is recorded as ``held_out_accuracy``.
    """

    def __init__(
        self,
        output: str | Path,
        tasks: Sequence[str] = ("value_bias_big2",),
        *,
        every: int | None = None,
        checkpoints: int | None = None,
        spacing: str = "even",
        metadata: Mapping[str, Any] | None = None,
        batch_size: int = 16,
        training: Mapping[str, Any] | None = None,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        if not every and not checkpoints:
            checkpoints = 10
        self._output = Path(output)
        self._schedule: dict[str, Any] = {
            "every": every,
            "checkpoints": checkpoints,
            "spacing": spacing,
        }
        self._probe = evaluation.ValueTasks(tasks, dict(metadata or {}))
        self._batch_size = batch_size
        self._training = dict(training or {})
        self._model_args = dict(model_args or {})
        self._trainer: Any = None
        self._steps: set[int] = set()
        self.held_out_accuracy: float | None = None
        """At the last checkpoint."""

    def attach(self, trainer: Trainer) -> LeanProbe:
        """Add the callback to a trainer; returns itself."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Plan the steps, and probe before the first one."""
        if self._trainer is None:
            raise DataError("a LeanProbe needs its trainer; call attach(trainer).")
        self._steps = set(probe_steps(state.max_steps, **self._schedule))
        if state.is_world_process_zero:
            for folder in self._output.glob("step-*"):
                if _step_of(folder) > state.global_step or not state.global_step:
                    shutil.rmtree(folder)
        self._trainer.accelerator.wait_for_everyone()
        self._run(state, control)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Probe if it is time; a checkpoint of the same step is saved afterwards."""
        self._run(state, control)

    def on_train_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Probe a run that was stopped before its last step."""
        self._steps.add(state.global_step)
        self._run(state, control)

    def _run(self, state: TrainerState, control: TrainerControl) -> None:
        step = state.global_step
        folder = self._output / f"step-{step:06d}"
        if step not in self._steps:
            return
        if folder.exists():  # written before the run was stopped
            self.held_out_accuracy = evaluation.recorded_accuracy(folder)
            return
        trainer = self._trainer
        with untouched(trainer.model):
            lm = InTrainingRewardLM(trainer, batch_size=self._batch_size)
            self.held_out_accuracy = evaluation.accuracy(lm, trainer.eval_dataset)
            results = self._probe.run(
                lm,
                folder,
                training={
                    **self._described(),
                    "step": step,
                    "pairs_seen": _pairs_seen(trainer, step),
                    "held_out_accuracy": self.held_out_accuracy,
                },
                model_args=self._model_args or {"pretrained": trainer.model.config._name_or_path},
            )
            lm.release()
            del lm
        trainer.accelerator.wait_for_everyone()
        if results is not None:
            self._log(results, control)

    def _described(self) -> dict[str, Any]:
        trainer = self._trainer
        name = Path(str(trainer.model.config._name_or_path)).name
        return {
            "base": name,
            "data": "",
            "quantity": len(trainer.train_dataset),
            "counter_share": 0.0,
            "seed": trainer.args.seed,
            "objective": "bradley-terry",
            "method": "lora" if hasattr(trainer.model, "peft_config") else "full",
            **self._training,
        }

    def _log(self, results: Mapping[str, Any], control: TrainerControl) -> None:
        """Hand the leans to the trainer's trackers.

        TRL's ``log`` would flush the training metrics gathered since the last one, so the
        base class's is called; it clears ``should_log``, which may be set for this very step.
        """
        leans: dict[str, float] = {}
        for task, metrics in results["results"].items():
            for key, value in metrics.items():
                name, _, kind = key.partition(",")
                if kind == "none" and isinstance(value, float) and not name.endswith("_stderr"):
                    leans[f"probe/{task}/{name}"] = value
        if self.held_out_accuracy is not None:
            leans["probe/held_out_accuracy"] = self.held_out_accuracy
        should_log = control.should_log
        Trainer.log(self._trainer, leans)
        control.should_log = should_log


def _step_of(folder: Path) -> int:
    digits = folder.name.removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1


def _pairs_seen(trainer: Any, step: int) -> int:
    """Return how many pairs ``step`` steps have trained on, repeated epochs counted again."""
    size = len(trainer.train_dataset)
    batch = trainer.args.train_batch_size * trainer.args.world_size
    batch *= trainer.args.gradient_accumulation_steps
    epochs, rest = divmod(step, -(-size // batch))
    return epochs * size + min(rest * batch, size)
