"""``--model reward-server``: a reward model behind vLLM or SGLang, over HTTP."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import transformers

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.serving.engine import EngineRewardLM, ReceiveRows
from rm_value_tasks.models.serving.protocols import BACKENDS, BadAnswer, make_backend, root_of
from rm_value_tasks.models.serving.raw_outputs import Row
from rm_value_tasks.results.run_names import SECRETS

__all__ = ["API_KEY", "ServerRewardLM"]

API_KEY = "REWARD_SERVER_API_KEY"
"""The environment variable that is looked at where none is named."""

_AUTO_BATCH = 32

_logger = logging.getLogger(__name__)


class ServerRewardLM(EngineRewardLM):
    """A reward model that a vLLM or SGLang server holds.

    Args:
        base_url: the server's address, as ``http://localhost:8000``.
        pretrained: the model; names its tokenizer and, in lm-eval's output, the run.
        tokenizer: the tokenizer's folder or hub id, if another.
        backend: ``vllm``, ``sglang``, or ``auto`` to ask the server's ``/v1/models``.
        model: which of the served models, by its served name; the first by default.
        route: ``classify``; with vLLM also ``pooling``.
        batch_size: conversations in a request; ``auto`` is 32.
        num_concurrent: requests under way at once.
        timeout: seconds for one request.
        max_retries: how often a failed request is tried again.
        retry_wait: seconds before the first retry, doubled at each further one.
        max_length: most tokens in a conversation; what the server says by default.
        api_key_env: name of the environment variable with the server's key; by default
            ``REWARD_SERVER_API_KEY``, if it is set.
        max_batch_size: taken because lm-eval passes it; not used.
        device: likewise.
        **rendering: ``EngineRewardLM``'s own: ``revision``, ``bos``, ``chat_template``, ...

    Raises:
        ModelError: if the server cannot be asked, its outputs are not raw, or the options
            do not fit.
    """

    engine = "the server"

    def __init__(
        self,
        base_url: str,
        *,
        pretrained: str | None = None,
        tokenizer: str | None = None,
        backend: str = "auto",
        model: str | None = None,
        route: str = "classify",
        batch_size: int | str = 1,
        num_concurrent: int = 8,
        timeout: float = 300,
        max_retries: int = 5,
        retry_wait: float = 1.0,
        max_length: int | None = None,
        api_key_env: str | None = None,
        max_batch_size: Any = None,
        device: Any = None,
        **rendering: Any,
    ) -> None:
        _refuse_secrets(rendering)
        name = tokenizer or pretrained
        if not name:
            raise ModelError(
                "which tokenizer renders the conversations is not known; give pretrained=MODEL."
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ModelError(
                "several processes would each score everything on the server; start one without "
                "accelerate or torchrun, and raise num_concurrent= or batch_size."
            )
        root = root_of(base_url)
        self._batch_size = _checked(batch_size, num_concurrent, timeout, max_retries, retry_wait)
        where = {key: rendering[key] for key in ("revision",) if key in rendering}
        super().__init__(name, config=_config(pretrained or name, **where), **rendering)
        self._server = _client(
            root,
            key=_key(api_key_env),
            num_concurrent=int(num_concurrent),
            timeout=float(timeout),
            max_retries=int(max_retries),
            retry_wait=float(retry_wait),
        )
        card = self._card(model)
        backend_name = _backend_name(backend, card, root)
        self._backend = make_backend(backend_name, model=card.get("id") or model, route=route)
        lengths = [n for n in (max_length, card.get("max_model_len")) if n]
        self.max_length = min(map(int, lengths)) if lengths else None
        self._served = {"model": card.get("id"), "path": card.get("root")}
        if card and not {name, pretrained} & set(self._served.values()):
            _logger.warning("The server holds %s; the tokenizer is that of %s.", card["id"], name)
        self._version = self._ask_version()
        self.check_activation()

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Any:
        """Make the model of lm_eval's arguments, refusing keys among them."""
        _refuse_secrets(arg_dict)
        return super().create_from_arg_obj(arg_dict, additional_config)

    def _card(self, model: str | None) -> dict[str, Any]:
        """Return what ``/v1/models`` says of the served model; nothing if it is not there."""
        answer = self._server.get("/v1/models")
        cards = answer.get("data") if isinstance(answer, dict) else None
        cards = [card for card in cards or [] if isinstance(card, dict) and card.get("id")]
        found = [card for card in cards if model in (None, card["id"])]
        if cards and not found:
            served = ", ".join(str(card["id"]) for card in cards)
            raise ModelError(f"model={model!r} is none that the server holds ({served}).")
        return found[0] if found else {}

    def _ask_version(self) -> str | None:
        for path in self._backend.version_paths:
            answer = self._server.get(path, optional=True)  # SGLang may ask for another key
            # The rest of SGLang's answer may hold its key.
            if isinstance(answer, dict) and isinstance(answer.get("version"), str):
                return answer["version"]
        return None

    def _run(self, tokens: Sequence[Sequence[int]], receive: ReceiveRows) -> None:
        # In the order of the requests, so that answers to one prompt follow each other and
        # the server's prefix cache holds.
        size = self._batch_size
        batches = [range(at, min(at + size, len(tokens))) for at in range(0, len(tokens), size)]

        def done(index: int, answer: Any) -> None:
            members = batches[index]
            receive(members, self._rows(answer, [tokens[member] for member in members]))

        payloads = (
            self._backend.payload([tokens[member] for member in members], activation=False)
            for members in batches
        )
        self._server.post_all(self._backend.path, payloads, done)

    def _probe(self, tokens: Sequence[Sequence[int]], *, activation: bool) -> list[Row] | None:
        payload = self._backend.payload(tokens, activation=activation)
        if payload is None:
            return None
        found: list[list[Row]] = []
        self._server.post_all(
            self._backend.path,
            [payload],
            lambda _, answer: found.append(self._rows(answer, tokens)),
        )
        return found[0]

    def _rows(self, answer: Any, batch: Sequence[Sequence[int]]) -> list[Row]:
        try:
            return self._backend.rows(answer, batch)
        except BadAnswer as error:
            raise ModelError(
                f"{self._server.root}{self._backend.path} answered with {error}, not as "
                f"{self._backend.name} is documented to answer a classifier's request; check the "
                "address, backend= and how the server was started."
            ) from None

    def cache_settings(self) -> dict[str, Any]:
        """Return what the rewards depend on: the model, wherever it is served."""
        served = {f"served_{key}": value for key, value in self._served.items()}
        return {**super().cache_settings(), **served}

    def get_model_info(self) -> dict[str, Any]:
        """Return what lm-eval writes into ``results["config"]``."""
        return {
            **super().get_model_info(),
            "engine": self._backend.name,
            "engine_version": self._version,
            "server": self._server.root,
            "route": self._backend.path,
            "served_model": self._served["model"],
            "served_model_path": self._served["path"],
        }


