"""The calibration's summary and figure: how well the probe tells what was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from rm_value_tasks.figures.style import INK, blank, looks, tidy_axes
from rm_value_tasks.text.markup import markdown_table

__all__ = ["figure", "markdown", "summary"]

_TITLES = {
    "base": "base",
    "instruct": "instruct",
    "reward": "reward model, neutral pairs",
    "counter 10%": "a tenth of the pairs leaning the other way",
    "counter 50%": "half of the pairs leaning the other way",
}


def markdown(table: pd.DataFrame) -> str:
    """Write the leans by strength and stage, and what they say of the probe, as two tables."""
    seeds = table.groupby("strength")["seed"].nunique()
    means = table.groupby(["strength", "stage"], observed=True)["agency_contrast"].mean().unstack()
    planted = table.groupby("strength")["planted_contrast"].mean()
    stages = [stage for stage in _TITLES if stage in means]
    rows = [
        [f"{strength:+g}", str(seeds[strength]), f"{planted[strength]:.3f}"]
        + [f"{means.loc[strength, stage]:.3f}" for stage in stages]
        for strength in means.index
    ]
    first = markdown_table(["strength", "seeds", "planted", *stages], rows)
    # Counter-leaning pairs lean themselves, so nothing is planted there to be found.
    stages = [stage for stage in stages if not stage.startswith("counter")]
    found = [summary(table[table["stage"] == stage]) for stage in stages]
    kinds = list(found[0])
    summaries = [
        [stage, *(entry[kind] for kind in kinds)]
        for stage, entry in zip(stages, found, strict=True)
    ]
    second = markdown_table(["stage", *kinds], summaries)
    return f"{first}\n\n{second}\n"


def summary(rows: pd.DataFrame) -> dict[str, str]:
    """Say how one stage's measured contrasts go with the planted ones.

    Unit of analysis: one organism. Pearson's and Spearman's correlation over organisms;
    monotone: whether the means over seeds rise with every strength; false positives: organisms
    of strength 0 whose 95% interval leaves out 0.5, whose permutation p is below 0.05, and
    (``words fixed``) whose lean is more than 1.96 of lm-eval's standard errors from 0.5;
    detected: the smallest strength at which, in both directions and with every seed, the
    interval lies on the planted side of 0.5. Fewer than three organisms: no correlation.
    """
    measured, planted = rows["agency_contrast"], rows["planted_contrast"]
    enough = len(rows) > 2 and planted.nunique() > 1 and measured.nunique() > 1
    pearson = stats.pearsonr(planted, measured)[0] if enough else np.nan
    spearman = stats.spearmanr(planted, measured)[0] if enough else np.nan
    means = rows.groupby("strength")["agency_contrast"].mean()
    none = rows[rows["strength"] == 0]
    outside = (none["low"] > 0.5) | (none["high"] < 0.5)
    fixed = (none["agency_contrast"] - 0.5).abs() > 1.96 * none["stderr"]
    return {
        "organisms": str(len(rows)),
        "Pearson": f"{pearson:.3f}",
        "Spearman": f"{spearman:.3f}",
        "monotone": "yes" if (means.diff().dropna() > 0).all() else "no",
        "false positives: interval": f"{outside.sum()}/{len(none)}",
        "permutation": f"{(none['p'] < 0.05).sum()}/{len(none)}",
        "words fixed": f"{fixed.sum()}/{len(none)}",
        "smallest detected": _smallest(rows),
    }


def _smallest(rows: pd.DataFrame) -> str:
    agency, communion = rows["strength"] > 0, rows["strength"] < 0
    right = (agency & (rows["low"] > 0.5)) | (communion & (rows["high"] < 0.5))
    planted = rows["strength"] != 0
    always = right[planted].groupby(rows.loc[planted, "strength"].abs()).all()
    # Detected means at this strength and at every larger one.
    found = always[::-1].cummin()
    return f"{found[found].index.min():g}" if found.any() else "none"


def figure(table: pd.DataFrame) -> Figure:
    """Draw measured against planted contrast, a panel for each stage, a point an organism."""
    stages = [stage for stage in _TITLES if (table["stage"] == stage).any()]
    drawing = blank(3.1 * len(stages), 3.4)
    grid = drawing.subplots(1, len(stages), sharex=True, sharey=True, squeeze=False)
    look = looks(stages)
    for axes, stage in zip(grid[0], stages, strict=True):
        rows = table[table["stage"] == stage]
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        errors = (rows["agency_contrast"] - rows["low"], rows["high"] - rows["agency_contrast"])
        axes.errorbar(
            rows["planted_contrast"], rows["agency_contrast"], np.clip(np.stack(errors), 0, None),
            fmt=look[stage].marker, color=look[stage].colour, markersize=5, linewidth=1,
        )  # fmt: skip
        axes.set_title(_TITLES[stage], fontsize=8, color=INK, wrap=True)
        axes.set_xlabel("planted agency_contrast", fontsize=8, color=INK)
        tidy_axes(axes)
    grid[0, 0].set_ylabel("measured, 95% interval", fontsize=8, color=INK)
    grid[0, 0].set_xlim(0, 1)
    grid[0, 0].set_ylim(0, 1)
    return drawing
