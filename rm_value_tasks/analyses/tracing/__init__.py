"""The lean from pretraining to the reward model: stages, inherited share, word correlations."""

from rm_value_tasks.analyses.tracing.stages import Design, Stage, Traced, align, read_stage
from rm_value_tasks.analyses.tracing.tables import MEAN, Trace, leans_to_draw, trace
from rm_value_tasks.analyses.tracing.text import render
from rm_value_tasks.analyses.tracing.word_pairs import SCORES, WordsNotFoundError, differences

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
