"""A trace as Markdown: for the screen, and beside the CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from rm_value_tasks.analyses.tracing.tables import Trace
from rm_value_tasks.text.markup import markdown, markdown_table

__all__ = ["render"]

_HOW = (
    "Lean: probability that a word of the category outscores another (0.5 = none; no direction "
    "is better); contrast: on the difference between a positive question and its negative twin. "
    "Inherited share: of the families' difference at the later stage, the part that goes, word "
    "by word, with their difference at the earlier one; ratio: the earlier difference over the "
    "later one, whichever words make it. Intervals: 95%, bootstrap over words and prompts as "
    "crossed factors, paired across runs, models fixed."
)


def render(trace: Trace, words: pd.DataFrame | None = None) -> str:
    """Write leans, inherited shares and rank correlations as Markdown.

    Shares and correlations are those of the contrast; ``Trace`` has the other ones too.

    Args:
        trace: what ``tables.trace`` found.
        words: what ``word_pairs.differences`` found, if two words were asked for.
    """
    design = trace.design
    head = f"# {design.task}: {len(design.lexicon.words)} words, {len(design.pairs)} pairs"
    parts = [f"{head} of prompts", _table(*_leans(trace.leans))]
    shares = trace.shares
    if shares.empty:
        parts.append("No inherited share: it takes two families with two stages in common.")
    else:
        shares = shares[shares["metric"].str.endswith("_contrast")]
        parts += ["## Inherited share", _table(*_shares(shares)), *_reasons(shares)]
    if not trace.correlations.empty:
        contrasts = trace.correlations[trace.correlations["kind"] == "contrast"]
        title = "## Rank correlation of words' contrasts between stages"
        parts += [title, _table(*_correlations(contrasts))]
    if words is not None:
        parts.append(_words(words))
    parts += [f"Note: {markdown(note)}." for note in design.notes]
    return "\n\n".join([*parts, _HOW]) + "\n"


def _table(head: Sequence[str], texts: int, rows: Iterable[Sequence[str]]) -> str:
    rows = ([*map(markdown, row[:texts]), *row[texts:]] for row in rows)
    return markdown_table([*map(markdown, head)], rows, "l" * texts + "r" * (len(head) - texts))


def _leans(leans: pd.DataFrame) -> tuple[list[str], int, list[list[str]]]:
    """One row a model with all its leans; of many categories one row a lean, contrasts only."""
    metrics = list(dict.fromkeys(leans["metric"]))
    main = [metric for metric in metrics if metric.endswith("_contrast")]
    columns = ["family", "stage", "model"]
    if len(main) > 1:
        rows = []
        for row in leans[leans["metric"].isin(main)].to_dict("records"):
            numbers = _numbers(row["estimate"], row["low"], row["high"], "", 3)
            rows.append([*(str(row[column]) for column in [*columns, "metric"]), *numbers])
        return [*columns, "lean", "estimate", "95% interval"], 4, rows
    others = [metric for metric in metrics if metric not in main]
    rows = []
    for key, group in leans.groupby(columns, sort=False):
        values = group.set_index("metric")
        row = values.loc[main[0]]
        cells = [str(part) for part in key]  # type: ignore[attr-defined]
        cells += _numbers(row["estimate"], row["low"], row["high"], "", 3)
        rows.append([*cells, *(f"{values.loc[metric, 'estimate']:.3f}" for metric in others)])
    return [*columns, *main, "95% interval", *others], 3, rows


def _shares(shares: pd.DataFrame) -> tuple[list[str], int, list[list[str]]]:
    head = ["lean", "families", "from", "to", "difference before", "95% interval"]
    head += ["difference after", "95% interval", "inherited share", "95% interval"]
    head += ["ratio", "95% interval"]
    rows = []
    for row in shares.to_dict("records"):
        cells = [row["metric"], f"{row['first']} - {row['second']}", row["before"], row["after"]]
        for name in ("difference_before", "difference_after", "share", "ratio"):
            sign = "+" if name.startswith("difference") else ""
            places = 3 if sign else 2
            cells += _numbers(row[name], row[f"{name}_low"], row[f"{name}_high"], sign, places)
        rows.append(cells)
    return head, 4, rows


def _numbers(value: float, low: float, high: float, sign: str, places: int) -> list[str]:
    if value != value:
        return ["undefined", ""]
    form = f"{sign}.{places}f"
    return [f"{value:{form}}", f"{low:{form}} to {high:{form}}"]


def _reasons(shares: pd.DataFrame) -> Iterator[str]:
    several = shares["metric"].nunique() > 1
    for row in shares.to_dict("records"):
        name = markdown(f"{row['first']} - {row['second']}, {row['before']} to {row['after']}")
        name += f", {row['metric']}" if several else ""
        if row["reason"]:
            yield f"Undefined ({name}): {row['reason']}."
        elif row["reliability"] < 0.8:
            yield (
                f"Caution ({name}): the words' earlier differences agree little between prompts "
                f"(reliability {row['reliability']:.2f}), which makes the share too small."
            )


def _correlations(table: pd.DataFrame) -> tuple[list[str], int, list[list[str]]]:
    rows = [
        [
            f"{row['family']} {row['stage']}",
            f"{row['other_family']} {row['other_stage']}",
            "within" if row["family"] == row["other_family"] else "across",
            *_numbers(row["rho"], row["low"], row["high"], "+", 2),
        ]
        for row in table.to_dict("records")
    ]
    return ["stage", "other stage", "families", "Spearman's rho", "95% interval"], 3, rows


def _words(words: pd.DataFrame) -> str:
    first, second, score, count = words.iloc[0][["word", "other_word", "score", "prompts"]]
    head = ["model", "against", "families", f"{score} of {first} minus {second}", "95% interval"]
    rows = []
    for row in words.to_dict("records"):
        numbers = _numbers(row["difference"], row["low"], row["high"], "+", 3)
        rows.append([row["first"], row["second"], row["families"], *numbers])
    title = f"## {markdown(first)} against {markdown(second)}: mean over {count} positive prompts"
    return f"{title}\n\n{_table(head, 3, rows)}"
