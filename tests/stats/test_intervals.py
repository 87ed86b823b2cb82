"""The paired bootstrap against a naive one, and where its answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.lean import auroc
from rm_value_tasks.stats.intervals import DETECTABLE, paired_shift

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


def test_the_spread_is_that_of_a_naive_bootstrap():
    first, second = scores(3), scores(4, 0.5)
    generator = np.random.default_rng(5)
    members, others = np.flatnonzero(MEMBERS), np.flatnonzero(OTHERS)
    naive = []
    for _ in range(2000):
        a = generator.choice(members, len(members))
        b = generator.choice(others, len(others))
        rows = generator.choice(len(first), len(first))
        naive.append(
            np.mean([auroc(second[r][a], second[r][b]) for r in rows])
            - np.mean([auroc(first[r][a], first[r][b]) for r in rows])
        )
    found = paired_shift(first, second, MEMBERS, OTHERS, resamples=4000)
    # 2,000 draws know a standard deviation to about 1.6%; 8% is five of those.
    assert found.stderr == pytest.approx(np.std(naive, ddof=1), rel=0.08)
    assert [found.low, found.high] == pytest.approx(
        np.quantile(naive, [0.025, 0.975]), abs=0.25 * found.stderr
    )
    assert found.smallest_detectable == pytest.approx(DETECTABLE * found.stderr)


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


@pytest.mark.slow
def test_null_intervals_cover():
    """Words and prompts with effects of their own; both runs lean alike: 0 is covered.

    300 simulations know a coverage of 95% to 1.3%. The crossed bootstrap errs towards wide
    intervals, so only the lower bound is tight.
    """
    covered = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        runs = [generator.normal(size=(1, 60)) + generator.normal(size=(12, 60)) for _ in range(2)]
        member = np.arange(60) < 30
        found = paired_shift(*runs, member, ~member, resamples=500, seed=seed)
        covered += found.low <= 0 <= found.high
    assert covered / 300 > 0.92
