"""What ``--model reward`` would do with a model, from its config and tokenizer alone."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import cached_file

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import numbers, refuse_misspelt, resolve_token
from rm_value_tasks.models.common.conversation import ChatEncoder, Encoder
from rm_value_tasks.models.common.sentence_pairs import PairEncoder
from rm_value_tasks.models.loading.families import Family, detect
from rm_value_tasks.models.loading.readouts import READOUTS, reduction, shares_prefixes
from rm_value_tasks.models.loading.specification import Plan, appended_ids, make_plan

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
    shared_prefix: str = ""
    refusals: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str = ""


def diagnose(model: str, arguments: Mapping[str, Any]) -> Diagnosis:
    """Say what ``--model reward`` would do, loading no weights.

    Args:
        model: a folder or a repository on the hub.
        arguments: arguments of ``--model reward``.

    Raises:
        ModelError: if the model has no config that can be read, or an argument is misspelt.
    """
    refuse_misspelt(arguments)
    where = {key: arguments[key] for key in ("revision", "subfolder") if arguments.get(key)}
    if Path(model).is_file():
        raise ModelError(f"{model!r} is a file; give the folder that holds it, or a hub id.")
    config = _config(model, where)
    readout = arguments.get("readout", "auto")
    trusted = bool(arguments.get("trust_remote_code"))
    if readout not in ("auto", *READOUTS):
        raise ModelError(f"readout={readout!r} is none of auto, {', '.join(READOUTS)}.")
    found = Diagnosis(model, detect(config, (), model), command=_command(model, arguments))
    if arguments.get("engine", "hf") != "hf":
        found.notes.append("of another engine nothing is known here: this is what engine=hf does")
    try:
        plan = make_plan(model, config, readout, trust_remote_code=trusted, download=False, **where)
    except ModelError as error:
        found.refusals.append(str(error))
        return found
    found.family, found.readout = plan.family, plan.readout
    try:
        full = transformers.AutoConfig.from_pretrained(model, trust_remote_code=trusted, **where)
        skeleton = _skeleton(plan, full, trusted)
        _check_head(found, plan, skeleton, arguments)
        _check_options(plan, full, arguments)
        _read_tokenizer(found, plan, full, skeleton, arguments, where)
    except (ModelError, OSError, ValueError, KeyError, ImportError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        found.refusals.append(reason if isinstance(error, ModelError) else f"{reason}.")
    return found


def _config(model: str, where: Mapping[str, Any]) -> dict[str, Any]:
    try:
        config, _ = transformers.PreTrainedConfig.get_config_dict(model, **where)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ModelError(f"{model!r} has no config that can be read: {reason}.") from error
    if not config:
        options = {"_raise_exceptions_for_missing_entries": False, **where}
        if cached_file(model, "adapter_config.json", **options):
            raise ModelError(
                f"{model!r} is a PEFT adapter; run it on the model that it was trained on, with "
                f"--model_args pretrained=BASE,peft={model}."
            )
        raise ModelError(f"{model!r} has no config.json; give a model's folder or its hub id.")
    return dict(config)


def _skeleton(plan: Plan, config: Any, trusted: bool) -> Any:
    """Return the model without weights; None where its own code would make it."""
    if plan.family.code or plan.readout == "first_output" or plan.readout == "attribute":
        return None
    auto: Any = transformers.AutoModelForSequenceClassification
    if plan.readout in ("position", "process"):
        token_heads = transformers.AutoModelForTokenClassification
        auto = transformers.AutoModel if plan.head else token_heads
    elif plan.readout == "lm_logit":
        auto = transformers.AutoModelForCausalLM
    own = getattr(config, "auto_map", None) or {}
    if trusted and not plan.head and auto.__name__ in own:
        return None
    with torch.device("meta"):
        return auto.from_config(config)


def _misfits(skeleton: Any, names: set[str]) -> tuple[list[str], list[str]]:
    """Return the head's tensors that a checkpoint lacks, and its own without a place."""
    keys = set(skeleton.state_dict())
    base = skeleton.base_model_prefix + "."
    keys -= set(getattr(skeleton, "all_tied_weights_keys", None) or ())
    missing = sorted(key for key in keys - names if not key.startswith(base))
    if not any(key.startswith(base) for key in names):  # saved without its head's class
        return missing, []
    places = {key.partition(".")[0] for key in keys} | {"lm_head"}
    return missing, sorted(key for key in names if key.partition(".")[0] not in places)


