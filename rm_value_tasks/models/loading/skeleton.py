"""A model without its weights, to execute what loading and reading would decide."""

from __future__ import annotations

import copy
from typing import Any

import torch

from rm_value_tasks.models.common.adapters import underlying
from rm_value_tasks.models.common.opening import in_one_sentence
from rm_value_tasks.models.loading import readouts
from rm_value_tasks.models.loading.checkpoints import refuse_lost_adapter_weights
from rm_value_tasks.models.loading.heads import build_head
from rm_value_tasks.models.loading.readouts import HiddenReadout, Readout
from rm_value_tasks.models.loading.specification import Specification
from rm_value_tasks.models.loading.weight_files import WeightFiles

__all__ = ["adapt_skeleton", "make_skeleton", "misfits", "readout_of"]


def make_skeleton(specification: Specification, config: Any, trusted: bool) -> Any:
    """Return the model without weights; None where its own code would make it."""
    if specification.family.code:
        return None
    auto = specification.auto_class
    own = getattr(config, "auto_map", None) or {}
    if trusted and not specification.head and auto.__name__ in own:
        return None
    with torch.device("meta"):
        return auto.from_config(config)


def adapt_skeleton(adapter: str, name: str, skeleton: Any) -> None:
    """Put a PEFT adapter's layers on a skeleton, and compare them with what the adapter holds.

    Raises:
        ModelError: as the model would, for weights without a place and places without weights.
    """
    import peft

    with in_one_sentence(f"the adapter {adapter!r}"), torch.device("meta"):
        config = peft.PeftConfig.from_pretrained(adapter)
        adapted = peft.get_peft_model(copy.deepcopy(skeleton), config)
        underlying(adapted)  # refuses adapters that are not in the layers
    refuse_lost_adapter_weights(adapter, name, adapted)


def readout_of(
    specification: Specification, skeleton: Any, tokenizer: Any, config: Any
) -> Readout | str:
    """Build the readout on a skeleton and let it read zeros; say why that needs the weights.

    Raises:
        ModelError: as the model would, for labels, weights or tokens that do not fit.
    """
    reading = specification.reading(tokenizer)
    if skeleton is None:
        return "its own code was not run: what it gives is known only when it runs"
    if specification.head and specification.files:
        tensors = specification.files.shaped(specification.head)
        if set(tensors) != set(specification.head):
            return "the shape of its head is not known before its weights are here"
        skeleton.add_module("reward_head", build_head(tensors, config.to_dict()))
    if isinstance(score := getattr(skeleton, "score", None), torch.nn.Module):
        score.to_empty(device="cpu")
    if specification.readout == "lm_logit" and (rows := skeleton.get_output_embeddings()):
        rows.to_empty(device="cpu")
    readout = readouts.build(skeleton, specification.readout, **reading)
    if isinstance(readout, HiddenReadout):
        readout.from_hidden(torch.zeros(1, config.get_text_config().hidden_size))
    else:
        readouts.reduction(specification.readout, reading["label"], reading["weights"])(
            torch.zeros(1, config.num_labels)
        )
    return readout


def misfits(skeleton: Any, files: WeightFiles) -> tuple[list[str], list[str], list[str]]:
    """Return the head's tensors that a checkpoint lacks, those of another shape, its spare ones.

    Shapes are compared as far as they are known (``WeightFiles.shapes``).
    """
    names, state = set(files.files), skeleton.state_dict()
    places = set(state)
    base = skeleton.base_model_prefix + "."
    if skeleton.base_model is skeleton:  # its own tensors go without the prefix
        places = {base + key for key in places}
    keys = places - set(getattr(skeleton, "all_tied_weights_keys", None) or ())
    missing = sorted(key for key in keys - names if not key.startswith(base))
    quantized = getattr(skeleton.config, "quantization_config", None) is not None
    shapes = {} if quantized else files.shapes()  # packed weights have other shapes
    mismatched = [key for key in state if key in shapes and tuple(state[key].shape) != shapes[key]]
    if not any(key.startswith(base) for key in names):  # saved without its head's class
        return missing, mismatched, []
    spare = sorted(key for key in names - places if not key.startswith((base, "lm_head")))
    return missing, mismatched, spare
