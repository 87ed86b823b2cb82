"""Scores and ranks with known effects, for simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

MODELS = {**{f"g{i}": "Gemma" for i in range(4)}, **{f"l{i}": "Llama" for i in range(6)}}


def medians(generator, three_way=0.0, intercept=1.0, slopes=0.0, prompts=6, noise=5.0):
    """Median ranks of ten models; ``slopes``: of each model's own category x valence effect."""
    rows = []
    for model, base in MODELS.items():
        level = intercept * generator.normal()
        own = slopes * generator.normal(size=(2, 2))
        for (c, category), (v, valence) in itertools.product(
            enumerate(("Agency", "Communion")), enumerate(("positive", "negative"))
        ):
            effect = 130 + level + own[c, v] + three_way * (base == "Llama") * c * v
            for prompt in range(prompts):
                value = effect + noise * generator.normal()
                rows.append((model, base, category, valence, f"{valence}{prompt}", value))
    columns = ["model", "base", "category", "valence", "prompt", "rank"]
    return pd.DataFrame(rows, columns=columns)


def ranked(generator, models, words=(15, 15), pairs=5, lean=0.0, family=0.0, spread=None):
    """Ranks of words' contrasts, as ``ranks.contrast_ranks`` gives them.

    Normal scores with effects of size ``spread`` of model, word, word:family and pair;
    ``lean`` moves all agency words, ``family`` those of Llama models.
    """
    spread = {"model": 0.2, "word": 1.0, "word:family": 0.3, "pair": 0.2} | (spread or {})
    member = np.arange(sum(words)) < words[0]
    size = len(member)
    word = spread["word"] * generator.normal(size=size)
    own = {f: spread["word:family"] * generator.normal(size=size) for f in set(models.values())}
    pair = spread["pair"] * generator.normal(size=pairs)
    frames = []
    for model, base in models.items():
        slope = spread["model"] * generator.normal() + lean + family * (base == "Llama")
        for i in range(pairs):
            scores = word + own[base] + (slope + pair[i]) * member + generator.normal(size=size)
            frames.append(
                pd.DataFrame({
                    "model": model, "pair": f"p{i}", "word": [f"w{j}" for j in range(size)],
                    "category": np.where(member, "Agency", "Communion"),
                    "rank": size - np.argsort(np.argsort(scores)),
                })
            )  # fmt: skip
    return pd.concat(frames, ignore_index=True)
