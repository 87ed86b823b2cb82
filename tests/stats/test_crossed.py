"""The crossed model against mean squares by hand, and what it must recover."""

import numpy as np
import pandas as pd
import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.stats.covariates import word_covariates
from rm_value_tasks.stats.crossed import crossed_model
from tests.stats import synthetic

FAMILIES = {
    "g0": "Gemma",
    "g1": "Gemma",
    "g2": "Gemma",
    "l0": "Llama",
    "l1": "Llama",
    "l2": "Llama",
}


@pytest.fixture(scope="module")
def ranked():
    return synthetic.ranked(np.random.default_rng(1), FAMILIES, family=0.8, pairs=6)


@pytest.fixture(scope="module")
def found(ranked):
    return crossed_model(ranked, FAMILIES, "Agency", "Communion")


def test_leans_are_plain_means(ranked, found):
    """The lean: (mean rank of communion - mean rank of agency) / n + 1/2."""
    size = ranked["word"].nunique()
    means = ranked.assign(base=ranked["model"].map(FAMILIES)).groupby(["base", "category"])["rank"]
    means = means.mean().unstack()
    leans = (means["Communion"] - means["Agency"]) / size + 0.5
    estimates = found.coefficients["estimate"]
    assert estimates["lean Gemma"] == pytest.approx(leans["Gemma"])
    assert estimates["Llama - Gemma"] == pytest.approx(leans["Llama"] - leans["Gemma"])


def test_the_errors_are_those_of_mean_squares(ranked, found):
    """Balanced strata by hand: words' family differences, models' leans, their interaction."""
    size, models = 30, 6
    places = -ranked.pivot_table(index="model", columns="word", values="rank") / size
    member = ranked.drop_duplicates("word").set_index("word")["category"] == "Agency"
    member = member[places.columns].to_numpy()
    values = places.to_numpy()
    llama = np.array([FAMILIES[m] == "Llama" for m in places.index])
    of_words = values[llama].mean(axis=0) - values[~llama].mean(axis=0)
    within_sides = sum(((part - part.mean()) ** 2).sum() for part in
                       (of_words[member], of_words[~member])) / (size - 2)  # fmt: skip
    leans = values[:, member].mean(axis=1) - values[:, ~member].mean(axis=1)
    of_models = (leans[llama].var(ddof=1) + leans[~llama].var(ddof=1)) / 2
    rest = values.copy()
    for rows in (llama, ~llama):
        for columns in (member, ~member):
            cell = values[np.ix_(rows, columns)]
            rest[np.ix_(rows, columns)] = (
                cell - cell.mean(axis=0) - cell.mean(axis=1, keepdims=True) + cell.mean()
            )
    residual = (rest**2).sum() / ((models - 2) * (size - 2))
    each = 1 / 15 + 1 / 15
    expected = within_sides * each + (of_models - residual * each) * (1 / 3 + 1 / 3)
    row = found.coefficients.loc["Llama - Gemma"]
    assert row["stderr"] ** 2 == pytest.approx(expected, rel=5e-3)
    assert found.random_sd["residual"] ** 2 == pytest.approx(residual, rel=5e-3)
    assert row["df"] == 4


def test_a_planted_difference_is_recovered_and_named(found):
    row = found.coefficients.loc["Llama - Gemma"]
    assert row["low"] > 0
    assert row["p"] < 0.05
    assert (found.models, found.words, found.pairs) == (6, 30, 6)


def test_pairs_that_vary_widen_leans_and_not_differences():
    wide = synthetic.ranked(np.random.default_rng(2), FAMILIES, spread={"pair": 1.0})
    still = synthetic.ranked(np.random.default_rng(2), FAMILIES, spread={"pair": 0.0})
    a, b = (crossed_model(t, FAMILIES, "Agency", "Communion") for t in (wide, still))
    assert a.random_sd["pair"] > 0.1 > b.random_sd["pair"]
    gap = a.coefficients["stderr"] / b.coefficients["stderr"]
    assert gap["lean Gemma"] > gap["Llama - Gemma"]


