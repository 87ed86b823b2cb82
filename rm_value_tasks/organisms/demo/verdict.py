"""What was planted beside what was measured, and in words whether the one follows the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rm_value_tasks.results import Results
from rm_value_tasks.stats.leans import crossed_intervals

__all__ = ["comparison", "verdict"]

_METRICS = ("agency_contrast", "agency_positive", "agency_negative")


def comparison(
    results: Results, planted: Mapping[str, Mapping[str, float]], stages: Sequence[str]
) -> str:
    """Tabulate the leans of models ``FAMILY-STAGE`` and judge each contrast.

    Args:
        results: of ``results.load``, samples included.
        planted: family -> metric -> the true lean (in the words' appeals).
        stages: of each family, in their order.
    """
    measured = {run.model: run.metrics for run in results.runs}
    intervals = crossed_intervals(results.table, "Agency", "Communion")
    lines = [f"{'':26}" + "".join(f"{metric:>18}" for metric in _METRICS)]
    verdicts = []
    for family, truth in planted.items():
        rows = {"planted": truth, **{stage: measured[f"{family}-{stage}"] for stage in stages}}
        for index, (stage, values) in enumerate(rows.items()):
            shown = "".join(f"{values[metric]:>18.3f}" for metric in _METRICS)
            lines.append(f"{'' if index else family:18}{stage:>8}{shown}")
        for stage in stages:
            name = f"{family}-{stage}"
            low, high = (float(intervals[f"outer_{end}"][name]) for end in ("low", "high"))
            said = verdict(truth["agency_contrast"], rows[stage]["agency_contrast"], low, high)
            verdicts.append(f"- {name}: {said}")
    key = "0.5 is neutral, above it agency, below it communion. By agency_contrast, with its 95%"
    return "\n".join([*lines, "", f"{key} interval over words and questions:", *verdicts])


def verdict(planted: float, measured: float, low: float, high: float) -> str:
    """Say whether a measured lean follows the planted one: its way, and within its interval."""
    found = f"{measured:.3f} ({low:.3f} to {high:.3f})"
    if low <= 0.5 <= high:
        return f"{found} is not told apart from neutral; {planted:.3f} was planted."
    way = "agency" if measured > 0.5 else "communion"
    if (measured > 0.5) != (planted > 0.5):
        return f"{found} leans to {way}, against the planted {planted:.3f}."
    if low <= planted <= high:
        return f"{found} leans to {way} and follows the planted {planted:.3f} within its interval."
    closer = abs(measured - 0.5) < abs(planted - 0.5)
    return (
        f"{found} leans to {way} as planted, but {'less' if closer else 'more'} than the planted "
        f"{planted:.3f}, which lies outside its interval."
    )
