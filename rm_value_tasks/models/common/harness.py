"""Every touch on lm-eval's private parts, so that a new release of it is met here alone.

lm-eval's models are made to be subclassed, but what a subclass needs is named with an
underscore. Our models override and call the public names below.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.utils import sanitize_model_name, simple_parse_args_string
from torch.utils import collect_env

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.content import checkpoint_digest, model_digests
from rm_value_tasks.models.common.opening import in_one_sentence, read_config, refuse_missing

__all__ = [
    "FromArguments",
    "HarnessHF",
    "Request",
    "hf_arguments",
    "machine_described_once",
    "refuse_unknown",
    "set_processes",
    "unknown_argument",
]

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""A tokenized request: (context, continuation) or None, and the ids of both."""


class FromArguments:
    """Makes a model of lm_eval's arguments; stands before an lm-eval ``LM``."""

    ARGUMENTS: tuple[str, ...] = ()
    """What it takes beside the named arguments of its ``__init__``."""
    passes_on = False
    """Whether arguments that are not ours go to somebody else, who may know them."""

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Any = None) -> Any:
        """Make the model of ``name=value,...``; see ``create_from_arg_obj``."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Any:
        """Make the model.

        Args:
            arg_dict: ``--model_args``; what they say of device and batch size counts.
            additional_config: lm_eval's own options for those.

        Raises:
            ModelError: if an argument has no meaning here, naming the one that was meant.
        """
        cls.refuse_arguments(arg_dict)
        _refuse_long_name(str(arg_dict.get("peft") or arg_dict.get("pretrained") or ""))
        options = (additional_config or {}).items()
        return cls(**{key: value for key, value in options if value is not None} | dict(arg_dict))

    @classmethod
    def refuse_arguments(cls, arg_dict: Mapping[str, Any]) -> None:
        """Refuse arguments that have no meaning here.

        Raises:
            ModelError: naming the one that was meant.
        """
        refuse_unknown(arg_dict, _arguments(cls), others=cls.passes_on)


def _refuse_long_name(name: str) -> None:
    """Refuse a name of which lm_eval could make no folder; it would score and write nothing."""
    folder = sanitize_model_name(name)
    asked = any(argument.startswith(("--output_path", "-o")) for argument in sys.argv)
    if asked and len(folder.encode()) > _LONGEST_NAME:
        raise ModelError(
            f"lm_eval would write below a folder named after the model's path, which has "
            f"{len(folder.encode())} letters where a file system takes {_LONGEST_NAME}; go to the "
            "model's folder, or link to it from a shorter path."
        )


def refuse_unknown(given: Iterable[str], own: Iterable[str], *, others: bool) -> None:
    """Refuse names that nearly are ours, and unless there are ``others`` every unknown one.

    Raises:
        ModelError: naming the argument that was meant.
    """
    known = set(own)
    for name in given:
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
        if name in known or (others and (not close or name in hf_arguments() | _CONFIG)):
            continue
        meant = f"did you mean {close[0]}=?" if close else f"known are {', '.join(sorted(known))}."
        raise ModelError(f"there is no argument {name}=; {meant}")


_LONGEST_NAME = 255

_CONFIG = {"bos_token_id", "eos_token_id", "pad_token_id"}
"""Values of a model's config that sound like arguments of ours."""


def hf_arguments() -> set[str]:
    """Return the names of the arguments of lm-eval's ``hf``."""
    return _keywords(HFLM)


def _arguments(cls: type[FromArguments]) -> set[str]:
    """Return the names of a class's arguments, without those that ``hf`` has anyway."""
    found = set(cls.ARGUMENTS)
    for base in cls.__mro__:
        if base is HFLM:
            break
        found |= _keywords(base)
    return found


def _keywords(cls: type) -> set[str]:
    init = vars(cls).get("__init__")
    if not inspect.isfunction(init):
        return set()
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(init).parameters.values()
    return {each.name for each in parameters if each.kind in kinds} - {"self"}


