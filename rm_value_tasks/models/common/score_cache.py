"""lm-eval's cache of answers (``--use_cache``), kept to the scores of one model and setting.

lm-eval files an answer under prompt and continuation alone, so a cache that another model,
readout or template filled would give its scores out as this one's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from typing import Any

from rm_value_tasks.errors import ModelError

__all__ = ["FIRST_OUTPUTS", "OneSettingCache"]

FIRST_OUTPUTS = "first_outputs"
"""The setting that holds numbers which the model gave, compared but for rounding."""
_TABLE = "rm_value_tasks"
_JSON: dict[str, Any] = {"encode": json.dumps, "decode": json.loads}
_CLOSE = 0.02
"""Share by which low precision and batching may change a number between two runs."""


class OneSettingCache:
    """Stands before an lm-eval ``LM`` and refuses a cache that holds other scores."""

    drop_in = False
    """Whether answers of lm-eval's own model, which leaves no name there, are this model's too."""

    def cache_settings(self) -> dict[str, Any]:
        """Return all that the scores depend on, as JSON can hold it."""
        raise NotImplementedError

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Take lm-eval's cache.

        Raises:
            ModelError: if scores of another model or setting are in it.
        """
        if cache_hook.dbdict is not None:
            _refuse_other_scores(cache_hook.dbdict, self.cache_settings(), drop_in=self.drop_in)
        super().set_cache_hook(cache_hook)  # type: ignore[misc]


def _refuse_other_scores(cache: Any, settings: Mapping[str, Any], *, drop_in: bool) -> None:
    from sqlitedict import SqliteDict

    now = json.loads(json.dumps(settings))
    with SqliteDict(cache.filename, tablename=_TABLE, autocommit=True, **_JSON) as table:
        there = table.get("settings")
        if there is None and len(cache) == 0:
            table["settings"] = now
            return
    if there is None and drop_in:
        return
    if there is None:
        raise ModelError(
            f"the cache {cache.filename} holds answers of a model that is not named there, and "
            "lm-eval would give them out as this model's; name another file with --use_cache."
        )
    for key in sorted(there.keys() | now.keys()):
        if not _same(key, there.get(key), now.get(key)):
            raise ModelError(
                f"the cache {cache.filename} holds scores that were made with {key}="
                f"{_short(there.get(key))}, not {_short(now.get(key))}, and lm-eval would mix "
                "them; name another file with --use_cache."
            )


def _same(key: str, there: Any, now: Any) -> bool:
    if key != FIRST_OUTPUTS or not (isinstance(there, list) and isinstance(now, list)):
        return bool(there == now)
    if [len(row) for row in there] != [len(row) for row in now]:
        return False
    pairs = zip(chain(*there), chain(*now), strict=True)
    return all(abs(a - b) <= _CLOSE * max(1.0, abs(a), abs(b)) for a, b in pairs)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
