"""What was scored, known by content: weights, tokenizers and files, whatever their path.

A path says nothing: a checkpoint is saved over, an adapter is replaced, a tokenizer is mended.
Every bit of every weight counts here, and so do names, shapes and types. Weights are read where
they are, at the speed of memory, by a sum over 64-bit words with a random odd factor for each
place (so that any one changed word changes the sum, and others do but for chance, 2**-64); it is
no defence against somebody who wants two models to look the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import model_info, try_to_load_from_cache

__all__ = ["checkpoint_digest", "files_digest", "model_digests", "weights_digest"]

_WORDS = 1 << 18
"""64-bit words that are summed at once: 2 MiB, which a processor's cache holds."""
_PASSING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
"""Of a config: what does not say what the model computes, or is told elsewhere."""
_OF_MODELS = ("config.json", "adapter_config.json", "tokenizer_config.json")
"""Of which one lies in a model's, adapter's or tokenizer's folder."""
_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz", ".npy", ".pkl"),
    *(".json", ".jinja", ".py", ".model", ".txt", ".tiktoken", ".spm", ".codes", ".vocab"),
)
"""Of weights, configs, tokenizers, templates and code."""
_OF_TRAINING = (
    *("optimizer", "scheduler", "rng_state", "trainer_state", "training_args", "results_"),
    *("samples_", "eval_results", "all_results", "train_results"),
)
"""How files begin that lie beside a checkpoint and that no score depends on."""


def model_digests(model: Any, tokenizer: Any) -> dict[str, str | None]:
    """Return digests of weights, config and tokenizer, for results and caches.

    Args:
        model: a ``torch`` module with a ``transformers`` config.
        tokenizer: a ``transformers`` tokenizer.
    """
    config = model.config.to_diff_dict()
    kept = {key: value for key, value in config.items() if key not in _PASSING}
    return {
        "weights_digest": weights_digest(model),
        "config_digest": _digest(json.dumps(kept, sort_keys=True, default=str).encode()),
        "tokenizer_digest": _tokenizer_digest(tokenizer),
    }


def weights_digest(model: Any) -> str | None:
    """Digest every weight and saved buffer of a model; the same on any device.

    Returns:
        32 hexadecimal digits; None where weights are sharded over processes, or off-loaded to
        where they cannot be read.
    """
    total = hashlib.sha256()
    for name, tensor in _tensors(model):
        if tensor is None or tensor.is_meta or hasattr(tensor, "to_local"):
            return None
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        try:
            total.update(_sums(tensor))
        except (NotImplementedError, RuntimeError, TypeError):  # a quantizer's own kind of tensor
            return None
    return total.hexdigest()[:32]


def _tensors(model: Any) -> Iterator[tuple[str, torch.Tensor | None]]:
    for place, module in model.named_modules():
        own: dict[str, Any] = dict(module.named_parameters(recurse=False))
        unsaved = module._non_persistent_buffers_set
        own |= {k: v for k, v in module.named_buffers(recurse=False) if k not in unsaved}
        for key, tensor in sorted(own.items()):
            # A quantizer's own class keeps scales beside its weights, where it likes.
            plain = type(tensor) in (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
            found = _off_loaded(module, key) if tensor.is_meta else tensor.detach()
            yield f"{place}.{key}", found if plain else None


def _off_loaded(module: Any, key: str) -> torch.Tensor | None:
    """Fetch a weight that accelerate keeps in main memory or on the disk."""
    hook = getattr(module, "_hf_hook", None)
    for each in (hook, *getattr(hook, "hooks", ())):
        if (weights := getattr(each, "weights_map", None)) is not None:
            found: torch.Tensor = weights[key]
            return found
    return None


def _sums(tensor: torch.Tensor) -> bytes:
    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
    if tensor.device.type == "mps":  # has no 64-bit sums
        flat = flat.cpu()
    whole = flat.numel() // 8 * 8
    rest = bytes(flat[whole:].tolist())
    words = flat[:whole]
    if words.storage_offset() % 8:  # a slice that starts within a word
        words = words.clone()
    factors = _factors(flat.device)
    parts = words.view(torch.int64).split(_WORDS)
    sums = [(part * factors[: len(part)]).sum() for part in parts]
    return (torch.stack(sums).cpu().numpy().tobytes() if sums else b"") + rest


@cache
def _factors(device: torch.device) -> torch.Tensor:
    # PCG64's raw stream, unlike torch's or numpy's generators, is the same in every version.
    raw = np.random.PCG64(2601_20838).random_raw(_WORDS) | 1
    return torch.from_numpy(raw.view(np.int64)).to(device)


def _tokenizer_digest(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        state = json.loads(backend.to_str())
        state = {key: state[key] for key in state if key not in ("padding", "truncation")}
    else:
        state = sorted(tokenizer.get_vocab().items())
    rules = {name: getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token")}
    told = [state, tokenizer.special_tokens_map, rules]
    return _digest(json.dumps(told, sort_keys=True, default=str).encode())


def checkpoint_digest(
    name: str, revision: str | None = None, *, subfolder: str = "", data: bool = False
) -> str | None:
    """Digest a checkpoint that is not loaded: a folder's files, or a hub repository's commit.

    Args:
        name: a folder or hub id; of data also a file.
        revision: of the hub repository.
        subfolder: in the folder; of it the checkpoint is.
        data: whether it is data, of which every file counts.

    Returns:
        32 hexadecimal digits; None for a hub repository that neither cache nor hub gives.
    """
    if Path(name).exists():
        return files_digest(Path(name, subfolder), data=data)
    try:
        cached = [try_to_load_from_cache(name, file, revision=revision) for file in _OF_MODELS]
        # The cache has a folder for each commit.
        commits = [Path(found).parent.name for found in cached if isinstance(found, str)]
        commit = commits[0] if commits else model_info(name, revision=revision).sha
    except Exception:  # no such name, or the hub is not reached: loading says so
        return None
    return _digest(f"{name} {commit}".encode())


def files_digest(path: Path, *, data: bool = False) -> str:
    """Digest a file, or the files below a folder; of a model's folder those that make the model.

    Every byte is read, at about 1 GB/s a core. Hidden files do not count.

    Raises:
        OSError: if a file cannot be read.
    """
    if path.is_file():
        told = [path]
    elif not data and any((path / name).is_file() for name in _OF_MODELS):
        told = sorted(file for file in path.iterdir() if file.is_file() and _makes_model(file))
    else:
        files = sorted(file for file in path.rglob("*") if file.is_file())
        told = [file for file in files if not _hidden(file.relative_to(path))]
    import pooch  # here, because it loads requests

    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(pooch.file_hash, told))
    names = [file.relative_to(path).as_posix() for file in told]
    return _digest(json.dumps(list(zip(names, digests, strict=True))).encode())


def _hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _makes_model(file: Path) -> bool:
    kind = file.suffix in _SUFFIXES
    return kind and not file.name.startswith((".", *_OF_TRAINING))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
