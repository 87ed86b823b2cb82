"""Tokens that one language model finds more likely than another: optimal and pessimal ones.

Table 1 of Christian et al. (arXiv 2601.20838): two models' next-token distributions after one
prompt, joined on the text that tokens stand for, scored by an implicit reward and ordered.
"""

from rm_value_tasks.vocabulary.optimal_tokens.ranking import (
    SCORES,
    average_forms,
    join,
    rank_tokens,
    word_scores,
)
from rm_value_tasks.vocabulary.optimal_tokens.tables import FORMATS, Heading

__all__ = ["FORMATS", "SCORES", "Heading", "average_forms", "join", "rank_tokens", "word_scores"]
