"""The ``rm-value-tasks`` command: one thin function a verb, heavy imports inside."""

from __future__ import annotations

import sys

import click

from rm_value_tasks import __version__
from rm_value_tasks.cli.doctor import doctor
from rm_value_tasks.cli.durability import durability
from rm_value_tasks.cli.files import download, task_path
from rm_value_tasks.cli.optimal_tokens import optimal_tokens
from rm_value_tasks.cli.publish import export, leaderboard
from rm_value_tasks.cli.report import report
from rm_value_tasks.cli.shifts import compare, gate
from rm_value_tasks.cli.tokens import tokens
from rm_value_tasks.cli.trace import trace
from rm_value_tasks.cli.train import train
from rm_value_tasks.errors import RMValueTasksError
from rm_value_tasks.text.markup import visible

__all__ = ["main"]

_VERBS = (
    compare,
    doctor,
    download,
    durability,
    export,
    gate,
    leaderboard,
    optimal_tokens,
    report,
    task_path,
    tokens,
    trace,
    train,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Value probes for lm-eval; the probes themselves run with the lm_eval command."""


for _verb in _VERBS:
    cli.add_command(_verb)


def main() -> None:
    """Run the command; an error that a user can cause ends in one sentence and exit code 2."""
    try:
        cli()
    except RMValueTasksError as error:
        click.echo(f"rm-value-tasks: {visible(error)}", err=True)
        sys.exit(2)
