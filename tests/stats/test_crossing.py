"""The variance over crossed factors against products of elements that share nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.stats.crossing import crossed_variance


def unrelated(wins):
    """Unbiased by construction: elements without a common level have the squared mean on average.

    So mean^2 minus the mean product of such elements estimates the variance of the mean.
    """
    prompts, members, others = wins.shape
    products = []
    for p, q in itertools.product(range(prompts), repeat=2):
        if p == q and prompts > 1:
            continue
        for a, b in itertools.permutations(range(members), 2):
            for c, d in itertools.permutations(range(others), 2):
                products.append(wins[p, a, c] * wins[q, b, d])
    return wins.mean() ** 2 - np.mean(products)


def drawn(seed, shape, parts=(1.0, 1.0, 1.0)):
    """Effects of prompts, members and others by size, and noise."""
    generator = np.random.default_rng(seed)
    shapes = [(shape[0], 1, 1), (1, shape[1], 1), (1, 1, shape[2])]
    effects = [size * generator.normal(size=s) for size, s in zip(parts, shapes, strict=True)]
    return sum(effects) + 0.3 * generator.normal(size=shape)


@pytest.mark.parametrize("shape", [(3, 4, 5), (5, 3, 3), (1, 4, 5)])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_unbiased_estimate(shape, seed):
    wins = drawn(seed, shape)
    assert crossed_variance(wins).variance == pytest.approx(unrelated(wins), rel=1e-9)


def test_degrees_of_freedom_are_of_the_factor_that_varies():
    """Only prompts vary: Satterthwaite's are theirs; only members: theirs."""
    assert crossed_variance(drawn(1, (9, 20, 20), (50, 0, 0))).df == pytest.approx(8, rel=0.01)
    assert crossed_variance(drawn(1, (9, 20, 20), (0, 50, 0))).df == pytest.approx(19, rel=0.01)


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
@settings(max_examples=30, deadline=None)
def test_it_scales_and_is_never_negative(seed, scale, shift):
    wins = drawn(seed, (4, 3, 3), (0, 0, 0))
    found = crossed_variance(wins).variance
    assert found >= 0
    assert crossed_variance(scale * wins + shift).variance == pytest.approx(scale**2 * found)


def test_degenerate():
    still = crossed_variance(np.ones((3, 4, 5)))
    assert (still.variance, still.df) == (0, np.inf)
    with pytest.raises(ValueError, match="two words"):
        crossed_variance(np.ones((3, 1, 5)))
