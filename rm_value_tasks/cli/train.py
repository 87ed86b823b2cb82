"""``train``: a grid of reward models, the lean measured at every checkpoint."""

from __future__ import annotations

import functools
import sys

import click

from rm_value_tasks.errors import DataError

__all__ = ["train"]


@click.command()
@click.argument("config", type=click.Path(dir_okay=False))
@click.option("--dry-run", is_flag=True, help="List the cells and where they stand; run nothing.")
def train(config: str, dry_run: bool) -> None:
    """Train the grid of reward models that CONFIG (YAML) describes and watch their lean.

    The same command again goes on where it was stopped. Several processes: accelerate launch
    -m rm_value_tasks train CONFIG. Exit code 1 if a cell failed.
    """
    try:
        import peft  # noqa: F401
        import trl  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("peft", "trl"):
            raise
        raise DataError(
            f"train needs {error.name}, which is not installed; "
            "pip install 'rm-value-tasks[training]'."
        ) from error
    from rm_value_tasks.training import grid
    from rm_value_tasks.training.config import load

    plan = load(config)
    if dry_run:
        digest = functools.cache(grid.checkpoint_digest)
        for cell in plan.cells:
            click.echo(f"{cell.name}: {grid.status(cell, plan.output, digest)}")
        return
    failed = grid.run(plan, click.echo)
    if failed:
        click.echo(f"{len(failed)} of {len(plan.cells)} cells failed:", err=True)
        for reason in dict.fromkeys(failed.values()):
            names = [name for name in failed if failed[name] == reason]
            click.echo(f"  {', '.join(names)}: {reason}", err=True)
        sys.exit(1)
