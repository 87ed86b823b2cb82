"""The ``rm-value-tasks`` command: one thin function a verb, heavy imports inside."""

from __future__ import annotations

import sys

import click

from rm_value_tasks import __version__, task_config_dir
from rm_value_tasks.errors import RMValueTasksError

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Value probes for lm-eval; the probes themselves run with the lm_eval command."""


@cli.command("task-path")
def task_path() -> None:
    """Print the folder of the task YAML files, for lm_eval's --include_path."""
    click.echo(task_config_dir())


@cli.command()
def download() -> None:
    """Download the published lexicons (pinned by SHA-256) into the cache."""
    from rm_value_tasks import downloads

    for name in downloads.PUBLISHED:
        click.echo(f"{name}: {downloads.fetch(name)}")


def main() -> None:
    """Run the command; an error that a user can cause ends in one sentence and exit code 2."""
    try:
        cli()
    except RMValueTasksError as error:
        click.echo(f"rm-value-tasks: {error}", err=True)
        sys.exit(2)
