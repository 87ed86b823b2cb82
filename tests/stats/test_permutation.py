"""Permutation tests against every split counted by hand, and the noise floor."""

import itertools

import numpy as np
import pytest
from scipy import stats as distributions

from rm_value_tasks.stats.lean import auroc
from rm_value_tasks.stats.permutation import (
    exact_p,
    noise_floor,
    panel_tests,
    permutation_t,
    three_way_contrasts,
)
from tests.stats import synthetic


def test_exact_p_by_counting_splits():
    first, second = np.array([1.0, 4.0, 2.0]), np.array([5.0, 9.0, 4.0, 8.0])
    pooled = np.concatenate([first, second])
    seen = abs(first.mean() - second.mean())
    splits = [set(split) for split in itertools.combinations(range(7), 3)]
    gaps = [
        abs(pooled[list(s)].mean() - pooled[[i for i in range(7) if i not in s]].mean())
        for s in splits
    ]
    assert len(splits) == 35
    assert exact_p(first, second) == pytest.approx(np.mean([gap >= seen - 1e-12 for gap in gaps]))
    # Two against two: of 6 splits the seen one and its mirror image are as extreme.
    assert exact_p(np.array([1.0, 2.0]), np.array([8.0, 9.0])) == pytest.approx(2 / 6)


def test_permutation_t_is_a_permutation_of_welch():
    generator = np.random.default_rng(1)
    first, second = generator.normal(0, 1, 12), generator.normal(1.2, 3, 20)
    t = abs(distributions.ttest_ind(first, second, equal_var=False).statistic)
    pooled = np.concatenate([first, second])
    hits = 0
    for _ in range(600):
        shuffled = generator.permutation(pooled)
        found = distributions.ttest_ind(shuffled[:12], shuffled[12:], equal_var=False).statistic
        hits += abs(found) >= t
    # Both are random: four standard errors of the naive one.
    naive = (hits + 1) / 601
    assert permutation_t(first, second) == pytest.approx(
        naive, abs=4 * np.sqrt(naive * (1 - naive) / 600)
    )
    assert permutation_t(first, first + 100) == 1e-4  # never below 1 / (9,999 + 1)


def test_too_little_gives_nan():
    one, two = np.array([1.0]), np.array([1.0, 2.0])
    assert np.isnan([exact_p(one, two), permutation_t(one, two)]).all()
    assert np.isnan(permutation_t(np.ones(3), np.ones(4)))
    gap = np.array([1.0, 2.0, np.nan])  # compared with NaN, no split would be as extreme: p = 0
    assert np.isnan([exact_p(gap, gap[:2]), permutation_t(gap, gap[:2])]).all()
    still = synthetic.medians(np.random.default_rng(1)).assign(rank=5.0)
    found = panel_tests(still, ["Gemma", "Llama"])
    assert found[["welch", "permutation", "model_welch"]].isna().all(axis=None)
    assert (found["model_exact"] == 1).all()  # every split is as extreme


def test_panels_are_named_rightly():
    table = synthetic.medians(np.random.default_rng(2))
    found = panel_tests(table, ["Gemma", "Llama"]).set_index(["category", "valence"])
    cell = table[(table["category"] == "Agency") & (table["valence"] == "negative")]
    sides = [cell.loc[cell["base"] == name] for name in ("Gemma", "Llama")]
    row = found.loc[("Agency", "negative")]
    rows = distributions.ttest_ind(*(side["rank"] for side in sides), equal_var=False)
    models = distributions.ttest_ind(
        *(side.groupby("model")["rank"].mean() for side in sides), equal_var=False
    )
    assert row["welch"] == pytest.approx(rows.pvalue)
    assert row["model_welch"] == pytest.approx(models.pvalue)
    assert row["welch_bonferroni"] == pytest.approx(min(1, 4 * rows.pvalue))
    assert row["difference"] == pytest.approx(row["second"] - row["first"])


def test_a_planted_three_way_contrast_is_found():
    generator = np.random.default_rng(3)
    contrast = three_way_contrasts(
        synthetic.medians(generator, three_way=20.0, slopes=2.0), ["Agency", "Communion"]
    )
    # Communion, negative and Llama: (A - C, positive) - (A - C, negative) gains 20.
    assert contrast["Llama"].mean() - contrast["Gemma"].mean() == pytest.approx(20, abs=5)
    assert exact_p(contrast["Gemma"].to_numpy(), contrast["Llama"].to_numpy()) == pytest.approx(
        1 / 210
    )


def test_the_noise_floor_is_of_shuffled_labels():
    generator = np.random.default_rng(4)
    differences = np.round(generator.normal(size=(5, 30)) + generator.normal(size=30), 1)  # ties
    leans = []
    for _ in range(2000):
        order = generator.permutation(30)
        leans.append(np.mean([auroc(row[order[:12]], row[order[12:]]) for row in differences]))
    found = noise_floor(differences, 12, resamples=4000)
    # 2,000 deals know a 2.5% quantile to about 0.06 standard deviations; this is four of those.
    assert found == pytest.approx(np.quantile(leans, [0.025, 0.975]), abs=0.24 * np.std(leans))
