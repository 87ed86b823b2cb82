"""Which rewards are computed on a shared prefix, decided by one check of the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from rm_value_tasks.models.loading.readouts import HiddenReadout, Readout
from rm_value_tasks.models.prefix.check import Report, supports
from rm_value_tasks.models.prefix.forward import SharedPrefixEngine
from rm_value_tasks.models.prefix.packing import Group, group_by_prefix

__all__ = ["Sharing"]

_log = logging.getLogger(__name__)

_LEAST_SAVING = {"cpu": 256}
"""Tokens that a group must save to be taken out of the ordinary batches; others: 8,192."""


class Sharing:
    """Scores answers on a shared prefix where the model can.

    Args:
        readout: the model's readout; only ``HiddenReadout`` can share.
        device: where the model runs.
        enabled: False to share nothing.
        measure: time several batch shapes and go on with the fastest.
    """

    def __init__(
        self, readout: Readout, device: torch.device, *, enabled: bool, measure: bool
    ) -> None:
        self._readout = readout if enabled and isinstance(readout, HiddenReadout) else None
        self._overhead = _LEAST_SAVING.get(device.type, 8192)
        self._measure = measure
        self._report: Report | None = None
        self._engine: SharedPrefixEngine | None = None
        self._why_not = "the readout needs the whole model" if enabled else "switched off"

    def groups(self, sequences: Sequence[list[int]]) -> tuple[list[Group], list[int]]:
        """Return the groups worth sharing, and the indices of all other sequences."""
        if self._readout is None:
            return [], list(range(len(sequences)))
        groups, rest = [], []
        for group in group_by_prefix(sequences, overhead=self._overhead):
            if len(group.members) > 1:
                groups.append(group)
            else:
                rest += group.members
        return groups, rest

    def score(self, prefix: Sequence[int], suffixes: Sequence[Sequence[int]]) -> list[float] | None:
        """Return the rewards of ``prefix`` + each suffix; None if the model cannot share."""
        if self._readout is None:
            return None
        if self._report is None:
            self._report = supports(self._readout.backbone, prefix, suffixes)
            if self._report.ok:
                self._engine = SharedPrefixEngine(
                    self._readout.backbone, form=self._report.form, measure=self._measure
                )
            _log.info("Shared prefix: %s", self.describe())
        if self._engine is None:
            return None
        return self._engine.score(prefix, suffixes, self._readout.from_hidden).tolist()

    def describe(self) -> str:
        """Say whether prefixes are shared and why, for the results."""
        if self._readout is None:
            return f"off ({self._why_not})"
        if self._report is None:
            return "not needed so far"
        return f"{'on' if self._report.ok else 'off'} ({self._report.reason})"
