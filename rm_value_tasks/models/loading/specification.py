"""How a checkpoint is read, decided before its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import transformers
from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import (
    RewardArguments,
    refuse_with_engine,
    resolve_token,
    resolve_tokens,
)
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.common.chat_templates import use_chat_template
from rm_value_tasks.models.common.opening import read_config
from rm_value_tasks.models.common.sentence_pairs import PairEncoder
from rm_value_tasks.models.loading import readouts
from rm_value_tasks.models.loading.families import CHAIN_HEADS, Family, detect
from rm_value_tasks.models.loading.family_refusals import refuse_family
from rm_value_tasks.models.loading.heads import head_labels
from rm_value_tasks.models.loading.weight_files import WeightFiles

__all__ = ["Specification", "specify", "specify_for_vllm"]

_HF_ONLY = ("peft", "parallelize", "max_length")
"""Arguments of ``hf`` that vLLM has no like of."""


@dataclass(frozen=True)
class Specification:
    """How a checkpoint is read: what ``--model reward`` executes and ``doctor`` tells.

    Attributes:
        family: the family that it looks like.
        readout: the readout's name.
        arguments: what the user says of the reading.
        head: names of the tensors of a head that has to be rebuilt; empty where the model's
            class has it.
        files: the checkpoint's tensors; None for a model that is loaded already.
        config: the checkpoint's ``config.json``.
        labels: how many labels its head has, where the config does not say; else None.
    """

    family: Family
    readout: str
    arguments: RewardArguments
    head: tuple[str, ...] = ()
    files: WeightFiles | None = None
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    labels: int | None = None

    @classmethod
    def of_loaded(cls, config: Mapping[str, Any], arguments: RewardArguments) -> Specification:
        """Return how a model that is loaded already is read, by its config alone.

        Raises:
            ModelError: if an argument has no meaning for the readout.
        """
        family = detect(config, ())
        arguments = arguments.numbered(config, str(config.get("_name_or_path", "")))
        chosen = family.readout if arguments.readout == "auto" else arguments.readout
        return cls(family, chosen or "pooled", arguments, config=config).checked()

    def checked(self) -> Specification:
        """Return this, or refuse arguments that contradict it.

        Raises:
            ModelError: naming the argument.
        """
        self.arguments.refuse_for_readout(self.readout)
        readouts.reduction(self.readout, self.label, self.weights)
        return self

    @property
    def key_mapping(self) -> dict[str, str] | None:
        """How tensors must be renamed for the model below the head to take them."""
        if self.head and self.files and self.files.starts_with("transformer.layers."):
            return {r"^transformer\.": ""}  # Starling-RM-34B
        return None

    @property
    def label(self) -> int | None:
        """The number of the label that is the reward; None for the readout's usual one."""
        return None if self.arguments.label is None else int(self.arguments.label)

    @property
    def weights(self) -> Sequence[float]:
        """The user's weights of the labels, or the family's."""
        given: Any = self.arguments.weights  # RewardArguments has made them numbers
        return given or self.family.weights

    @property
    def auto_class(self) -> Any:
        """The auto class of ``transformers`` that makes the model."""
        if self.readout in ("position", "process"):
            token_heads = transformers.AutoModelForTokenClassification
            return transformers.AutoModel if self.head else token_heads
        if self.readout == "first_output":
            return transformers.AutoModel
        if self.readout == "lm_logit":
            return transformers.AutoModelForCausalLM
        return transformers.AutoModelForSequenceClassification

    def reading(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the options of ``readouts.build``.

        Raises:
            ModelError: if ``token_id=`` names no token.
        """
        return {
            "attribute": self.arguments.attribute,
            "label": self.label,
            "weights": self.weights,
            "token_ids": resolve_tokens(self.arguments.token_id, tokenizer),
            "head_dtype": self.arguments.head_dtype,
        }

    def choose_template(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """Give the tokenizer the chat template that counts; return where it comes from.

        Raises:
            ModelError: if the user's file cannot be read.
        """
        path = self.arguments.chat_template
        use_chat_template(tokenizer, path)
        if path is None and not tokenizer.chat_template and self.family.template:
            tokenizer.chat_template = self.family.template
            return f"the model card's of {self.family.name}, as the tokenizer has none"
        return path or "the tokenizer's"

    def encoder(
        self,
        tokenizer: PreTrainedTokenizerBase,
        config: Any,
        template_args: Mapping[str, Any],
        *,
        whole: bool,
    ) -> ChatEncoder | PairEncoder:
        """Return what turns requests into tokens.

        Args:
            tokenizer: as ``choose_template`` left it.
            config: the model's ``transformers`` config.
            template_args: passed to the chat template.
            whole: whether the readout runs the whole classifier.

        Raises:
            ModelError: if conversations cannot be rendered, or an argument does not fit.
        """
        given = self.arguments
        if whole and not tokenizer.chat_template:
            given.refuse_for_pairs()
            return PairEncoder(tokenizer)
        step = self.family.step or None if given.step_token is None else given.step_token
        return ChatEncoder(
            tokenizer,
            bos=given.bos,
            template_args=template_args,
            template_date=given.template_date,
            closed=whole and not self.family.code,
            append=appended_ids(given.append_token, self.family, config, tokenizer),
            step=None if step is None else resolve_token(step, tokenizer, "step_token"),
        )


def specify(
    name: str,
    config: Mapping[str, Any],
    arguments: RewardArguments,
    *,
    engine: str = "hf",
    trust_remote_code: bool = False,
    download: bool = True,
    **where: Any,
) -> Specification:
    """Decide how a checkpoint is read.

    Args:
        name: a folder or a repository on the hub.
        config: its ``config.json``.
        arguments: what the user says of the reading.
        engine: ``hf``, or a serving engine, which gives a sequence classifier's outputs alone.
        trust_remote_code: whether code that it brings along may run.
        download: whether weights may be downloaded for the names of tensors.
        where: ``revision`` and ``subfolder``.

    Raises:
        ModelError: if the family has no reward of one answer, or needs code that may not run,
            or an argument contradicts it or the engine.
    """
    if engine != "hf":
        arguments.refuse_for_engine(engine)
    files = WeightFiles(name, download=download, **where)
    files.refuse_incomplete()
    labels = head_labels(name, config, files)
    arguments = arguments.numbered({**config, "num_labels": labels}, name)
    family = detect(config, files.files, name)
    readout = arguments.readout
    if readout == "auto":
        refuse_family(name, config, family, trust_remote_code)
    chosen = family.readout if readout == "auto" else readout
    head = _head(family, chosen, config, files)
    found = Specification(family, chosen, arguments, head, files, config, labels)
    plain = chosen == "pooled" and not family.code and not family.append
    if engine != "hf" and readout == "auto" and not plain:
        raise ModelError(
            f"{name!r} is of the family {family.name}, which is read by readout={chosen}, but "
            f"engine={engine} gives a plain sequence classifier's outputs; leave engine= out."
        )
    return found.checked()


def specify_for_vllm(
    name: str,
    arguments: RewardArguments,
    engine_args: Iterable[str],
    *,
    revision: str = "main",
    trusted: bool = False,
) -> Specification:
    """Decide how a checkpoint is read, as far as vLLM reads it as this package does.

    Raises:
        ModelError: if there is no such model, it has a head or code of its own, or an argument is
            ``hf``'s alone.
    """
    for argument in _HF_ONLY:
        if argument in engine_args:
            refuse_with_engine(argument, "vllm")
    config = read_config(name, revision=revision)
    return specify(
        name,
        config,
        arguments,
        engine="vllm",
        trust_remote_code=trusted,
        download=False,
        revision=revision,
    )


def _head(
    family: Family, readout: str, config: Mapping[str, Any], files: WeightFiles
) -> tuple[str, ...]:
    if readout not in ("position", "process"):
        return ()
    prefixes = family.heads
    if not prefixes and "ForTokenClassification" not in str(config.get("architectures")):
        prefixes = tuple(each for each in CHAIN_HEADS if files.starts_with(each))[:1]
    return tuple(key for key in files.files if prefixes and key.startswith(prefixes))


def appended_ids(
    token: str | int | None,
    family: Family,
    config: Any,
    tokenizer: PreTrainedTokenizerBase,
) -> list[int]:
    """Return the token ids that end a conversation.

    Args:
        token: what the user names, a token's text or id; None for the family's own.
        family: may name a field of config or tokenizer that holds the id.
        config: the model's ``transformers`` config.
        tokenizer: the model's tokenizer.

    Raises:
        ModelError: if there is no such id.
    """
    if token is not None:
        return [resolve_token(token, tokenizer, "append_token")]
    if not family.append:
        return []
    place, _, field = family.append.partition(".")
    found = getattr({"config": config, "tokenizer": tokenizer}[place], field, None)
    if found is None:
        raise ModelError(
            f"models of the family {family.name} read the reward at a token that the {place}'s "
            f"{field} names, but there is none; name the token with append_token=."
        )
    return [int(found)]
