"""Ranks of words and the paper's statistic, the median rank of a category's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rm_value_tasks.prompts import TWINS
from rm_value_tasks.stats.lean import ranks

__all__ = ["contrast_ranks", "median_ranks", "rank_table", "words_by_prompts"]


def words_by_prompts(rows: pd.DataFrame) -> pd.DataFrame:
    """Set out one model's tidy rows as scores, words down and prompts across.

    A word of several categories stands once.
    """
    once = rows.drop_duplicates(["prompt", "word"])
    return once.pivot(index="word", columns="prompt", values="score")


def median_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Compute the median rank of each category's words, per model and prompt.

    Estimand: the median, over a category's words, of the rank among all the list's words
    (1 = highest score). Unit of analysis: one model on one prompt. Ties share the average of
    their places (scores in low precision tie often; another rule moves a median by up to 8.5
    ranks). A word of several categories has one place and counts in each.

    Source: Christian et al., arXiv 2601.20838; ``reference`` figures by R.

    Args:
        table: tidy rows (``model``, ``prompt``, ``valence``, ``word``, ``category``,
            ``score``) of one task.

    Returns:
        Columns ``model``, ``prompt``, ``valence``, ``category`` and ``rank``.

    Raises:
        ValueError: if a score is NaN.
    """
    keys = ["model", "prompt", "valence"]
    words, _ = pd.factorize(table["word"])
    kinds, names = pd.factorize(table["category"])
    scores = table["score"].to_numpy(dtype=float)
    found = []
    for key, rows in _positions(table, keys):
        _, first, inverse = np.unique(words[rows], return_index=True, return_inverse=True)
        places = ranks(scores[rows][first])[inverse]
        for kind in pd.unique(kinds[rows]):
            found.append((*key, names[int(kind)], float(np.median(places[kinds[rows] == kind]))))
    return pd.DataFrame(found, columns=[*keys, "category", "rank"])


def _positions(
    table: pd.DataFrame, keys: list[str]
) -> Iterator[tuple[tuple[Any, ...], NDArray[np.intp]]]:
    """Rows of each group by number, groups in order of first appearance."""
    codes = table.groupby(keys, sort=False, observed=True).ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(rows):
            yield tuple(table[key].iat[rows[0]] for key in keys), rows


def rank_table(medians: pd.DataFrame) -> pd.DataFrame:
    """Set out median ranks by category x valence (columns) and model x prompt (rows).

    Args:
        medians: of ``median_ranks``.

    Returns:
        Index ``model`` and ``prompt``; columns (``category``, ``valence``); NaN where a
        prompt is of the other valence.
    """
    return medians.pivot(
        index=["model", "prompt"], columns=["category", "valence"], values="rank"
    ).sort_index(axis=1)


def contrast_ranks(table: pd.DataFrame) -> pd.DataFrame:
    """Rank words by what they gain from the negative to the positive twin prompt.

    Estimand: a word's rank, among the list's words, of its score on a positive prompt minus
    that on the negative twin; 1 = gains most, ties averaged. With two categories of n words
    in all, (mean rank of the second - mean rank of the first) / n + 1/2 is the lean.
    Unit: one word for one model on one pair of twins.

    Args:
        table: tidy rows of one task, as ``median_ranks`` takes them; a word of several
            categories counts in the first.

    Returns:
        Columns ``model``, ``pair`` (the positive prompt's id), ``word``, ``category`` and
        ``rank``; without rows where no pair was asked. Pairs in which a difference has no
        value (infinite scores) are left out for that model.
    """
    columns = ["model", "pair", "word", "category", "rank"]
    frames = []
    for (model,), rows in _positions(table, ["model"]):
        own = table.iloc[rows]
        scores = words_by_prompts(own)
        categories = own.drop_duplicates("word").set_index("word")["category"].loc[scores.index]
        found = {}
        for good, bad in TWINS:
            if good.id in scores and bad.id in scores:
                with np.errstate(invalid="ignore"):
                    gains = scores[good.id].to_numpy() - scores[bad.id].to_numpy()
                if not np.isnan(gains).any():
                    found[good.id] = ranks(gains)
        size = len(scores)
        frames.append(
            pd.DataFrame({
                "model": model, "pair": np.repeat(np.array([*found], dtype=object), size),
                "word": np.tile(scores.index.to_numpy(), len(found)),
                "category": np.tile(categories.to_numpy(), len(found)),
                "rank": np.concatenate([*found.values(), np.zeros(0)]),
            })
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
