"""A mistake of the user's is one sentence on the terminal of the ``lm_eval`` command.

Python shows an error that nobody catches under the calls that led to it, 25 to 45 lines of
lm-eval's. Where lm-eval runs as a command and a model or task of ours is in play, errors of ours
are shown alone, and so are those of the libraries that look for what the user named. What the
Python API raises stays as it is, and so does the exit code, 1. ``LMEVAL_LOG_LEVEL=DEBUG`` shows
the calls.
"""

import logging
import os
import sys

__all__ = ["install", "sentence"]

_LIBRARIES = ("transformers", "huggingface_hub", "datasets", "safetensors", "tokenizers", "peft")
_OURS = ("reward", "generative-judge", "hf-shared-prefix", "value_bias", "rm_preferences")
"""What names of our models and tasks hold; in other runs lm-eval's errors are lm-eval's."""
_FLAGS = ("--model", "-M", "--tasks", "-t")
_ROOMS = ("rm_value_tasks.models", "rm_value_tasks.tasks")


def install():
    """Show mistakes as sentences if this process is the ``lm_eval`` command."""
    program = os.path.abspath(sys.argv[0]) if sys.argv and sys.argv[0] else ""
    folder, name = os.path.split(program)
    as_module = name == "__main__.py" and os.path.basename(folder) == "lm_eval"
    if not (as_module or name.partition(".")[0] in ("lm_eval", "lm-eval")):
        return
    before = sys.excepthook

    def hook(kind, error, traceback):
        told = None if logging.getLogger("lm_eval").isEnabledFor(logging.DEBUG) else sentence(error)
        if told is None:
            before(kind, error, traceback)
        else:
            sys.stderr.write(f"lm_eval: {told}\n")

    sys.excepthook = hook


def _in_play():
    """Whether a model or task of ours is asked for, or was loaded."""
    asked = []
    for before, argument in zip(["", *sys.argv[:-1]], sys.argv, strict=True):
        if before in _FLAGS:
            asked.append(argument)
        elif argument.partition("=")[0] in _FLAGS:
            asked.append(argument.partition("=")[2])
    ours = any(name in argument for argument in asked for name in _OURS)
    return ours or any(name.startswith(_ROOMS) for name in sys.modules)


def sentence(error):
    """Return what to show of an error instead of its traceback; None for a fault of a program.

    Args:
        error: an exception that nobody caught.
    """
    from rm_value_tasks.errors import RMValueTasksError

    cause = error
    while cause is not None:
        if isinstance(cause, RMValueTasksError):
            return " ".join(str(cause).split())
        cause = cause.__cause__
    if not _in_play() or not isinstance(error, (OSError, ValueError)):
        return None
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    roots = {name.partition(".")[0] for name in (raised_in, type(error).__module__)}
    if not roots.intersection(_LIBRARIES):
        return None
    # Theirs are several lines; the first says what, the others how to look further.
    first = str(error).strip().partition("\n")[0].strip()
    return f"{first[:500]} (LMEVAL_LOG_LEVEL=DEBUG shows where)" if first else None
