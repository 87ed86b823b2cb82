"""``doctor``: what a ``--model`` would do with a model, before its weights are loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rm_value_tasks.models.loading.doctor import Diagnosis

__all__ = ["doctor"]

_OTHERS = ("hf", "hf-shared-prefix", "implicit-reward", "generative-judge", "reward-server")


@click.command()
@click.argument("model")
@click.option(
    "--model",
    "kind",
    default="reward",
    show_default=True,
    type=click.Choice(["reward", *_OTHERS]),
    help="lm_eval's --model.",
)
@click.option(
    "--model-args",
    default="",
    metavar="NAME=VALUE[,...]",
    help="Any of its arguments: readout, label, weights, chat_template, reference, ...",
)
@click.option("--readout", help="Short for --model-args readout=...")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let the config's and tokenizer's own code run, once you have read it.",
)
def doctor(
    model: str, kind: str, model_args: str, readout: str | None, trust_remote_code: bool
) -> None:
    """Say how lm_eval's --model would read MODEL (a folder or a hub id), loading no weights.

    Exit code 0 if it would run, 2 if it would be refused.
    """
    from lm_eval.utils import simple_parse_args_string
    from transformers.utils import logging

    from rm_value_tasks.models.loading import doctor

    logging.set_verbosity_error()
    arguments = simple_parse_args_string(model_args)
    arguments.pop("pretrained", None)
    if readout:
        arguments["readout"] = readout
    if trust_remote_code:
        arguments["trust_remote_code"] = True
    if kind == "reward":
        diagnosis = doctor.diagnose(model, arguments)
        rows, refusals = _rows(diagnosis), diagnosis.refusals
    else:
        from rm_value_tasks.models.doctors import examine

        findings = examine(kind, model, arguments)
        refusals = findings.refusals
        rows = [*findings.rows, *(("refused", refusal) for refusal in refusals)]
    for line in _lines(rows):
        click.echo(line)
    if refusals:
        sys.exit(2)


def _rows(found: Diagnosis) -> list[tuple[str, str]]:
    family = found.family
    return [
        ("model", found.model),
        ("family", f"{family.name} (found by: {family.found_by.replace('`', '')})"),
        ("readout", found.readout),
        ("template", found.template),
        ("example", repr(found.example) if found.example else ""),
        ("shared prefix", found.shared_prefix),
        ("memory", found.memory),
        *(("note", note) for note in found.notes),
        *(("refused", refusal) for refusal in found.refusals),
        ("run", "" if found.refusals else found.command),
    ]


def _lines(rows: list[tuple[str, str]]) -> Iterator[str]:
    encoding = sys.stdout.encoding or "ascii"
    for name, text in rows:
        if text:
            shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
            line = f"{name:<14} {shown}"
            yield line.encode(encoding, "backslashreplace").decode(encoding)
