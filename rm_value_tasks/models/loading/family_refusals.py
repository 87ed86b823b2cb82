"""Families whose reward cannot be read, or only by code that may not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.loading.families import Family

__all__ = ["refuse_family"]


def refuse_family(
    name: str, config: Mapping[str, Any], family: Family, trust_remote_code: bool
) -> None:
    """Refuse a family that has no reward of one answer, or needs code that may not run.

    Raises:
        ModelError: saying why, and what to give.
    """
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
    own = "AutoModelForSequenceClassification" in (config.get("auto_map") or {})
    if own and family.readout == "pooled" and not trust_remote_code:
        raise ModelError(
            f"{name!r} brings along code of its own for a classifier, and transformers' class "
            "in its place may give other rewards; read that code, then give "
            "trust_remote_code=True (or readout=pooled for transformers' class)."
        )
