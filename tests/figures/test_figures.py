"""Figures show the numbers they are given, whatever the models' names and words are."""

import itertools
import xml.etree.ElementTree as ElementTree

import matplotlib.cbook
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection

from rm_value_tasks import figures
from rm_value_tasks.errors import DataError
from rm_value_tasks.figures.rank_violins import stars
from rm_value_tasks.figures.style import looks, plain
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.results import load
from rm_value_tasks.stats.leans import twin_contrasts
from tests import runs

HOSTILE = ["<script>alert(1)</script>&]]>-->", "_$\\frac$ a$b$c", "\x00\x1b[31m"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return load(runs.all_of(tmp_path_factory.getbasetemp()) / "first")


def scores(words=6, twins=TWINS[:3], seed=0, models=("m",)):
    """A tidy table of coarse random scores, so that there are ties."""
    draw = np.random.default_rng(seed)
    rows = [
        (model, "t", prompt.id, prompt.valence, f"w{i}", "Agency" if i % 2 else "Communion",
         float(draw.integers(4)))
        for model in models for twin in twins for prompt in twin for i in range(words)
    ]  # fmt: skip
    columns = ["model", "task", "prompt", "valence", "word", "category", "score"]
    return pd.DataFrame(rows, columns=columns)


def leans(**changes):
    frame = pd.DataFrame({
        "model": ["b", "a", "old"], "estimate": [0.6, 0.45, 0.42], "low": [0.55, 0.4, np.nan],
        "high": [0.65, 0.5, np.nan], "group": ["one", "one", "two"],
        "base": ["Gemma", None, "Llama"], "reference": [False, False, True],
    })  # fmt: skip
    return frame.assign(**changes)


def ranks(families=("Gemma", "Llama")):
    cells = itertools.product(
        families, range(2), ("Agency", "Communion"), ("positive", "negative"), range(5)
    )
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        [(f"{base}{model}", base, category, valence, f"p{prompt}", draw.normal(100, 10))
         for base, model, category, valence, prompt in cells],
        columns=["model", "base", "category", "valence", "prompt", "rank"],
    )  # fmt: skip


def pairs():
    """Implicit rewards of two words for two pairs of models."""
    rows = [("a", "x", "freedom", 0.2), ("a", "x", "love", -0.3)]
    rows += [("b", "x", "freedom", 0.1), ("b", "x", "love", 0.05)]
    return pd.DataFrame(rows, columns=["first", "second", "word", "score"])


def stages():
    """Two families; the second has two models at the last stage and no interval at the first."""
    return pd.DataFrame(
        [
            ("x_contrast", "A", "base", True, 0.6, 0.5, 0.7),
            ("x_contrast", "A", "reward", True, 0.55, 0.5, 0.6),
            ("x_contrast", "B", "base", True, 0.4, np.nan, np.nan),
            ("x_contrast", "B", "reward", False, 0.44, 0.4, 0.5),
            ("x_contrast", "B", "reward", False, 0.48, 0.4, 0.5),
            ("x_contrast", "B", "reward", True, 0.46, 0.42, 0.5),
        ],
        columns=["metric", "family", "stage", "mean", "estimate", "low", "high"],
    )


def word_pairs():
    return pd.DataFrame({
        "first": ["A base", "A base", "B base"], "second": ["A reward", "B base", "B reward"],
        "families": ["A", "A / B", "B"], "word": "freedom", "other_word": "love",
        "score": "log_ratio", "difference": [0.5, -1.0, 2.0], "low": [0.4, -2.0, np.nan],
        "high": [0.6, 0.0, np.nan],
    })  # fmt: skip


