"""How alike the two answers of each dilemma are: ``python -m benchmarks.lexicons.dilemma_balance``.

Prints the tables of this folder's README. Needs wordfreq, as ``matching`` does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks.errors import DataError, RMValueTasksError
from rm_value_tasks.tasks.dilemmas import TOPICS, Dilemma, read

__all__ = ["FEATURES", "differences", "features", "main", "openings", "surface_rule", "tables"]

_WORD = re.compile(r"[A-Za-z0-9']+")
_LISTS = {
    "you": "you your yours yourself you'll you've you're you'd",
    "i": "i i'd i'll i'm i've me my",
    "negations": "not no never nobody nothing none without cannot don't isn't doesn't won't nor",
    "hedges": "may might could perhaps maybe probably would rather little somewhat",
    "if or when": "if when once whenever until",
}
FEATURES = (
    "characters",
    "words",
    "sentences",
    "commas",
    "other marks",
    "letters a word",
    "zipf",
    "capitals",
    *_LISTS,
)
"""Surface features that could tell the sides apart without any value in them."""


def features(text: str) -> list[float]:
    """Count an answer's surface features, in the order of ``FEATURES``.

    ``zipf`` is the mean over words of wordfreq's log10 of occurrences per billion words.

    Raises:
        DataError: if wordfreq is not installed.
    """
    try:
        from wordfreq import zipf_frequency
    except ImportError as error:
        raise DataError(
            "the table needs word frequencies from the package wordfreq, which is not "
            "installed: run `pip install wordfreq` (using the task does not need it)."
        ) from error
    words = _WORD.findall(text)
    lower = [word.lower() for word in words]
    return [
        float(len(text)),
        float(len(text.split())),
        float(len(re.findall(r"[.!?](?:\s|$)", text))),
        float(text.count(",")),
        float(len(re.findall(r"[^\w\s.,']", text))),
        float(np.mean([len(word) for word in words])),
        float(np.mean([zipf_frequency(word, "en") for word in lower])),
        float(sum(word[0].isupper() for word in words)),
        *(float(sum(word in names.split() for word in lower)) for names in _LISTS.values()),
    ]


def differences(pairs: Sequence[Dilemma]) -> NDArray[np.float64]:
    """Return the features of every pair's first and second answer, shape (pairs, 2, features)."""
    return np.array([[features(pair.first), features(pair.second)] for pair in pairs])


def openings(pairs: Sequence[Dilemma]) -> tuple[int, int]:
    """Count the pairs whose answers share their first word, and their first two words."""
    starts = [(pair.first.split()[:2], pair.second.split()[:2]) for pair in pairs]
    return sum(a[0] == b[0] for a, b in starts), sum(a == b for a, b in starts)


def surface_rule(table: NDArray[np.float64]) -> float:
    """Say how often a linear rule on the surface features finds the first answer.

    Estimand: the share of pairs whose first answer the rule picks when it was fitted to the
    other pairs (leave-one-out ridge regression of 1 on the standardised differences, penalty 1);
    0.5 is what guessing gives. Unit: the pair.

    Args:
        table: shape (pairs, 2, features).
    """
    gaps = table[:, 0] - table[:, 1]
    spread = gaps.std(axis=0)
    x = gaps[:, spread > 0] / spread[spread > 0]
    right = 0.0
    for index in range(len(x)):
        rest = np.delete(x, index, axis=0)
        weights = np.linalg.solve(rest.T @ rest + np.eye(x.shape[1]), rest.sum(axis=0))
        score = x[index] @ weights
        right += 0.5 if score == 0 else float(score > 0)
    return right / len(x)


def tables() -> str:
    """Return the tables as Markdown."""
    dilemmas = [pair for pair in read() if not pair.is_control]
    controls = [pair for pair in read() if pair.is_control]
    table, control_table = differences(dilemmas), differences(controls)
    lines = [
        "| feature | agency | communion | std. difference | mean abs. | max abs. |",
        "|---|---|---|---|---|---|",
    ]
    for place, name in enumerate(FEATURES):
        first, second = table[:, 0, place], table[:, 1, place]
        gap, spread = first - second, np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
        standard = f"{gap.mean() / spread:.3f}" if spread > 0 else "0 (all equal)"
        lines.append(
            f"| {name} | {first.mean():.2f} | {second.mean():.2f} | {standard} | "
            f"{np.abs(gap).mean():.2f} | {np.abs(gap).max():.2f} |"
        )
    same, same_two = openings(dilemmas)
    topics = Counter(pair.topic for pair in dilemmas)
    lines += [
        "",
        f"{len(dilemmas)} dilemmas ({', '.join(f'{topics[t]} {t}' for t in TOPICS)}), "
        f"{len(controls)} control pairs. {same} of the dilemmas open with the same word on both "
        f"sides, {same_two} with the same two. A linear rule on the features finds the agency "
        f"answer in {surface_rule(table):.3f} of the dilemmas left out of its fitting, and the "
        f"first answer in {surface_rule(control_table):.3f} of the control pairs (0.5 is chance).",
    ]
    return "\n".join(lines)


def main() -> int:
    """Print the tables; returns the exit code."""
    try:
        print(tables())
    except RMValueTasksError as error:
        print(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
