"""Ask a reward model server over HTTP: many requests at once, each tried again on failure.

lm-eval's ``TemplateAPI`` is not used: it cuts long inputs, tries refusals (HTTP 400) and
answers of a wrong shape again, and prints the server's answers. The parts that it is made
of are: aiohttp for the connections, tenacity for the back-off.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import aiohttp
import tenacity

from rm_value_tasks.errors import ModelError

__all__ = ["RewardServer"]

Result = TypeVar("Result")

_BUSY = {408, 425, 429}
"""Besides the 500s, what is worth another try."""

_LONGEST_WAIT = 60.0
_LONGEST_BODY = 64 << 20
"""Bytes; 100,000 labels for each of 32 conversations take half of it."""
_HINTS = {
    401: "; put the server's key in the environment variable REWARD_SERVER_API_KEY, or in another "
    "that api_key_env= names",
    404: "; is this the server's address, and was it started for a classifier (vLLM: --runner "
    "pooling; SGLang: --is-embedding)?",
}


class _Failed(Exception):  # noqa: N818
    """One try failed in a way that may pass."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class RewardServer:
    """One server's address and how to ask it.

    Args:
        root: its address, without a route.
        key: sent as a bearer token, never shown.
        num_concurrent: how many requests are under way at once.
        timeout: seconds for one request, queueing on the server included.
        max_retries: how often a request is tried again.
        retry_wait: seconds before the first retry; each further one waits twice as long,
            up to a minute, or as long as the server asks for (``Retry-After``).
    """

    def __init__(
        self,
        root: str,
        *,
        key: str | None,
        num_concurrent: int,
        timeout: float,
        max_retries: int,
        retry_wait: float,
    ) -> None:
        self.root = root
        self._key = key
        self._concurrent = num_concurrent
        self._timeout = timeout
        self._tries = max_retries + 1
        # The random part keeps clients that failed together from coming back together.
        self._backoff = tenacity.wait_exponential(
            multiplier=retry_wait, max=_LONGEST_WAIT
        ) + tenacity.wait_random(0, retry_wait)

    def get(self, path: str, *, optional: bool = False) -> Any:
        """Return the JSON at ``path``; None where the server has no such path.

        Args:
            path: what to ask for.
            optional: whether one try is enough and any failure is None.

        Raises:
            ModelError: as ``post_all``, unless optional.
        """

        async def once() -> Any:
            async with self._session() as session:
                if not optional:
                    return self._masked(await self._ask(session, path, None))
                try:
                    return self._masked(await self._once(session, path, None))
                except (_Failed, ModelError):
                    return None

        return _run(once())

    def post_all(
        self, path: str, payloads: Iterable[Any], done: Callable[[int, Any], None]
    ) -> None:
        """Post every payload, calling ``done`` with its index and answer as answers come.

        A payload is taken when it is sent, so a generator keeps memory flat.

        Raises:
            ModelError: if a request is refused, or fails on every try; no other is under
                way then, and ``done`` has been called for every answer that came before.
        """

        async def work(session: aiohttp.ClientSession, left: Iterator[tuple[int, Any]]) -> None:
            for index, payload in left:
                done(index, await self._ask(session, path, payload))

        async def everything() -> None:
            left = iter(enumerate(payloads))
            async with self._session() as session:
                workers = [
                    asyncio.create_task(work(session, left)) for _ in range(self._concurrent)
                ]
                try:
                    await asyncio.gather(*workers)
                finally:
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)

        _run(everything())

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._concurrent),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"Authorization": f"Bearer {self._key}"} if self._key else None,
        )

    async def _ask(self, session: aiohttp.ClientSession, path: str, payload: Any) -> Any:
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._tries),
            wait=self._wait,
            retry=tenacity.retry_if_exception_type(_Failed),
            reraise=True,
        )
        try:
            return await retrying(self._once, session, path, payload)
        except _Failed as error:
            raise ModelError(
                f"{self.root}{path} failed {self._tries} times in a row, last with {error}; the "
                "scores that came before are kept if lm-eval has --use_cache, so start again when "
                "the server is well (or raise max_retries= or timeout=)."
            ) from None

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.wait if isinstance(error, _Failed) else 0.0
        return max(self._backoff(state), min(asked, _LONGEST_WAIT))

    async def _once(self, session: aiohttp.ClientSession, path: str, payload: Any) -> Any:
        method = "GET" if payload is None else "POST"
        try:
            async with session.request(
                method, self.root + path, json=payload, allow_redirects=False
            ) as response:
                body, status = await self._body(response, path), response.status
                after = response.headers.get("Retry-After", "")
        except asyncio.TimeoutError:
            raise _Failed(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, zlib.error) as error:  # its repr would show the headers
            raise _Failed(self._safe(f"{type(error).__name__}: {error}")) from None
        if status in _BUSY or status >= 500:
            reason = f"HTTP {status}: {self._said(body)}"
            raise _Failed(reason, float(after) if after.isdecimal() else 0.0)
        if status == 404 and payload is None:
            return None
        if status != 200:
            hint = _HINTS.get(401 if status == 403 else status, "")
            raise ModelError(
                f"{self.root}{path} refused with HTTP {status}: {self._said(body)}{hint}."
            )
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise ModelError(
                f"{self.root}{path} answered {self._said(body)!r}, which is no JSON; is "
                "there another server at this address?"
            ) from None

    async def _body(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        parts, size = [], 0
        async for part in response.content.iter_chunked(1 << 16):
            parts.append(part)
            if (size := size + len(part)) > _LONGEST_BODY:
                raise ModelError(
                    f"{self.root}{path} answered with over {_LONGEST_BODY >> 20} MiB, which no "
                    "classifier's answer takes; is there another server at this address?"
                )
        return b"".join(parts)

    def _masked(self, found: Any) -> Any:
        """Return an answer without the key, which a server may send back, in any of its texts."""
        if isinstance(found, str):
            return self._safe(found)
        if isinstance(found, list):
            return [self._masked(item) for item in found]
        if isinstance(found, dict):
            return {self._safe(key): self._masked(item) for key, item in found.items()}
        return found

    def _said(self, body: bytes) -> str:
        """Return what an error's body says; masked before it is cut, or half a key would stay."""
        text = self._safe(_message(body))
        return text if len(text) <= 300 else text[:299] + "…"

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _message(body: bytes) -> str:
    """Return what an error's body says, in whichever place the servers put it."""
    try:
        found: Any = json.loads(body)
        for key in ("error", "message", "detail"):
            found = found.get(key, found) if isinstance(found, dict) else found
    except (ValueError, RecursionError):
        found = body.decode("utf-8", "replace")
    return " ".join(str(found).split()).rstrip(".")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:  # in a notebook, which has a loop of its own
        return pool.submit(asyncio.run, work).result()