def texts(figure):
    found = [text.get_text() for axes in figure.axes for text in axes.texts]
    found += [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    return [*found, *(text.get_text() for legend in figure.legends for text in legend.get_texts())]


def every_figure(name=lambda text: text):
    """One figure of each kind, names and words through ``name``."""
    table = scores().assign(word=lambda t: t["word"].map(name), model=name("m"))
    places = figures.word_ridits(table)
    profile = pd.DataFrame({
        "model": [name("m")] * 2, "category": [f"{name('Care')}/Virtue", "Care/Vice"],
        "estimate": [0.4, 0.6], "low": [0.3, np.nan], "high": [0.5, np.nan],
    })  # fmt: skip
    return [
        figures.rank_violins(ranks().assign(base=lambda t: t["base"].map(name))),
        figures.lean_map(leans(model=[name("a"), name("b"), name("c")], group=name("g"))),
        figures.word_lollipop(places),
        figures.foundation_profile(profile),
        figures.prompt_heatmap(twin_contrasts(table)),
        figures.mwlr_lollipop(pairs().assign(
            first=lambda t: t["first"].map(name), word=lambda t: t["word"].map(name)
        )),
        figures.stage_lines(
            stages().assign(**{k: stages()[k].map(name) for k in ("metric", "family", "stage")})
        ),
        figures.pair_lollipop(
            word_pairs().assign(**{k: word_pairs()[k].map(name) for k in word_pairs().columns[:6]})
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_saving_twice_gives_the_same_bytes(tmp_path, ending):
    first, second = (
        figures.save(figures.lean_map(leans()), tmp_path / f"{i}.{ending}").read_bytes()
        for i in range(2)
    )
    assert first == second
    assert first.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    assert b"dc:date" not in first
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"0.{ending}", f"1.{ending}"]


def test_other_endings_and_places_are_refused(tmp_path):
    figure = figures.lean_map(leans())
    with pytest.raises(DataError, match="png or svg, not 'pdf'"):
        figures.save(figure, tmp_path / "x.pdf")
    with pytest.raises(DataError, match="cannot write .*nowhere"):
        figures.save(figure, tmp_path / "nowhere" / "x.svg")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_give_well_formed_svg_without_script(hostile):
    for figure in every_figure(lambda text: f"{hostile}{text}"):
        root = ElementTree.fromstring(figures.to_bytes(figure, "svg"))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "script" not in tags
        assert "path" in tags


@given(st.text())
def test_plain_text_is_never_mathematics_and_always_printable(text):
    shown = plain(text)
    assert not matplotlib.cbook.is_math_text(shown)
    assert shown.replace("\\$", "$").isprintable()
    assert not shown.startswith("_")
    assert len(shown.replace("\\$", "$")) <= 49


def test_plain_keeps_ordinary_text():
    assert plain("Skywork/Reward-V2 (best) 字") == "Skywork/Reward-V2 (best) 字"
    assert plain("x" * 30 + "y" * 30, 11) == "xxxxx…yyyyy"


def luminance(colour):
    """Relative luminance by WCAG 2."""
    values = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_looks_differ_without_colour():
    found = looks(f"family {i}" for i in range(16))
    assert len({(look.colour, look.marker) for look in found.values()}) == 16
    assert len({look.marker for look in list(found.values())[:8]}) == 8
    assert len({look.hatch for look in list(found.values())[:8]}) == 8
    first, second = list(found.values())[:2]
    assert abs(luminance(first.colour) - luminance(second.colour)) > 0.2


def test_lean_map_draws_every_lean_once_in_order():
    figure = figures.lean_map(leans())
    one, two = figure.axes
    assert [label.get_text() for label in one.get_yticklabels()] == ["a", "b"]
    markers = [line for line in one.lines if line.get_marker() != "None"]
    assert [(float(x.get_xdata()[0]), float(x.get_ydata()[0])) for x in markers] == [
        (0.45, 0), (0.6, 1)
    ]  # fmt: skip
    bars = [tuple(path.vertices[:, 0]) for c in one.collections for path in c.get_paths()]
    assert bars == [(0.4, 0.5), (0.55, 0.65)]
    assert not two.collections  # no interval is no bar, not one of length nought
    (hollow,) = (line for line in two.lines if line.get_marker() != "None")
    assert hollow.get_markerfacecolor() == "white"
    low, high = one.get_xlim()
    assert low < 0.4 < 0.65 < high


@pytest.mark.parametrize(("references", "order"), [(False, ["b", "a"]), (True, ["a", "b"])])
def test_lean_map_keeps_the_order_of_stages_but_sorts_a_crowd(references, order):
    """Labels go from the bottom up; a comes first, with the lower lean."""
    table = leans().iloc[[1, 0]].assign(reference=[False, references])
    (axes,) = figures.lean_map(table).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == order


@pytest.mark.parametrize(("p", "mark"), [
    (0.0009, "***"), (0.001, "**"), (0.01, "*"), (0.05, "n.s."), (1, "n.s."), (np.nan, "")
])  # fmt: skip
def test_stars(p, mark):
    assert stars(p) == mark


def test_violins_one_for_each_family_category_and_valence():
    panels = pd.DataFrame({"category": ["Agency"], "valence": ["negative"], "p": [0.004]})
    table = ranks()
    figure = figures.rank_violins(table, panels, "Welch, unit: prompt")
    bodies = [
        [c for c in axes.collections if isinstance(c, PolyCollection)] for axes in figure.axes
    ]
    assert [len(found) for found in bodies] == [4, 4]
    positive, negative = figure.axes
    assert [text.get_text() for text in positive.texts] == []
    assert [text.get_text() for text in negative.texts] == ["**"]
    assert "Welch, unit: prompt" in figure.get_supxlabel()
    assert "Gemma (2 models)" in texts(figure)
    low, high = positive.get_ylim()
    assert low > high  # rank 1 on top
    drawn = {round(float(y), 9) for c in positive.collections for _, y in c.get_offsets()}
    means = table[table["valence"] == "positive"].groupby(["model", "category"])["rank"].mean()
    assert {round(value, 9) for value in means} <= drawn


def test_violins_need_the_name_of_the_test_and_take_unknown_families():
    with pytest.raises(DataError, match="which test"):
        figures.rank_violins(ranks(), pd.DataFrame())
    assert "all models (2 models)" in texts(
        figures.rank_violins(ranks(("Gemma",)).assign(base=None))
    )


def naive_ridit(values, i):
    return np.mean([(values[i] > other) + (values[i] == other) / 2 for other in values])


def test_word_ridits_are_shares_of_words_outscored():
    table = scores(words=7)
    places = figures.word_ridits(table).set_index("word")
    lookup = table.set_index(["prompt", "word"])["score"]
    words = [f"w{i}" for i in range(7)]
    for kind, value in {
        "positive": lambda twin, word: lookup[twin[0].id, word],
        "negative": lambda twin, word: lookup[twin[1].id, word],
        "contrast": lambda twin, word: lookup[twin[0].id, word] - lookup[twin[1].id, word],
    }.items():
        for i, word in enumerate(words):
            expected = np.mean(
                [naive_ridit([value(twin, w) for w in words], i) for twin in TWINS[:3]]
            )
            assert places.at[word, kind] == pytest.approx(expected, abs=1e-12)


def test_a_word_of_two_categories_counts_once_in_places():
    table = scores(words=4)
    doubled = pd.concat([table, table[table["word"] == "w0"].assign(category="Third")])
    places = figures.word_ridits(doubled)
    assert list(places["word"]) == ["w0", "w1", "w2", "w3"]
    assert places["category"][0] == "Communion + Third"
    pd.testing.assert_series_equal(places["contrast"], figures.word_ridits(table)["contrast"])


def test_places_without_twins_or_with_infinite_differences_are_empty():
    table = scores()
    good = table[table["valence"] == "positive"]
    assert figures.word_ridits(good)["contrast"].isna().all()
    assert figures.word_ridits(good)["positive"].notna().all()
    with pytest.raises(DataError, match="no contrast ridits"):
        figures.word_lollipop(figures.word_ridits(good))
    infinite = table.assign(score=-np.inf)
    assert figures.word_ridits(infinite)["contrast"].isna().all()
    assert twin_contrasts(infinite)["contrast"].isna().all()


def test_lollipop_shows_the_ends_in_order():
    words = [f"w{i:02}" for i in range(40)]
    places = pd.DataFrame({"word": words, "category": "A", "contrast": np.linspace(1, 0, 40)})
    highest, lowest = figures.word_lollipop(places, top=3).axes
    assert [t.get_text() for t in highest.get_yticklabels()] == ["w02", "w01", "w00"]
    assert [t.get_text() for t in lowest.get_yticklabels()] == ["w37", "w38", "w39"]
    # One length means the same on both sides.
    assert np.ptp(highest.get_xlim()) == pytest.approx(np.ptp(lowest.get_xlim()))


def test_a_words_spot_is_its_row_of_the_figure():
    words = [f"_w{i:02}<b>$a$" for i in range(40)]
    places = pd.DataFrame({"word": words, "category": "A", "contrast": np.linspace(1, 0, 40)})
    spots = figures.word_spots(figures.word_lollipop(places, top=3))
    assert len(spots) == 6
    left, right = spots[:3], spots[3:]  # each from the bottom row up
    assert [spot.said for spot in left][::-1] == [f"{w}: {p:.3f}" for w, p in zip(
        words[:3], places["contrast"][:3], strict=True)]  # fmt: skip
    for side in (left, right):
        for low, high in itertools.pairwise(side):
            assert low.top == pytest.approx(high.top + high.height, abs=0.02)
    assert all(0 <= spot.left < spot.left + spot.width <= 100 for spot in spots)
    assert max(spot.left + spot.width for spot in left) <= min(spot.left for spot in right)


def test_twin_contrasts_average_to_lm_evals_metric(results):
    (run,) = results.runs
    contrasts = twin_contrasts(results.table)["contrast"]
    assert len(contrasts) == 4
    assert contrasts.mean() == pytest.approx(run.metrics["agency_contrast"], abs=1e-12)
    assert contrasts.sem() == pytest.approx(run.stderrs["agency_contrast"], abs=1e-12)


def test_heat_map_numbers_are_right_and_readable_in_grey():
    table = scores(words=40, twins=TWINS, models=("m", "n"))
    contrasts = twin_contrasts(table)
    figure = figures.prompt_heatmap(contrasts)
    for axes, model in zip(figure.axes, ("m", "n"), strict=False):
        shown = [text.get_text() for text in axes.texts]
        expected = contrasts[contrasts["model"] == model]["contrast"]
        assert shown == [f"{value:.2f}" for value in expected]  # TWINS are in the map's order
        (image,) = axes.images
        for text in axes.texts:
            column, row = text.get_position()
            cell = luminance(image.cmap(image.norm(image.get_array()[row, column])))
            pair = sorted([cell, luminance(text.get_color())])
            assert (pair[1] + 0.05) / (pair[0] + 0.05) > 4.5  # WCAG 2, AA


def test_heat_map_leaves_questions_not_asked_open():
    figure = figures.prompt_heatmap(twin_contrasts(scores(words=40)))
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown.count("–") == 24
    with pytest.raises(DataError, match="no pair of twins"):
        figures.prompt_heatmap(twin_contrasts(scores(twins=[TWINS[0][:1]])))


def test_profile_puts_virtues_and_vices_side_by_side():
    table = pd.DataFrame({
        "model": "m", "category": ["Care/Virtue", "Care/Vice", "Loyalty/Virtue"],
        "estimate": [0.6, 0.4, 0.5], "low": [0.5, 0.3, 0.4], "high": [0.7, 0.5, 0.6],
    })  # fmt: skip
    virtue, vice = figures.foundation_profile(table).axes
    assert [virtue.get_title(), vice.get_title()] == ["virtue", "vice"]
    assert list(virtue.lines[0].get_xdata()) == [0.6, 0.5]
    assert list(virtue.lines[0].get_ydata()) == [1, 0]  # first foundation on top
    assert list(vice.lines[0].get_xdata()) == [0.4]


def test_stages_are_joined_through_their_means():
    (axes,) = figures.stage_lines(stages()).axes
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(lines["A"].get_ydata()) == [0.6, 0.55]
    assert list(lines["B"].get_ydata()) == [0.4, 0.46]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["base", "reward"]
    (hollow,) = (line for line in axes.lines if 0.44 in line.get_ydata())
    assert list(hollow.get_ydata()) == [0.44, 0.48]
    assert hollow.get_markerfacecolor() == "none"
    bars = [path.vertices[:, 1] for bar in axes.collections for path in bar.get_paths()]
    assert sorted(map(tuple, bars)) == [(0.42, 0.5), (0.5, 0.6), (0.5, 0.7)]
    # Told apart in grey: neither marker nor dash is shared.
    assert lines["A"].get_marker() != lines["B"].get_marker()
    assert lines["A"].get_linestyle() != lines["B"].get_linestyle()
    # Side by side: no two bars at one place.
    assert lines["A"].get_xdata()[1] != lines["B"].get_xdata()[1]


def test_a_panel_for_each_lean():
    leans = pd.concat([stages().assign(metric=f"m{i}") for i in range(6)])
    panels = [axes for axes in figures.stage_lines(leans).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == [f"m{i}" for i in range(6)]


def test_pairs_of_models_lie_in_order():
    figure = figures.pair_lollipop(word_pairs())
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "A base against B base", "A base against A reward", "B base against B reward",
    ]  # fmt: skip
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() != "None"]
    assert points == [-1.0, 0.5, 2.0]
    ends = [tuple(path.vertices[:, 0]) for bar in axes.collections for path in bar.get_paths()]
    assert ends == [(0, -1), (-2, 0), (0, 0.5), (0.4, 0.6), (0, 2)]
    label = figure.get_supxlabel()
    assert "log-ratio of freedom minus log-ratio of love" in label
    assert "first model rather love  ←  0  →  rather freedom" in label


@pytest.mark.parametrize("draw", [
    figures.stage_lines, figures.pair_lollipop, figures.lean_map, figures.rank_violins,
    figures.foundation_profile, figures.word_ridits,
])  # fmt: skip
def test_nothing_to_draw_is_said(draw):
    with pytest.raises(DataError, match="no rows"):
        draw(pd.DataFrame())


def test_each_word_of_a_pair_stands_at_its_score():
    figure = figures.mwlr_lollipop(pairs())
    (axes,) = figure.axes
    marks = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if line.get_marker() not in ("None", None, "")
    ]
    assert marks == [(0.2, 0), (-0.3, 0), (0.1, 1), (0.05, 1)]
    sticks = [collection.get_segments()[0].tolist() for collection in axes.collections]
    assert sticks == [[[-0.3, 0], [0.2, 0]], [[0.05, 1], [0.1, 1]]]
    assert texts(figure) == ["a against x", "b against x", "freedom", "love"]
    top, bottom = axes.get_ylim()[1], axes.get_ylim()[0]
    assert top < 0 < bottom  # the first pair is on top


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pairs().head(0), "no rows"),
        (pd.concat([pairs(), pairs()]), "a word twice"),
        (pairs().assign(score=[0.1, float("nan"), 0, 0]), "not finite"),
    ],
)
def test_a_lollipop_of_pairs_needs_one_number_a_word(table, message):
    with pytest.raises(DataError, match=message):
        figures.mwlr_lollipop(table)


def test_the_legend_of_training_curves_names_the_bases_of_all_panels():
    table = pd.DataFrame({
        "setting": ["one", "one", "two", "two"], "base": ["a", "a", "b", "b"], "seed": 0,
        "step": [1, 2] * 2, "pairs_seen": [10, 20] * 2, "quantity": [10, 20] * 2, "lean": 0.4,
    })  # fmt: skip
    for figure in (figures.training_curves(table), figures.quantity_points(table)):
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
