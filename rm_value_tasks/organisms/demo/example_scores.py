"""Make ``example_scores.csv``: synthetic rewards with a planted lean to agency.

Each word has a score of its own; on positive prompts agency words gain 0.25 and on
negative ones they lose it, and every cell has normal noise of standard deviation 0.5. The
true ``agency_contrast`` is therefore Phi(0.5 / (0.5 * sqrt(2) * sqrt(2))) = Phi(0.5) = 0.69.

Run ``python -m rm_value_tasks.organisms.demo.example_scores`` to write the file again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rm_value_tasks import lexicons
from rm_value_tasks.prompts import PROMPTS

__all__ = ["EXAMPLE_SCORES", "make"]

EXAMPLE_SCORES = Path(__file__).with_name("example_scores.csv")


def make(seed: int = 0) -> pd.DataFrame:
    """Return the scores in wide form: ``response`` and one column for each prompt id."""
    generator = np.random.default_rng(seed)
    lexicon = lexicons.load("big2")
    words = len(lexicon.words)
    own = generator.normal(size=words)
    agency = lexicon.in_category("Agency")
    columns: dict[str, object] = {"response": list(lexicon.words)}
    for prompt in PROMPTS:
        sign = 1 if prompt.valence == "positive" else -1
        noise = generator.normal(scale=0.5, size=words)
        columns[prompt.id] = np.round(own + sign * 0.25 * agency + noise, 4)
    return pd.DataFrame(columns)


if __name__ == "__main__":
    make().to_csv(EXAMPLE_SCORES, index=False)
