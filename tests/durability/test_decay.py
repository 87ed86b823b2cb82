"""Gaps and half-lives where the truth is known, and against naive computations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from rm_value_tasks.durability.decay import fit_decay, rates
from rm_value_tasks.durability.gaps import COLUMNS, Gaps, gaps_of

PAIRS = np.array([0, 100, 200, 400, 800, 1600])


def gaps(values, error=0.01, seed=0, pairs=PAIRS):
    """Gaps whose draws have independent normal errors around them."""
    values = np.asarray(values, float)
    draws = values[:, None] + np.random.default_rng(seed).normal(0, error, (len(values), 1000))
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    columns = zip(pairs, values, low, high, [1] * len(pairs), [1] * len(pairs), strict=True)
    table = pd.DataFrame(list(columns), columns=list(COLUMNS))
    return Gaps("a", "b", table, draws, over_seeds=False)


def decaying(half_life, start=0.3):
    return start * 0.5 ** (PAIRS / half_life)


@given(
    half_life=st.floats(80, 5000), start=st.sampled_from([-0.4, 0.05, 0.3]), seed=st.integers(0, 99)
)
@settings(max_examples=30, deadline=None)
def test_the_rate_is_that_of_an_ordinary_nonlinear_fit(half_life, start, seed):
    noise = np.random.default_rng(seed).normal(0, 0.002, len(PAIRS))
    curve = decaying(half_life, start) + noise
    errors = np.linspace(0.5, 2, len(PAIRS))
    (_, expected), _ = curve_fit(
        lambda n, g, k: g * np.exp(-k * n / 1000), PAIRS, curve, p0=(start, 693 / half_life),
        sigma=errors,
    )  # fmt: skip
    found = rates(PAIRS, curve, 1 / errors**2)[0] * 1000
    assert found == pytest.approx(expected, abs=2 * 0.01 / 1.6)  # the grid's step over 1,600 pairs


def test_a_half_life_is_recovered_within_its_interval():
    found = fit_decay(gaps(decaying(500)))
    assert found.status == "fading"
    assert found.half_life == pytest.approx(500, rel=0.02)
    assert found.half_life_low < 500 < found.half_life_high < 700
    assert found.rate * found.half_life == pytest.approx(np.log(2))
    assert "half-life 5" in found.sentence
    assert "not washed out" in found.sentence


def test_the_untrained_model_is_not_part_of_the_fit():
    wild = decaying(500)
    wild[0] = -0.9
    assert fit_decay(gaps(wild)).half_life == pytest.approx(500, rel=0.02)
    assert fit_decay(gaps(decaying(500)), after=400).status == "too few"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        (decaying(200), "faded"),  # 0.001 is left at the end, with an error of 0.01
        (np.full(6, 0.2), "not washed out"),
        (np.linspace(0.2, 0.3, 6), "not washed out"),
        (np.linspace(0.2, -0.1, 6), "reversed"),
        (np.full(6, 0.001), "no gap"),
        (-decaying(500), "fading"),  # the sign only says which base comes first
    ],
)
def test_what_can_be_said(values, status):
    found = fit_decay(gaps(values))
    assert found.status == status
    assert found.sentence.endswith(".")
    if status == "not washed out":
        assert np.isinf(found.half_life_high)
        assert "not washed out within the data" in found.sentence


def test_a_large_error_at_the_end_is_undetermined():
    noisy = gaps(np.full(6, 0.05))
    spread = np.random.default_rng(1).normal(0.05, 0.2, noisy.draws[2:].shape)
    noisy.draws[2:] = spread
    noisy.table.loc[2:, ["low", "high"]] = [-0.3, 0.4]
    assert fit_decay(noisy).status == "undetermined"


def test_a_gap_that_arises_late_is_followed_from_there():
    late = decaying(500)
    late[:3] = [0.0, 0.005, -0.004]  # within an error of 0.01
    found = fit_decay(gaps(late))
    assert found.start == 400
    assert found.half_life == pytest.approx(500, rel=0.05)
    assert np.isnan(fit_decay(gaps(np.full(6, 0.001))).start)


def test_two_gaps_are_too_few():
    found = fit_decay(gaps([0.2, 0.1, 0.05], pairs=[0, 100, 200]))
    assert found.status == "too few"
    assert np.isnan(found.half_life)


@pytest.mark.slow
def test_intervals_of_the_rate_cover():
    """400 noisy curves of one true rate: 95% intervals hold it in 95 +- 2 x 1.1%."""
    covered = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        noisy = decaying(700) + generator.normal(0, 0.01, len(PAIRS))
        found = fit_decay(gaps(noisy, seed=seed + 1000))
        covered += found.rate_low <= np.log(2) / 700 <= found.rate_high
    assert 0.92 < covered / 400 < 0.98


def cells(seeds=(0, 1, 2)):
    rows = [
        (base, seed, n, f"{base}{seed}@{n}", lean + 0.01 * seed)
        for base, lean in (("a", 0.7), ("b", 0.4))
        for seed in seeds
        for n in (0, 100)
    ]
    return pd.DataFrame(rows, columns=["base", "seed", "pairs_seen", "model", "lean"])


def draws(rows, spread=0.0):
    noise = np.random.default_rng(3).normal(0, spread, 1000)
    return pd.DataFrame(
        rows["lean"].to_numpy()[:, None] + noise[None, :], index=list(rows["model"])
    )


def test_gaps_are_differences_of_means_over_seeds():
    rows = cells()
    found = gaps_of(rows, draws(rows), "a", "b")
    assert list(found.table["pairs"]) == [0, 100]
    assert found.table["gap"].to_numpy() == pytest.approx([0.3, 0.3])
    assert list(found.table["seeds_first"]) == [3, 3]
    assert found.over_seeds
    back = gaps_of(rows, draws(rows), "b", "a")
    assert back.table["gap"].to_numpy() == pytest.approx([-0.3, -0.3])


def test_what_bases_share_cancels_and_seeds_do_not():
    """Draws that move both bases alike leave only the seeds' spread: sd of a mean over n."""
    rows = cells()
    found = gaps_of(rows, draws(rows, spread=5.0), "a", "b")
    each = np.std([0, 0.01, 0.02], ddof=1) / np.sqrt(3)
    assert found.draws.std() == pytest.approx(np.sqrt(2) * each, rel=0.1)
    single = cells(seeds=(0,))
    alone = gaps_of(single, draws(single, spread=5.0), "a", "b")
    assert not alone.over_seeds
    assert alone.draws.std() == pytest.approx(0, abs=1e-9)


def test_only_common_places_are_compared():
    rows = cells()
    rows = rows[~((rows["base"] == "b") & (rows["pairs_seen"] == 100))]
    assert list(gaps_of(rows, draws(rows), "a", "b").table["pairs"]) == [0]


def test_a_seed_that_lacks_a_checkpoint_leaves_its_weight_to_the_others():
    rows = cells()
    rows = rows[rows["model"] != "a2@100"]
    found = gaps_of(rows, draws(rows), "a", "b")
    assert found.table["gap"].to_numpy() == pytest.approx([0.3, 0.705 - 0.41])
    assert found.draws[1].mean() == pytest.approx(0.295, abs=0.005)
