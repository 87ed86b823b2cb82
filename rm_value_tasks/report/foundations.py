"""The leans of a word list with more than two categories."""

from __future__ import annotations

import pandas as pd
from scipy import stats as distributions

from rm_value_tasks.figures import foundation_profile
from rm_value_tasks.report.content import Picture, Section, Table, number, text
from rm_value_tasks.report.opening import profile_sentences
from rm_value_tasks.report.probes import Probe

__all__ = ["foundation_section", "profiles_of"]


def profiles_of(probe: Probe) -> pd.DataFrame:
    """Collect the contrasts that lm-eval computed for each category.

    Returns:
        One row for each model and category: ``model``, ``category``, ``estimate``,
        ``stderr`` (over pairs), ``low``, ``high`` (95%, t distribution over pairs),
        ``positive`` and ``negative``.
    """
    rows = []
    for run in probe.runs:
        factor = distributions.t.ppf(0.975, max(run.documents - 1, 1))
        for category in probe.categories:
            # The task's names for metrics: Care/Virtue -> care_virtue_contrast.
            stem = "_".join(category.lower().replace("/", " ").split())
            if f"{stem}_contrast" in run.metrics:
                value, error = run.metrics[f"{stem}_contrast"], run.stderrs[f"{stem}_contrast"]
                rows.append({
                    "model": run.model, "category": category, "estimate": value,
                    "stderr": error, "low": value - factor * error, "high": value + factor * error,
                    "positive": run.metrics[f"{stem}_positive"],
                    "negative": run.metrics[f"{stem}_negative"],
                })  # fmt: skip
    return pd.DataFrame(rows)


def foundation_section(probe: Probe) -> Section:
    """Report the profile of a word list with many categories."""
    leans = profiles_of(probe)
    columns = ["model", "category", "contrast", "s.e. over pairs", "positive", "negative"]
    rows = [
        [
            text(row["model"]),
            text(row["category"]),
            *(number(row[name], 4) for name in ("estimate", "stderr", "positive", "negative")),
        ]
        for row in leans.to_dict("records")
    ]
    note = (
        "For each category: the probability that one of its words gains more from a positive "
        "question than a word of the other categories does (virtues are compared with virtues, "
        "vices with vices; ties count half); 0.5 is neutral. The categories of this list are not "
        "matched in length or frequency, so compare models, not categories."
    )
    picture = Picture(
        "Profile: the contrast of each category, with 95% intervals over question pairs.",
        foundation_profile(leans, "95% interval over question pairs"),
    )
    return Section(
        f"Profile – {probe.title}",
        [note],
        [Table(f"Contrasts, {probe.title}", columns, rows)],
        [picture],
        opening=profile_sentences(leans, probe.words),
    )
