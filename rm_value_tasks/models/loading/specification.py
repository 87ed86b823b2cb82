"""What ``--model reward`` will do with a checkpoint, decided before weights are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import resolve_token
from rm_value_tasks.models.loading.families import CHAIN_HEADS, Family, detect
from rm_value_tasks.models.loading.weight_files import WeightFiles

__all__ = ["Plan", "appended_ids", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """How a checkpoint is read.

    Attributes:
        family: the family that it looks like.
        readout: the readout's name.
        head: names of the tensors of a head that has to be rebuilt; empty where the model's
            class has it.
        files: the checkpoint's tensors.
    """

    family: Family
    readout: str
    head: tuple[str, ...]
    files: WeightFiles

    @property
    def key_mapping(self) -> dict[str, str] | None:
        """How tensors must be renamed for the model below the head to take them."""
        if self.head and self.files.starts_with("transformer.layers."):  # Starling-RM-34B
            return {r"^transformer\.": ""}
        return None


def make_plan(
    name: str,
    config: Mapping[str, Any],
    readout: str = "auto",
    *,
    trust_remote_code: bool = False,
    download: bool = True,
    **where: Any,
) -> Plan:
    """Decide how a checkpoint is read.

    Args:
        name: a folder or a repository on the hub.
        config: its ``config.json``.
        readout: ``auto``, or the readout that the user names.
        trust_remote_code: whether code that it brings along may run.
        download: whether weights may be downloaded for the names of tensors.
        where: ``revision`` and ``subfolder``.

    Raises:
        ModelError: if the family has no reward of one answer, or needs code that may not run.
    """
    files = WeightFiles(name, download=download, **where)
    family = detect(config, files.files, name)
    if readout == "auto":
        if family.refusal:
            raise ModelError(
                f"{name!r} is of the family {family.name} ({family.found_by.replace('`', '')}): "
                f"{family.refusal}."
            )
        if family.code and not trust_remote_code:
            raise ModelError(
                f"{name!r} is of the family {family.name} ({family.found_by.replace('`', '')}), "
                "which only the code that it brings along can run; read that code, then give "
                "trust_remote_code=True."
            )
        if _has_own_classifier(config) and family.readout == "pooled" and not trust_remote_code:
            raise ModelError(
                f"{name!r} brings along code of its own for a classifier, and transformers' class "
                "in its place may give other rewards; read that code, then give "
                "trust_remote_code=True (or readout=pooled for transformers' class)."
            )
    chosen = family.readout if readout == "auto" else readout
    return Plan(family, chosen, _head(family, chosen, config, files), files)


def _has_own_classifier(config: Mapping[str, Any]) -> bool:
    return "AutoModelForSequenceClassification" in (config.get("auto_map") or {})


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
