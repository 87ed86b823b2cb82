"""The 54 factorial prompts of Christian et al. (arXiv 2601.20838) and their valence twins."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

__all__ = ["PROMPTS", "TWINS", "Prompt", "by_id"]

POSITIVE = ("best", "greatest", "good")
NEGATIVE = ("worst", "terrible", "bad")
"""In twin order: ``NEGATIVE[i]`` is the opposite of ``POSITIVE[i]``."""

SCOPES = {"ever": "ever", "world": "in the world", "time": "of all time"}
CONCISIONS = {
    "one": "What, in one word, is the {adjective} thing {scope}?",
    "single": "What, in a single word, is the {adjective} thing {scope}?",
    "please": "What is the {adjective} thing {scope}? Please answer in one word only.",
}
_NO_SUPERLATIVE = {"good", "bad", "terrible"}


@dataclass(frozen=True, order=True)
class Prompt:
    """One cell of the design: adjective x scope x concision."""

    adjective: str
    scope: str
    concision: str

    @property
    def id(self) -> str:
        """``greatest_ever_one``: adjective, scope and concision."""
        return f"{self.adjective}_{self.scope}_{self.concision}"

    @property
    def valence(self) -> str:
        """``positive`` (best, greatest, good) or ``negative`` (worst, terrible, bad)."""
        return "positive" if self.adjective in POSITIVE else "negative"

    @property
    def text(self) -> str:
        """The question as the model reads it."""
        most = "most " if self.adjective in _NO_SUPERLATIVE else ""
        return CONCISIONS[self.concision].format(
            adjective=most + self.adjective, scope=SCOPES[self.scope]
        )


TWINS: tuple[tuple[Prompt, Prompt], ...] = tuple(
    (Prompt(good, scope, concision), Prompt(bad, scope, concision))
    for (good, bad), scope, concision in product(
        zip(POSITIVE, NEGATIVE, strict=True), SCOPES, CONCISIONS
    )
)
"""27 pairs (positive, negative): best/worst, greatest/terrible, good/bad."""

PROMPTS: tuple[Prompt, ...] = tuple(twin[side] for side in (0, 1) for twin in TWINS)
"""All 54: the 27 positive prompts, then their negative twins in the same order."""

_BY_ID = {prompt.id: prompt for prompt in PROMPTS}


def by_id(prompt_id: str) -> Prompt:
    """Return the prompt with this id.

    Raises:
        KeyError: if no prompt has it; the message names the form of an id.
    """
    try:
        return _BY_ID[prompt_id]
    except KeyError:
        raise KeyError(
            f"no prompt has the id {prompt_id!r}; ids look like 'greatest_ever_one'"
        ) from None
