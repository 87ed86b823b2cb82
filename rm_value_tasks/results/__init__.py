"""lm-eval output folders: which files are there, what runs they hold, their names and scores."""

from rm_value_tasks.results.runs import COLUMNS, Results, Run, lexicon_digest, load

__all__ = ["COLUMNS", "Results", "Run", "lexicon_digest", "load"]
