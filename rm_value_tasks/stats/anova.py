"""Three-way analysis of variance for two language models, with Welch post-hocs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats as distributions
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from rm_value_tasks.errors import DataError

__all__ = ["post_hocs", "three_way"]

_FORMULA = "y ~ C(f0, Sum) * C(f1, Sum) * C(f2, Sum)"


def three_way(table: pd.DataFrame, response: str, factors: Sequence[str]) -> pd.DataFrame:
    """Test all main effects and interactions of three factors, type II.

    Estimand: for each term, whether it explains anything beyond all terms that do not contain
    it (type II sums of squares, which respect marginality and, in a balanced table, equal
    types I and III). F tests against the residual variance of the full model.

    Unit of analysis: the row. The paper's rows are the median rank of a category on one prompt
    under one model, which counts one model's answers to many prompts as if they were
    independent.

    Ties need no rule. A response without any residual spread, or no more rows than cells,
    gives NaN for F and p.

    Source: Christian et al., arXiv 2601.20838 (three-way ANOVA of median ranks by model, category
    and valence); Langsrud 2003, Statistics and Computing 13:163 (type II);
    ``statsmodels.stats.anova.anova_lm(typ=2)``, R's ``car::Anova(type=2)``.

    Args:
        table: one row for each observation.
        response: name of the numeric column.
        factors: names of three columns, each with at least two levels.

    Returns:
        Index ``term`` (factors' names, interactions joined by ``:``, and ``residual``);
        columns ``sum_sq``, ``df``, ``f``, ``p`` and ``partial_eta_squared`` (the term's share
        of its own and the residual sum of squares). NaN for the residual's last three.

    Raises:
        DataError: if a column is missing, a response is not finite, a factor is missing or has
            one level, or a cell of the three factors is empty.
    """
    names = _checked(table, response, factors)
    rows = pd.DataFrame({f"f{i}": table[name].astype(str) for i, name in enumerate(names)})
    rows["y"] = table[response].to_numpy(dtype=float)
    terms = [":".join(term) for size in (1, 2, 3) for term in combinations(names, size)]
    columns = ["sum_sq", "df", "f", "p", "partial_eta_squared"]
    found = pd.DataFrame(np.nan, pd.Index([*terms, "residual"], name="term"), columns)
    # Exact, where a fit's residuals would leave rounding noise to divide by.
    if rows.groupby(["f0", "f1", "f2"])["y"].nunique().max() > 1:
        fitted = anova_lm(ols(_FORMULA, rows).fit(), typ=2)
        coded = [f"C(f{i}, Sum)" for i in range(3)]
        order = [":".join(term) for size in (1, 2, 3) for term in combinations(coded, size)]
        found[columns[:4]] = fitted.loc[[*order, "Residual"]].to_numpy()
        squares = found["sum_sq"].to_numpy(dtype=float)
        found.loc[terms, columns[4]] = (squares / (squares + squares[-1]))[:-1]
    return found


def _checked(table: pd.DataFrame, response: str, factors: Sequence[str]) -> list[str]:
    names = list(factors)
    if len(set(names)) != 3 or response in names:
        raise DataError(
            f"three_way got the factors {', '.join(map(str, names))} and the response {response}; "
            "it needs three different factors and a response that is none of them."
        )
    if missing := [name for name in (response, *names) if name not in table]:
        raise DataError(f"three_way: the table lacks the column {missing[0]!r}; name one it has.")
    if table.empty or not np.isfinite(table[response].to_numpy(dtype=float)).all():
        raise DataError(
            f"three_way: {response} holds values that are not finite, or no rows; drop those "
            "words for all models first, so that all are compared on the same words."
        )
    for name in names:
        if table[name].isna().any() or table[name].nunique() < 2:
            raise DataError(
                f"three_way: the factor {name} needs a value in each row and two levels or more."
            )
    cells = table.groupby(names, observed=True).ngroups
    if cells < np.prod([table[name].nunique() for name in names]):
        raise DataError(
            f"three_way: some combination of {', '.join(names)} has no row, so interactions "
            "cannot be told apart; give rows for every combination."
        )
    return names


def post_hocs(table: pd.DataFrame, response: str, factors: Sequence[str]) -> pd.DataFrame:
    """Compare the first factor's levels within each cell of the other two.

    Estimand: the difference of means (first level minus second), Welch's t test (unequal
    variances, Satterthwaite's degrees of freedom) and its 95% interval. p values are also
    adjusted by Benjamini and Hochberg's false discovery rate over all comparisons returned.

    Unit of analysis: the row, as in ``three_way``. Ties need no rule. A cell with fewer than
    two rows a level, or no spread in either, gives NaN and is not counted in the adjustment.

    Source: Christian et al., arXiv 2601.20838; Welch 1947, Biometrika 34:28; Benjamini and
    Hochberg 1995, JRSS B 57:289; ``scipy.stats.ttest_ind(equal_var=False)`` and
    ``scipy.stats.false_discovery_control``.

    Args:
        table: as ``three_way``.
        response: as ``three_way``.
        factors: as ``three_way``; the first holds what is compared (the model).

    Returns:
        One row for each cell and pair of levels: the other two factors, ``first``, ``second``
        (levels, in order of first appearance), ``mean_first``, ``mean_second``, ``n_first``,
        ``n_second``, ``difference``, ``low``, ``high``, ``t``, ``df``, ``p`` and ``p_fdr``.

    Raises:
        DataError: as ``three_way``.
    """
    compared, *others = _checked(table, response, factors)
    rows = []
    for cell, group in table.groupby(others, sort=False, observed=True):
        for first, second in combinations(table[compared].unique(), 2):
            a, b = (group.loc[group[compared] == level, response] for level in (first, second))
            rows.append(
                dict(zip(others, cell, strict=True))
                | {"first": first, "second": second}
                | _welch(a.to_numpy(dtype=float), b.to_numpy(dtype=float))
            )
    found = pd.DataFrame(rows)
    known = found["p"].notna()
    found["p_fdr"] = np.nan
    if known.any():
        found.loc[known, "p_fdr"] = distributions.false_discovery_control(found.loc[known, "p"])
    return found


def _welch(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    found = {
        "mean_first": float(a.mean()), "mean_second": float(b.mean()),
        "n_first": len(a), "n_second": len(b), "difference": float(a.mean() - b.mean()),
    }  # fmt: skip
    tested = ("low", "high", "t", "df", "p")
    if min(len(a), len(b)) < 2 or not (np.ptp(a) or np.ptp(b)):
        return found | dict.fromkeys(tested, float("nan"))
    test = distributions.ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval()
    values = (low, high, test.statistic, test.df, test.pvalue)
    return found | dict(zip(tested, map(float, values), strict=True))
