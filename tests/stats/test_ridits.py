"""Places and their correlations against SciPy and against words written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rm_value_tasks.stats.lean import auroc, ranks
from rm_value_tasks.stats.ridits import from_ranks, mean_ridits, standard_ranks

SEEDS = st.integers(0, 10**6)


def scores(seed, prompts=3, words=12, ties=True):
    drawn = np.random.default_rng(seed).normal(size=(prompts, words))
    return np.round(drawn, 0 if ties else 9)


def equal(size):
    return np.full((1, size), 1 / size)


@given(seed=SEEDS, ties=st.booleans(), members=st.integers(1, 11))
@settings(max_examples=40, deadline=None)
def test_places_are_shares_of_the_list_and_their_difference_is_the_lean(seed, ties, members):
    drawn = scores(seed, ties=ties)
    found = mean_ridits(drawn, equal(12), equal(3))[0]
    by_rank = np.mean([(stats.rankdata(row) - 0.5) / 12 for row in drawn], axis=0)
    assert found == pytest.approx(by_rank)
    lean = np.mean([auroc(row[:members], row[members:]) for row in drawn])
    assert found[:members].mean() - found[members:].mean() == pytest.approx(lean - 0.5)


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_weights_are_words_and_prompts_written_several_times(seed):
    drawn, generator = scores(seed), np.random.default_rng(seed)
    counts = generator.multinomial(12, equal(12)[0], size=300)
    times = generator.multinomial(3, equal(3)[0], size=300)
    found = mean_ridits(drawn, counts / 12, times / 3)
    for index in (0, 150, 299):  # in several chunks
        written = np.repeat(np.repeat(drawn, times[index], axis=0), counts[index], axis=1)
        naive = np.mean([(stats.rankdata(row) - 0.5) / 12 for row in written], axis=0)
        assert np.repeat(found[index], counts[index]) == pytest.approx(naive)


@given(seed=SEEDS)
@settings(max_examples=25, deadline=None)
def test_rank_correlation_is_scipys(seed):
    generator = np.random.default_rng(seed)
    a, b = scores(seed, 1), scores(seed + 1, 1) + 0.5 * scores(seed, 1)
    counts = generator.multinomial(12, equal(12)[0], size=2)
    weights = np.concatenate([equal(12), counts / 12])
    ranked = [standard_ranks(np.repeat(values, 3, axis=0), weights) for values in (a, b)]
    rho = (weights * ranked[0] * ranked[1]).sum(axis=1)
    for row, times in zip(rho, [np.ones(12, int), *counts], strict=True):
        one, other = np.repeat(a[0], times), np.repeat(b[0], times)
        if min(np.ptp(one), np.ptp(other)) > 0:
            assert row == pytest.approx(stats.spearmanr(one, other).statistic)


def test_constant_numbers_have_no_correlation():
    assert np.isnan(standard_ranks(np.ones((1, 5)), equal(5))).all()


def test_rounding_makes_no_order():
    """Means over prompts that are equal in theory differ in the last bit."""
    values = np.array([[0.1 + 0.2, 0.3, 0.7]])
    assert values[0, 0] != values[0, 1]
    ranked = standard_ranks(values, equal(3))[0]
    assert ranked[0] == ranked[1]


def test_infinite_scores_have_an_order_and_nan_is_refused():
    drawn = np.array([[-np.inf, -np.inf, 1.0, np.inf]])
    assert mean_ridits(drawn, equal(4), equal(1))[0] == pytest.approx([0.25, 0.25, 0.625, 0.875])
    with pytest.raises(ValueError, match="NaN"):
        mean_ridits(np.array([[np.nan, 1.0]]), equal(2), equal(1))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_without_weights_ridits_are_those_of_the_ranks(values):
    row, n = np.array(values, float), len(values)
    closed = from_ranks(ranks(row), n)
    assert closed == pytest.approx(mean_ridits(row[None], equal(n), equal(1))[0])
    naive = [np.mean((row < own) + (row == own) / 2) for own in row]
    assert closed == pytest.approx(naive)
