"""What a run's numbers depend on beside the model, and in what two runs differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from rm_value_tasks.results.run import Run

__all__ = ["PROTOCOL", "differences", "incomparable", "settings", "spread"]

PROTOCOL = (
    *("surface forms", "task version", "prompts", "few-shot", "system text", "bos"),
    *("chat template arguments", "rendering date", "dtype", "head dtype", "softmax dtype"),
)
"""Settings that a user chooses, whatever the model."""

_OF_CONFIG = {
    "bos": "bos",
    "chat template arguments": "chat_template_args",
    "rendering date": "template_date",
    "appended tokens": "appended_token_ids",
    "dtype": "model_dtype",
    "head dtype": "head_dtype",
    "softmax dtype": "softmax_dtype",
    "readout": "readout",
    "label": "label",
    "label name": "label_name",
    "revision": "model_revision",
    "weights": "weights_digest",
    "config": "config_digest",
    "tokenizer": "tokenizer_digest",
}
"""Name -> key of lm-eval's ``results["config"]``."""
_DIGITS = 12


def settings(run: Run) -> dict[str, str]:
    """Return what is recorded of a run's settings, by name; what is not recorded is left out."""
    found: dict[str, Any] = {
        "surface forms": ", ".join(run.forms),
        "task version": run.versions.get("task"),
        "lexicon": run.lexicon,
        "words": run.lexicon_digest[:_DIGITS],
        "prompts": _prompts(run.prompts),
        "score kind": run.score_kind,
        "chat template": run.hashes.get("chat_template", "")[:_DIGITS],
        "system text": _system_text(run),
        **{name: _short(run.config.get(key)) for name, key in _OF_CONFIG.items()},
        "few-shot": run.setup.get("num_fewshot"),
        "scores file": run.hashes.get("scores_file", "")[:_DIGITS],
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _system_text(run: Run) -> str:
    if run.config.get("system_text_left_out"):  # the chat template takes none
        return "left out"
    return run.hashes.get("system_instruction", "none")[:_DIGITS]


def _prompts(prompts: Sequence[str]) -> str:
    if not prompts:
        return ""
    digest = hashlib.sha256("\n".join(sorted(prompts)).encode()).hexdigest()
    return f"{len(prompts)} ({digest[:6]})"


def _short(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.removeprefix("torch.")
    hexadecimal = len(text) in (32, 40, 64) and set(text) <= set("0123456789abcdef")
    return text[:_DIGITS] if hexadecimal else text


def differences(first: Run, second: Run) -> list[str]:
    """Return each setting that both runs recorded and in which they differ, as a phrase."""
    one, other = settings(first), settings(second)
    return [
        f"{name} ({value} and {other[name]})"
        for name, value in one.items()
        if name in other and value != other[name]
    ]


def spread(runs: Sequence[Run], names: Sequence[str]) -> list[dict[str, str]]:
    """Return, for each run, those of the settings ``names`` in which the runs differ."""
    each = [settings(run) for run in runs]
    differing = [name for name in names if len({told[name] for told in each if name in told}) > 1]
    return [{name: told.get(name, "not recorded") for name in differing} for told in each]


def incomparable(first: Run, second: Run) -> str:
    """Say why a lean cannot have moved between two runs of one task; empty if it can.

    With other words, other prompts or another kind of score a shift means nothing.
    """
    one, other = settings(first), settings(second)
    for name in ("score kind", "words", "prompts"):
        if one.get(name) != other.get(name):
            return (
                f"the runs of {first.task} differ in {name} ({one.get(name, 'none')} and "
                f"{other.get(name, 'none')}), so a shift between them means nothing; run both "
                "with the same"
            )
    return ""
