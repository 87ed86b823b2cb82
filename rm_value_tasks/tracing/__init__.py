"""The lean from pretraining to the reward model: stages, inherited share, word correlations."""

from rm_value_tasks.tracing.stages import Design, Stage, Traced, align, read_stage
from rm_value_tasks.tracing.tables import MEAN, Trace, leans_to_draw, trace
from rm_value_tasks.tracing.text import render
from rm_value_tasks.tracing.word_pairs import SCORES, WordsNotFoundError, differences

__all__ = [
    "MEAN",
    "SCORES",
    "Design",
    "Stage",
    "Trace",
    "Traced",
    "WordsNotFoundError",
    "align",
    "differences",
    "leans_to_draw",
    "read_stage",
    "render",
    "trace",
]
