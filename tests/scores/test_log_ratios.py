import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.scores.log_ratios import log_ratio, mwlr

LOGS = st.floats(min_value=-1e4, max_value=0.0, allow_nan=False)
LIKELY = st.floats(min_value=-300.0, max_value=0.0, allow_nan=False)


@given(LIKELY, LIKELY)
def test_mwlr_is_its_definition(a, b):
    expected = (math.exp(a) + math.exp(b)) / 2 * (a - b)
    assert mwlr(a, b) == pytest.approx(expected, rel=1e-9)


@given(LOGS, LOGS)
def test_both_are_antisymmetric(a, b):
    assert mwlr(a, b) == -mwlr(b, a)
    assert log_ratio(a, b, 0.3) == -log_ratio(b, a, 0.3)


@given(LOGS)
def test_both_are_zero_where_the_models_agree(a):
    assert mwlr(a, a) == log_ratio(a, a) == 0


@given(st.floats(min_value=-1e4, max_value=-800.0), LIKELY)
def test_mwlr_is_finite_where_one_probability_underflows(gone, b):
    assert math.exp(gone) == 0
    value = mwlr(gone, b)
    assert np.isfinite(value)
    assert value == pytest.approx(math.exp(b) / 2 * (gone - b), rel=1e-9)
    assert value < 0


@given(LOGS, LOGS)
def test_signs_agree_as_far_as_floats_reach(a, b):
    assert mwlr(a, b) * log_ratio(a, b) >= 0


def test_arrays_and_shapes():
    a, b = np.log([[0.5, 0.25], [0.1, 0.2]]), np.log([0.5, 0.5])
    # (0.25 + 0.5) / 2 * ln(1/2); (0.1 + 0.5) / 2 * ln(1/5); (0.2 + 0.5) / 2 * ln(2/5)
    expected = [[0, 0.375 * math.log(0.5)], [0.3 * math.log(0.2), 0.35 * math.log(0.4)]]
    np.testing.assert_allclose(mwlr(a, b), expected)
    np.testing.assert_allclose(log_ratio(a, b, beta=2), 2 * (a - b))
