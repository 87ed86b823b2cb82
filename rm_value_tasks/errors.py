"""The errors that a user can cause; each message is one sentence saying what to do."""

import difflib
from collections.abc import Iterable

__all__ = ["DataError", "ModelError", "RMValueTasksError", "meant"]


class RMValueTasksError(Exception):
    """Base of every error that this package raises on purpose."""


class DataError(RMValueTasksError):
    """A file, lexicon, prompt or result that cannot be used as given."""


class ModelError(RMValueTasksError):
    """A model, tokenizer or score that cannot be used as given."""


def meant(given: object, known: Iterable[str]) -> str:
    """Say which of the ``known`` names may have been meant by an unknown one."""
    known = list(known)
    near = difflib.get_close_matches(str(given), known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(known)}."
