"""The moral foundations as the paper analysed them, and complete."""

from __future__ import annotations

import pandas as pd

from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.ranks import median_ranks

__all__ = ["as_published", "foundation_ranks"]

_DROPPED = "Sanctity/Vice"


def as_published(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce a run on the complete dictionary to what the paper analysed.

    The paper's script drops the last column, Sanctity/Vice (388 of 2,040 words), and merges
    virtue and vice, so that a foundation's median depends on how many of each it has.

    Args:
        table: tidy rows whose categories are ``Care/Virtue``, ``Care/Vice`` and so on.

    Returns:
        The rows without Sanctity/Vice, categories without their side; a word of both sides
        of one foundation has one row.

    Raises:
        DataError: if a category has no side.
    """
    if not table["category"].str.contains("/", regex=False).all():
        raise DataError(
            "the moral foundations as published come from categories such as Care/Virtue; got "
            f"{table['category'].iloc[0]}."
        )
    kept = table[table["category"] != _DROPPED]
    kept = kept.assign(category=kept["category"].str.partition("/")[0])
    return kept.drop_duplicates([name for name in kept if name != "score"])


def foundation_ranks(table: pd.DataFrame, *, published: bool = False) -> pd.DataFrame:
    """Compute median ranks of the foundations, complete or as published.

    Estimand, unit and ties: ``ranks.median_ranks``; the words ranked are those kept, so the
    two forms are on different scales (1,652 and 2,040 words on MFD 2.0).

    Args:
        table: tidy rows whose categories are ``Care/Virtue``, ``Care/Vice`` and so on.
        published: virtue and vice merged, Sanctity/Vice left out, instead of all apart.

    Returns:
        As ``ranks.median_ranks``.

    Raises:
        DataError: as ``as_published``.

    Source: Christian et al., arXiv 2601.20838; Frimer 2019, Moral Foundations Dictionary 2.0.
    """
    return median_ranks(as_published(table) if published else table)
