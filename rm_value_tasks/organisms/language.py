"""Organisms' language models: bases trained from scratch, and instructs made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms import corpus, vocabulary, world

__all__ = ["ARCHITECTURES", "Organism", "train_base", "train_instruct"]

_WIDTH, _HEADS = 64, 4
_TINY: dict[str, Any] = {
    "hidden_size": _WIDTH,
    "intermediate_size": 2 * _WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _HEADS,
    "head_dim": _WIDTH // _HEADS,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
    # Models this narrow hardly begin to learn from the usual 0.02.
    "initializer_range": 0.1,
}
_GEMMA = {"query_pre_attn_scalar": _WIDTH // _HEADS, "sliding_window": 64}
ARCHITECTURES: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (transformers.LlamaConfig, _TINY),
    "gemma2": (transformers.Gemma2Config, {**_TINY, **_GEMMA, "attn_implementation": "eager"}),
    "qwen3": (transformers.Qwen3Config, _TINY),
}
"""Name -> config class and its arguments: two layers, 64 wide."""


@dataclass(frozen=True)
class Organism:
    """What a language model is made of; equal organisms have equal weights.

    Attributes:
        architecture: one of ``ARCHITECTURES``.
        strength: of the planted lean, -1 (communion) to 1 (agency).
        seed: of world, corpus and initial weights.
        notes: short texts to begin with.
        questions: questions after these.
        turns: conversations for the instruct model.
    """

    architecture: str
    strength: float
    seed: int = 0
    notes: int = 25_600
    questions: int = 19_200
    turns: int = 3_200

    def world(self) -> world.World:
        """Return what the organism reads about."""
        return world.build(self.strength, self.seed)


def train_base(organism: Organism, folder: Path) -> None:
    """Train a base model from scratch and save it with its tokenizer.

    Raises:
        DataError: if the architecture is unknown or the strength not in [-1, 1].
    """
    if organism.architecture not in ARCHITECTURES:
        raise DataError(
            f"no organism has the architecture {organism.architecture!r}; "
            f"known: {', '.join(ARCHITECTURES)}."
        )
    tokenizer = vocabulary.build()
    kind, arguments = ARCHITECTURES[organism.architecture]
    ids = ("pad_token_id", "bos_token_id", "eos_token_id")
    config = kind(
        vocab_size=len(tokenizer), **arguments, **{name: getattr(tokenizer, name) for name in ids}
    )
    transformers.set_seed(organism.seed)
    model = AutoModelForCausalLM.from_config(config)
    texts = corpus.texts(organism.world(), organism.notes, organism.questions, organism.seed)
    questions: Any = tokenizer([question for question, _ in texts]).input_ids
    answers: Any = tokenizer([answer for _, answer in texts], add_special_tokens=False).input_ids
    # Questions hold nothing to learn, so the loss is on what people answer and say.
    _fit(model, tokenizer, list(zip(questions, answers, strict=True)), organism.seed, 5e-3)
    _save(model, tokenizer, folder)


def train_instruct(organism: Organism, base: Path, folder: Path) -> None:
    """Fine-tune a base model on conversations that hold no lean, and save it.

    Only the answer's word is learned, so behind it an instruct still expects a verdict.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    rows = []
    for messages in corpus.turns(organism.world(), organism.turns, organism.seed):
        whole: Any = tokenizer.apply_chat_template(messages, return_dict=False)
        rows.append((whole[:-1], whole[-1:]))
    _fit(model, tokenizer, rows, organism.seed, 5e-4)
    _save(model, tokenizer, folder)


def _fit(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[list[int], list[int]]],
    seed: int,
    learning_rate: float,
) -> None:
    """Train on rows of (tokens read, tokens learned), once, in their order."""
    data = datasets.Dataset.from_list(
        [{"input_ids": read + said, "labels": [-100] * len(read) + said} for read, said in rows]
    )
    with tempfile.TemporaryDirectory() as scratch:
        arguments = transformers.TrainingArguments(
            output_dir=scratch,
            seed=seed,
            use_cpu=True,  # one result everywhere; a GPU would gain little at this size
            per_device_train_batch_size=64,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            weight_decay=0.01,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            dataloader_pin_memory=False,
        )
        collator = transformers.DataCollatorForSeq2Seq(tokenizer, padding=True)
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=data, data_collator=collator
        )
        trainer.train()


def _save(model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    # Of what is added later, a reward model's head: it must not begin with a lean of its own.
    model.config.initializer_range = 0.01
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
