"""What several verbs share: reading runs, writing text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rm_value_tasks.whole_files import write_whole

if TYPE_CHECKING:
    from rm_value_tasks.results import Results

__all__ = ["RUNS", "load_runs", "write_text"]

RUNS = click.Path(path_type=str)
"""The type of arguments that name lm_eval's output folders."""


def load_runs(
    paths: tuple[str, ...], *, need_samples: bool = True, all_runs: bool = False
) -> Results:
    """Load lm_eval's output folders (``results.load``), naming on stderr what was skipped."""
    from rm_value_tasks import results
    from rm_value_tasks.text.markup import visible

    loaded = results.load(paths, need_samples=need_samples, all_runs=all_runs)
    for path, reason in loaded.skipped:
        click.echo(visible(f"skipped {path}: {reason}"), err=True)
    return loaded


def write_text(text: str, output: str | None) -> None:
    """Write text to a file, or to the screen where ``output`` is None.

    Raises:
        DataError: if the file cannot be written.
    """
    if output is None:
        click.echo(text, nl=False)
        return
    write_whole(Path(output), text)
