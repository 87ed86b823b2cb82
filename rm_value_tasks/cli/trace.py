"""``trace``: the lean from pretraining to the reward model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rm_value_tasks.cli.inputs import load_runs
from rm_value_tasks.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from rm_value_tasks.analyses.tracing import Trace

__all__ = ["trace"]


@click.command()
@click.argument("stages", nargs=-1, required=True, metavar="FAMILY:STAGE=RUN...")
@click.option("-o", "--output", type=click.Path(file_okay=False), help="Folder of tables, figures.")
@click.option("--task", help="By default value_bias_big2, or the only one that all runs have.")
@click.option(
    "--words",
    metavar="WORD,WORD",
    help="Two words under every pair of language models (freedom,love where all runs have them).",
)
@click.option(
    "--score",
    default="log_ratio",
    show_default=True,
    type=click.Choice(["log_ratio", "mwlr"]),
    help="Of a pair of language models.",
)
@click.option("--resamples", default=1000, show_default=True, type=click.IntRange(200))
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
def trace(
    stages: tuple[str, ...],
    output: str | None,
    task: str | None,
    words: str | None,
    score: str,
    resamples: int,
    seed: int,
) -> None:
    """Follow the lean of model families from stage to stage.

    RUN is a folder of lm_eval (with --log_samples); stages are in the order given, as in
    Llama:base=runs/a Llama:reward=runs/b Gemma:base=runs/c Gemma:reward=runs/d. A stage given
    twice, or whose folder holds several models, is the mean of its models.
    """
    from rm_value_tasks.analyses import tracing

    folders: dict[tuple[str, str], list[str]] = {}
    for text in stages:
        stage, path = tracing.read_stage(text)
        folders.setdefault(stage, []).append(path)
    runs = {stage: load_runs(tuple(paths)) for stage, paths in folders.items()}
    design = tracing.align(runs, task)
    pair = _two_words(words)
    try:
        found = tracing.differences(design, pair, score=score, resamples=resamples, seed=seed)
    except tracing.WordsNotFoundError as error:
        if words:
            raise
        click.echo(str(error), err=True)
        found = None
    traced = tracing.trace(design, resamples=resamples, seed=seed)
    text = tracing.render(traced, found)
    if output:
        _write(Path(output), traced, found, text)
    click.echo(text, nl=False)


def _two_words(words: str | None) -> tuple[str, str]:
    first, _, second = (words or "freedom,love").partition(",")
    if not first.strip() or not second.strip() or "," in second:
        raise click.UsageError(f"--words {words!r} is not two words, such as freedom,love.")
    return first.strip(), second.strip()


def _write(folder: Path, traced: Trace, words: pd.DataFrame | None, text: str) -> None:
    """Write tables as CSV, the text as Markdown, figures as PNG and SVG."""
    try:
        from rm_value_tasks import figures
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise DataError(
            "trace -o draws figures and needs matplotlib, which is not installed; "
            "pip install 'rm-value-tasks[report]', or leave -o out."
        ) from error
    from rm_value_tasks.analyses.tracing import leans_to_draw
    from rm_value_tasks.text.markup import csv_text
    from rm_value_tasks.whole_files import write_whole

    tables = {
        "leans": traced.leans,
        "shares": traced.shares,
        "correlations": traced.correlations,
        "words": words,
    }
    files = {
        f"{name}.csv": csv_text(table).encode()
        for name, table in tables.items()
        if table is not None and not table.empty
    }
    pictures = {"leans": figures.stage_lines(leans_to_draw(traced))}
    if words is not None:
        pictures["words"] = figures.pair_lollipop(words)
    for name, figure in pictures.items():
        files |= {f"{name}.{end}": figures.to_bytes(figure, end) for end in ("png", "svg")}
    files["trace.md"] = text.encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Of an earlier trace; it would be read as this one's.
        for name in {*(f"{table}.csv" for table in tables), "words.png", "words.svg"} - {*files}:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror}.") from error
    for name, content in files.items():
        write_whole(folder / name, content)
