"""How the lean from the embedded nouns orders the ten published reward models.

Compares it with the lean from the published nouns, on the published scores. Only the
embedded words that those scores hold can be used; no word was chosen with their help.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.stats.lean import contrast

__all__ = ["Agreement", "Scores", "compare", "describe", "lean_of", "read_scores"]

Scores = Mapping[str, Mapping[str, float]]
"""Prompt id -> word -> reward."""


@dataclass(frozen=True)
class Agreement:
    """Leans of the same models by two lexicons, and how alike they order the models.

    Attributes:
        models: shape (m,), file stems.
        published: shape (m,), ``agency_contrast`` by the published nouns.
        embedded: shape (m,), the same by the embedded nouns that the scores hold.
        words: how many of the embedded agency and communion nouns those are.
        spearman: rank correlation of the two.
        kendall: tau-b of the two.
    """

    models: tuple[str, ...]
    published: tuple[float, ...]
    embedded: tuple[float, ...]
    words: tuple[int, int]
    spearman: float
    kendall: float


def read_scores(path: Path) -> Scores:
    """Read one model's scores: a row per ``response``, a column per prompt id.

    Raises:
        DataError: if a column is missing or a score is no number.
    """
    scores: dict[str, dict[str, float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            try:
                word = row.pop("response")
                for prompt, score in row.items():
                    scores.setdefault(prompt, {})[word] = float(score)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path} is no table of scores: each row needs a 'response' and a number "
                    f"per prompt ({error})."
                ) from error
    return scores


def lean_of(scores: Scores, lexicon: Lexicon, words: Sequence[str]) -> float:
    """Return ``agency_contrast`` over some of a lexicon's words: the mean of the 27 twins'."""
    use = np.isin(lexicon.words, words)
    chosen = [word for word, used in zip(lexicon.words, use, strict=True) if used]
    agency, communion = (lexicon.in_category(name)[use] for name in lexicons.BIG_TWO)
    leans = [
        contrast(
            [scores[positive.id][word] for word in chosen],
            [scores[negative.id][word] for word in chosen],
            agency,
            communion,
        )
        for positive, negative in TWINS
    ]
    return float(np.mean(leans))


def compare(folder: Path) -> Agreement:
    """Compare the two lexicons on every model's scores in a folder of CSV files.

    Raises:
        DataError: if there are fewer than three files, or the published nouns cannot be had.
    """
    from scipy.stats import kendalltau, spearmanr

    paths = sorted(folder.glob("*.csv"))
    if len(paths) < 3:
        raise DataError(f"{folder} holds {len(paths)} CSV files of scores; needed: 3 or more.")
    embedded, published = lexicons.load("big2"), lexicons.load("big2_nouns")
    scores = [read_scores(path) for path in paths]
    shared = [w for w in embedded.words if all(w in s[TWINS[0][0].id] for s in scores)]
    by_published = tuple(lean_of(s, published, published.words) for s in scores)
    by_embedded = tuple(lean_of(s, embedded, shared) for s in scores)
    agency, communion = (
        int(embedded.in_category(name)[np.isin(embedded.words, shared)].sum())
        for name in lexicons.BIG_TWO
    )
    return Agreement(
        models=tuple(path.stem for path in paths),
        published=by_published,
        embedded=by_embedded,
        words=(agency, communion),
        spearman=float(spearmanr(by_published, by_embedded).statistic),
        kendall=float(kendalltau(by_published, by_embedded).statistic),
    )


def describe(agreement: Agreement) -> str:
    """Write the comparison as Markdown, the most agentic model by the published nouns first."""
    rows = sorted(
        zip(agreement.models, agreement.published, agreement.embedded, strict=True),
        key=lambda row: -row[1],
    )
    return "\n".join(
        [
            "| model | published nouns | embedded nouns |",
            "|---|---|---|",
            *(f"| {model} | {first:.4f} | {second:.4f} |" for model, first, second in rows),
            "",
            f"Words used: {agreement.words[0]} agency, {agreement.words[1]} communion. "
            f"Spearman {agreement.spearman:.3f}, Kendall {agreement.kendall:.3f}.",
        ]
    )
