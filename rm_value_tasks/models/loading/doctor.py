"""What ``--model reward`` would do with a model, from its config and tokenizer alone."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from lm_eval.models.utils import resolve_max_length

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import RewardArguments
from rm_value_tasks.models.common.chat_templates import template_args
from rm_value_tasks.models.common.conversation import Encoder
from rm_value_tasks.models.common.harness import hf_arguments
from rm_value_tasks.models.common.opening import (
    in_one_sentence,
    open_tokenizer,
    read_config,
    refuse_missing,
)
from rm_value_tasks.models.common.refusals import refuse_long, refuse_unknown_tokens
from rm_value_tasks.models.loading.checkpoints import (
    CheckedLoader,
    adapter_labels,
    refuse_wrong_weights,
)
from rm_value_tasks.models.loading.families import Family, detect
from rm_value_tasks.models.loading.readouts import ModelReadout, shares_prefixes
from rm_value_tasks.models.loading.skeleton import (
    adapt_skeleton,
    make_skeleton,
    misfits,
    readout_of,
)
from rm_value_tasks.models.loading.specification import (
    Specification,
    specify,
    specify_for_vllm,
)
from rm_value_tasks.prompts import PROMPTS

__all__ = ["Diagnosis", "diagnose"]

_EXAMPLE = ("What, in one word, is the best thing ever?", " freedom")
_FLAGS = ("batch_size", "device", "max_batch_size")
"""Arguments that lm_eval takes beside --model_args."""
_WHOLE = ("pooled", "weighted")
"""Readouts that run the whole model where it has no head on its last hidden state."""
_ON = "expected; checked on a few answers at the first use"


@dataclass
class Diagnosis:
    """What would happen.

    Attributes:
        model: its folder or hub id.
        family: the family it looks like.
        readout: the readout's name; empty if none is known.
        template: where the chat template comes from, its hash and the number of BOS.
        example: an example conversation as the model reads it; empty if it cannot be rendered.
        memory: how many parameters, and what their weights take.
        shared_prefix: whether answers would share their prompt's forward pass.
        refusals: why it would not run, each a sentence; empty if it would.
        notes: what else to know.
        command: the command that runs it.
    """

    model: str
    family: Family
    readout: str = ""
    template: str = ""
    example: str = ""
    memory: str = ""
    shared_prefix: str = ""
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str = ""


def diagnose(model: str, arguments: Mapping[str, Any]) -> Diagnosis:
    """Say what ``--model reward`` would do, loading no weights.

    Executes what the model executes before and after its weights are loaded; what only running
    can tell is among the notes.

    Args:
        model: a folder or a repository on the hub.
        arguments: arguments of ``--model reward``.

    Raises:
        ModelError: if the model has no config that can be read.
    """
    where = {key: arguments[key] for key in ("revision", "subfolder") if arguments.get(key)}
    config = read_config(model, **where)
    found = Diagnosis(model, detect(config, (), model), command=_command(model, arguments))
    try:
        ours, others = RewardArguments.take(arguments)
        engine = others.pop("engine", "hf")
        if engine not in ("hf", "vllm"):
            raise ModelError(f"engine={engine!r} is neither 'hf' nor 'vllm'.")
        trusted = bool(others.get("trust_remote_code"))
        if engine == "vllm":
            given = {key: others[key] for key in others if key not in _FLAGS}
            revision = str(others.get("revision", "main"))
            specification = specify_for_vllm(model, ours, given, revision=revision, trusted=trusted)
        else:
            specification = specify(
                model, config, ours, trust_remote_code=trusted, download=False, **where
            )
    except ModelError as error:
        found.refusals.append(str(error))
        return found
    found.family, found.readout = specification.family, specification.readout
    if specification.files:
        found.memory = specification.files.memory(config, arguments.get("dtype"))
    try:
        _look(found, specification, others, engine)
    except (
        AttributeError, ImportError, KeyError, ModelError, OSError, RuntimeError, ValueError,
    ) as error:  # fmt: skip
        reason = str(error).strip().partition("\n")[0]
        found.refusals.append(reason if isinstance(error, ModelError) else f"{reason}.")
    return found


def _look(
    found: Diagnosis, specification: Specification, others: Mapping[str, Any], engine: str
) -> None:
    """Do what the model does, with a skeleton in place of its weights."""
    where = {key: others[key] for key in ("revision", "subfolder") if others.get(key)}
    trusted = bool(others.get("trust_remote_code"))
    with in_one_sentence(f"the config of {found.model!r}"):
        config = transformers.AutoConfig.from_pretrained(
            found.model, trust_remote_code=trusted, **where
        )
    if specification.labels is not None:
        config.num_labels = specification.labels
    adapter, labels = others.get("peft"), None
    if adapter:
        refuse_missing(adapter, "adapter")
        if Path(adapter).is_dir():
            labels = adapter_labels(adapter)
            config.num_labels = config.num_labels if labels is None else labels
        else:
            found.notes.append("the adapter was not looked at; it may bring the head")
    skeleton = make_skeleton(specification, config, trusted)
    if not adapter or Path(adapter).is_dir():
        if skeleton is not None and _can_load(found.model, config):
            with in_one_sentence(f"the model {found.model!r}"):
                skeleton = CheckedLoader(
                    specification, adapter_head=labels is not None, labels=labels
                ).from_pretrained(found.model, device_map="meta", **where)
        else:
            _check_head(found, specification, skeleton, labels is not None)
        _tell_head(found, specification)
    if adapter and Path(adapter).is_dir() and skeleton is not None:
        adapt_skeleton(adapter, found.model, skeleton)
    tokenizer = open_tokenizer(
        others.get("tokenizer") or found.model, trust_remote_code=trusted, **where
    )
    source = specification.choose_template(tokenizer)
    readout: Any = None
    if not adapter or Path(adapter).is_dir():
        readout = readout_of(specification, skeleton, tokenizer, config)
    shares = skeleton is not None and shares_prefixes(skeleton, specification.readout)
    if engine != "hf":
        _check_engine(found)
    elif not specification.arguments.shared_prefix:
        found.shared_prefix = "switched off"
    else:
        found.shared_prefix = _ON if shares else "off; the readout needs the whole model"
    whole = specification.readout in _WHOLE and not shares
    if isinstance(readout, str):
        found.notes.append(readout)
    elif readout is not None:
        whole = isinstance(readout, ModelReadout)
    whole = whole and engine == "hf"
    _look_at_reading(found, specification, others, tokenizer, config, source, whole)
    if engine == "hf" and (unknown := sorted(set(others) - hf_arguments())):
        found.notes.append(
            f"{', '.join(unknown)}= goes to the model's own class; whether it takes it is known "
            "only when it loads"
        )


def _look_at_reading(
    found: Diagnosis,
    specification: Specification,
    others: Mapping[str, Any],
    tokenizer: Any,
    config: Any,
    source: str,
    whole: bool,
) -> None:
    """Render an example, and refuse tokens and lengths that the model does not take."""
    passed = template_args(others.get("chat_template_args"), others.get("enable_thinking"))
    encoder = specification.encoder(tokenizer, config, passed, whole=whole)
    _render(found, encoder, tokenizer, source)
    refuse_unknown_tokens(
        [tokens["input_ids"] for tokens in encoder.encode([_EXAMPLE])],
        getattr(config.get_text_config(), "vocab_size", None) or math.inf,
    )
    _check_length(encoder, others.get("max_length") or resolve_max_length(config, tokenizer))


def _check_head(
    found: Diagnosis, specification: Specification, skeleton: Any, adapter_head: bool
) -> None:
    files = specification.files.files if specification.files else {}
    if not files:
        found.notes.append("the names of its weights are not known here, so its head was not seen")
        return
    if skeleton is not None and not specification.head and specification.files:
        missing, mismatched, unused = misfits(skeleton, specification.files)
        refuse_wrong_weights(
            found.model,
            missing=missing,
            mismatched=mismatched,
            unexpected=unused,
            adapter_head=adapter_head,
        )


def _can_load(model: str, config: Any) -> bool:
    """Whether headers of weights are here to be compared as the model compares its weights."""
    return Path(model).is_dir() and getattr(config, "quantization_config", None) is None


def _tell_head(found: Diagnosis, specification: Specification) -> None:
    if specification.readout in ("position", "process"):
        head = ", ".join(sorted({key.rpartition(".")[0] for key in specification.head}))
        found.notes.append(f"head rebuilt from {head}" if head else "head of the token classifier")


def _check_engine(found: Diagnosis) -> None:
    if find_spec("vllm") is None:
        raise ModelError(
            "engine=vllm needs vLLM, which cannot be imported here; install it (pip install "
            "vllm, on a machine that it supports), or leave engine= out."
        )
    found.notes.append("vLLM was not started: whether its outputs are raw is known when it runs")


def _render(found: Diagnosis, encoder: Encoder, tokenizer: Any, source: str) -> None:
    (tokens,) = encoder.encode([_EXAMPLE])
    told = encoder.describe()
    if told["encoding"] == "chat":
        found.template = (
            f"{source}; sha256 {told['chat_template_sha256'][:12]}...; {told['bos_count']} BOS"
        )
    else:
        found.template = "none: question and answer as a sentence pair"
    found.example = str(tokenizer.decode(tokens["input_ids"]))


def _check_length(encoder: Encoder, most: int) -> None:
    pairs = [(prompt.text, _EXAMPLE[1]) for prompt in PROMPTS]
    refuse_long(pairs, [len(tokens["input_ids"]) for tokens in encoder.encode(pairs)], most)


def _command(model: str, arguments: Mapping[str, Any]) -> str:
    own = {"pretrained": model, **arguments}
    flags = "".join(
        f" --{key} {shlex.quote(str(own.pop(key)))}" for key in _FLAGS if key in arguments
    )
    given = ",".join(f"{key}={value}" for key, value in own.items())
    return f"lm_eval --model reward --model_args {shlex.quote(given)} --tasks value_bias{flags}"
