"""Every token of the vocabulary as an answer: runs, their store and tables, optimal tokens."""
