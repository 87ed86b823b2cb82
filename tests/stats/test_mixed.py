"""The mixed model against closed forms, and fits that must not be believed."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.fitting import best_fit
from rm_value_tasks.stats.mixed import containment_df, rank_model
from tests.stats import synthetic


def test_balanced_random_intercepts_in_closed_form():
    """REML in a balanced design: mean squares. Rows within models: sigma^2; models: the rest."""
    table = synthetic.medians(np.random.default_rng(1), intercept=4.0)
    found = rank_model(table)
    each = len(table) / 10
    cells = table.groupby(["base", "category", "valence"])["rank"].transform("mean")
    left = table["rank"] - cells
    of_model = left.groupby(table["model"]).transform("mean")
    within = ((left - of_model) ** 2).sum() / (len(table) - 10 - 6)
    between = (of_model**2).sum() / 8
    assert found.residual_sd**2 == pytest.approx(within, rel=1e-3)
    assert found.random_sd.iloc[0] ** 2 == pytest.approx((between - within) / each, rel=1e-2)
    # A family's difference over all cells has the variance of models' means.
    row = found.coefficients.loc["(Intercept)"]
    means = table.groupby(["base", "category", "valence"])["rank"].mean()
    assert row["estimate"] == pytest.approx(means["Gemma", "Agency", "positive"])
    variance = (between - within) / each / 4 + within / (4 * 6)
    assert row["stderr"] ** 2 == pytest.approx(variance, rel=1e-2)


def test_balanced_random_slopes_in_closed_form():
    """With slopes of models, a contrast's standard error is that of the models' contrasts."""
    table = synthetic.medians(np.random.default_rng(2), intercept=4.0, slopes=6.0, prompts=10)
    found = rank_model(table, random_slopes=True).coefficients.loc["Llama:Communion:negative"]
    means = table.groupby(["base", "model", "category", "valence"])["rank"].mean().unstack([2, 3])
    gap = {v: means["Communion", v] - means["Agency", v] for v in ("positive", "negative")}
    contrast = gap["negative"] - gap["positive"]
    pooled = sum(contrast[f].var() * (len(contrast[f]) - 1) for f in ("Gemma", "Llama")) / 8
    assert found["estimate"] == pytest.approx(contrast["Llama"].mean() - contrast["Gemma"].mean())
    assert found["stderr"] == pytest.approx(np.sqrt(pooled * (1 / 4 + 1 / 6)), rel=1e-3)


def test_degrees_of_freedom_by_containment():
    """Pinheiro and Bates: intercept and inner columns against rows, outer ones against groups."""
    groups = np.repeat(["a", "b", "c", "d"], 5)
    fixed = pd.DataFrame({
        "(Intercept)": 1.0, "outer": np.repeat([0.0, 0, 1, 1], 5), "inner": np.tile(np.arange(5), 4)
    })  # fmt: skip
    # 20 rows - 4 groups - 1 inner; 4 groups - intercept - 1 outer.
    assert containment_df(fixed, groups).to_dict() == {"(Intercept)": 15, "outer": 2, "inner": 15}


def test_a_planted_interaction_is_recovered():
    table = synthetic.medians(np.random.default_rng(3), three_way=12.0)
    found = rank_model(table).coefficients
    row = found.loc["Llama:Communion:negative"]
    assert row["low"] < 12 < row["high"]
    assert row["p"] < 1e-3
    assert list(found.index[:4]) == ["(Intercept)", "Llama", "Communion", "negative"]


def test_reference_levels_can_be_chosen():
    table = synthetic.medians(np.random.default_rng(4))
    ours = rank_model(table, ["Llama", "Communion", "negative"])
    assert ours.references == {"base": "Llama", "category": "Communion", "valence": "negative"}
    means = table.groupby(["base", "category", "valence"])["rank"].mean()
    assert ours.coefficients["estimate"].iloc[0] == pytest.approx(
        means["Llama", "Communion", "negative"]
    )


def published_model(reference):
    table = pd.read_csv(reference / "rank_results_big2.csv")
    columns = [np.ones(len(table))]
    for names in (["base_model"], ["Category"], ["prompt_framing"]):
        first = {"base_model": "Gemma", "Category": "Agency", "prompt_framing": "positive"}
        columns.append((table[names[0]] != first[names[0]]).to_numpy(float))
    base, category, framing = columns[1:]
    columns += [base * category, base * framing, category * framing, base * category * framing]
    return MixedLM(table["sum_value"].to_numpy(float), np.column_stack(columns),
                   table["model_id"].to_numpy())  # fmt: skip


def test_false_convergence_is_refused(reference, monkeypatch):
    """lbfgs reports convergence with an infinite likelihood on these ranks."""
    import rm_value_tasks.stats.fitting as fitting

    model = published_model(reference)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        wrong = model.fit(reml=True, method=["lbfgs"])
    assert wrong.converged
    assert not np.isfinite(wrong.llf)
    monkeypatch.setattr(fitting, "_OPTIMIZERS", ("lbfgs",))
    with pytest.raises(DataError, match="no optimizer found a finite likelihood"):
        best_fit(model, [None])


def test_a_fit_that_stops_short_is_refused(monkeypatch):
    """Stopped after one step, a fit is finite but has likelier neighbours."""
    import rm_value_tasks.stats.fitting as fitting

    table = synthetic.medians(np.random.default_rng(5), intercept=30.0)
    x = pd.get_dummies(table["base"]).to_numpy(float)
    model = MixedLM(table["rank"].to_numpy(), x, table["model"].to_numpy())
    fit = model.fit
    monkeypatch.setattr(fitting, "_OPTIMIZERS", ("nm",))
    monkeypatch.setattr(model, "fit", lambda **options: fit(**options, maxiter=1))
    with pytest.raises(DataError, match="likelier neighbours"):
        best_fit(model, [None])


def test_a_variance_stuck_at_zero_is_refused(monkeypatch):
    """Zero times 1.1 is zero, so neighbours in proportion alone would not tell."""
    table = synthetic.medians(np.random.default_rng(5), intercept=30.0)
    x = pd.get_dummies(table["base"]).to_numpy(float)
    model = MixedLM(table["rank"].to_numpy(), x, table["model"].to_numpy())
    good = model.fit(reml=True)
    zero = np.array([[1e-12]])
    at_zero = MixedLMParams.from_components(fe_params=good.fe_params, cov_re=zero)
    stuck = SimpleNamespace(
        fe_params=good.fe_params, bse_fe=good.bse_fe, cov_re=zero, vcomp=np.zeros(0), scale=1.0,
        llf=model.loglike(at_zero, profile_fe=True),
    )  # fmt: skip
    assert stuck.llf < good.llf - 10
    monkeypatch.setattr(model, "fit", lambda **_: stuck)
    with pytest.raises(DataError, match="likelier neighbours"):
        best_fit(model, [None])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t[t["base"] == "Gemma"], "two levels of base"),
        (lambda t: t[t["model"].isin(["g0", "l0"])], "more models than families"),
        (lambda t: t.assign(rank=np.nan), "some are missing"),
        (lambda t: t[(t["base"] == "Gemma") | (t["valence"] == "negative")], "every family"),
    ],
)
def test_refusals(damage, message):
    with pytest.raises(DataError, match=message):
        rank_model(damage(synthetic.medians(np.random.default_rng(6))))
