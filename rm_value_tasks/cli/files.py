"""``task-path`` and ``download``: where the task files and the published lexicons are."""

from __future__ import annotations

import click

from rm_value_tasks import task_config_dir

__all__ = ["download", "task_path"]


@click.command("task-path")
def task_path() -> None:
    """Print the folder of the task YAML files, for lm_eval's --include_path."""
    click.echo(task_config_dir())


@click.command()
def download() -> None:
    """Download the published lexicons (pinned by SHA-256) into the cache."""
    from rm_value_tasks.lexicons import downloads

    for name in downloads.PUBLISHED:
        click.echo(f"{name}: {downloads.fetch(name)}")
