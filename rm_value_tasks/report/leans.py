"""The lean of two categories: headline sentences, table and map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as distributions

from rm_value_tasks.figures import lean_map, prompt_heatmap
from rm_value_tasks.publish import published_models
from rm_value_tasks.report.content import Picture, Section, Table, number, span, text
from rm_value_tasks.report.opening import lean_sentences
from rm_value_tasks.report.probes import Probe, published_name
from rm_value_tasks.stats.leans import (
    crossed_intervals,
    raw_leans,
    twin_contrasts,
    with_pair_intervals,
)

__all__ = ["lean_section", "leans_of"]

_INTERVALS = "bar: 95% interval over question pairs; thin line: over words and questions together"


def leans_of(probe: Probe) -> pd.DataFrame:
    """Compute each model's leans of the probe's first category over its second.

    Returns:
        Index model; ``contrast``, ``positive``, ``negative`` (means over pairs or prompts,
        as lm-eval's metrics), ``stderr`` (of the contrast, over pairs), ``low`` and ``high``
        (95%, t distribution), and from ``crossed_intervals`` ``outer_low``, ``outer_high``,
        ``noise_low`` and ``noise_high``. NaN where the run asked no such prompts.
    """
    a, b = probe.categories
    contrasts = twin_contrasts(probe.table, a, b).groupby("model")["contrast"]
    frame = pd.DataFrame(
        {"estimate": contrasts.mean(), "stderr": contrasts.sem(), "n": contrasts.count()}
    )
    frame = with_pair_intervals(frame.reindex(probe.models)).rename(
        columns={"estimate": "contrast"}
    )
    for side in ("positive", "negative"):
        frame[side] = raw_leans(probe.table[probe.table["valence"] == side], a, b)
    return frame.join(crossed_intervals(probe.table, a, b))


def lean_section(probe: Probe, families: Mapping[str, str]) -> Section:
    """Report the lean of a word list with two categories.

    Args:
        probe: the runs.
        families: family by model.
    """
    a, b = probe.categories
    leans = leans_of(probe)
    return Section(
        f"Lean: {a} or {b} – {probe.title}",
        [probe.caution] if probe.caution else [],
        [_table(probe, leans, families)],
        _pictures(probe, leans, families) if leans["contrast"].notna().any() else [],
        opening=lean_sentences(leans, a, b, probe.words),
    )


def _pictures(probe: Probe, leans: pd.DataFrame, families: Mapping[str, str]) -> list[Picture]:
    a, b = probe.categories
    metric = f"{a.lower()}_contrast"
    rows = _map_rows(probe, leans, families)
    among = ""
    if rows["reference"].any():
        among = " among the published reward models (hollow, grey; they have the bar only)"
    return [
        Picture(
            f"{metric} of each model{among}; {_INTERVALS}.",
            lean_map(rows, _INTERVALS, metric, (b.lower(), a.lower())),
        ),
        Picture(
            f"{metric} for each pair of questions: adjectives (rows) by scope and the way "
            'one word is asked for (columns: one = "in one word", single = "in a single '
            'word", please = "please answer in one word only").',
            prompt_heatmap(twin_contrasts(probe.table, a, b), metric),
        ),
    ]


def _big2(probe: Probe) -> bool:
    return probe.categories == ["Agency", "Communion"]


def _table(probe: Probe, leans: pd.DataFrame, families: Mapping[str, str]) -> Table:
    stem = probe.categories[0].lower()
    columns = [
        "model", f"{stem}_contrast", "95% over words and questions", "s.e. over pairs",
        "95% of permuted labels", f"{stem}_positive", f"{stem}_negative", "family", "scores",
    ]  # fmt: skip
    values: dict[Any, Any] = leans.to_dict("index")
    rows = []
    for run in probe.runs:
        row = values[run.model]
        rows.append([
            text(run.model),
            number(row["contrast"], 4),
            span(row["outer_low"], row["outer_high"]),
            number(row["stderr"], 4),
            span(row["noise_low"], row["noise_high"]),
            number(row["positive"], 4),
            number(row["negative"], 4),
            text(families.get(run.model, "")),
            text(run.score_kind),
        ])  # fmt: skip
    return Table(f"Leans, {probe.title}", columns, rows)


def _map_rows(probe: Probe, leans: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    known = leans[leans["contrast"].notna()]
    own = known.reset_index(names="model").rename(columns={"contrast": "estimate"})
    own = own.assign(base=own["model"].map(families), reference=False, group=probe.title)
    if not _big2(probe):
        return own
    table = published_models.load()
    reach = table["agency_contrast_stderr"] * distributions.t.ppf(0.975, published_models.PAIRS - 1)
    group = (
        probe.title if probe.published else "published models on the published nouns: another scale"
    )
    published = pd.DataFrame({
        "model": table["model"], "base": table["base"], "estimate": table["agency_contrast"],
        "low": table["agency_contrast"] - reach, "high": table["agency_contrast"] + reach,
        "group": group, "reference": True,
    })  # fmt: skip
    if probe.published:
        measured = dict(zip(own["model"].map(published_name), own["estimate"], strict=True))
        again = [
            np.isclose(measured.get(name, np.nan), value, atol=1e-6, rtol=0)
            for name, value in zip(published["model"], published["estimate"], strict=True)
        ]
        published = published[~np.array(again)]  # a recorded score shown once
    return pd.concat([own, published], ignore_index=True) if len(published) else own
