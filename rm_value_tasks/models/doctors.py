"""What a ``--model`` other than ``reward`` would do with a model, loading no weights.

For language models the template, what is scored, an example and the memory of the weights; a
reward server is asked, since only it knows what it holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import transformers

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.chat_templates import template_args, use_chat_template
from rm_value_tasks.models.common.judge_prompts import JudgePrompt
from rm_value_tasks.models.common.opening import in_one_sentence, open_tokenizer, read_config
from rm_value_tasks.models.common.refusals import refuse_unknown_tokens
from rm_value_tasks.models.common.template import DATE, Template
from rm_value_tasks.models.generative_judge import GenerativeJudgeLM
from rm_value_tasks.models.hf_shared_prefix import SharedPrefixLM
from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
from rm_value_tasks.models.loading.weight_files import WeightFiles

__all__ = ["Findings", "examine"]

_QUESTION, _ANSWER = "What, in one word, is the best thing ever?", "freedom"
_SCORED = {
    "hf": "log p(answer | prompt)",
    "hf-shared-prefix": "log p(answer | prompt), each prompt run once",
    "implicit-reward": "beta * (log p_policy - log p_reference) of the answer, or its mwlr form",
    "generative-judge": "the expected rating of the answer, from its tokens' probabilities",
}
_CLASSES: dict[str, Any] = {
    "hf": SharedPrefixLM,
    "hf-shared-prefix": SharedPrefixLM,
    "implicit-reward": ImplicitRewardLM,
    "generative-judge": GenerativeJudgeLM,
}


@dataclass
class Findings:
    """What was found: rows of a name and a text, and why it would not run."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def add(self, name: str, text: str) -> None:
        """Add a row."""
        self.rows.append((name, text))


def examine(kind: str, model: str, arguments: Mapping[str, Any]) -> Findings:
    """Say what ``--model KIND`` would do.

    Args:
        kind: ``hf``, ``hf-shared-prefix``, ``implicit-reward``, ``generative-judge`` or
            ``reward-server``.
        model: a folder or hub id; of a server its model's, for the tokenizer.
        arguments: arguments of the model.
    """
    found = Findings()
    found.add("model", model)
    try:
        if kind == "reward-server":
            _ask(found, model, arguments)
            return found
        _CLASSES[kind].refuse_arguments(arguments)
        _refuse_template(kind, arguments)
        found.add("scored", _SCORED[kind])
        first = {k: v for k, v in arguments.items() if not k.startswith("reference")}
        second = {
            k.removeprefix("reference_"): v
            for k, v in arguments.items()
            if k.startswith("reference_")
        }
        _look(found, kind, model, first)
        if kind == "implicit-reward":
            reference = arguments.get("reference")
            if not reference:
                raise ModelError("reference= is missing; name the other model, or none.")
            if str(reference).lower() != "none":
                found.add("reference", str(reference))
                _look(found, kind, str(reference), second)
    except ModelError as error:
        found.refusals.append(str(error))
    return found


def _refuse_template(kind: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that lm-eval's own ``hf`` and its stand-in would hand to the model."""
    given = [name for name in ("chat_template", "template_date") if name in arguments]
    if given and kind in ("hf", "hf-shared-prefix"):
        raise ModelError(
            f"--model {kind} takes no {given[0]}=; save the template with the tokenizer "
            "(chat_template.jinja in its folder)."
        )


def _look(found: Findings, kind: str, model: str, given: Mapping[str, Any]) -> None:
    where = {key: given[key] for key in ("revision", "subfolder") if given.get(key)}
    trusted = bool(given.get("trust_remote_code"))
    gguf = {"gguf_file": given["gguf_file"]} if given.get("gguf_file") else {}
    read = {} if gguf else read_config(model, **where)
    with in_one_sentence(f"the config of {model!r}"):
        whole = transformers.AutoConfig.from_pretrained(
            model, trust_remote_code=trusted, **where, **gguf
        )
    if "ForSequenceClassification" in str(read.get("architectures")):
        raise ModelError(
            f"{model!r} is a classifier, not a language model; score it with --model reward."
        )
    if gguf:
        found.add("memory", "float32 weights, which a GGUF file becomes when it is loaded")
    else:
        files = WeightFiles(model, download=False, **where)
        files.refuse_incomplete()
        found.add("memory", files.memory(read, given.get("dtype")))
    tokenizer = open_tokenizer(
        given.get("tokenizer") or model, trust_remote_code=trusted, **where, **gguf
    )
    use_chat_template(tokenizer, given.get("chat_template"))
    passed = template_args(given.get("chat_template_args"), given.get("enable_thinking"))
    rows = getattr(whole.get_text_config(), "vocab_size", None) or math.inf
    judge = _judge(given) if kind == "generative-judge" else None
    if not tokenizer.chat_template:
        if judge:
            Template(tokenizer)  # says what is missing
        text = f"{_QUESTION} {_ANSWER}"
        found.add("template", "none: leave --apply_chat_template out")
    else:
        date = given.get("template_date", DATE)
        template = Template(tokenizer, passed, date, answers=False)
        try:
            template.check()
        except ModelError as error:
            if judge:
                raise
            found.add("template", f"leave --apply_chat_template out: {error}")
            found.add("example", repr(f"{_QUESTION} {_ANSWER}"))
            return
        told = template.settings()
        found.add("template", f"the tokenizer's; sha256 {told['chat_template_sha256'][:12]}...")
        question = _QUESTION
        if judge:
            question = judge.example(_QUESTION, _ANSWER)
        text = template.render([{"role": "user", "content": question}], add_generation_prompt=True)
        text += judge.labels[0] if judge else _ANSWER
    refuse_unknown_tokens([tokenizer(text, add_special_tokens=False).input_ids], rows)
    found.add("example", repr(text))


def _judge(given: Mapping[str, Any]) -> JudgePrompt:
    named = {"mode": "mode", "ratings": "ratings", "judge_prompt": "path"}
    return JudgePrompt(**{named[key]: given[key] for key in named if key in given})


def _ask(found: Findings, model: str, arguments: Mapping[str, Any]) -> None:
    from rm_value_tasks.models.reward_server import ServerRewardLM

    if not arguments.get("base_url"):
        raise ModelError("base_url= is missing; give the server's address in --model-args.")
    server = ServerRewardLM.create_from_arg_obj({"pretrained": model, **arguments})
    found.add("scored", "the served classifier's raw output for the conversation")
    info = server.get_model_info()
    for name in ("server", "served_model", "engine", "engine_version", "activation", "max_length"):
        found.add(name.replace("_", " "), str(info.get(name)))
    (tokens,) = server.encoder.encode([(_QUESTION, f" {_ANSWER}")])
    found.add("template", f"the tokenizer's; sha256 {info['chat_template_sha256'][:12]}...")
    found.add("example", repr(server.tokenizer.decode(tokens["input_ids"])))
    found.add("memory", "the server's")
