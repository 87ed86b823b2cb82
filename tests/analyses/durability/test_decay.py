"""Gaps and half-lives where the truth is known, and against naive computations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from rm_value_tasks.analyses.durability.decay import fit_decay, rates
from rm_value_tasks.analyses.durability.draws import RESAMPLES, Draws, _draws
from rm_value_tasks.analyses.durability.gaps import COLUMNS, Gaps, gaps_of
from rm_value_tasks.stats.intervals import draw_weights

PAIRS = np.array([0, 100, 200, 400, 800, 1600])


def gaps(values, error=0.01, seed=0, pairs=PAIRS):
    """Gaps whose draws have independent normal errors around them."""
    values = np.asarray(values, float)
    draws = values[:, None] + np.random.default_rng(seed).normal(0, error, (len(values), 1000))
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    columns = (pairs, values, draws.std(axis=1), low, high, [1] * len(pairs), [1] * len(pairs))
    table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
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


def test_a_gap_gone_at_the_next_checkpoint_has_no_half_life_to_tell():
    """The best rate is then without bound; the end of the range searched is no estimate."""
    found = fit_decay(gaps([0, 0.3, 0, 0, 0, 0]))
    assert found.status == "faded"
    assert (found.rate, found.half_life, found.half_life_low) == (np.inf, 0, 0)
    assert "too short for these checkpoints to tell" in found.sentence
    assert "interval" not in found.sentence.partition("none;")[2]


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


def draws(rows, scores=None):
    """Draws around the rows' leans by scores, shape (prompts, words); the same scores unless told.

    Twenty members of fifty words.
    """
    generator = np.random.default_rng(3)
    shared = generator.normal(size=(6, 50))
    weights = [draw_weights(generator, RESAMPLES, size) for size in (6, 20, 30)]
    wins = {}
    for model in rows["model"]:
        own = shared if scores is None else scores[model]
        ours, theirs = own[:, :20, None], own[:, None, 20:]
        wins[model] = (ours > theirs).astype(np.int8) + (ours >= theirs)
    leans = {
        model: lean + _draws(wins[model], *weights) - wins[model].mean() / 2
        for model, lean in zip(rows["model"], rows["lean"], strict=True)
    }
    return Draws(pd.DataFrame.from_dict(leans, orient="index"), wins)


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
    """The same scores everywhere: only the seeds' spread is left, with its few degrees."""
    rows = cells()
    found = gaps_of(rows, draws(rows), "a", "b")
    assert found.over_seeds
    # Leans told that scores do not hold: variance of a mean over 3 seeds, twice; Welch's df, 4.
    stderr = np.sqrt(2) * np.std([0, 0.01, 0.02], ddof=1) / np.sqrt(3)
    assert found.table["stderr"].to_numpy() == pytest.approx([stderr] * 2)


@pytest.mark.parametrize(
    ("runs", "seeds"), [pytest.param(600, 3, marks=pytest.mark.slow), (60, 3), (60, 1)]
)
def test_intervals_of_gaps_cover(runs, seeds):
    """No gap; words, prompts and seeds vary. At few runs only gross failures show."""
    covered = []
    for seed in range(runs):
        found = gap_without_truth(np.random.default_rng(seed), seeds)
        row = found.table.iloc[0]
        covered.append(row["low"] <= 0 <= row["high"])
    print(f"coverage {np.mean(covered):.3f} of {runs}")
    error = np.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - 2 * error <= np.mean(covered) <= 0.98 + 2 * error


def gap_without_truth(generator, seeds):
    rows, scores = [], {}
    for base in "ab":
        word = generator.normal(size=50)
        for seed in range(seeds):
            own = 0.6 * (seeds > 1) * generator.normal() * (np.arange(50) < 20)
            scores[f"{base}{seed}"] = word + own + generator.normal(size=(6, 50))
            ours, theirs = (
                scores[f"{base}{seed}"][:, :20, None],
                scores[f"{base}{seed}"][:, None, 20:],
            )
            rows.append((base, seed, 100, f"{base}{seed}", (ours > theirs).mean()))
    table = pd.DataFrame(rows, columns=["base", "seed", "pairs_seen", "model", "lean"])
    return gaps_of(table, draws(table, scores), "a", "b")


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
    assert list(found.table["seeds_first"]) == [3, 2]
