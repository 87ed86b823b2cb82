"""Whether a model's answers share their prompts, decided once by a check of the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rm_value_tasks.models.prefix.check import Report, supports
from rm_value_tasks.models.prefix.forward import SharedPrefixEngine
from rm_value_tasks.models.prefix.packing import Group, group_by_prefix

__all__ = ["Sharing"]

_log = logging.getLogger(__name__)


class Sharing:
    """Finds the groups worth sharing, and the engine that runs them if the model can.

    Args:
        backbone: the model without its head; None where nothing can be shared.
        least: tokens that a group must save to be taken out of the ordinary batches.
        measure: time several batch shapes and go on with the fastest.
        why_not: why there is no backbone; half a sentence.
    """

    def __init__(
        self, backbone: Any, *, least: int, measure: bool = False, why_not: str = "switched off"
    ) -> None:
        self._backbone = backbone
        self._least = least
        self._measure = measure
        self._why_not = why_not
        self._report: Report | None = None
        self._engine: SharedPrefixEngine | None = None

    @property
    def possible(self) -> bool:
        """Whether nothing has spoken against sharing so far."""
        return self._backbone is not None and (self._report is None or self._report.ok)

    def groups(
        self, sequences: Sequence[list[int]], limits: Sequence[int] | None = None
    ) -> list[Group]:
        """Return the groups of several sequences that are worth sharing.

        Args:
            sequences: token ids of whole conversations.
            limits: the most tokens of each that may count as prefix.
        """
        if not self.possible:
            return []
        found = group_by_prefix(sequences, limits=limits, overhead=self._least)
        return [group for group in found if len(group.members) > 1]

    def engine(
        self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]]
    ) -> SharedPrefixEngine | None:
        """Return the engine, checked at the first call on these answers; None if none can."""
        if self._backbone is None:
            return None
        if self._report is None:
            self._report = supports(self._backbone, prefix, suffixes)
            if self._report.ok:
                self._engine = SharedPrefixEngine(
                    self._backbone, form=self._report.form, measure=self._measure
                )
            _log.info("Shared prefix: %s", self.describe())
        return self._engine

    def refuse(self, report: Report) -> None:
        """Share nothing from now on."""
        self._report, self._engine = report, None

    def release(self) -> None:
        """Forget the model."""
        self._backbone = self._engine = None

    def describe(self) -> str:
        """Say whether prefixes are shared and why, for the results."""
        if self._report is not None:
            return f"{'on' if self._report.ok else 'off'} ({self._report.reason})"
        return "not needed so far" if self._backbone is not None else f"off ({self._why_not})"

    @property
    def reason(self) -> str:
        """Why not, or in which form; half a sentence."""
        return self._why_not if self._report is None else self._report.reason
