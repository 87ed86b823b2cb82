"""The inherited share where its value is planted, and against naive computations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rm_value_tasks.analyses.tracing.inheritance import inheritance, ratio_interval, reliability
from rm_value_tasks.stats.ridits import mean_ridits

WORDS = 60
MEMBERS = np.arange(WORDS) < 24


def weightings(generator, resamples, members=MEMBERS):
    """The sample, then resamples of each side by itself, as counts over their number."""
    counts = np.ones((resamples + 1, len(members)), int)
    for side in (members, ~members):
        size = side.sum()
        counts[1:, side] = generator.multinomial(size, np.full(size, 1 / size), size=resamples)
    return counts, counts / len(members)


def plant(generator, slope, added, difference=0.2):
    """Differences before and after: ``after`` follows each word's ``before`` by ``slope``."""
    own = generator.normal(scale=0.1, size=WORDS)
    for side in (MEMBERS, ~MEMBERS):
        own[side] -= own[side].mean()
    before = own + difference * MEMBERS
    return before, slope * before + added * MEMBERS


@pytest.mark.parametrize(
    ("slope", "added", "share", "ratio"),
    [
        (1.0, 0.0, 1.0, 1.0),  # the later differences are the earlier ones
        (0.4, 0.0, 1.0, 2.5),  # shrunken alike: all that is left is inherited
        (0.5, 0.1, 0.5, 1.0),  # a half comes from words, a half is new
        (0.0, 0.2, 0.0, 1.0),  # as large as before, but not on the same words
        (-0.5, 0.2, -1.0, 2.0),  # the words' order is turned
    ],
)
def test_planted_shares(slope, added, share, ratio):
    generator = np.random.default_rng(0)
    before, after = plant(generator, slope, added)
    _, words = weightings(generator, 500)
    found = inheritance(before + 0 * words, after + 0 * words, words, MEMBERS)
    assert found.before.estimate == pytest.approx(0.2)
    assert found.after.estimate == pytest.approx(slope * 0.2 + added)
    assert found.slope == pytest.approx([slope] * 3, abs=1e-9)
    assert found.share.estimate == pytest.approx(share, abs=1e-9)
    assert found.ratio.estimate == pytest.approx(ratio)
    assert found.share.low <= share + 1e-9
    assert found.share.high >= share - 1e-9
    assert found.reason == ""


def test_no_later_difference_leaves_share_and_ratio_undefined():
    generator = np.random.default_rng(0)
    before, after = plant(generator, 0.5, -0.1)
    _, words = weightings(generator, 500)
    found = inheritance(before + 0 * words, after + 0 * words, words, MEMBERS)
    assert np.isnan([*found.share, *found.ratio]).all()
    assert found.after.low < 0 < found.after.high
    assert found.reason.startswith("the later difference may be zero (95% interval -0.0")
    assert found.slope.estimate == pytest.approx(0.5)


def test_families_that_are_one_at_first_have_no_share():
    generator = np.random.default_rng(0)
    _, after = plant(generator, 0.5, 0.3)
    _, words = weightings(generator, 200)
    found = inheritance(0 * words, after + 0 * words, words, MEMBERS)
    assert found.reason == "the earlier stage has no word on which the families differ"
    assert np.isnan(found.share).all()
    assert found.ratio == (0, 0, 0)


def naive(before, after, members):
    """Share and ratio by least squares on words written out."""
    columns = np.column_stack([members, ~members, before]).astype(float)
    slope = np.linalg.lstsq(columns, after, rcond=None)[0][2]
    b, a = (values[members].mean() - values[~members].mean() for values in (before, after))
    return slope * b / a, b / a


def test_against_least_squares_on_words_written_out():
    generator = np.random.default_rng(3)
    before, after = plant(generator, 0.5, 0.1)
    after += generator.normal(scale=0.05, size=WORDS)
    counts, words = weightings(generator, 400)
    found = inheritance(before + 0 * words, after + 0 * words, words, MEMBERS)
    every = np.array(
        [naive(*(np.repeat(x, times) for x in (before, after, MEMBERS))) for times in counts]
    )
    assert [found.share.estimate, found.ratio.estimate] == pytest.approx(every[0])
    ends = np.quantile(every[1:], [0.025, 0.975], axis=0)  # all denominators are positive
    # The construction takes a resample's own value where a quantile interpolates.
    steps = np.diff(np.sort(every[1:], axis=0), axis=0)[[8, 9, 10, -11, -10, -9]].max()
    assert [found.share.low, found.share.high] == pytest.approx(ends[:, 0], abs=steps)
    assert [found.ratio.low, found.ratio.high] == pytest.approx(ends[:, 1], abs=steps)


