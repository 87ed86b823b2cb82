"""``report``: one page about runs."""

from __future__ import annotations

import click

from rm_value_tasks.cli.inputs import RUNS, load_runs
from rm_value_tasks.errors import DataError

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=RUNS)
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="File.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["html", "md"]),
    help="One page with figures, or Markdown for a model card; by default OUTPUT's ending.",
)
@click.option(
    "--family",
    "families",
    multiple=True,
    metavar="PATTERN=NAME",
    help="Base model family of models ('*llama*=Llama'); repeatable. Published ones are known.",
)
@click.option(
    "--covariate",
    "covariates",
    multiple=True,
    type=click.Choice(["length", "frequency", "tokens"]),
    help="Hold this of words equal where families are compared (crossed model); repeatable.",
)
@click.option("--tokenizer", default="", metavar="NAME", help="Counts tokens for --covariate.")
def report(
    runs: tuple[str, ...],
    output: str,
    style: str | None,
    families: tuple[str, ...],
    covariates: tuple[str, ...],
    tokenizer: str,
) -> None:
    """Write one self-contained page about RUNS (folders of lm_eval, with --log_samples)."""
    pairs = [family.rpartition("=") for family in families]
    if not all(pattern and name for pattern, _, name in pairs):
        raise click.UsageError("--family needs PATTERN=NAME, such as '*llama*=Llama'.")
    try:
        from rm_value_tasks import report as reports
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("matplotlib", "scipy", "statsmodels"):
            raise
        raise DataError(
            f"report needs {missing}, which is not installed; pip install 'rm-value-tasks[report]'."
        ) from error
    style = style or ("md" if output.endswith(".md") else "html")
    known = {pattern: name for pattern, _, name in pairs}
    reports.write(load_runs(runs), output, style, known, (covariates, tokenizer))
    click.echo(output)
