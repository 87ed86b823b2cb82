"""Arguments of models as lm-eval's command line hands them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.chat_templates import template_args
from rm_value_tasks.models.common.harness import refuse_unknown
from rm_value_tasks.models.common.template import DATE
from rm_value_tasks.results.run_names import MACHINE

__all__ = [
    "NAMES",
    "READING",
    "READOUTS",
    "RewardArguments",
    "describe_label",
    "kept_arguments",
    "numbers",
    "refuse_with_engine",
    "resolve_token",
    "resolve_tokens",
    "switch",
]

READOUTS = (
    "pooled",
    "weighted",
    "attribute",
    "position",
    "process",
    "first_output",
    "lm_logit",
)

_OF_READOUTS: dict[str, tuple[str, ...]] = {
    "attribute": ("attribute",),
    "label": ("pooled", "position", "process", "first_output"),
    "weights": ("weighted", "pooled", "position", "first_output"),
    "token_id": ("lm_logit",),
}
"""Arguments that only some readouts look at."""
_OF_CHATS = ("bos", "append_token", "step_token", "template_date")
"""Arguments that only conversations with a chat template have a place for."""
READING: tuple[str, ...] = ("bos", "chat_template", "label", "template_date", "weights")
"""Arguments that a serving engine can honour, beside the readout that it has anyway."""


@dataclass(frozen=True, kw_only=True)
class RewardArguments:
    """What ``--model reward`` takes beside the arguments of lm-eval's ``hf``.

    Attributes:
        readout: ``auto``, or one of ``READOUTS``.
        attribute: the output's attribute for ``readout=attribute``.
        label: which of a classifier's labels is the reward: its number, or its name in the
            config's ``id2label``.
        weights: for ``readout=weighted``; ``0.3;0.74;0.46`` on the command line.
        token_id: for ``readout=lm_logit``, the vocabulary id whose logit is the reward; two,
            ``648;387``, for the probability of the first against the second.
        append_token: a token, or its id, to end every conversation with.
        step_token: a token, or its id, that ends a step; the reward is read at the last one.
        head_dtype: ``float32``, or ``model`` for the head as it was trained.
        bos: ``one``, or ``paper`` for a doubled BOS (see ``ChatEncoder``).
        chat_template: for a tokenizer that has none or the wrong one: a Jinja file, or what else
            ``chat_templates.use_chat_template`` takes.
        template_date: what a chat template that asks for today gets.
        shared_prefix: whether to run each prompt once for all its answers.

    Raises:
        ModelError: if a value means nothing.
    """

    readout: str = "auto"
    attribute: str = "score"
    label: int | str | None = None
    weights: str | float | Sequence[float] | None = None
    token_id: str | int = 0
    append_token: str | int | None = None
    step_token: str | int | None = None
    head_dtype: str = "float32"
    bos: str = "one"
    chat_template: str | None = None
    template_date: str = DATE
    shared_prefix: bool = True

    def __post_init__(self) -> None:
        if self.readout not in ("auto", *READOUTS):
            raise ModelError(f"readout={self.readout!r} is none of auto, {', '.join(READOUTS)}.")
        if self.head_dtype not in ("float32", "model"):
            raise ModelError(f"head_dtype={self.head_dtype!r} is neither 'float32' nor 'model'.")
        if self.bos not in ("one", "paper"):
            raise ModelError(f"bos={self.bos!r} is neither 'one' nor 'paper'.")
        if self.label is not None and type(self.label) not in (int, str):
            raise ModelError(
                f"label={self.label!r} is no label's name nor its number; the first is 0."
            )
        if self.label is not None and self.weights is not None:
            raise ModelError("label= and weights= exclude each other; give one of them.")
        object.__setattr__(self, "shared_prefix", switch("shared_prefix", self.shared_prefix))
        if not isinstance(self.chat_template, str | None):
            raise ModelError(f"chat_template={self.chat_template!r} is no file's name.")
        object.__setattr__(self, "weights", numbers(self.weights))

    @classmethod
    def take(cls, given: Mapping[str, Any]) -> tuple[RewardArguments, dict[str, Any]]:
        """Take ours out of ``given``; the rest belongs to ``hf`` or the model.

        Raises:
            ModelError: if a name is nearly ours, or a value means nothing.
        """
        refuse_unknown(given, {*NAMES, "engine"}, others=True)
        most = given.get("max_length")
        if most is not None and (type(most) is not int or most < 1):
            raise ModelError(f"max_length={most!r} is no number of tokens.")
        template_args(given.get("chat_template_args"), None)
        ours = cls(**{name: value for name, value in given.items() if name in NAMES})
        return ours, {name: value for name, value in given.items() if name not in NAMES}

    def numbered(self, config: Mapping[str, Any], model: str) -> RewardArguments:
        """Return these arguments with the label's number in place of its name.

        Raises:
            ModelError: if ``id2label`` of the model's config has no such name, or has it twice.
        """
        if not isinstance(self.label, str):
            return self
        names = label_names(config)
        found = [number for number, name in names.items() if name == self.label]
        if len(found) != 1:
            known = ", ".join(f"{number} {name!r}" for number, name in names.items())
            raise ModelError(
                f"label={self.label!r} is not the name of one label of {model!r}; its config has "
                f"{known or 'no id2label'}: give a name or a number."
            )
        return replace(self, label=found[0])

    @property
    def changed(self) -> list[str]:
        """The arguments that have another value than by default."""
        return [each.name for each in fields(self) if getattr(self, each.name) != each.default]

    def refuse_for_readout(self, readout: str) -> None:
        """Refuse arguments that a readout does not look at.

        Raises:
            ModelError: naming the first.
        """
        if readout == "weighted" and not self.weights:
            raise ModelError("readout=weighted needs weights=W1;W2;..., one for each label.")
        for name in self.changed:
            if readout not in _OF_READOUTS.get(name, (readout,)):
                raise ModelError(
                    f"{name}= has no meaning for readout={readout}, only for "
                    f"{', '.join(_OF_READOUTS[name])}; leave it out, or name its readout=."
                )

    def refuse_for_pairs(self) -> None:
        """Refuse arguments that a question and answer without a chat template have no place for.

        Raises:
            ModelError: naming the first.
        """
        if given := [name for name in _OF_CHATS if name in self.changed]:
            raise ModelError(
                f"{given[0]}= has no meaning for a model that reads question and answer as a "
                "sentence pair; leave it out, or give its chat template as "
                "chat_template=FILE.jinja."
            )

    def refuse_for_engine(self, engine: str) -> None:
        """Refuse arguments that a serving engine cannot honour.

        Raises:
            ModelError: naming the first.
        """
        wrong = [name for name in self.changed if name not in (*READING, "readout")]
        if self.readout not in ("auto", "pooled", "weighted"):
            wrong = [f"readout={self.readout}"]
        if wrong:
            refuse_with_engine(wrong[0], engine)


NAMES: tuple[str, ...] = tuple(each.name for each in fields(RewardArguments))
"""Of the arguments of ``RewardArguments``."""


def label_names(config: Mapping[str, Any]) -> dict[int, str]:
    """Return a classifier's labels, number -> name, as its config has them."""
    if not config:
        return {}
    count = config.get("num_labels") or 2  # as transformers has it, which does not save it
    named = config.get("id2label") or {number: f"LABEL_{number}" for number in range(int(count))}
    pairs = named.items() if isinstance(named, Mapping) else ()
    return {int(number): str(name) for number, name in pairs if str(number).isdecimal()}


