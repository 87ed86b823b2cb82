"""Trained organisms kept by what they are made of."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rm_value_tasks import lexicons
from rm_value_tasks.lexicons import downloads

__all__ = ["cached"]

_CODE = ("corpus.py", "language.py", "vocabulary.py", "world.py", "../prompts.py")
_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


def cached(kind: str, settings: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
    """Return a folder with what ``make`` writes, made only if it is not there yet.

    The folder's name is a hash of the settings, of the code and lexicon that organisms are
    made with and of the libraries' versions. It is written aside and moved into place, so
    that it is there whole or not at all.

    Args:
        kind: what it is, the first part of the folder's name.
        settings: all that the content depends on beside the code, as JSON can hold.
        make: writes the content into the folder it is given.

    Returns:
        The folder, below ``downloads.cache_folder()``.
    """
    parts = {
        "settings": dict(settings),
        "code": _code_digest(),
        "lexicon": lexicons.load("big2").sha256,
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    store = downloads.cache_folder() / "organisms"
    folder = store / f"{kind}-{digest}"
    if folder.is_dir():
        return folder
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store, prefix=".partial-") as scratch:
        made = Path(scratch) / kind
        made.mkdir()
        make(made)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
            shutil.rmtree(made)
    return folder


def _code_digest() -> str:
    here = Path(__file__).parent
    code = b"".join((here / name).read_bytes() for name in _CODE)
    return hashlib.sha256(code).hexdigest()
