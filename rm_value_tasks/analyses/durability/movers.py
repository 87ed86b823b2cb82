"""Which words moved most during training."""

from __future__ import annotations

import pandas as pd

from rm_value_tasks.figures import word_ridits
from rm_value_tasks.results import Results

__all__ = ["word_moves"]


def word_moves(
    results: Results, task: str, rows: pd.DataFrame, by: str, *, since: float = 0
) -> pd.DataFrame:
    """Compare each word's ridit after training with its ridit when training had begun.

    Args:
        results: holds the runs, samples included.
        task: the value task.
        rows: checkpoints of one base in one setting.
        by: ``contrast``, ``positive`` or ``negative`` (``figures.word_ridits``).
        since: "begun" is the first checkpoint at or above so many preference pairs, and after
            step 0, since the untrained score head is random.

    Returns:
        Index word; ``category``, ``before``, ``after`` (ridits from 0 to 1, means over seeds)
        and ``move`` (after minus before), largest moves first; empty where a cell has fewer
        than two such checkpoints.
    """
    trained = rows[(rows["step"] > 0) & (rows["pairs_seen"] >= since)].sort_values("step")
    ends = trained.groupby("seed")["model"].agg(["first", "last", "size"])
    ends = ends[ends["size"] > 1]
    if ends.empty:
        return pd.DataFrame(columns=["category", "before", "after", "move"])
    before, after = (_ridits(results, task, list(ends[end]), by) for end in ("first", "last"))
    moved = before.rename(columns={by: "before"}).assign(after=after[by])
    moved["move"] = moved["after"] - moved["before"]
    order = moved["move"].abs().sort_values(ascending=False, kind="stable").index
    return moved.loc[order]


def _ridits(results: Results, task: str, models: list[str], by: str) -> pd.DataFrame:
    table = results.table
    own = table[(table["task"] == task) & table["model"].isin(models)]
    return word_ridits(own).groupby("word").agg({"category": "first", by: "mean"})
