"""A reward model that a trainer is training, as an lm-eval model."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from rm_value_tasks.models.loading.readouts import ModelReadout, one_logit
from rm_value_tasks.models.prefix.sharing import Sharing
from rm_value_tasks.models.reward import RewardLM

__all__ = ["InTrainingRewardLM"]


class InTrainingRewardLM(RewardLM):
    """``RewardLM`` on a trainer's model, which it puts into evaluation mode.

    Processes that each hold the whole model share the documents, as under ``accelerate launch
    -m lm_eval``. Where the model is sharded over them (FSDP, ZeRO-3), every process runs every
    forward pass, through the model as a whole and without a shared prefix, since only that
    gathers the weights.

    Args:
        trainer: a ``transformers`` trainer; its head may change after this, so that each
            checkpoint needs a new instance.
        batch_size: conversations at once.
    """

    def __init__(self, trainer: Any, *, batch_size: int = 16) -> None:
        with _no_warnings("lm_eval.models.huggingface"):  # of a model that is given loaded
            super().__init__(
                trainer.model, tokenizer=trainer.processing_class, batch_size=batch_size
            )
        self._sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
        self.writes = trainer.is_world_process_zero()
        if self._sharded:
            self.readout = ModelReadout(trainer.model, one_logit(None), name="pooled")
            self._sharing = Sharing(None, least=0, why_not="the model is sharded")
        elif trainer.accelerator.num_processes > 1:
            self.accelerator = trainer.accelerator
            self.join_accelerate()

    def digests(self) -> dict[str, str | None]:
        """Return nothing where no process has the whole model."""
        return {} if self._sharded else super().digests()

    def release(self) -> None:
        """Give back what a forward pass gathers of a sharded model, as training's end of one does.

        FSDP2 keeps the outermost weights until the backward pass, which here never comes; a
        checkpoint saved now would find them whole.
        """
        for module in self.model.modules() if self._sharded else ():
            if callable(reshard := getattr(module, "reshard", None)):
                reshard()

    def _without_gradients(self) -> AbstractContextManager[Any]:
        # The buffers that gather shards live on and must not be inference tensors.
        return torch.no_grad() if self._sharded else super()._without_gradients()


@contextmanager
def _no_warnings(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
