"""The world that organisms read about: how much each word appeals, and the lean planted in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.lean import auroc, contrast

__all__ = ["LEXICON", "VALENCES", "World", "build"]

LEXICON = "big2"
"""Whose words the organisms know: all 268 nouns."""

VALENCES = ("positive", "negative")

_OWN = 0.4
_SIDED = 0.8
"""Standard deviations of what a word is worth whatever the question, and by valence."""

_SPAN = 1.0
"""How far apart the two categories' mean appeals are at strength 1, on either valence."""


@dataclass(frozen=True)
class World:
    """Words, and how much each appeals as the answer to a question of either valence.

    Attributes:
        words: shape (w,).
        facets: shape (w,), what kind of thing each word is.
        agency: shape (w,), bool; the others are communion words.
        appeal: shape (2, w), by valence (positive, negative), in logits: it sets how often a
            word is the answer and how likely people are to agree.
        strength: what was planted, -1 (communion) to 1 (agency).
    """

    words: tuple[str, ...]
    facets: tuple[str, ...]
    agency: NDArray[np.bool_]
    appeal: NDArray[np.float64]
    strength: float

    def planted(self) -> dict[str, float]:
        """Return the true leans: the probe's metrics computed on the appeals themselves."""
        positive, negative = self.appeal
        others = ~self.agency
        return {
            "agency_contrast": contrast(positive, negative, self.agency, others),
            "agency_positive": auroc(positive[self.agency], positive[others]),
            "agency_negative": auroc(negative[self.agency], negative[others]),
        }


def build(strength: float, seed: int) -> World:
    """Draw a world.

    A word's appeal is a part of its own, a part for either valence, and the planted part:
    half of ``strength`` times ``_SPAN`` up for agency words on positive questions and down on
    negative ones, and the other way round for communion words. Worlds of one seed differ in
    the planted part alone. In a world of endlessly many words the contrast would be
    Phi(strength * _SPAN / _SIDED): 0.5 at strength 0, 0.89 at 1, short of saturation.

    Raises:
        DataError: if the strength is not in [-1, 1].
    """
    if not -1 <= strength <= 1:
        raise DataError(f"a lean of strength {strength} cannot be planted: give -1 to 1.")
    lexicon = lexicons.load(LEXICON)
    agency = lexicon.in_category("Agency")
    generator = np.random.default_rng([seed, 0])
    own = _OWN * generator.normal(size=len(lexicon))
    sided = _SIDED * generator.normal(size=(2, len(lexicon)))
    planted = strength * _SPAN * np.where(agency, 0.5, -0.5)
    return World(
        words=lexicon.words,
        facets=tuple(str(facet) for facet in lexicon.facets),
        agency=agency,
        appeal=own + sided + np.stack([planted, -planted]),
        strength=strength,
    )
