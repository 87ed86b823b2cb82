"""``durability``: does preference data wash the inherited lean out?"""

from __future__ import annotations

import click

from rm_value_tasks.cli.inputs import RUNS, load_runs
from rm_value_tasks.errors import DataError

__all__ = ["durability"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=RUNS)
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder.")
@click.option("--task", default="value_bias_big2", show_default=True, help="A task with leans.")
@click.option("--metric", default="agency_contrast", show_default=True, help="One of its leans.")
@click.option(
    "--after",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Leave checkpoints with at most so many preference pairs out of the fits.",
)
def durability(runs: tuple[str, ...], output: str, task: str, metric: str, after: int) -> None:
    """Follow the lean along training RUNS (output of rm-value-tasks train).

    Writes durability.md (the gap between bases with its interval, half-lives in preference
    pairs, words that moved most), tables and figures, and prints the first.
    """
    try:
        from rm_value_tasks.analyses import durability as durabilities
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise DataError(
            f"durability needs {error.name}, which is not installed; "
            "pip install 'rm-value-tasks[report]'."
        ) from error
    found = durabilities.durability(load_runs(runs), task, metric, after=after)
    summary = durabilities.write(found, output)
    click.echo(summary.read_text(encoding="utf-8"), nl=False)
