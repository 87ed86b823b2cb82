"""The errors that a user can cause; each message is one sentence saying what to do."""

__all__ = ["DataError", "ModelError", "RMValueTasksError"]


class RMValueTasksError(Exception):
    """Base of every error that this package raises on purpose."""


class DataError(RMValueTasksError):
    """A file, lexicon, prompt or result that cannot be used as given."""


class ModelError(RMValueTasksError):
    """A model, tokenizer or score that cannot be used as given."""
