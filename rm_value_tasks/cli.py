"""The ``rm-value-tasks`` command: one thin function a verb, heavy imports inside."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from rm_value_tasks import __version__, task_config_dir
from rm_value_tasks.errors import DataError, ModelError, RMValueTasksError

if TYPE_CHECKING:
    from rm_value_tasks.results import Results
    from rm_value_tasks.scorers.reward import RewardLM

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


@cli.command()
@click.option(
    "--model-args",
    required=True,
    metavar="pretrained=...[,...]",
    help="The reward model, with any argument of --model reward.",
)
@click.option(
    "--prompts",
    metavar="IDS",
    help="Ids or patterns of the 54 prompts, with commas ('best_ever_one,worst_*').",
)
@click.option("--prompt", "texts", multiple=True, metavar="TEXT", help="Free text; repeatable.")
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Rows to show.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder.")
@click.option("--batch-size", default="auto", show_default=True, metavar="N|auto")
@click.option("--device", help="As for lm_eval: cuda, cuda:0, cpu, mps, ...")
@click.option(
    "--chunk-size",
    default=4096,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens between two saves.",
)
def tokens(
    model_args: str,
    prompts: str | None,
    texts: tuple[str, ...],
    top: int,
    output: str,
    batch_size: str,
    device: str | None,
    chunk_size: int,
) -> None:
    """Score every token of the vocabulary as the answer to prompts.

    Without --prompts and --prompt: greatest_ever_one and worst_ever_one. All scores go to
    OUTPUT/tokens.parquet. The same command again goes on where a run was stopped; with
    "accelerate launch -m rm_value_tasks tokens ..." processes share the work.
    """
    from pathlib import Path

    from lm_eval.utils import simple_parse_args_string

    from rm_value_tasks.scorers import extremes, vocabulary

    patterns = [part.strip() for part in (prompts or "").split(",") if part.strip()]
    if not patterns and not texts:
        patterns = ["greatest_ever_one", "worst_ever_one"]
    chosen = vocabulary.choose_prompts(patterns, texts)
    arguments = simple_parse_args_string(model_args)
    if "pretrained" not in arguments:
        raise click.UsageError("--model-args names no model; give pretrained=FOLDER_OR_HUB_ID.")
    if not batch_size.startswith("auto") and not batch_size.isdecimal():
        raise click.UsageError(f"--batch-size {batch_size!r} is neither a number nor auto.")
    machine = {"batch_size": batch_size, **({"device": device} if device else {})}
    run = vocabulary.score_vocabulary(
        _reward_model({**machine, **arguments}),
        chosen,
        Path(output),
        model_args=arguments,
        chunk_size=chunk_size,
    )
    if run is not None:  # the first process
        for line in extremes.report(run, top):
            click.echo(line)


def _reward_model(arguments: dict[str, Any]) -> RewardLM:
    from rm_value_tasks.scorers.reward import RewardLM

    try:
        return RewardLM(**arguments)
    except (OSError, TypeError, ValueError) as error:  # how transformers says "no such model"
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{arguments['pretrained']!r} cannot be loaded as a reward model with these "
            f"--model-args ({type(error).__name__}: {reason})."
        ) from error


_RUNS = click.Path(path_type=str)


def _load(paths: tuple[str, ...], *, need_samples: bool = True, all_runs: bool = False) -> Results:
    from rm_value_tasks import results

    loaded = results.load(paths, need_samples=need_samples, all_runs=all_runs)
    for path, reason in loaded.skipped:
        click.echo(f"skipped {path}: {reason}", err=True)
    return loaded


def _write(text: str, output: str | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    from pathlib import Path

    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error.strerror}.") from error


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=_RUNS)
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
    from rm_value_tasks import leaderboard as table

    loaded = _load(runs, need_samples=False, all_runs=all_runs).runs
    _write(table.render(table.leaderboard(loaded), style), output)


@cli.command()
@click.argument("run", type=_RUNS)
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
    from rm_value_tasks import exports

    runs = _load((run,), need_samples=False).runs
    _write(exports.export(runs, to, exports.Origin(**origin)), output)


@cli.command()
@click.argument("first", type=_RUNS)
@click.argument("second", type=_RUNS)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File; else the screen.")
def compare(first: str, second: str, output: str | None) -> None:
    """Say how far each lean moved from run FIRST to run SECOND, with intervals."""
    from rm_value_tasks import comparison

    _write(comparison.render(comparison.compare(_load((first,)), _load((second,)))), output)


@cli.command()
@click.argument("run", type=_RUNS)
@click.option("--baseline", required=True, type=_RUNS, help="The run to compare with.")
@click.option(
    "--max-shift", required=True, type=click.FloatRange(min=0), help="Allowed, of 0 to 1."
)
@click.option("--metric", default="agency_contrast", show_default=True, help="Any lean.")
@click.option("--task", help="Where several tasks have the metric.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write JUnit XML there too.")
def gate(
    run: str, baseline: str, max_shift: float, metric: str, task: str | None, junit: str | None
) -> None:
    """Exit 0 if RUN's lean is where the baseline's is, 1 if it moved, 2 on unusable input.

    It moved if the whole 95% interval of its shift lies outside -MAX_SHIFT to MAX_SHIFT.
    """
    import traceback

    from rm_value_tasks import comparison
    from rm_value_tasks import gate as gates

    try:
        found = comparison.compare(_load((baseline,)), _load((run,)))
        verdict = gates.judge(found, metric, max_shift, task)
        notes = found.notes
    except RMValueTasksError as error:
        verdict, notes = gates.Verdict("error", str(error), metric), ()
    except Exception as error:
        # Python's own exit code for a crash is 1, which here would mean that the lean moved.
        traceback.print_exc()
        verdict, notes = gates.Verdict("error", f"{type(error).__name__}: {error}", metric), ()
    if junit:
        _write(gates.junit(verdict), junit)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{verdict.status}: {verdict.reason}", err=verdict.status == "error")
    sys.exit(verdict.exit_code)


@cli.command()
@click.argument("runs", nargs=-1, required=True, type=_RUNS)
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
def report(
    runs: tuple[str, ...], output: str, style: str | None, families: tuple[str, ...]
) -> None:
    """Write one self-contained page about RUNS (folders of lm_eval, with --log_samples)."""
    pairs = [family.rpartition("=") for family in families]
    if not all(pattern and name for pattern, _, name in pairs):
        raise click.UsageError("--family needs PATTERN=NAME, such as '*llama*=Llama'.")
    try:
        from rm_value_tasks import report as reports
    except ModuleNotFoundError as error:
        if error.name not in ("matplotlib", "scipy", "statsmodels"):
            raise
        raise DataError(
            f"report needs {error.name}, which is not installed; "
            "pip install 'rm-value-tasks[report]'."
        ) from error
    style = style or ("md" if output.endswith(".md") else "html")
    known = {pattern: name for pattern, _, name in pairs}
    reports.write(_load(runs), output, style, known)
    click.echo(output)


def main() -> None:
    """Run the command; an error that a user can cause ends in one sentence and exit code 2."""
    try:
        cli()
    except RMValueTasksError as error:
        click.echo(f"rm-value-tasks: {error}", err=True)
        sys.exit(2)
