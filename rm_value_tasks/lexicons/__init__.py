"""Words with categories: the embedded lexicons, the published ones and the user's own."""

from rm_value_tasks.lexicons.lexicon import BIG_TWO, NAMES, Lexicon, load, parse

__all__ = ["BIG_TWO", "NAMES", "Lexicon", "load", "parse"]
