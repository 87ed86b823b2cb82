import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from rm_value_tasks.stats.lean import auroc, contrast, median_rank, ranks

# Few distinct values, so that ties are the rule.
scores = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(-3, 3).map(float))


@given(scores)
def test_ranks_are_scipys_of_the_negated_scores(values):
    np.testing.assert_array_equal(ranks(values), stats.rankdata(-values, method="average"))


@given(scores, scores)
def test_auroc_is_mann_whitney_u(a, b):
    expected = stats.mannwhitneyu(a, b).statistic / (a.size * b.size)
    assert auroc(a, b) == pytest.approx(expected, abs=1e-12)


@given(scores, scores)
def test_auroc_is_antisymmetric_and_keeps_order_preserving_maps(a, b):
    assert auroc(a, b) + auroc(b, a) == pytest.approx(1)
    assert auroc(np.exp(a), np.exp(b)) == pytest.approx(auroc(a, b))


def test_auroc_by_hand():
    # Pairs: 3>1 win, 3>3 tie, 2>1 win, 2<3 loss: (1 + 0.5 + 1 + 0) / 4.
    assert auroc([3, 2], [1, 3]) == 0.625
    assert np.isnan(auroc([], [1]))


def test_contrast_uses_each_word_as_its_own_control():
    # A constant offset of each word cancels: only the shift between valences counts.
    offset = np.array([9.0, -4.0, 0.0, 100.0])
    shift = np.array([1.0, 1.0, 0.0, 0.0])
    in_a = np.array([True, True, False, False])
    assert contrast(offset + shift, offset, in_a, ~in_a) == 1.0
    assert contrast(offset, offset + shift, in_a, ~in_a) == 0.0


def test_median_rank_by_hand():
    # Ranks of 5, 1, 3, 3: 1, 4, 2.5, 2.5; members have 4 and 2.5.
    assert median_rank([5, 1, 3, 3], [False, True, True, False]) == 3.25
    assert np.isnan(median_rank([1, 2], [False, False]))


@pytest.mark.parametrize("call", [lambda: ranks([1, np.nan]), lambda: auroc([np.nan], [1])])
def test_nan_has_no_rank(call):
    with pytest.raises(ValueError, match="NaN"):
        call()
