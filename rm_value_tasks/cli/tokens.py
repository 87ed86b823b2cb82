"""``tokens``: every token of the vocabulary as an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rm_value_tasks.errors import ModelError

if TYPE_CHECKING:
    from rm_value_tasks.vocabulary.token_runs import Run

__all__ = ["tokens"]

_MODELS = ("reward", "hf", "hf-shared-prefix", "implicit-reward")


@click.command()
@click.option(
    "--model",
    type=click.Choice(_MODELS),
    default="reward",
    show_default=True,
    help="What scores tokens, as for lm_eval.",
)
@click.option(
    "--model-args",
    required=True,
    metavar="pretrained=...[,...]",
    help="The model, with any argument that --model takes.",
)
@click.option(
    "--prompts",
    metavar="IDS",
    help="Ids or patterns of the 54 prompts, with commas ('best_ever_one,worst_*').",
)
@click.option("--prompt", "texts", multiple=True, metavar="TEXT", help="Free text; repeatable.")
@click.option(
    "--apply-chat-template",
    "chat",
    is_flag=True,
    help="Language models: the answer follows the chat template's generation prompt.",
)
@click.option(
    "--answer-slot", default="", metavar="TEXT", help="Language models: after every prompt."
)
@click.option("--top", default=20, show_default=True, type=click.IntRange(1), help="Rows to show.")
@click.option("--lexicon", help="Show its words alone: an embedded list's name, or a file.")
@click.option("--words-only", is_flag=True, help="Show words alone.")
@click.option("-o", "--output", required=True, type=click.Path(file_okay=False), help="Folder.")
@click.option(
    "--wide",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write one column a prompt, as the paper's authors do (.csv or .parquet).",
)
@click.option("--batch-size", default="auto", show_default=True, metavar="N|auto")
@click.option("--device", help="As for lm_eval: cuda, cuda:0, cpu, mps, ...")
@click.option(
    "--chunk-size",
    default=4096,
    show_default=True,
    type=click.IntRange(1),
    help="Reward models: tokens between two saves.",
)
def tokens(
    model: str,
    model_args: str,
    prompts: str | None,
    texts: tuple[str, ...],
    chat: bool,
    answer_slot: str,
    top: int,
    lexicon: str | None,
    words_only: bool,
    output: str,
    wide: Path | None,
    batch_size: str,
    device: str | None,
    chunk_size: int,
) -> None:
    """Score every token of the vocabulary as the answer to prompts.

    A reward model gives rewards, a language model (hf) the log-probabilities of what follows
    each prompt, implicit-reward the log-ratio of two. Without --prompts and --prompt:
    greatest_ever_one and worst_ever_one. All scores go to OUTPUT/tokens.parquet. The same
    command again goes on where a run was stopped; with "accelerate launch -m rm_value_tasks
    tokens ..." processes share the work.
    """
    from lm_eval.utils import simple_parse_args_string

    from rm_value_tasks.text.surface_forms import read_slot
    from rm_value_tasks.vocabulary import extremes, token_runs, wide_table
    from rm_value_tasks.vocabulary.word_filter import word_filter

    chosen = token_runs.choose_prompts(_patterns(prompts, texts), texts)
    arguments = simple_parse_args_string(model_args)
    if "pretrained" not in arguments:
        raise click.UsageError("--model-args names no model; give pretrained=FOLDER_OR_HUB_ID.")
    if not batch_size.startswith("auto") and not batch_size.isdecimal():
        raise click.UsageError(f"--batch-size {batch_size!r} is neither a number nor auto.")
    if model == "reward" and (chat or answer_slot):
        raise click.UsageError(
            "--apply-chat-template and --answer-slot are for language models; a reward model "
            "reads each prompt as the user's turn in its chat template."
        )
    if wide is not None:
        wide_table.check_ending(wide)
    slot = read_slot(answer_slot)
    only = word_filter(lexicon, words_only)
    run = _run(
        model,
        # As lm_eval does: where there is no such device, HFLM takes the CPU.
        {"batch_size": batch_size, "device": device or "cuda:0", **arguments},
        {name: text + slot for name, text in chosen.items()},
        Path(output),
        arguments=arguments,
        chat=chat,
        chunk_size=chunk_size,
    )
    if run is not None:  # the first process
        for line in extremes.report(run, top, only):
            click.echo(line)
        if wide is not None:
            wide_table.write_wide(run, wide)


def _patterns(prompts: str | None, texts: tuple[str, ...]) -> list[str]:
    given = [part.strip() for part in (prompts or "").split(",") if part.strip()]
    return given if given or texts else ["greatest_ever_one", "worst_ever_one"]


def _run(
    model: str,
    made_with: dict[str, Any],
    prompts: dict[str, str],
    folder: Path,
    *,
    arguments: dict[str, Any],
    chat: bool,
    chunk_size: int,
) -> Run | None:
    if model == "reward":
        from rm_value_tasks.models.reward import RewardLM
        from rm_value_tasks.vocabulary.rewards import score_vocabulary

        if arguments.get("engine", "hf") != "hf":
            raise ModelError(
                "tokens reads the model's own embedding table, which another engine does not "
                "show; leave engine= out of --model-args."
            )
        return score_vocabulary(
            _load(RewardLM, "a reward model", made_with),
            prompts,
            folder,
            model_args=arguments,
            chunk_size=chunk_size,
        )
    if model == "implicit-reward":
        from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
        from rm_value_tasks.vocabulary.implicit_rewards import score_ratios

        pair = _load(ImplicitRewardLM, "an implicit reward", made_with)
        return score_ratios(pair, prompts, folder, chat=chat)
    from rm_value_tasks.models.common.answer_log_probabilities import AnswerLM
    from rm_value_tasks.vocabulary.next_tokens import score_next_tokens

    if "whole_response" in arguments:
        raise ModelError("whole_response= is no argument of --model hf; leave it out.")
    lm = _load(AnswerLM, "a language model", made_with)
    return score_next_tokens(lm, prompts, folder, chat=chat, model_args=arguments)


def _load(scorer: Any, kind: str, arguments: dict[str, Any]) -> Any:
    try:
        return scorer(**arguments)
    except (OSError, TypeError, ValueError) as error:  # how transformers says "no such model"
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{arguments['pretrained']!r} cannot be loaded as {kind} with these "
            f"--model-args ({type(error).__name__}: {reason})."
        ) from error
