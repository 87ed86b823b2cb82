"""How a chat template, a program from a model's folder, is run: for so long, on such a day."""

from __future__ import annotations

import datetime
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import chat_template_utils

__all__ = ["clock_at", "pinned", "time_limit"]


def clock_at(moment: datetime.datetime) -> type[datetime.datetime]:
    """Return a clock that stands at a moment."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls.fromisoformat(moment.isoformat())

    return Clock


@contextmanager
def pinned(clock: type[datetime.datetime]) -> Iterator[None]:
    """Let the ``strftime_now`` of ``transformers`` look at another clock.

    Templates get plain data alone, so it cannot be passed to them.
    """
    module: Any = chat_template_utils
    before, module.datetime = module.datetime, clock
    try:
        yield
    finally:
        module.datetime = before


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop what takes more than ``seconds``, where the system and the thread allow it."""
    if not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"it did not end within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, outer)
        signal.signal(signal.SIGALRM, before)
