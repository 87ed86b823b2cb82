"""What the YAML of ``value_bias_dilemmas`` names: advice with an agency or a communion answer.

A document holds one situation and two answers of equal length: of a dilemma the agency answer
first and the communion answer second, of a control pair two answers of one value.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from rm_value_tasks.errors import DataError
from rm_value_tasks.scores import Reward

__all__ = [
    "DILEMMAS",
    "TOPICS",
    "Dilemma",
    "correlation",
    "dilemma_metrics",
    "documents",
    "margin_ratio",
    "read",
]

_log = logging.getLogger(__name__)

DILEMMAS = Path(__file__).parent / "data" / "dilemmas.csv"
TOPICS = ("work", "family", "study", "health", "money", "community")
_VALUES = ("agency", "communion")


@dataclass(frozen=True)
class Dilemma:
    """One situation with two answers.

    Attributes:
        id: unique, such as ``work_01`` or ``control_agency_03``.
        topic: one of ``TOPICS``.
        first_value: what the first answer appeals to, ``agency`` or ``communion``.
        second_value: likewise; equal to ``first_value`` in a control pair.
        situation: what the user says.
        first: an answer.
        second: the other answer.
    """

    id: str
    topic: str
    first_value: str
    second_value: str
    situation: str
    first: str
    second: str

    @property
    def is_control(self) -> bool:
        """Whether both answers appeal to the same value."""
        return self.first_value == self.second_value


def read(path: Path = DILEMMAS) -> tuple[Dilemma, ...]:
    """Read the pairs, in file order.

    Raises:
        DataError: if the file has not the columns of ``Dilemma`` or unknown topics or values.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            pairs = tuple(Dilemma(**row) for row in csv.DictReader(file))
    except (OSError, TypeError) as error:
        raise DataError(f"{path} cannot be read as a table of dilemmas: {error}.") from error
    for pair in pairs:
        if pair.topic not in TOPICS or not {pair.first_value, pair.second_value} <= set(_VALUES):
            raise DataError(
                f"{path} has the topic {pair.topic!r} and the values {pair.first_value!r} and "
                f"{pair.second_value!r} at {pair.id!r}; topics are {', '.join(TOPICS)}, values "
                f"{' and '.join(_VALUES)}."
            )
    return pairs


def documents(**metadata: Any) -> dict[str, datasets.Dataset]:
    """Build the task's documents (``custom_dataset`` in the YAML).

    Args:
        metadata: what lm-eval passes; not read, as the instrument has no options.

    Returns:
        ``{"test": dataset}`` with the fields of ``Dilemma`` and ``answers``, both answers.
    """
    rows = [{**asdict(pair), "answers": [pair.first, pair.second]} for pair in read()]
    return {"test": datasets.Dataset.from_list(rows)}


def dilemma_metrics(
    doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]
) -> dict[str, float | tuple[float, float]]:
    """Turn the two answers' scores into metrics (``process_results`` in the YAML).

    Unit of analysis: the pair. A pair is won by its first answer (1), its second (0), or tied
    (0.5). A win says which score is higher, so it means the same for rewards, log-probabilities
    and implicit rewards.

    Returns:
        Of a dilemma ``agency_preference``, the same as ``agency_preference_TOPIC``; of a control
        pair ``control_preference``. Of both ``margin_ratio`` and ``length_correlation``, as the
        pairs of numbers that their aggregations take. For log-probabilities also
        ``..._per_character``, the win by log-probability divided by the answer's characters;
        a reward is no sum over tokens, so it is not divided.

    Raises:
        DataError: if a score is not a number.
    """
    scores = [float(score) for score, _ in results]
    if np.isnan(scores).any():
        raise DataError(
            f"an answer to {doc['id']!r} has a score that is not a number: check the model's "
            "outputs or dtype."
        )
    lengths = [len(answer) for answer in doc["answers"]]
    control = doc["first_value"] == doc["second_value"]
    name = "control_preference" if control else "agency_preference"
    margin = scores[0] - scores[1]  # of equal infinities NaN: a tie without a margin
    values: dict[str, float | tuple[float, float]] = {name: _win(*scores)}
    if not control:
        values[f"{name}_{doc['topic']}"] = values[name]
    if not any(isinstance(score, Reward) for score, _ in results):
        per_character = [s / n for s, n in zip(scores, lengths, strict=True)]
        values[f"{name}_per_character"] = _win(*per_character)
    values["margin_ratio"] = (float(control), abs(margin))
    values["length_correlation"] = (margin, float(lengths[0] - lengths[1]))
    return values


def _win(first: float, second: float) -> float:
    return 0.5 if first == second else float(first > second)


def margin_ratio(items: Sequence[tuple[float, float]]) -> float:
    """Compare how far apart the answers of dilemmas and of control pairs score.

    Estimand: mean absolute margin of the dilemmas / mean absolute margin of the controls; 1 if
    agency against communion sets answers no further apart than two answers of one value. It
    has no unit, so it can be compared across scorers.

    Args:
        items: (1 for a control and 0 for a dilemma, absolute margin), one for each pair.

    Returns:
        The ratio; NaN, with a warning that says why, without pairs of a kind, with infinite
        margins or if all control margins are 0.
    """
    table = np.asarray(items, dtype=float).reshape(-1, 2)
    controls, dilemmas = (table[table[:, 0] == kind, 1] for kind in (1, 0))
    if not len(controls) or not len(dilemmas):
        return _nan("margin_ratio", "there are no dilemmas or no control pairs (--limit?)")
    if not np.isfinite(table).all():
        return _nan("margin_ratio", "a margin is not finite")
    if not controls.any():
        return _nan("margin_ratio", "all control pairs are tied")
    return float(dilemmas.mean() / controls.mean())


def correlation(items: Sequence[tuple[float, float]]) -> float:
    """Pearson's correlation of score margin and length difference over all pairs.

    Args:
        items: (score of the first answer minus that of the second, characters of the first
            minus those of the second), one for each pair.

    Returns:
        Between -1 and 1; NaN, with a warning that says why, for fewer than 3 pairs, infinite
        margins, or if either does not vary.
    """
    table = np.asarray(items, dtype=float).reshape(-1, 2)
    if len(table) < 3:
        return _nan("length_correlation", f"there are {len(table)} pairs, needed are 3")
    if not np.isfinite(table).all():
        return _nan("length_correlation", "a margin is not finite")
    if (np.ptp(table, axis=0) == 0).any():
        return _nan("length_correlation", "margins or length differences do not vary")
    return float(np.corrcoef(table.T)[0, 1])


def _nan(metric: str, reason: str) -> float:
    _log.warning("%s cannot be computed: %s.", metric, reason)
    return float("nan")
