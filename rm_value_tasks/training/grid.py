"""All cells of a grid, one after the other: which to run, what became of each."""

from __future__ import annotations

import gc
import json
import shutil
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from rm_value_tasks.errors import DataError, RMValueTasksError
from rm_value_tasks.models.common.content import checkpoint_digest
from rm_value_tasks.training import pairs
from rm_value_tasks.training.cell import last_checkpoint, train
from rm_value_tasks.training.evaluation import ValueTasks
from rm_value_tasks.training.plan import Cell, Data, Grid
from rm_value_tasks.whole_files import write_whole

__all__ = ["inputs", "run", "status"]


Digest = Callable[..., str | None]
"""Of a base or data: ``content.checkpoint_digest``."""


def status(cell: Cell, output: Path, digest: Digest = checkpoint_digest) -> str:
    """Say where a cell stands: ``new``, ``running`` (or killed), ``failed`` or ``finished``.

    A cell that was killed or failed and has a checkpoint goes on from there.

    Args:
        cell: the cell.
        output: the grid's folder.
        digest: says what its base and data are by content.

    Raises:
        DataError: if its folder is something else, or it was begun with another config or with
            files that have changed since: what is there would be mixed with or taken for
            something else. (Where nothing is to be lost, it starts anew.)
    """
    folder = output / cell.name
    record = _read(folder)
    if record is None:
        if folder.exists() and any(
            not path.name.startswith(".cell.json.") for path in folder.iterdir()
        ):
            raise DataError(f"{folder} is there but no cell of a grid (it has no cell.json).")
        return "new"
    changed = _changed(record.get("config"), cell.config)
    changed = changed or _replaced(record.get("inputs"), inputs(cell, digest))
    if not changed:
        return str(record.get("status"))
    if record.get("status") != "finished" and last_checkpoint(folder / "checkpoints") is None:
        return "new"
    raise DataError(
        f"{folder} was made with another {changed}; remove that folder, or choose another output."
    )


def inputs(cell: Cell, digest: Digest) -> dict[str, str | None]:
    """Return digests of what a cell reads, by name: its base and its data.

    None where nothing tells: of datasets on the hub ``revision`` does.
    """
    sources = [cell.data, *([cell.counter] if cell.counter else [])]
    found = {cell.base.pretrained: digest(cell.base.pretrained, cell.base.revision)}
    local = [data.dataset for data in sources if _local(data.dataset)]
    return found | {name: digest(name, data=True) for name in local}


def _local(name: str) -> bool:
    return Path(name).exists()


def _replaced(before: Any, now: Mapping[str, str | None]) -> str:
    """Name the first source that has other content than before; empty if none has."""
    known = before if isinstance(before, Mapping) else {}
    changed = [name for name in now if known.get(name) and now[name] != known[name]]
    return f"content of {changed[0]}" if changed else ""