@given(seed=st.integers(0, 10**6), slope=st.floats(-1, 1), scale=st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_symmetries(seed, slope, scale):
    """Neither the families' order nor the sides' matters; a later unit cancels."""
    generator = np.random.default_rng(seed)
    before, after = plant(generator, slope, 0.6)
    after += generator.normal(scale=0.05, size=WORDS)
    _, words = weightings(generator, 100)
    before, after = before + 0 * words, after + 0 * words
    found = inheritance(before, after, words, MEMBERS)
    for other in (
        inheritance(-before, -after, words, MEMBERS),
        inheritance(before, after, words, ~MEMBERS),
        inheritance(before, scale * after, words, MEMBERS),
    ):
        assert other.share == pytest.approx(found.share, nan_ok=True)
    # Inherited part and rest make up the whole.
    rest = after[0] - found.slope.estimate * before[0]
    new = rest[MEMBERS].mean() - rest[~MEMBERS].mean()
    total = found.slope.estimate * found.before.estimate + new
    assert total == pytest.approx(found.after.estimate)


def draws(mean, spread, correlation, seed=0, size=4000):
    covariance = np.outer(spread, spread) * np.array([[1, correlation], [correlation, 1]])
    drawn = np.random.default_rng(seed).multivariate_normal(mean, covariance, size)
    return np.concatenate([[mean], drawn]).T


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("spread", [0.1, 0.45])
def test_interval_of_a_ratio_is_fiellers(spread, sign):
    """Normal draws: the roots of (N - xD)^2 = z^2 var(N - xD) (Fieller 1954).

    At a spread of 0.45 about 1.3% of the denominators have the wrong sign.
    """
    top, bottom = draws([0.5, sign], [0.2, spread], 0.4 * sign)
    found = ratio_interval(top, bottom)
    z = stats.norm.ppf(0.975)
    cov = np.cov(top[1:], bottom[1:])
    n, d = top[1:].mean(), bottom[1:].mean()
    roots = np.roots(
        [d**2 - z**2 * cov[1, 1], -2 * (n * d - z**2 * cov[0, 1]), n**2 - z**2 * cov[0, 0]]
    )
    assert found.estimate == 0.5 * sign
    # 4,000 draws know a 2.5% tail to a tenth; far tails of the wide case less well.
    assert [found.low, found.high] == pytest.approx(sorted(roots), rel=0.1, abs=0.03)


def test_interval_of_a_ratio_is_where_the_difference_may_be_zero():
    """Where resampled denominators cross zero, by trying x after x."""
    top, bottom = draws([0.3, 1], [0.3, 0.45], -0.5, seed=1, size=600)
    grid = np.linspace(-3, 6, 2001)
    lows, highs = np.quantile(top[1:, None] - bottom[1:, None] * grid, [0.025, 0.975], axis=0)
    inside = grid[(lows <= 0) & (highs >= 0)]
    found = ratio_interval(top, bottom)
    assert [found.low, found.high] == pytest.approx([inside[0], inside[-1]], abs=0.05)
    assert (bottom < 0).any()


def test_reliability_is_cronbachs_alpha():
    """Of 3 prompts and 4 words by hand; a side's mean does not count."""
    items = np.array([[1.0, -1, 2, -2], [1, -1, 1, -1], [0, 0, 2, -2]])
    # Sums (2, -2, 5, -5): squares 58; single squares 10 + 4 + 8 = 22; 3/2 (1 - 22/58).
    members = np.array([True, True, False, False])
    assert reliability(items + 7 * members, members) == pytest.approx(1.5 * (1 - 22 / 58))
    assert reliability(np.repeat(items[:1], 4, axis=0), members) == pytest.approx(1)
    assert np.isnan(reliability(items[:1], members))
    assert np.isnan(reliability(np.zeros((3, 4)), members))


def families(generator, words, pairs, kept, added):
    """Scores of two families' bases and reward models, and which words are members."""
    members = np.arange(words) < words // 2
    learned = generator.normal(scale=0.4, size=words)
    found = []
    for lean in (0.25, -0.25):
        base = lean * members + generator.normal(scale=0.4, size=words)
        reward = kept * base + learned + added * lean * members
        for taste in (base, reward):
            found.append(2 * taste + generator.normal(scale=0.3, size=(pairs, words)))
    return found, members


def population(kept, added, pairs):
    """What very many words give, by ranks and least squares."""
    found, members = families(np.random.default_rng(99), 40_000, pairs, kept, added)
    places = [np.mean([stats.rankdata(row) / len(row) for row in run], axis=0) for run in found]
    return naive(places[0] - places[2], places[1] - places[3], members)


@pytest.mark.slow
@pytest.mark.parametrize(("kept", "added"), [(0.5, 0.5), (0.7, 0.0), (0.0, 0.5)])
def test_intervals_cover(kept, added):
    """80 words and 6 pairs of prompts, 200 times; the crossed bootstrap errs to wide.

    200 simulations know a coverage of 95% to 1.5%, so that below 91% is no chance.
    """
    share, ratio = population(kept, added, 6)
    assert share == pytest.approx(kept / (kept + added), abs=0.05)
    covered, defined = np.zeros(2), 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        found, members = families(generator, 80, 6, kept, added)
        _, words = weightings(generator, 400, members)
        prompts = np.concatenate([np.ones((1, 6)), generator.multinomial(6, [1 / 6] * 6, 400)]) / 6
        places = [mean_ridits(run, words, prompts) for run in found]
        result = inheritance(places[0] - places[2], places[1] - places[3], words, members)
        defined += not result.reason
        covered += [
            result.share.low <= share <= result.share.high,
            result.ratio.low <= ratio <= result.ratio.high,
        ]
    assert defined > 170
    assert (covered / defined > 0.91).all()
