"""The routes of vLLM and SGLang that give raw classifier outputs, and what they answer.

Sources: vLLM's ``entrypoints/pooling`` (``ClassificationResponse``, ``PoolingResponse``;
release 0.33), SGLang's ``/classify`` (``EmbeddingReqInput``; release 0.5.23). vLLM names
raw outputs ``probs`` too. The routes that look right and are wrong: vLLM's ``/score`` reads
sentence pairs, SGLang's ``/v1/classify`` ends in a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.serving.raw_outputs import Row

__all__ = ["BACKENDS", "Backend", "BadAnswer", "make_backend", "root_of"]

_WRONG = {
    "/v1/classify": "SGLang's /v1/classify ends in a softmax, so a one-label model says 1.0 always",
    "/score": "/score reads sentence pairs for cross-encoders",
    "/rerank": "/rerank reads sentence pairs for cross-encoders",
    "/completions": "/completions and /chat/completions belong to language models",
}


class BadAnswer(Exception):  # noqa: N818
    """What a server answered is not of the documented shape; says what was got."""


class Backend(Protocol):
    """One server program: how to ask it, how to read its answer."""

    name: str
    path: str
    version_paths: tuple[str, ...]
    """Where the program may say its version."""

    def payload(self, batch: Sequence[Sequence[int]], *, activation: bool) -> dict[str, Any] | None:
        """Return the JSON to post for some token ids; None if it has no such switch."""

    def rows(self, answer: Any, batch: Sequence[Sequence[int]]) -> list[Row]:
        """Return the outputs for each of ``batch``, in its order.

        Raises:
            BadAnswer: if the answer is not of the documented shape.
        """


class _VLLM:
    name = "vllm"
    version_paths: tuple[str, ...] = ("/version",)

    def __init__(self, model: str | None, route: str) -> None:
        self.path = f"/{route}"
        self._model = model
        self._field = {"classify": "probs", "pooling": "data"}[route]

    def payload(self, batch: Sequence[Sequence[int]], *, activation: bool) -> dict[str, Any]:
        payload = {
            "model": self._model,
            "input": [list(ids) for ids in batch],
            "use_activation": activation,
            "add_special_tokens": False,
        }
        return payload if self._field == "probs" else {**payload, "task": "classify"}

    def rows(self, answer: Any, batch: Sequence[Sequence[int]]) -> list[Row]:
        if not isinstance(answer, dict):
            raise BadAnswer(f"{_shown(answer)} where an object with 'data' belongs")
        by = answer.get("model")
        if self._model is not None and isinstance(by, str) and by != self._model:
            raise BadAnswer(f"rewards of the model {_shown(by)}, not of {_shown(self._model)}")
        items = _items(answer.get("data"), len(batch))
        rows: dict[int, Row] = {}
        for item in items:
            index = item.get("index")
            if type(index) is not int or not 0 <= index < len(batch) or index in rows:
                raise BadAnswer(f"indices {[item.get('index') for item in items][:8]}")
            rows[index] = _row(item.get(self._field), self._field)
        usage = answer.get("usage")
        read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        _refuse_other_length(read, sum(map(len, batch)))
        return _even([rows[index] for index in range(len(batch))])


class _SGLang:
    name = "sglang"
    path = "/classify"
    version_paths: tuple[str, ...] = ("/server_info", "/get_server_info")  # new and old name

    def payload(self, batch: Sequence[Sequence[int]], *, activation: bool) -> dict[str, Any] | None:
        return None if activation else {"input_ids": [list(ids) for ids in batch]}

    def rows(self, answer: Any, batch: Sequence[Sequence[int]]) -> list[Row]:
        rows = []
        for item, ids in zip(_items(answer, len(batch)), batch, strict=True):
            meta = item.get("meta_info")
            read = meta.get("prompt_tokens") if isinstance(meta, dict) else None
            _refuse_other_length(read, len(ids))
            rows.append(_row(item.get("embedding"), "embedding"))
        return _even(rows)


BACKENDS = ("vllm", "sglang")


def make_backend(name: str, *, model: str | None, route: str) -> Backend:
    """Return the backend ``name``.

    Args:
        name: one of ``BACKENDS``.
        model: the served model's name, which vLLM's requests carry.
        route: ``classify``; for vLLM also ``pooling``.

    Raises:
        ModelError: if there is no such backend or route.
    """
    if name not in BACKENDS:
        raise ModelError(f"backend={name!r} is none of {', '.join(BACKENDS)}.")
    routes = ("classify", "pooling") if name == "vllm" else ("classify",)
    if route not in routes:
        wrong = _WRONG.get("/" + route.strip("/"))
        because = f" ({wrong})" if wrong else ""
        raise ModelError(f"route={route!r} is none of {name}'s {', '.join(routes)}{because}.")
    return _VLLM(model, route) if name == "vllm" else _SGLang()


def root_of(base_url: str) -> str:
    """Return the address that the routes are joined to.

    Raises:
        ModelError: if it is no http address, names a route that gives no raw rewards, or
            holds a password, which would end in lm-eval's results file.
    """
    url = base_url.rstrip("/")
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ModelError(
            f"base_url is no http address ({error}); give one like http://localhost:8000."
        ) from None
    if parts.username or parts.password or parts.query:
        raise ModelError(
            "base_url holds a user name, password or query, which lm-eval would write into its "
            "results; give the plain address, and the key in an environment variable "
            "(api_key_env=NAME)."
        )
    if not known or any(each.isspace() for each in url):
        raise ModelError(
            f"base_url={base_url!r} is no http address; give one like http://localhost:8000."
        )
    for ending, why in _WRONG.items():
        if url.endswith(ending):
            raise ModelError(f"base_url={base_url!r}: {why}; give the server's address alone.")
    for ending in ("/classify", "/pooling", "/v1"):
        url = url.removesuffix(ending)
    return url


def _items(answer: Any, size: int) -> list[dict[str, Any]]:
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise BadAnswer(f"{_shown(answer)} where a list of answers belongs")
    if len(answer) != size:
        raise BadAnswer(f"{len(answer)} answers to {size} conversations")
    return answer


def _row(values: Any, field: str) -> Row:
    if not isinstance(values, list) or not values:
        raise BadAnswer(f"{field!r} is {_shown(values)} where a list of numbers belongs")
    # JSON has no NaN: SGLang's serializer writes null, and the scorer says which answer it was.
    numbers = [float("nan") if value is None else value for value in values]
    if not all(type(value) in (int, float) for value in numbers):
        raise BadAnswer(f"{field!r} is {_shown(values)} where a list of numbers belongs")
    try:
        return [float(value) for value in numbers]
    except OverflowError:
        raise BadAnswer(f"{field!r} is {_shown(values)}, beyond any float") from None


def _even(rows: list[Row]) -> list[Row]:
    if len(lengths := {len(row) for row in rows}) > 1:
        raise BadAnswer(f"{sorted(lengths)} labels in one answer")
    return rows


def _refuse_other_length(read: Any, sent: int) -> None:
    if type(read) is int and read != sent:
        raise BadAnswer(
            f"{read} tokens read where {sent} were sent (special tokens added, or truncated)"
        )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
