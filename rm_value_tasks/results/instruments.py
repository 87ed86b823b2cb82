"""Which of this package's instruments a task of a results file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DILEMMAS", "PREFERENCES", "WORDS", "instruments"]

WORDS = "words"
"""Value probes: every word of a lexicon as the answer to every question."""
DILEMMAS = "dilemmas"
"""Two pieces of advice to each dilemma."""
PREFERENCES = "preferences"
"""Good against bad answers."""

_BY_FUNCTION = {
    "value_metrics": WORDS,
    "dilemma_metrics": DILEMMAS,
    "pair_accuracy": PREFERENCES,
    "best_of_accuracy": PREFERENCES,
    "ties_metrics": PREFERENCES,
}
"""For older results, whose tasks did not say it, and for YAML files with metadata of their own."""


def instruments(content: Mapping[str, Any]) -> dict[str, str]:
    """Return task -> instrument for the tasks of this package in a results file.

    A task says its instrument in its YAML file: ``metadata: {instrument: words}``.
    """
    found = {}
    for task, config in content["configs"].items():
        name = _instrument(config)
        if name and task in content["results"]:
            found[task] = name
    return found


def _instrument(config: Mapping[str, Any]) -> str:
    said = (config.get("metadata") or {}).get("instrument")
    if said not in (WORDS, DILEMMAS, PREFERENCES):
        function = str(config.get("process_results")).split("(")[0]
        said = next((name for key, name in _BY_FUNCTION.items() if key in function), "")
    kwargs = config.get("dataset_kwargs")
    designed = isinstance(kwargs, dict) and kwargs.get("design") in ("twins", "single")
    return "" if said == WORDS and not designed else str(said)
