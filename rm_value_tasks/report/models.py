"""Mixed-effects models: the paper's, and one with words, questions and models crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from scipy import stats as distributions

from rm_value_tasks.errors import DataError
from rm_value_tasks.report.content import Cell, Section, Table, number, p_value, span, text
from rm_value_tasks.report.families import compare_families
from rm_value_tasks.report.probes import Probe
from rm_value_tasks.stats.covariates import word_covariates
from rm_value_tasks.stats.crossed import crossed_model
from rm_value_tasks.stats.mixed import RankModel, rank_model
from rm_value_tasks.stats.ranks import contrast_ranks, median_ranks

__all__ = ["Parts", "crossed_parts", "mixed_section", "rank_parts"]

Parts = tuple[list[Table], list[str]]
"""Tables, and sentences about them."""


def mixed_section(
    probe: Probe, families: Mapping[str, str], covariates: tuple[Sequence[str], str] = ((), "")
) -> Section | None:
    """Report what the mixed-effects models say of a word list's families.

    Args:
        probe: the runs.
        families: family by model.
        covariates: names of words' covariates, and the tokenizer that counts tokens.

    Returns:
        None where the families are too few for any of the models.

    Raises:
        DataError: if a covariate cannot be measured.
    """
    two = len(probe.categories) == 2
    tables, notes = crossed_parts(probe, families, *covariates) if two else ([], [])
    ranks = median_ranks(probe.table)
    ranks = ranks.assign(base=ranks["model"].map(families))
    if compare_families(ranks)[0]:
        more, said = rank_parts(ranks)
        tables, notes = [*tables, *more], [*notes, *said]
    if not tables and not notes:
        return None
    return Section(f"Mixed-effects models – {probe.title}", notes, tables)


def rank_parts(ranks: pd.DataFrame) -> Parts:
    """Fit the paper's model with and without the models' own slopes.

    Args:
        ranks: columns ``model``, ``base``, ``category``, ``valence``, ``rank``, of two
            families.
    """
    known = ranks[ranks["base"].notna()]
    kinds = {
        "random intercept of models, as in the paper": False,
        "models' own slopes too": True,
    }
    tables, notes, own = [], [], ""
    for kind, slopes in kinds.items():
        try:
            found = rank_model(known, random_slopes=slopes)
        except DataError as error:
            notes.append(f"Mixed-effects model ({kind}): none, since {error}")
            continue
        tables.append(_coefficients(f"Mixed-effects model of median ranks, {kind}",
                                    found.coefficients, 2))  # fmt: skip
        notes.append(_fit_note(kind, found))
        if slopes:
            last, df = found.coefficients.iloc[-1], found.coefficients["df"].min()
            p = 2 * distributions.t.sf(abs(last["t"]), df)
            own = f"; against the {df:.0f} degrees of freedom of models, the last p is {p:.3f}"
    if tables:
        notes.append(
            "The mixed-effects model with a random intercept takes one model on one question as "
            "the unit, so its interactions' p values overstate certainty about other models. With "
            "models' own slopes each model has its own category and valence effects, and the "
            f"interactions have to stand out from those{own}."
        )
    return tables, notes


def _fit_note(kind: str, found: RankModel) -> str:
    spread = ", ".join(f"{name} {value:.3g}" for name, value in found.random_sd.items())
    levels = ", ".join(found.references.values())
    return (
        f"Mixed-effects model ({kind}): rank ~ family * category * valence, REML, "
        f"{found.rows} rows of {found.models} models; reference levels {levels}; t tests with the "
        f"degrees of freedom of nlme; standard deviations of models: {spread}, of the residual "
        f"{found.residual_sd:.3g}; restricted log-likelihood {found.log_likelihood:.2f}."
    )


def crossed_parts(
    probe: Probe, families: Mapping[str, str], covariates: Sequence[str] = (), tokenizer: str = ""
) -> Parts:
    """Fit the lean by family with crossed random effects.

    Returns:
        Nothing where the family of fewer than two models is known.

    Raises:
        DataError: if a covariate cannot be measured.
    """
    if not probe.twins or len(set(families) & set(probe.models)) < 2:
        return [], []
    a, b = probe.categories
    words = list(dict.fromkeys(probe.table["word"]))
    measured = word_covariates(words, covariates, tokenizer) if covariates else None
    try:
        found = crossed_model(contrast_ranks(probe.table), families, a, b, measured)
    except DataError as error:
        return [], [f"Crossed random effects: none, since {error}"]
    stem = a.lower()
    table = _coefficients(
        f"{stem}_contrast by family, words, questions and models crossed", found.coefficients, 4
    )
    spread = ", ".join(f"{name} {value:.3f}" for name, value in found.random_sd.items())
    note = (
        f"{stem}_contrast by family takes words ({found.words}), pairs of questions "
        f"({found.pairs}) and models ({found.models}) as samples at once (crossed random "
        f"effects, REML): a family's lean, and how far families differ, for other "
        f"models, words and questions of these kinds. Standard deviations on the "
        f"scale of the lean: {spread}. A lean is tested "
        "against 0.5, a difference against 0, with the least degrees of freedom of what it rests "
        "on (models beyond families, pairs beyond one, words), which errs towards wide intervals "
        "(98% held the truth in simulations)."
    )
    notes = [note]
    if covariates:
        notes.append(
            f"Covariates of words ({', '.join(covariates)}) are held equal; their rows say how "
            "much place one standard deviation is worth."
        )
    return [table], notes


def _coefficients(title: str, found: pd.DataFrame, digits: int) -> Table:
    columns = ["term", "estimate", "s.e.", "95% interval", "d.f.", "t", "p"]
    rows: list[list[Cell]] = [
        [
            text(term), number(row["estimate"], digits), number(row["stderr"], digits),
            span(row["low"], row["high"], digits), number(row["df"], 0), number(row["t"], 2),
            p_value(row["p"]),
        ]
        for term, row in found.iterrows()
    ]  # fmt: skip
    return Table(title, columns, rows)
