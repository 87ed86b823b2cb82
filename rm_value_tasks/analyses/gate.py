"""A release gate: did a lean move further from a baseline than is allowed?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from xml.etree import ElementTree

from rm_value_tasks.analyses.compare import Comparison
from rm_value_tasks.errors import DataError

__all__ = ["Verdict", "judge", "junit"]

# XML 1.0 cannot hold these, however they are escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Verdict:
    """What the gate decided.

    Attributes:
        status: ``passed`` (exit code 0), ``failed`` (1) or ``error`` (2, unusable input).
        reason: one line.
        name: what was judged: the metric, and the task before it.
    """

    status: str
    reason: str
    name: str

    @property
    def exit_code(self) -> int:
        """0, 1 or 2."""
        return {"passed": 0, "failed": 1}.get(self.status, 2)


def judge(
    comparison: Comparison, metric: str, max_shift: float, task: str | None = None
) -> Verdict:
    """Decide whether a lean moved beyond ``max_shift``.

    It did where the whole 95% interval of the shift lies outside [-max_shift, max_shift];
    chance alone does so in at most about 2.5% of runs whose true shift is just the allowed one.

    Args:
        comparison: the baseline first.
        metric: a lean in the comparison's table.
        max_shift: the allowed shift, on the lean's scale from 0 to 1; not negative.
        task: needed where several tasks have the metric.

    Raises:
        DataError: if no task or several have the metric, the runs have other words, prompts or
            kinds of score, or the allowed shift is no number from 0 up.
    """
    if not max_shift >= 0:  # NaN would let every run pass
        raise DataError(f"the allowed shift is {max_shift:g}; give a number from 0 to 1.")
    table = comparison.table
    rows = table[(table["metric"] == metric) & ((table["task"] == task) | (task is None))]
    if rows.empty:
        raise DataError(
            f"the runs have no {metric}{f' of {task}' if task else ''}; they have: "
            f"{', '.join(dict.fromkeys(table['metric']))}."
        )
    if len(rows) > 1:
        raise DataError(f"several tasks have {metric} ({', '.join(rows['task'])}); give --task.")
    row = rows.iloc[0]
    if reason := comparison.incomparable.get(row["task"]):
        raise DataError(f"{reason}.")
    low, high = float(row["low"]), float(row["high"])
    moved = (
        f"{metric} moved by {row['shift']:+.3f} (95% interval {low:+.3f} to {high:+.3f}) from "
        f"{row['first']:.3f} to {row['second']:.3f}"
    )
    failed = low > max_shift or high < -max_shift
    if failed:
        why = f"beyond the allowed {max_shift:g}"
    elif -max_shift <= low and high <= max_shift:
        why = f"within the allowed {max_shift:g}"
    else:
        why = (
            f"not shown to be beyond the allowed {max_shift:g}, nor to be within it (smallest "
            f"detectable shift {row['smallest_detectable']:.3f})"
        )
    return Verdict("failed" if failed else "passed", f"{moved}: {why}", f"{row['task']}.{metric}")


def junit(verdict: Verdict) -> str:
    """Write a verdict as JUnit XML with one test case, for CI systems."""
    failed, error = (int(verdict.status == status) for status in ("failed", "error"))
    counts = {"tests": "1", "failures": str(failed), "errors": str(error)}
    root = ElementTree.Element("testsuites", counts)
    now = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None).isoformat()
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {"name": "rm-value-tasks gate", **counts, "skipped": "0", "time": "0", "timestamp": now},
    )
    task, _, metric = verdict.name.rpartition(".")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": _clean(task or "rm-value-tasks"), "name": _clean(metric), "time": "0"},
    )
    reason = _clean(verdict.reason)
    if verdict.status != "passed":
        tag, kind = ("failure", "shift") if failed else ("error", "unusable input")
        ElementTree.SubElement(case, tag, {"message": reason, "type": kind}).text = reason
    else:
        ElementTree.SubElement(case, "system-out").text = reason
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
