"""``compare`` and ``gate``: how far a lean moved between two runs."""

from __future__ import annotations

import sys

import click

from rm_value_tasks.cli.inputs import RUNS, load_runs, write_text
from rm_value_tasks.errors import DataError, RMValueTasksError

__all__ = ["compare", "gate"]


@click.command()
@click.argument("first", type=RUNS)
@click.argument("second", type=RUNS)
@click.option(
    "--anova", is_flag=True, help="Also median ranks by model, category and valence (type II)."
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File; else the screen.")
def compare(first: str, second: str, anova: bool, output: str | None) -> None:
    """Say how far each lean moved from run FIRST to run SECOND, with intervals."""
    from rm_value_tasks.analyses import compare

    ours, theirs = load_runs((first,)), load_runs((second,))
    text = compare.render(compare.compare(ours, theirs))
    if anova:
        try:
            from rm_value_tasks.analyses.anova import model_anova, render
        except ModuleNotFoundError as error:
            raise DataError(
                f"--anova needs {error.name}; pip install 'rm-value-tasks[report]'."
            ) from error
        text += render(model_anova(ours, theirs))
    write_text(text, output)


@click.command()
@click.argument("run", type=RUNS)
@click.option("--baseline", required=True, type=RUNS, help="The run to compare with.")
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

    from rm_value_tasks.analyses import compare
    from rm_value_tasks.analyses import gate as gates
    from rm_value_tasks.text.markup import visible

    try:
        found = compare.compare(load_runs((baseline,)), load_runs((run,)))
        verdict = gates.judge(found, metric, max_shift, task)
        notes = found.notes
    except RMValueTasksError as error:
        verdict, notes = gates.Verdict("error", str(error), metric), ()
    except Exception as error:
        # Python's own exit code for a crash is 1, which here would mean that the lean moved.
        traceback.print_exc()
        verdict, notes = gates.Verdict("error", f"{type(error).__name__}: {error}", metric), ()
    if junit:
        write_text(gates.junit(verdict), junit)
    for note in notes:
        click.echo(visible(f"note: {note}"), err=True)
    click.echo(visible(f"{verdict.status}: {verdict.reason}"), err=verdict.status == "error")
    sys.exit(verdict.exit_code)