def test_where_only_pairs_vary_a_leans_error_is_that_of_a_mean_over_pairs():
    still = {"model": 0.02, "word": 0.1, "word:family": 0.02, "pair": 2.0}
    table = synthetic.ranked(np.random.default_rng(4), FAMILIES, spread=still)
    found = crossed_model(table, FAMILIES, "Agency", "Communion").coefficients
    sides = table.groupby(["pair", "category"])["rank"].mean().unstack() / 30
    by_hand = (sides["Communion"] - sides["Agency"]).sem()
    assert found.loc["lean Gemma", "stderr"] == pytest.approx(by_hand, rel=0.1)


def test_the_scarcest_factor_gives_the_degrees_of_freedom(ranked):
    """Three pairs: 2 for a lean, which rests on them, and 6 - 2 = 4 models for the difference."""
    few = ranked[ranked["pair"].isin(["p0", "p1", "p2"])]
    found = crossed_model(few, FAMILIES, "Agency", "Communion").coefficients
    assert found["df"].to_dict() == {"lean Gemma": 2, "lean Llama": 2, "Llama - Gemma": 4}
    row = found.loc["lean Gemma"]
    assert row["high"] - row["estimate"] == pytest.approx(4.303 * row["stderr"], rel=1e-3)
    words = ranked[ranked["word"].isin(["w0", "w1", "w28", "w29"])]
    found = crossed_model(words, FAMILIES, "Agency", "Communion").coefficients
    assert found.loc["Llama - Gemma", "df"] == 2


def test_one_family_has_a_lean_and_no_difference(ranked):
    known = {name: family for name, family in FAMILIES.items() if family == "Gemma"}
    found = crossed_model(ranked, known, "Agency", "Communion")
    assert list(found.coefficients.index) == ["lean Gemma"]
    assert list(found.random_sd.index) == ["model", "word", "pair", "residual"]


def test_a_covariate_is_held_equal():
    """Agency words are longer, and longer words gain: held equal, the lean is gone."""
    generator = np.random.default_rng(3)
    table = synthetic.ranked(generator, FAMILIES, spread={"word": 0.3, "model": 0.05})
    words = [f"w{i}" for i in range(30)]
    lengths = pd.Series(np.arange(30) % 7 + 4.0 * (np.arange(30) < 15), index=words)
    gained = table["word"].map(lengths) * 2
    table["rank"] = (table["rank"] - gained).groupby([table["model"], table["pair"]]).rank()
    plain = crossed_model(table, FAMILIES, "Agency", "Communion").coefficients
    held = crossed_model(
        table, FAMILIES, "Agency", "Communion", lengths.to_frame("length")
    ).coefficients
    assert plain.loc["lean Gemma", "estimate"] > 0.65
    assert abs(held.loc["lean Gemma", "estimate"] - 0.5) < 0.1
    assert held.loc["length", "p"] < 0.01


def test_covariates_are_measured(checkpoint):
    found = word_covariates(["love", "ability"], ["length", "tokens"], str(checkpoint("llama")))
    assert found["length"].tolist() == [4, 7]
    assert (found["tokens"] >= 1).all()
    pytest.importorskip("wordfreq")
    zipf = word_covariates(["love", "unselfishness", "qqzzx"], ["frequency"])["frequency"]
    assert zipf["love"] > zipf["unselfishness"] >= zipf["qqzzx"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["word"] != "w3"].assign(category="Agency"), "two words or more"),
        (lambda t: t[t["pair"] == "p0"], "two pairs"),
        (lambda t: t[~((t["model"] == "g0") & (t["word"] == "w3"))], "same words"),
        (lambda t: t[t["model"].isin(["g0", "l0"])], "more models than families"),
    ],
)
def test_refusals(ranked, change, message):
    with pytest.raises(DataError, match=message):
        crossed_model(change(ranked), FAMILIES, "Agency", "Communion")


def test_refused_covariates(ranked):
    with pytest.raises(DataError, match="every word"):
        crossed_model(ranked, FAMILIES, "Agency", "Communion", pd.DataFrame({"length": [1.0]}))
    with pytest.raises(DataError, match="no word covariate"):
        word_covariates(["love"], ["colour"])
    with pytest.raises(DataError, match="needs a tokenizer"):
        word_covariates(["love"], ["tokens"])
    with pytest.raises(DataError, match="no tokenizer can be loaded"):
        word_covariates(["love"], ["tokens"], "/nonexistent/folder")
