"""The families of reward models, and how one is told from config and tensor names alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CHAIN_HEADS", "FAMILIES", "Family", "by_name", "detect"]

CHAIN_HEADS = ("v_head.", "value_head.", "regression_head.", "score_head.", "score.")
"""Prefixes of the tensors of heads that are linear layers with ReLU between."""


@dataclass(frozen=True)
class Family:
    """Reward models that are read in one way.

    Attributes:
        name: the family's name.
        examples: models of it.
        readout: its readout; empty where another scorer, or none, can read it.
        found_by: how it is told apart, in words.
        architectures: pattern of a whole name in the config's ``architectures``.
        named: pattern in the model's own name, where its config says nothing.
        heads: prefixes of its head's tensors in the checkpoint.
        code: whether only the code that it brings along can run it.
        append: where the token id appended to a conversation stands.
        step: the token that ends a step of an answer.
        weights: weights of its labels.
        template: chat template for tokenizers that have none, from the model card.
        model: the lm-eval model that scores it.
        refusal: why ``--model reward`` cannot score it; half a sentence.
    """

    name: str
    examples: str
    readout: str
    found_by: str
    architectures: str = ""
    named: str = ""
    heads: tuple[str, ...] = ()
    code: bool = False
    append: str = ""
    step: str = ""
    weights: tuple[float, ...] = ()
    template: str = ""
    model: str = "reward"
    refusal: str = ""


_PAIRS = "it compares two answers and gives none a score of its own; use a scalar reward model"
_TURNS = "{% for m in messages %}{% if m['role'] == 'assistant' %}"
_NEXT = "{% else %}"
_END = "{% endif %}{% endfor %}"

_BEAVER = (
    "BEGINNING OF CONVERSATION:"
    f"{_TURNS} ASSISTANT:{{{{ m['content'] }}}}{_NEXT} USER: {{{{ m['content'] }}}}{_END}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
_ULTRA = (
    f"{_TURNS}Assistant: {{{{ m['content'] }}}}{_NEXT}Human: {{{{ m['content'] }}}}"
    "{% endif %}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\nAssistant: ' }}{% endif %}"
)
_EURUS = f"{_TURNS}{{{{ m['content'] }}}}{_NEXT}[INST] {{{{ m['content'] }}}} [\\INST] {_END}"

FAMILIES = (
    Family(
        "PairRM",
        "llm-blender/PairRM-hf, Better-PairRM",
        "",
        "`...PairRM` in the config",
        architectures=r".*PairRM",
        refusal=_PAIRS,
    ),
    Family(
        "SteamSHP",
        "stanfordnlp/SteamSHP-flan-t5-xl",
        "",
        "an encoder-decoder language model",
        architectures=r".*T5ForConditionalGeneration",
        refusal=(
            "such a model has no reward head (SteamSHP compares two answers and gives none a score "
            "of its own); use a scalar reward model"
        ),
    ),
    Family(
        "POLAR",
        "internlm/POLAR-1.8B, -7B",
        "",
        "`POLAR` in the model's name",
        architectures=r"InternLM2ForRewardModel",
        named=r"\bpolar\b",
        refusal=(
            "it scores an answer by its likeness to a reference answer, and the tasks have none"
        ),
    ),
    Family(
        "InternLM2-Reward",
        "internlm/internlm2-1_8b-reward, -7b-, -20b-",
        "first_output",
        "`InternLM2ForRewardModel`",
        architectures=r"InternLM2ForRewardModel",
        code=True,
        append="config.reward_token_id",
    ),
    Family(
        "gated objectives",
        "RLHFlow/ArmoRM-Llama3-8B-v0.1, nicolinho/QRM-*",
        "attribute",
        "`...RewardModelWithGating...`",
        architectures=r".*RewardModelWithGating.*",
        code=True,
    ),
    Family(
        "URM",
        "LxzGordon/URM-LLaMa-3.1-8B",
        "pooled",
        "`LlamaForSequenceClassificationWithNormal_Weights`",
        architectures=r".*SequenceClassificationWithNormal_Weights",
        code=True,
    ),
    Family(
        "LDL",
        "ShikaiChen/LDL-Reward-Gemma-2-27B-v0.1",
        "position",
        "`regression_layer.pt` and `gating_layer.pt`",
        heads=("regression_layer.", "gating_layer."),
    ),
    Family(
        "Athene",
        "Nexusflow/Athene-RM-8B, -70B",
        "position",
        "`AtheneForSequenceClassification`",
        architectures=r"AtheneForSequenceClassification",
        heads=("v_head.",),
        append="tokenizer.cls_token_id",
    ),
    Family(
        "INF-ORM",
        "infly/INF-ORM-Llama3.1-70B",
        "position",
        "`INFORMForSequenceClassification`",
        architectures=r"INFORMForSequenceClassification",
        heads=("score.",),
    ),
    Family(
        "Qwen2 reward",
        "Qwen/Qwen2.5-Math-RM-72B, WorldPM-72B",
        "position",
        "`Qwen2ForRewardModel`",
        architectures=r"Qwen2ForRewardModel",
        heads=("score.",),
    ),
    Family(
        "process reward",
        "Qwen/Qwen2.5-Math-PRM-7B, -72B",
        "process",
        "`...ForProcessRewardModel`",
        architectures=r".*ForProcessRewardModel",
        heads=("score.",),
        step="<extra_0>",
    ),
    Family(
        "Eurus-RM",
        "openbmb/Eurus-RM-7b",
        "position",
        "`EurusRewardModel`",
        architectures=r"EurusRewardModel",
        heads=("regression_head.",),
        template=_EURUS,
    ),
    Family(
        "UltraRM",
        "openbmb/UltraRM-13b",
        "position",
        "`regression_head.*` in the checkpoint",
        heads=("regression_head.",),
        template=_ULTRA,
    ),
    Family(
        "Beaver cost",
        "PKU-Alignment/beaver-7b-v*-cost",
        "position",
        "`score_head.*`, and `score_type: cost`",
        heads=("score_head.", "normalizer."),
        weights=(-1.0,),
        template=_BEAVER,
    ),
    Family(
        "Beaver reward",
        "PKU-Alignment/beaver-7b-v*-reward",
        "position",
        "`score_head.*` in the checkpoint",
        heads=("score_head.", "normalizer."),
        template=_BEAVER,
    ),
    Family(
        "value head",
        "TRL value heads, Ray2333/GRM-*-sftreg, Nexusflow/Starling-RM-34B, "
        "Skywork/Skywork-VL-Reward-7B (text alone)",
        "position",
        "`v_head.*` or `value_head.*` in the checkpoint or in `value_head.safetensors`",
        heads=("v_head.", "value_head."),
    ),
    Family(
        "Nemotron logit",
        "nvidia/Llama-3.1-Nemotron-70B-Reward-HF",
        "lm_logit",
        "`Nemotron-...-Reward` in the model's name, or `readout=lm_logit`",
        architectures=r".*ForCausalLM",
        named=r"nemotron[^/\\]*reward",  # in one part of a path,
    ),
    Family(
        "token classifier",
        "TRL-trained with one value a token",
        "position",
        "`...ForTokenClassification`",
        architectures=r".*ForTokenClassification",
    ),
    Family(
        "sentence pair",
        "OpenAssistant/reward-model-deberta-v3-large-v2",
        "pooled",
        "an encoder whose tokenizer has no chat template",
        architectures=r"(Albert|Bert|Deberta|DebertaV2|DistilBert|Electra|Longformer|ModernBert|"
        r"Roberta|XLMRoberta)ForSequenceClassification",
    ),
    Family(
        "own code",
        "models with an `AutoModel` of their own",
        "first_output",
        "`auto_map` in the config has `AutoModel` alone",
        code=True,
    ),
    Family(
        "sequence classifier",
        "Skywork/Skywork-Reward-*, Skywork-Reward-V2-*, Ray2333/GRM-*-ft, "
        "allenai/*-RM-RB2, TRL-trained",
        "pooled",
        "default",
    ),
    Family(
        "DPO policy",
        "any language model tuned with DPO, with its reference",
        "",
        "`pretrained=A,reference=B`",
        model="implicit-reward",
    ),
    Family(
        "generative judge",
        "any chat model; Skywork-Critic, Prometheus",
        "",
        "`mode=rating` or `mode=choice`",
        model="generative-judge",
    ),
)


def by_name(name: str) -> Family:
    """Return a family by its name."""
    return next(family for family in FAMILIES if family.name == name)


def detect(config: Mapping[str, Any], tensors: Iterable[str], name: str = "") -> Family:
    """Return the family of a checkpoint.

    Args:
        config: its ``config.json``.
        tensors: names of its tensors; empty where they are not known.
        name: its folder or hub id.
    """
    keys = list(tensors)
    for family in FAMILIES:
        if family.model == "reward" and _is(family, config, keys, name):
            return family
    return by_name("sequence classifier")


def _is(family: Family, config: Mapping[str, Any], keys: list[str], name: str) -> bool:
    """Say whether a checkpoint has every mark that the family has."""
    architectures = [str(each) for each in config.get("architectures") or []]
    marks = []
    if family.architectures:
        marks.append(any(re.fullmatch(family.architectures, each) for each in architectures))
    elif family.heads:
        marks.append(any(key.startswith(family.heads) for key in keys))
    if family.named:
        marks.append(re.search(family.named, name.lower()) is not None)
    if family.name == "Beaver cost":
        marks.append(config.get("score_type") == "cost")
    if family.name == "own code":
        models = {key for key in config.get("auto_map") or {} if key.startswith("AutoModel")}
        marks.append(models == {"AutoModel"} and "score.weight" not in keys)
    return bool(marks) and all(marks)