class HarnessHF(FromArguments, HFLM):
    """lm-eval's ``hf`` with public names for what our models change of it or ask it."""

    passes_on = True
    subfolder = ""
    file_config: Mapping[str, Any]
    """The checkpoint's ``config.json``, without what ``transformers`` adds by default."""

    def load_weights(self, pretrained: str, **kwargs: Any) -> None:
        """Load the model; ``kwargs`` are the arguments of ``hf`` and of the model."""
        if isinstance(adapter := kwargs.get("peft"), str):
            refuse_missing(adapter, "adapter")
        with in_one_sentence(f"the model {pretrained!r}"):
            try:
                super()._create_model(pretrained, **kwargs)
            except TypeError as error:
                unknown = unknown_argument(error)
                if unknown not in kwargs:
                    raise
                raise ModelError(
                    f"there is no argument {unknown}=: neither lm-eval's hf nor the model "
                    f"{pretrained!r} takes it."
                ) from error

    def choose_backend(self, config: Any, **kwargs: Any) -> None:
        """Tell causal models from encoder-decoders."""
        super()._get_backend(config, **kwargs)

    def forward_of_size(self, ids: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Run a batch; the search for the largest batch calls this."""
        return super()._model_call(ids, **kwargs)

    def split_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokenize a context and its continuation."""
        return super()._encode_pair(context, continuation)

    def score_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Return (log-probability, is greedy) of each request, in order."""
        return super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)

    def find_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        """Return the largest batch that fits."""
        return super()._detect_batch_size(requests, pos)

    def batch_scheduler(self, pos: int, requests: Any) -> int:
        """Return the batch size at a place of the sorted requests (``batch_size=auto``)."""
        return super()._batch_scheduler(pos, requests)

    def join_accelerate(self) -> None:
        """Take part in data parallelism on CPUs too; ``HFLM`` does so on GPUs only.

        Otherwise every process of a CPU launch would score everything.
        """
        if hasattr(self, "accelerator") and self.world_size == 1:
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes

    def digests(self) -> dict[str, str | None]:
        """Return what model and tokenizer are by content (``content.model_digests``)."""
        found = model_digests(self.model, self.tokenizer)
        if found["weights_digest"] is None:  # quantized, or out of sight: then by its files
            for name in ("pretrained", "peft"):
                if isinstance(given := getattr(self, name, None), str):
                    folder = self.subfolder if name == "pretrained" else ""
                    found[f"{name}_digest"] = checkpoint_digest(
                        given, self.revision, subfolder=folder
                    )
        return found

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {**super().get_model_info(), **self.digests()}

    def drop_model(self) -> None:
        """Forget the weights; what else lm-eval asks of a model stays."""
        self._max_length = self.max_length
        self._model = self.pretrained = None

    def _get_config(self, pretrained: str, **kwargs: Any) -> None:
        where = {key: kwargs[key] for key in ("revision", "subfolder") if kwargs.get(key)}
        self.subfolder = str(kwargs.get("subfolder") or "")
        read = {} if kwargs.get("gguf_file") else read_config(pretrained, **where)
        with in_one_sentence(f"the config of {pretrained!r}"):
            try:
                super()._get_config(pretrained, **kwargs)
            except ValueError as error:
                if "trust_remote_code" not in str(error):
                    raise
                raise ModelError(
                    f"{pretrained!r} has a config that only the code that it brings along can "
                    "read; read that code, then give trust_remote_code=True."
                ) from error
        self.file_config = read or self.config.to_dict()

    def _create_tokenizer(self, pretrained: Any, tokenizer: Any, **kwargs: Any) -> None:
        named = tokenizer or pretrained
        if not isinstance(named, str):
            super()._create_tokenizer(pretrained, tokenizer, **kwargs)
            return
        refuse_missing(named, "tokenizer")
        with in_one_sentence(f"the tokenizer of {named!r}"):
            super()._create_tokenizer(pretrained, tokenizer, **kwargs)

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:
        self.load_weights(pretrained, **kwargs)

    def _get_backend(self, config: Any, **kwargs: Any) -> None:
        self.choose_backend(config, **kwargs)

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        return self.forward_of_size(inps, *args, **kwargs)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        return self.split_pair(context, continuation)

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        return self.score_tokens(requests, disable_tqdm, override_bs)

    def _detect_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        return self.find_batch_size(requests, pos)


def unknown_argument(error: TypeError) -> str | None:
    """Return the name of the argument that a call did not know; None if that was not why."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    return found and found[1]


_describe_machine = functools.cache(collect_env.get_pretty_env_info)


@contextmanager
def machine_described_once() -> Iterator[None]:
    """Let lm-eval, which describes the machine in every results file, find it out only once.

    It takes seconds, and a training run writes many such files.
    """
    before = collect_env.get_pretty_env_info
    collect_env.get_pretty_env_info = _describe_machine
    try:
        yield
    finally:
        collect_env.get_pretty_env_info = before


def set_processes(lm: Any, other: Any) -> None:
    """Make a model take the rank, the processes and the device of another."""
    lm._rank, lm._world_size, lm._device = other.rank, other.world_size, other.device
