import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.scores import Reward, combine


def test_rewards_combine_by_their_mean():
    combined = combine([Reward(1.0), Reward(-2.0)])
    assert combined == -0.5
    assert isinstance(combined, Reward)


@given(st.lists(st.floats(-1000, 0), min_size=1, max_size=6))
def test_log_probabilities_combine_by_log_sum_exp(values):
    assert combine(values) == pytest.approx(np.logaddexp.reduce(values))


def test_impossible_forms_stay_impossible():
    assert combine([-math.inf, -math.inf]) == -math.inf
    assert combine([-math.inf, -1.0]) == -1.0


@pytest.mark.parametrize("bad", [[], [Reward(1), 2.0]])
def test_nothing_and_mixtures_are_refused(bad):
    with pytest.raises(ValueError, match="combine"):
        combine(bad)


def test_a_reward_survives_lm_evals_caches_and_files():
    assert type(pickle.loads(pickle.dumps(Reward(1.5)))) is Reward
    assert json.dumps(Reward(1.5)) == "1.5"