def run(grid: Grid, say: Callable[[str], None]) -> dict[str, str]:
    """Run every cell that is not finished; a failing one does not stop the others.

    Args:
        grid: the cells.
        say: prints a line (called in the first process only).

    Returns:
        Name -> reason of the cells that failed.

    Raises:
        DataError: before anything runs, if a cell was begun with another config, or a task to
            probe with does not exist, or a folder is in the way.
    """
    # As TrainingArguments will make it, which reads this variable while PartialState does not.
    use_cpu = bool(grid.cells[0].training.get("use_cpu"))
    state = PartialState(cpu=use_cpu or parse_flag_from_env("ACCELERATE_USE_CPU"))
    speak = say if state.is_main_process else _silent
    for plan in {json.dumps(cell.config["probe"]): cell.probe for cell in grid.cells}.values():
        ValueTasks(plan.tasks, plan.metadata)
    digest = cache(checkpoint_digest)
    standing = {cell.name: status(cell, grid.output, digest) for cell in grid.cells}
    state.wait_for_everyone()  # before one process changes what the others read
    load = _once(_load)
    failed: dict[str, str] = {}
    for number, cell in enumerate(grid.cells, 1):
        label = f"[{number}/{len(grid.cells)}] {cell.name}"
        if standing[cell.name] == "finished":
            _tidy(grid.output / cell.name, cell)
            speak(f"{label}: finished before")
            continue
        folder = grid.output / cell.name
        if standing[cell.name] == "new" and state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)
        speak(f"{label}: {'resumed' if last_checkpoint(folder / 'checkpoints') else 'started'}")
        state.wait_for_everyone()
        content = inputs(cell, digest)
        _write(folder, cell, status="running", inputs=content)
        try:
            measured = _run_cell(cell, folder, load)
        except Exception as error:
            failed[cell.name] = _reason(error)
            if not isinstance(error, RMValueTasksError) and state.is_main_process:
                folder.joinpath("traceback.txt").write_text(traceback.format_exc(), "utf-8")
            _write(folder, cell, status="failed", error=failed[cell.name], inputs=content)
            speak(f"{label}: failed: {failed[cell.name]}")
        else:
            # A hub's base is known by its commit once it has been loaded.
            content |= {k: v for k, v in inputs(cell, checkpoint_digest).items() if not _local(k)}
            _write(folder, cell, status="finished", **measured, inputs=content)
            _tidy(folder, cell)
            speak(f"{label}: finished{_accuracy(measured)}")
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return failed


def _silent(line: str) -> None:
    pass


def _once(load: Callable[[Data], pairs.Pairs]) -> Callable[[Data], pairs.Pairs]:
    """Load each dataset once, and let one that cannot be had fail once: a hub is asked for long."""

    @cache
    def found(data: Data) -> pairs.Pairs | Exception:
        try:
            return load(data)
        except Exception as error:
            return error

    def again(data: Data) -> pairs.Pairs:
        result = found(data)
        if isinstance(result, Exception):
            raise result
        return result

    return again


def _load(data: Data) -> pairs.Pairs:
    found: pairs.Pairs | Exception
    with PartialState().main_process_first():  # the others find it in the cache
        try:
            found = pairs.load(data)
        except Exception as error:  # to leave here would keep the others waiting
            found = error
    if isinstance(found, Exception):
        raise found
    return found


def _run_cell(cell: Cell, folder: Path, load: Callable[[Data], pairs.Pairs]) -> dict[str, Any]:
    found = load(cell.data)
    counter = None
    if cell.counter:
        counter = pairs.apart(load(cell.counter), found, cell.counter.name)
    measured = train(cell, folder, pairs.subset(cell, found.train, counter), found.held_out)
    PartialState().wait_for_everyone()
    return measured


def _tidy(folder: Path, cell: Cell) -> None:
    """Remove a finished cell's checkpoints; before it is recorded, a kill would lose the run."""
    if PartialState().is_main_process and cell.training.get("save_total_limit") == 1:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _accuracy(measured: Mapping[str, Any]) -> str:
    value = measured.get("held_out_accuracy")
    return "" if value is None else f", held-out accuracy {value:.3f}"


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, RMValueTasksError):
        return text
    return f"{type(error).__name__}: {text}"[:500]


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / "cell.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); remove {folder}.") from error


def _write(folder: Path, cell: Cell, **record: Any) -> None:
    if not PartialState().is_main_process:
        return
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": cell.name, **record, "axes": cell.axes, "config": cell.config}
    write_whole(folder / "cell.json", json.dumps(content, indent=2) + "\n")


def _changed(before: Any, now: Mapping[str, Any]) -> str:
    """Name the first key of a config that differs; empty if none does."""
    if not isinstance(before, Mapping):
        return "config"
    return next(_differences(before, now, ""), "")


def _differences(before: Any, now: Any, where: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            yield from _differences(before.get(key), now.get(key), f"{where}.{key}".strip("."))
    elif before != now:
        yield f"{where} ({before!r}, now {now!r})"