def describe_label(label: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the label that is the reward and its name, for results.

    Args:
        label: its number; None for the only one.
        config: the model's.
    """
    names = label_names(config)
    only = 0 if label is None and len(names) == 1 else label
    return {"label": label, "label_name": names.get(only)}


def refuse_with_engine(argument: str, engine: str) -> None:
    """Refuse an argument that a serving engine cannot honour.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"{argument} does not go with engine={engine}, which gives a sequence classifier's own "
        f"outputs (for the longest input: max_model_len=); leave it out, or engine={engine}."
    )


def kept_arguments(model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that scores depend on, as JSON can hold them.

    Secrets, and where and how fast a model runs, are left out: they change no score but in
    rounding.
    """
    return {
        key: value if isinstance(value, int | float | bool) else str(value)
        for key, value in sorted(model_args.items())
        if key not in MACHINE
    }


def switch(name: str, value: Any) -> bool:
    """Return True or False as given, also as 1 or 0.

    Raises:
        ModelError: if it is neither; any text would count as True.
    """
    if value not in (True, False):
        raise ModelError(f"{name}={value!r} is neither True nor False.")
    return bool(value)


def numbers(weights: str | float | Sequence[float] | None) -> list[float] | None:
    """Return the numbers of ``0.3;0.74;0.46``.

    Raises:
        ModelError: if they are no numbers.
    """
    if weights is None:
        return None
    try:
        if isinstance(weights, int | float):  # lm-eval reads a single one as a number
            return [float(weights)]
        parts = weights.split(";") if isinstance(weights, str) else weights
        return [float(weight) for weight in parts]
    except (OverflowError, TypeError, ValueError):
        raise ModelError(f"weights={weights!r} is not numbers separated by ';'.") from None


def resolve_tokens(named: str | int, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of one token, or of two separated by ``;``.

    Raises:
        ModelError: as ``resolve_token``, or if there are more.
    """
    parts = [part for part in str(named).split(";") if part]
    if not 1 <= len(parts) <= 2:
        raise ModelError(f"token_id={named!r} is not one token, or two separated by ';'.")
    return [resolve_token(part, tokenizer, "token_id") for part in parts]


def resolve_token(token: str | int, tokenizer: PreTrainedTokenizerBase, argument: str) -> int:
    """Return the id of a token that a user names by its text or its id.

    Raises:
        ModelError: if the text is not one token, or the id is none of the vocabulary.
    """
    if isinstance(token, bool) or not isinstance(token, int | str):
        raise ModelError(f"{argument}={token!r} is no token's text nor its id.")
    if isinstance(token, int) or token.lstrip("-").isdecimal():
        found = int(token)
        if not 0 <= found < len(tokenizer):
            raise ModelError(f"{argument}={token} is no id of the {len(tokenizer)} tokens.")
        return found
    ids = tokenizer(token.replace("\\n", "\n"), add_special_tokens=False).input_ids
    if len(ids) != 1:
        raise ModelError(
            f"{argument}={token!r} is {len(ids)} tokens of {tokenizer.name_or_path!r}, not one; "
            "give one token, or its id."
        )
    return int(ids[0])