def _check_options(plan: Plan, config: Any, arguments: Mapping[str, Any]) -> None:
    """Refuse what ``readouts.build`` would."""
    weights = numbers(arguments.get("weights")) or plan.family.weights
    reduce = reduction(plan.readout, arguments.get("label"), weights)
    native = not (plan.family.code or plan.head or arguments.get("peft"))
    if plan.readout in ("pooled", "weighted") and native:
        reduce(torch.zeros(1, config.num_labels))
    if (dtype := arguments.get("head_dtype", "float32")) not in ("float32", "model"):
        raise ModelError(f"head_dtype={dtype!r} is neither 'float32' nor 'model'.")


def _check_head(found: Diagnosis, plan: Plan, skeleton: Any, arguments: Mapping[str, Any]) -> None:
    if arguments.get("peft"):
        found.notes.append("the adapter was not looked at; it may bring the head")
        return
    if not plan.files.files:
        found.notes.append("the names of its weights are not known here, so its head was not seen")
        return
    if skeleton is not None and not plan.head:
        missing, unused = _misfits(skeleton, set(plan.files.files))
        if missing:
            raise ModelError(
                f"the checkpoint {found.model!r} has no {missing[0]}, so its reward head would be "
                "random numbers. A language model is scored with --model hf, "
                "--model generative-judge, or --model implicit-reward with its reference; for a "
                "custom head name its readout= or trust_remote_code=True."
            )
        if unused:
            raise ModelError(
                f"the checkpoint {found.model!r} has weights that its reward model class does not "
                f"use ({', '.join(unused[:3])}), so its scores would not be its own; load it with "
                "its own code (trust_remote_code=True) or name the right readout=."
            )
    if plan.readout in ("position", "process"):
        head = ", ".join(sorted({key.rpartition(".")[0] for key in plan.head}))
        found.notes.append(f"head rebuilt from {head}" if head else "head of the token classifier")


def _read_tokenizer(
    found: Diagnosis,
    plan: Plan,
    config: Any,
    skeleton: Any,
    arguments: Mapping[str, Any],
    where: Mapping[str, Any],
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        arguments.get("tokenizer") or found.model,
        trust_remote_code=bool(arguments.get("trust_remote_code")),
        **where,
    )
    source = "the tokenizer's"
    if path := arguments.get("chat_template"):
        try:
            tokenizer.chat_template = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ModelError(
                f"chat_template={path!r} cannot be read ({error.strerror})."
            ) from error
        source = path
    elif not tokenizer.chat_template and plan.family.template:
        tokenizer.chat_template = plan.family.template
        source = f"the model card's of {plan.family.name}, as the tokenizer has none"
    shares = skeleton is not None and shares_prefixes(skeleton, plan.readout)
    found.shared_prefix = _ON if shares else "off; the readout needs the whole model"
    if arguments.get("shared_prefix") is False:
        found.shared_prefix = "switched off"
    encoder = _encoder(
        plan, config, tokenizer, arguments, whole=plan.readout in _WHOLE and not shares
    )
    (tokens,) = encoder.encode([_EXAMPLE])
    told = encoder.describe()
    if told["encoding"] == "chat":
        found.template = (
            f"{source}; sha256 {told['chat_template_sha256'][:12]}...; {told['bos_count']} BOS"
        )
    else:
        found.template = "none: question and answer as a sentence pair"
    found.example = str(tokenizer.decode(tokens["input_ids"]))


def _encoder(
    plan: Plan, config: Any, tokenizer: Any, arguments: Mapping[str, Any], *, whole: bool
) -> Encoder:
    if whole and not tokenizer.chat_template:
        return PairEncoder(tokenizer)
    step = arguments.get("step_token", plan.family.step or None)
    return ChatEncoder(
        tokenizer,
        bos=arguments.get("bos", "one"),
        template_args=_template_args(arguments),
        closed=whole and not plan.family.code,
        append=appended_ids(arguments.get("append_token"), plan.family, config, tokenizer),
        step=None if step is None else resolve_token(step, tokenizer, "step_token"),
    )


def _template_args(arguments: Mapping[str, Any]) -> dict[str, Any]:
    given = arguments.get("chat_template_args")
    if not isinstance(given, Mapping | None):
        raise ModelError(
            f"chat_template_args={given!r} is no mapping; enable_thinking= can be given by itself."
        )
    thinking = arguments.get("enable_thinking")
    return {
        **(arguments.get("chat_template_args") or {}),
        **({} if thinking is None else {"enable_thinking": thinking}),
    }


def _command(model: str, arguments: Mapping[str, Any]) -> str:
    own = {"pretrained": model, **arguments}
    flags = "".join(
        f" --{key} {shlex.quote(str(own.pop(key)))}" for key in _FLAGS if key in arguments
    )
    given = ",".join(f"{key}={value}" for key, value in own.items())
    return f"lm_eval --model reward --model_args {shlex.quote(given)} --tasks value_bias{flags}"
