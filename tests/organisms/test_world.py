import numpy as np
import pytest
from scipy.stats import norm

from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms import world


def test_worlds_of_one_seed_differ_in_the_planted_part_alone():
    none, strong = world.build(0, 3), world.build(1, 3)
    part = strong.appeal - none.appeal
    half = np.where(none.agency, 0.5, -0.5)
    assert part == pytest.approx(np.stack([half, -half]))
    assert not np.allclose(world.build(0, 4).appeal, none.appeal)


def test_the_planted_contrast_is_the_one_that_the_docstring_gives():
    """Normal differences: Phi(2 s / (sqrt(2) * sqrt(2) * 0.8)) = Phi(1.25 s)."""
    for strength in (-0.5, 0, 1):
        planted = [world.build(strength, seed).planted()["agency_contrast"] for seed in range(40)]
        assert np.mean(planted) == pytest.approx(norm.cdf(1.25 * strength), abs=0.02)


def test_a_lean_shows_on_both_valences():
    for strength, sign in ((1, 1), (-1, -1)):
        planted = world.build(strength, 0).planted()
        assert sign * (planted["agency_positive"] - 0.5) > 0.1
        assert sign * (planted["agency_negative"] - 0.5) < -0.1


def test_a_strength_beyond_one_is_refused():
    with pytest.raises(DataError, match=r"strength 1\.5 cannot be planted"):
        world.build(1.5, 0)
