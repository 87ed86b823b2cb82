"""The names of a checkpoint's tensors, and some of the tensors, without the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from transformers.utils import cached_file

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.opening import in_one_sentence

__all__ = ["WeightFiles"]

_SHARDED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_HEADS = {"value_head.safetensors": "", "regression_layer.pt": "regression_layer.",
          "gating_layer.pt": "gating_layer."}  # fmt: skip
"""Files beside the model's own that hold a head, and what their tensors' names lack."""


_BYTES = {"float64": 8, "float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}


class WeightFiles:
    """A checkpoint's tensors by name.

    Args:
        name: a folder or a repository on the hub.
        download: whether a hub's weights may be downloaded for the names of tensors; if not,
            the hub is asked for the files' headers alone.
        where: ``revision`` and ``subfolder``.

    Attributes:
        files: from a tensor's name to the file that holds it; empty where nothing was found.
    """

    def __init__(self, name: str, *, download: bool = True, **where: Any) -> None:
        self._name = name
        self._where = where
        self.files: dict[str, str] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._known: dict[str, tuple[int, ...]] | None = None
        if not self._read_index() and not self._read_single(local=not download) and not download:
            self._read_headers()
        for file, prefix in _HEADS.items():
            if path := self._find(file):
                with in_one_sentence(f"{file} of {self._name!r}"):
                    self.files.update({prefix + key: file for key in _names(path)})

    def read(self, prefixes: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the tensors whose names start with one of ``prefixes``, by full name."""
        found: dict[str, torch.Tensor] = {}
        starts = tuple(prefixes)
        wanted = [key for key in self.files if starts and key.startswith(starts)]
        for file in dict.fromkeys(self.files[key] for key in wanted):
            keys = [key for key in wanted if self.files[key] == file]
            prefix = _HEADS.get(file, "")
            path = str(cached_file(self._name, file, **self._where))
            tensors = _tensors(path, [key.removeprefix(prefix) for key in keys])
            found.update({prefix + key: tensor for key, tensor in tensors.items()})
        return found

    def shaped(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return tensors by name, or zeros of the same shape where the weights are not here.

        Tensors whose shape is not known either are left out.
        """
        wanted = [name for name in names if name in self.files]
        files = {self.files[name] for name in wanted}
        if all(self._find(file, local_files_only=True) for file in files):
            return {name: tensor for name, tensor in self.read(wanted).items() if name in wanted}
        if not self._shapes:
            self._read_headers()
        return {name: torch.zeros(self._shapes[name]) for name in wanted if name in self._shapes}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of tensors, of those that are here or whose headers are known."""
        if self._known is not None:
            return self._known
        found = dict(self._shapes)
        for file in dict.fromkeys(self.files.values()):
            path = self._find(file, local_files_only=True)
            if path is None:
                continue
            prefix = _HEADS.get(file, "")
            with in_one_sentence(f"{file} of {self._name!r}"):
                found.update({prefix + key: shape for key, shape in _shapes(path).items()})
        self._known = found
        return found

    def memory(self, config: Mapping[str, Any], dtype: Any = None) -> str:
        """Say how many parameters there are and what they take; empty if that is not known.

        Args:
            config: the checkpoint's.
            dtype: lm_eval's; None for the config's.
        """
        shapes = self.shapes()
        if not shapes:
            return ""
        chosen = str(dtype or "auto").removeprefix("torch.")
        if chosen == "auto":
            chosen = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        count = sum(math.prod(shape) for shape in shapes.values())
        size = count * _BYTES.get(chosen, 4)
        shown = f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
        return f"{count:,} parameters, {shown} of weights in {chosen}, and activations"

    def refuse_incomplete(self) -> None:
        """Refuse a folder without weights, or without a file that its index names.

        Raises:
            ModelError: naming what is missing.
        """
        folder = Path(self._name, str(self._where.get("subfolder") or ""))
        if not folder.is_dir():
            return
        gone = sorted(file for file in set(self.files.values()) if not (folder / file).is_file())
        if gone:
            raise ModelError(
                f"the checkpoint {self._name!r} has no {gone[0]}, which its index names; copy the "
                "folder again."
            )
        if not _any_weights(folder):
            raise ModelError(
                f"the folder {self._name!r} has a config but no weights (model.safetensors); copy "
                "the checkpoint again."
            )

    def starts_with(self, prefix: str) -> bool:
        """Say whether some tensor's name starts with ``prefix``."""
        return any(key.startswith(prefix) for key in self.files)

    def _find(self, file: str, **options: Any) -> str | None:
        """Return a file's local path; None if the checkpoint, as far as is known, lacks it."""
        found = cached_file(
            self._name,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **self._where,
            **options,
        )
        return None if found is None else str(found)

    def _read_index(self) -> bool:
        for file in _SHARDED:
            if path := self._find(file):
                with in_one_sentence(f"{file} of {self._name!r}"):
                    index = json.loads(Path(path).read_text(encoding="utf-8"))
                    self.files.update(index.get("weight_map", {}))
                return True
        return False

    def _read_single(self, *, local: bool) -> bool:
        for file in _SINGLE:
            if path := self._find(file, local_files_only=local):
                with in_one_sentence(f"{file} of {self._name!r}"):
                    self.files.update(dict.fromkeys(_names(path), file))
                return True
        return False

    def _read_headers(self) -> None:
        from huggingface_hub import get_safetensors_metadata

        try:
            metadata = get_safetensors_metadata(self._name, revision=self._where.get("revision"))
        except Exception:  # of the hub, of the network: the names stay unknown, and doctor says so
            return
        self.files.update(metadata.weight_map)
        for file in metadata.files_metadata.values():
            self._shapes.update({key: tuple(info.shape) for key, info in file.tensors.items()})


def _any_weights(folder: Path) -> bool:
    return any(file.suffix in (".safetensors", ".bin", ".gguf") for file in folder.iterdir())


def _shapes(path: str) -> dict[str, tuple[int, ...]]:
    if path.endswith(".safetensors"):
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    return {key: tuple(tensor.shape) for key, tensor in _load(path).items()}


def _names(path: str) -> list[str]:
    if path.endswith(".safetensors"):
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    return list(_load(path))


def _tensors(path: str, keys: list[str]) -> dict[str, torch.Tensor]:
    if path.endswith(".safetensors"):
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in keys}
    tensors = _load(path)
    return {key: tensors[key] for key in keys}


def _load(path: str) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(
        path, map_location="cpu", weights_only=True, mmap=is_zipfile(path)
    )
    return loaded
