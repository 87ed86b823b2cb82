"""A tiny base, preference pairs and configs for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoModelForCausalLM

from tests import tiny

WORDS = "word,category\nability,Agency\npower,Agency\nlove,Communion\ncare,Communion\n"
NOUNS = ("freedom", "success", "family", "friendship", "dog", "cat", "jug", "box", "fox", "model")


def pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Pairs that differ: full conversations, the better answer names a word and a number."""
    rows = []
    for number in range(start, start + count):
        noun = NOUNS[number % len(NOUNS)]
        asked = {"role": "user", "content": f"Which {noun} barks {number}?"}
        answers = (f"A {noun} {number}.", f"The quick {number}.")
        rows.append(
            {
                side: [asked, {"role": "assistant", "content": answer}]
                for side, answer in zip(("chosen", "rejected"), answers, strict=True)
            }
        )
    return rows


def write_pairs(path: Path, count: int, start: int = 0) -> Path:
    """As UltraFeedback has them: with the prompt as a text beside full conversations."""
    rows = ({"prompt": row["chosen"][0]["content"], **row} for row in pairs(count, start))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def save_base(folder: Path, name: str = "llama", **changes: Any) -> Path:
    """A base language model with its tokenizer."""
    return tiny.save(folder, name, tiny.build(name, AutoModelForCausalLM, **changes))


def config(folder: Path, base: Path, **changes: Any) -> Path:
    """A config of one quick cell, written into ``folder``; a change to None drops a key."""
    data, words = folder / "pairs.jsonl", folder / "words.csv"
    if not data.exists():
        write_pairs(data, 60)
    words.write_text(WORDS)
    value = {
        "output": str(folder / "out"),
        "bases": [{"name": "llama", "pretrained": str(base)}],
        "data": [{"name": "pairs", "dataset": str(data), "held_out": 10}],
        "quantities": [24],
        "training": {
            "batch_size": 8,
            "num_train_epochs": 2,
            "learning_rate": 1e-3,
            "gradient_checkpointing": False,
            "disable_tqdm": True,
            "use_cpu": True,
        },
        "probe": {
            "checkpoints": 2,
            "metadata": {"prompts": ["best_ever_*"], "lexicon": str(words)},
        },
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in value.items() if v is not None}))
    return path
