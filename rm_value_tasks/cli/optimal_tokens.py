"""``optimal-tokens``: what one language model finds likelier than another."""

from __future__ import annotations

import fnmatch
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rm_value_tasks.cli.inputs import write_text
from rm_value_tasks.errors import DataError

if TYPE_CHECKING:
    from rm_value_tasks.scores.log_probability_tables import LogProbabilities

__all__ = ["optimal_tokens"]


@click.command("optimal-tokens")
@click.argument("first")
@click.argument("second")
@click.option(
    "--prompts",
    default="greatest_ever_one",
    show_default=True,
    metavar="IDS",
    help="Ids or patterns of prompts, with commas.",
)
@click.option(
    "--score", type=click.Choice(["mwlr", "log_ratio"]), default="mwlr", show_default=True
)
@click.option("--top", default=15, show_default=True, type=click.IntRange(1), help="Rows.")
@click.option(
    "--each-form", is_flag=True, help="Keep freedom, Freedom and ' freedom' apart; no averaging."
)
@click.option("--lexicon", help="Only its words: an embedded list's name, or a file.")
@click.option("--words-only", is_flag=True, help="Only texts that are words.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "latex"]),
    default="markdown",
    show_default=True,
)
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="File; else the screen.")
@click.option(
    "--figure",
    type=click.Path(dir_okay=False),
    help="Draw --words over all pairs of models (.svg or .png).",
)
@click.option("--words", default="freedom,love", show_default=True, help="For --figure.")
def optimal_tokens(
    first: str,
    second: str,
    prompts: str,
    score: str,
    top: int,
    each_form: bool,
    lexicon: str | None,
    words_only: bool,
    form: str,
    output: str | None,
    figure: str | None,
    words: str,
) -> None:
    """Order tokens by the implicit reward of language model FIRST against SECOND.

    Each is a folder of "tokens --model hf", or a .csv or .parquet file in the form of the
    paper's data; several with commas give a table for each pair. Tokens meet in the text that
    they stand for, so vocabularies may differ.
    """
    from rm_value_tasks.vocabulary import optimal_tokens as ranking
    from rm_value_tasks.vocabulary.word_filter import word_filter

    only = word_filter(lexicon, words_only)
    patterns = [part.strip() for part in prompts.split(",") if part.strip()]
    firsts, seconds = _read(first, patterns), _read(second, patterns)
    parts, drawn = [], []
    for one, other in product(firsts, seconds):
        chosen = _chosen(one, other, patterns)
        if figure and len(chosen) > 1:
            raise click.UsageError("--figure is of one prompt; choose it with --prompts.")
        for prompt in chosen:
            ranked = ranking.rank_tokens(
                one, other, prompt, score=score, each_form=each_form, only=only
            )
            said = only.said if only else ""
            text = one.prompts[prompt]
            heading = ranking.Heading(one.name, other.name, text, score, each_form, said)
            parts.append(ranking.FORMATS[form](ranked, heading, top))
        if figure:
            names = [word.strip() for word in words.split(",") if word.strip()]
            scores = ranking.word_scores(one, other, chosen[0], names, score=score)
            drawn += [(one.name, other.name, word, value) for word, value in scores.items()]
    if figure:
        _draw(drawn, score, figure)
    write_text("\n".join(parts), output)


def _read(paths: str, patterns: list[str]) -> list[LogProbabilities]:
    from rm_value_tasks.scores import log_probability_tables

    plain = None if any(set("*?[") & set(pattern) for pattern in patterns) else patterns
    return [log_probability_tables.read(path.strip(), plain) for path in paths.split(",")]


def _chosen(one: LogProbabilities, other: LogProbabilities, patterns: list[str]) -> list[str]:
    shared = [prompt for prompt in one.prompts if prompt in other.prompts]
    found = [p for p in shared if any(fnmatch.fnmatchcase(p, pattern) for pattern in patterns)]
    if not found:
        raise DataError(
            f"{one.name} and {other.name} share no prompt that {','.join(patterns)!r} names; they "
            f"share {', '.join(shared[:6]) or 'none'}."
        )
    for prompt in found:
        if one.prompts[prompt] != other.prompts[prompt]:
            raise DataError(
                f"{prompt!r} is {one.prompts[prompt]!r} for {one.name} but "
                f"{other.prompts[prompt]!r} for {other.name}; run both on one text."
            )
    return found


def _draw(rows: list[tuple[str, str, str, float]], score: str, path: str) -> None:
    import pandas as pd

    try:
        from rm_value_tasks import figures
    except ImportError as error:
        raise DataError(
            "--figure needs matplotlib; install it with pip install 'rm-value-tasks[report]'."
        ) from error
    label = {"mwlr": "mixture-weighted log-ratio", "log_ratio": "log-ratio"}[score]
    table = pd.DataFrame(rows, columns=["first", "second", "word", "score"])
    figures.save(figures.mwlr_lollipop(table, label), Path(path))
