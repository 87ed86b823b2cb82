"""The paired bootstrap against a naive one, and where its answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.stats.crossing import CrossedVariance, crossed_variance
from rm_value_tasks.stats.intervals import DETECTABLE, calibrated, lean_interval, paired_shift
from rm_value_tasks.stats.lean import auroc

MEMBERS = np.arange(30) < 12
OTHERS = ~MEMBERS


def scores(seed, lean=0.0, ties=False):
    generator = np.random.default_rng(seed)
    drawn = generator.normal(size=(6, 30)) + lean * MEMBERS
    return np.round(drawn) if ties else drawn


def lean_of(run):
    return np.mean([auroc(row[MEMBERS], row[OTHERS]) for row in run])


@pytest.mark.parametrize("ties", [False, True])
def test_leans_and_shift_are_means_of_auroc(ties):
    first, second = scores(1, ties=ties), scores(2, 0.8, ties=ties)
    found = paired_shift(first, second, MEMBERS, OTHERS, resamples=200)
    assert found.first == pytest.approx(lean_of(first), abs=1e-6)
    assert found.second == pytest.approx(lean_of(second), abs=1e-6)
    assert found.shift == pytest.approx(lean_of(second) - lean_of(first), abs=1e-6)
    assert found.low < found.shift < found.high


def test_the_interval_is_a_naive_bootstrap_brought_to_the_unbiased_error():
    from scipy import stats as distributions

    first, second = scores(3), scores(4, 0.5)
    generator = np.random.default_rng(5)
    members, others = np.flatnonzero(MEMBERS), np.flatnonzero(OTHERS)
    naive = []
    for _ in range(1500):
        a = generator.choice(members, len(members))
        b = generator.choice(others, len(others))
        rows = generator.choice(len(first), len(first))
        naive.append(
            np.mean([auroc(second[r][a], second[r][b]) for r in rows])
            - np.mean([auroc(first[r][a], first[r][b]) for r in rows])
        )
    wins = [
        (run[:, members, None] > run[:, None, others]).astype(float) for run in (first, second)
    ]  # no ties
    known = crossed_variance(wins[1] - wins[0])
    found = paired_shift(first, second, MEMBERS, OTHERS, resamples=4000)
    assert found.stderr == pytest.approx(np.sqrt(known.variance), rel=1e-6)
    ratio = found.stderr / np.std(naive, ddof=1)
    ratio *= distributions.t.ppf(0.975, known.df) / distributions.norm.ppf(0.975)
    ends = found.shift + ratio * (np.quantile(naive, [0.025, 0.975]) - found.shift)
    # 1,500 draws know a 2.5% quantile to about 0.07 standard deviations; this is four of those.
    assert [found.low, found.high] == pytest.approx(ends, abs=0.28 * found.stderr)
    assert found.smallest_detectable == pytest.approx(DETECTABLE * found.stderr)


def test_one_runs_interval_is_that_of_its_shift_from_no_lean():
    run = scores(6, 0.7)
    found = lean_interval(run, MEMBERS, OTHERS, resamples=200)
    assert found.estimate == pytest.approx(lean_of(run), abs=1e-6)
    assert found.low < found.estimate < found.high
    flat = lean_interval(np.zeros_like(run), MEMBERS, OTHERS, resamples=200)
    assert [flat.low, flat.estimate, flat.high] == pytest.approx([0.5] * 3)


def test_detectable_is_both_normal_quantiles():
    norm = pytest.importorskip("scipy.stats").norm
    assert pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=5e-4) == DETECTABLE


def test_a_run_against_itself_has_not_moved():
    found = paired_shift(scores(1), scores(1), MEMBERS, OTHERS)
    assert (found.shift, found.low, found.high, found.smallest_detectable) == (0, 0, 0, 0)


def test_pairing_narrows_the_interval_of_runs_that_share_words():
    """The same words' own scores cancel: two runs that differ a little are known closely."""
    first = scores(1, 0.5)
    near = first + np.random.default_rng(2).normal(0, 0.05, first.shape)
    paired = paired_shift(first, near, MEMBERS, OTHERS)
    unpaired = paired_shift(first, scores(7, 0.5), MEMBERS, OTHERS)
    assert paired.stderr < unpaired.stderr / 3


@given(seed=st.integers(0, 10**6), ties=st.booleans())
@settings(max_examples=25, deadline=None)
def test_symmetries(seed, ties):
    first, second = scores(seed, ties=ties), scores(seed + 1, 0.4, ties=ties)
    found = paired_shift(first, second, MEMBERS, OTHERS, resamples=100)
    back = paired_shift(second, first, MEMBERS, OTHERS, resamples=100)
    assert [back.shift, back.low, back.high] == pytest.approx(
        [-found.shift, -found.high, -found.low], abs=1e-6
    )
    # Only the order of scores counts, so a log-probability's scale can meet a reward's.
    assert paired_shift(np.exp(first), second * 7 - 3, MEMBERS, OTHERS, resamples=100) == found


def test_infinite_scores_have_an_order():
    first = scores(1)
    first[0, 0] = -np.inf
    assert np.isfinite(paired_shift(first, scores(2), MEMBERS, OTHERS, resamples=50).high)


def test_refusals():
    good = scores(1)
    with pytest.raises(ValueError, match="shapes"):
        paired_shift(good, good[:3], MEMBERS, OTHERS)
    with pytest.raises(ValueError, match="NaN"):
        paired_shift(good, np.full_like(good, np.nan), MEMBERS, OTHERS)
    with pytest.raises(ValueError, match="two words"):
        paired_shift(good, good, np.arange(30) < 1, OTHERS)


def test_an_interval_ends_where_leans_do():
    """A lean near 1 on four pairs of prompts that vary: Student's reach is beyond 1."""
    drawn = np.random.default_rng(0).normal(size=(4, 50))
    members = np.arange(50) < 20
    drawn[:, members] += np.array([[6], [4], [2], [0.5]])
    for sign, end in ((1, "high"), (-1, "low")):
        found = lean_interval(sign * drawn, members, ~members)
        assert 0 <= found.low < found.estimate < found.high <= 1
        assert getattr(found, end) == (1 if sign == 1 else 0)


def test_calibrated_resamples_reach_as_far_as_students_quantile():
    drawn = np.random.default_rng(0).normal(0.3, 5.0, 20_000)
    low, high = np.quantile(calibrated(drawn, 0.3, CrossedVariance(0.01, 2)), [0.025, 0.975])
    assert [low, high] == pytest.approx([0.3 - 4.303 * 0.1, 0.3 + 4.303 * 0.1], abs=0.02)
    assert (calibrated(np.full(9, 0.3), 0.3, CrossedVariance(0.01, 2)) == 0.3).all()
