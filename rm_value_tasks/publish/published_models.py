"""The ten published reward models as rows to compare with.

Made by ``benchmarks.lexicons.published_models`` from the reward scores that the paper's
authors published (arXiv 2601.20838), with the published nouns (``big2_nouns``).
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

__all__ = ["LEANS", "LEXICON", "LEXICON_DIGEST", "PAIRS", "RANKS", "load", "same_lexicon"]

LEXICON = "big2_nouns"
LEXICON_DIGEST = "1af70729a0f9778bb96012d934d5087dd2c51c04942f064de699c5a67740d900"
"""``results.lexicon_digest`` of the published nouns with their categories."""

PAIRS = 27
"""Prompt twins behind each reference row."""

LEANS = ("agency_contrast", "agency_positive", "agency_negative")
RANKS = tuple(
    f"{category}_rank_{side}"
    for side in ("positive", "negative")
    for category in ("agency", "communion")
)


def load() -> pd.DataFrame:
    """Return the packaged table.

    Returns:
        Ten rows; ``model``, ``base`` (``Gemma`` or ``Llama``), the columns of ``LEANS``
        (probabilities), each with its ``_stderr`` over the 27 prompt twins, and of ``RANKS``
        (median rank among 263 words, mean over prompts).
    """
    path = files("rm_value_tasks.publish").joinpath("published_models.csv")
    with path.open(encoding="utf-8") as file:
        return pd.read_csv(file)


def same_lexicon(lexicon: str, digest: str) -> bool:
    """Whether a run's words and categories are those of the reference rows.

    Args:
        lexicon: the name that the run's task was given.
        digest: of the run's words (``results.lexicon_digest``), empty if unknown; then the
            name decides, since a known name cannot stand for another file.
    """
    return digest == LEXICON_DIGEST if digest else lexicon == LEXICON
