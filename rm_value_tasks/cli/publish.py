"""``leaderboard`` and ``export``: runs beside others, and in other places' forms."""

from __future__ import annotations

import click

from rm_value_tasks.cli.inputs import RUNS, load_runs, write_text

__all__ = ["export", "leaderboard"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=RUNS)
@click.option(
    "--format",
    "style",
    default="markdown",
    show_default=True,
    type=click.Choice(["markdown", "html", "csv"]),
)
@click.option("--all-runs", is_flag=True, help="Older runs of a model too, not only the newest.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File; else the screen.")
def leaderboard(runs: tuple[str, ...], style: str, all_runs: bool, output: str | None) -> None:
    """Put RUNS (folders of lm_eval) in one table with the ten published reward models."""
    from rm_value_tasks.publish import leaderboard as table

    loaded = load_runs(runs, need_samples=False, all_runs=all_runs).runs
    write_text(table.render(table.leaderboard(loaded), style), output)


@click.command()
@click.argument("run", type=RUNS)
@click.option(
    "--to",
    required=True,
    type=click.Choice(["hub-eval-results", "model-index", "every-eval-ever"]),
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File; else the screen.")
@click.option("--model-id", default="", metavar="ORG/NAME", help="The model's public name.")
@click.option("--dataset", default="", metavar="ORG/NAME", help="The Hub's benchmark dataset.")
@click.option("--revision", default="", help="Of that dataset.")
@click.option("--source-url", default="", help="Where the run's files can be seen.")
@click.option("--source-name", default="", help="What to call that place.")
@click.option("--organization", default="", help="Who ran the evaluation.")
@click.option(
    "--relationship",
    default="other",
    show_default=True,
    type=click.Choice(["first_party", "third_party", "collaborative", "other"]),
    help="Of the evaluator to the model.",
)
def export(run: str, to: str, output: str | None, **origin: str) -> None:
    """Write RUN (one model's lm_eval folder) in another place's form; nothing is sent."""
    from rm_value_tasks.publish import exports

    runs = load_runs((run,), need_samples=False).runs
    write_text(exports.export(runs, to, exports.Origin(**origin)), output)
