"""``tokens``: every token of the vocabulary as an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rm_value_tasks.errors import ModelError

if TYPE_CHECKING:
    from rm_value_tasks.scorers.reward import RewardLM

__all__ = ["tokens"]


@click.command()
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

    if arguments.get("engine", "hf") != "hf":
        raise ModelError(
            "tokens reads the model's own embedding table, which another engine does not show; "
            "leave engine= out of --model-args."
        )
    try:
        return RewardLM(**arguments)
    except (OSError, TypeError, ValueError) as error:  # how transformers says "no such model"
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{arguments['pretrained']!r} cannot be loaded as a reward model with these "
            f"--model-args ({type(error).__name__}: {reason})."
        ) from error