def _config(name: str, **where: Any) -> dict[str, Any]:
    """Return the model's config; nothing where only its tokenizer is at hand."""
    try:
        return dict(transformers.PreTrainedConfig.get_config_dict(name, **where)[0])
    except (OSError, ValueError):
        return {}


def _checked(
    batch_size: int | str, concurrent: int, timeout: float, retries: int, wait: float
) -> int:
    """Return the number of conversations in a request; refuse numbers that mean nothing."""
    size = _AUTO_BATCH if str(batch_size).startswith("auto") else int(batch_size)
    if min(size, concurrent, timeout) <= 0 or min(retries, wait) < 0:
        raise ModelError(
            "batch_size, num_concurrent and timeout must be above 0, max_retries and "
            "retry_wait 0 or above."
        )
    return size


def _client(root: str, **settings: Any) -> Any:
    try:
        from rm_value_tasks.models.serving.client import RewardServer
    except ModuleNotFoundError as error:
        raise ModelError(
            f"--model reward-server needs {error.name}, which is not installed; "
            "pip install 'rm-value-tasks[server]' brings it."
        ) from error
    return RewardServer(root, **settings)


def _key(name: str | None) -> str | None:
    key = os.environ.get(name or API_KEY, "").strip() or None
    if name and not key:
        raise ModelError(f"api_key_env={name!r} names an environment variable that is not set.")
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ModelError(
            f"the key in the environment variable {name or API_KEY} holds a line break, a space or "
            "another sign that no key has; set it again."
        )
    return key


def _refuse_secrets(arguments: Mapping[str, Any]) -> None:
    if given := [name for name in sorted(SECRETS - {"base_url"}) if name in arguments]:
        raise ModelError(
            f"{given[0]}= would be written into lm-eval's results; put the key in the environment "
            f"variable {API_KEY}, or in another that api_key_env= names."
        )


def _backend_name(asked: str, card: dict[str, Any], root: str) -> str:
    says = card.get("owned_by")
    if asked != "auto":
        if says in BACKENDS and asked in BACKENDS and says != asked:
            raise ModelError(f"backend={asked} was given but the server at {root} is {says}.")
        return asked
    if says not in BACKENDS:
        raise ModelError(
            f"which program serves at {root} cannot be told (its /v1/models names the owner "
            f"{says!r}); give backend=vllm or backend=sglang."
        )
    return str(says)
