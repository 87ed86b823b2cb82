"""Names for runs: a model's display name, and how namesakes are told apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Protocol

from rm_value_tasks.errors import DataError

__all__ = [
    "MACHINE",
    "SECRETS",
    "base_name",
    "cell_name",
    "identity",
    "model_arguments",
    "public_arguments",
    "tell_apart",
]

# Arguments that may hold a secret (base_url: a user and password): never in a name or a report.
SECRETS = {
    "api_key",
    "auth_token",
    "base_url",
    "header",
    "headers",
    "token",
    "use_auth_token",
}
# Arguments that say where, how fast and by whose leave a model runs, not which one it is.
MACHINE = {
    *SECRETS,
    "api_key_env",
    "batch_size",
    "device",
    "device_map",
    "gpu_memory_utilization",
    "max_batch_size",
    "max_cpu_memory",
    "max_memory_per_gpu",
    "max_retries",
    "num_concurrent",
    "offload_folder",
    "parallelize",
    "pipeline_parallel_size",
    "retry_wait",
    "sequential",
    "shared_prefix",
    "tensor_parallel_size",
    "timeout",
}


# What a training run measured at a checkpoint, beside what it was.
_MEASURED = {"held_out_accuracy", "pairs_seen"}


class _Run(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def task(self) -> str: ...
    @property
    def date(self) -> str: ...
    @property
    def model_type(self) -> str: ...
    @property
    def model_args(self) -> Mapping[str, Any]: ...
    @property
    def setup(self) -> Mapping[str, str]: ...
    @property
    def config(self) -> Mapping[str, Any]: ...


def model_arguments(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``--model_args`` of a results file as a dict, however it was given."""
    arguments = content["config"].get("model_args") or {}
    if isinstance(arguments, Mapping):
        return dict(arguments)
    pairs = (part.partition("=") for part in str(arguments).split(",") if part)
    return {name.strip(): value.strip() for name, _, value in pairs}


def public_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return model arguments without those that may hold a secret."""
    return {key: value for key, value in arguments.items() if key not in SECRETS}


def base_name(content: Mapping[str, Any]) -> str:
    """Return a model's display name.

    For a checkpoint of a training run ``CELL/step-N`` (``cell_name``), else the adapter
    (``peft``) or the checkpoint (``pretrained``), for recorded
    rewards the file's stem, for an implicit reward ``A against B``, else lm-eval's own name. Of
    a folder given with its full path the last part is shown (two, for ``RUN/checkpoint-500``).
    """
    arguments = model_arguments(content)
    config = content["config"]
    if isinstance(training := config.get("training"), Mapping):
        return f"{cell_name(training)}/step-{training.get('step')}"
    if config.get("model") == "recorded-rewards" and "path" in arguments:
        return PurePath(str(arguments["path"])).stem
    name = arguments.get("peft") or arguments.get("pretrained") or content.get("model_name")
    name = _short(str(name or config.get("model") or "model"))
    reference = arguments.get("reference")
    return f"{name} against {_short(str(reference))}" if reference else name


def cell_name(training: Mapping[str, Any]) -> str:
    """Return the name of one run of a training grid, which is also its folder's name.

    Args:
        training: the mapping ``training`` of a results file's ``config``; what has its usual
            value (no counter-leaning pairs, Bradley-Terry, full training) is not named.
    """
    parts = [training.get("base"), training.get("data"), training.get("quantity")]
    if share := training.get("counter_share"):
        parts.append(f"counter{share:g}")
    usual = ("", "bradley-terry", "full")
    parts += [training.get(key) for key in ("objective", "method")]
    parts = [part for part in parts if part not in (None, *usual)]
    return "-".join(map(str, [*parts, f"seed{training.get('seed')}"]))


def _short(name: str) -> str:
    path = PurePath(name)
    if not path.is_absolute():
        return name.rstrip("/") or name
    parts = path.parts[-2:] if path.name.startswith("checkpoint") else path.parts[-1:]
    return "/".join(parts)


def identity(run: _Run) -> dict[str, str]:
    """Return what makes a run's model that model: its type, arguments and training."""
    arguments = {
        key: str(value)
        for key, value in run.model_args.items()
        if key not in MACHINE and value is not None
    }
    training = run.config.get("training")
    trained = training if isinstance(training, Mapping) else {}
    arguments |= {key: str(value) for key, value in trained.items() if key not in _MEASURED}
    return {"model": run.model_type, **arguments}


def tell_apart(runs: Sequence[_Run]) -> list[str]:
    """Give runs names that are unique for each task.

    Different models of one name get the arguments that differ, different setups of one task
    what differs in them, and what is left over (older and newer runs) the date.

    Returns:
        One name for each run, in order.

    Raises:
        DataError: if two runs still cannot be told apart.
    """
    names = [run.model for run in runs]
    _add(names, [(name,) for name in names], [identity(run) for run in runs])
    tasks = [run.task for run in runs]
    _add(names, list(zip(names, tasks, strict=True)), [run.setup for run in runs])
    _add(names, list(zip(names, tasks, strict=True)), [{"date": run.date[:19]} for run in runs])
    seen: set[tuple[str, str]] = set()
    for pair in zip(names, tasks, strict=True):
        if pair in seen:
            raise DataError(
                f"two runs of {pair[0]} on {pair[1]} cannot be told apart; give one of them."
            )
        seen.add(pair)
    return names


def _add(names: list[str], groups: list[Any], traits: Sequence[Mapping[str, str]]) -> None:
    """Add to each name the traits in which its group differs."""
    members: dict[Any, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    for indices in members.values():
        keys = dict.fromkeys(key for index in indices for key in traits[index])
        differing = [key for key in keys if len({traits[i].get(key) for i in indices}) > 1]
        if "lexicon" in differing and "words" in differing:
            differing.remove("words")
        for index in indices if differing else ():
            shown = [f"{key}={traits[index].get(key, 'default')}" for key in differing]
            names[index] += f" ({', '.join(shown)})"
