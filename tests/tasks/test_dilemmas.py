"""The sentence-level probe: its text, its metrics and real runs of each kind of scorer."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.lexicons import dilemma_balance
from rm_value_tasks import lexicons, results
from rm_value_tasks.errors import DataError
from rm_value_tasks.scores import Reward
from rm_value_tasks.tasks import dilemmas
from rm_value_tasks.tasks.dilemmas import TOPICS, read
from tests import runs, tiny

TASK = "value_bias_dilemmas"
ALL = read()
PAIRS = [pair for pair in ALL if not pair.is_control]
CONTROLS = [pair for pair in ALL if pair.is_control]


# The text.


def test_there_are_enough_pairs_of_every_kind():
    assert Counter(pair.topic for pair in PAIRS) == dict.fromkeys(TOPICS, 20)
    assert {(p.first_value, p.second_value) for p in PAIRS} == {("agency", "communion")}
    assert Counter(pair.first_value for pair in CONTROLS) == {"agency": 20, "communion": 20}
    for value in ("agency", "communion"):
        topics = Counter(pair.topic for pair in CONTROLS if pair.first_value == value)
        assert set(topics) == set(TOPICS)
        assert min(topics.values()) >= 3


def test_every_text_is_there_once():
    assert len({pair.id for pair in ALL}) == len(ALL) == 160
    assert len({pair.situation for pair in ALL}) == len(ALL)
    assert len({text for pair in ALL for text in (pair.first, pair.second)}) == 2 * len(ALL)


@pytest.mark.parametrize("pair", ALL, ids=[pair.id for pair in ALL])
def test_the_answers_of_a_pair_are_matched(pair):
    for measure in (len, lambda text: len(text.split())):
        first, second = measure(pair.first), measure(pair.second)
        assert abs(first - second) <= 0.1 * max(first, second)
    for text in (pair.first, pair.second):
        assert text.isascii()
        assert text == " ".join(text.split())
        assert re.fullmatch(r"[A-Z].*\.", text)
        assert not re.search("[?!;]", text)
        assert len(re.findall(r"\.(?:\s|$)", text)) == 2
        assert 25 <= len(text.split()) <= 42
    assert pair.situation.isascii()


def test_no_surface_feature_tells_the_sides_apart():
    """Under 0.2 standard deviations each; together no better than chance's 95% allows."""
    table = dilemma_balance.differences(PAIRS)
    first, second = table[:, 0], table[:, 1]
    spread = np.sqrt((first.var(axis=0, ddof=1) + second.var(axis=0, ddof=1)) / 2)
    gap = np.abs((first - second).mean(axis=0))
    assert (gap <= 0.2 * spread).all(), gap / spread
    rule = dilemma_balance.surface_rule(table)
    assert rule <= stats.binom.ppf(0.975, len(PAIRS), 0.5) / len(PAIRS)


def test_the_surface_rule_finds_a_giveaway():
    """Two more characters and a comma in every first answer are found at once."""
    table = dilemma_balance.differences(PAIRS)
    table[:, 0, 3] += 2
    assert dilemma_balance.surface_rule(table) > 0.9


def test_openings_do_not_give_the_side_away():
    starts = [[text.split()[0] for text in (p.first, p.second)] for p in PAIRS]
    sides = [Counter(start[side] for start in starts) for side in (0, 1)]
    for word in set(sides[0]) | set(sides[1]):
        assert abs(sides[0][word] - sides[1][word]) <= 3, word
    same, _ = dilemma_balance.openings(PAIRS)
    assert same >= len(PAIRS) / 2


def test_the_readme_beside_the_data_shows_the_balance():
    text = (Path(__file__).parents[2] / "docs" / "word-lists.md").read_text()
    shown = text.partition("<!-- dilemmas -->\n")[2].partition("\n<!-- /dilemmas -->")[0]
    assert shown == dilemma_balance.tables()


def test_unknown_columns_topics_and_values_are_refused(tmp_path):
    header = "id,topic,first_value,second_value,situation,first,second\n"
    for text, message in (
        ("id,topic\na,work\n", "cannot be read as a table of dilemmas"),
        (header + "a,love,agency,communion,x,y,z\n", "topic 'love'.*at 'a'"),
        (header + "a,work,agency,power,x,y,z\n", "'agency' and 'power' at 'a'"),
    ):
        file = tmp_path / "x.csv"
        file.write_text(text)
        with pytest.raises(DataError, match=message):
            read(file)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "nowhere.csv")


# The metrics.


def document(pair):
    (doc,) = [d for d in dilemmas.documents()["test"] if d["id"] == pair.id]
    return doc


def test_a_dilemma_by_hand():
    doc = {
        "id": "x",
        "topic": "work",
        "first_value": "agency",
        "second_value": "communion",
        "answers": ["a" * 10, "b" * 8],
    }
    # log-probabilities: -20 < -18, but -20/10 = -2 > -18/8 = -2.25
    found = dilemmas.dilemma_metrics(doc, [(-20.0, False), (-18.0, False)])
    assert found == {
        "agency_preference": 0,
        "agency_preference_work": 0,
        "agency_preference_per_character": 1,
        "margin_ratio": (0.0, 2.0),
        "length_correlation": (-2.0, 2.0),
    }
    found = dilemmas.dilemma_metrics(doc, [(Reward(2), False), (Reward(2), False)])
    assert found == {
        "agency_preference": 0.5,
        "agency_preference_work": 0.5,
        "margin_ratio": (0.0, 0.0),
        "length_correlation": (0.0, 2.0),
    }
    found = dilemmas.dilemma_metrics(
        {**doc, "second_value": "agency"}, [(Reward(3), False), (Reward(2), False)]
    )
    assert found == {
        "control_preference": 1,
        "margin_ratio": (1.0, 1.0),
        "length_correlation": (1.0, 2.0),
    }
    with pytest.raises(DataError, match="an answer to 'x' has a score that is not a number"):
        dilemmas.dilemma_metrics(doc, [(float("nan"), False), (0.0, False)])


def test_equal_infinities_are_a_tie():
    doc = document(PAIRS[0])
    found = dilemmas.dilemma_metrics(doc, [(-np.inf, False), (-np.inf, False)])
    assert found["agency_preference"] == 0.5


def test_margin_ratio_by_hand():
    """Dilemmas 2 and 4, mean 3; controls 1, 2 and 3, mean 2."""
    items = [(0, 2.0), (1, 1.0), (0, 4.0), (1, 2.0), (1, 3.0)]
    assert dilemmas.margin_ratio(items) == 1.5


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([(0, 1.0)], "no dilemmas or no control"),
        ([(1, 1.0)], "no dilemmas or no control"),
        ([], "no dilemmas or no control"),
        ([(0, 1.0), (1, 0.0)], "all control pairs are tied"),
        ([(0, np.inf), (1, 1.0)], "not finite"),
    ],
)
def test_margin_ratio_without_enough_data_is_nan_and_says_why(items, reason, caplog):
    assert np.isnan(dilemmas.margin_ratio(items))
    assert reason in caplog.text


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=30))
def test_correlation_is_scipys(items):
    first, second = np.array(items, dtype=float).T
    value = dilemmas.correlation(items)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-9)


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([(1.0, 2.0)] * 2, "there are 2 pairs"),
        ([(1.0, 2.0)] * 3, "do not vary"),
        ([(np.nan, 1.0), (0.0, 2.0), (1.0, 0.0)], "not finite"),
    ],
)
def test_correlation_without_enough_data_is_nan_and_says_why(items, reason, caplog):
    assert np.isnan(dilemmas.correlation(items))
    assert reason in caplog.text


# Through lm_eval.


def table_of(folder):
    return json.loads(runs.results_of(folder).read_text())["results"][TASK]


def samples(folder):
    return [json.loads(line) for line in runs.samples_of(folder, TASK).read_text().splitlines()]


def recorded(folder, score):
    rows = [
        {"prompt": pair.situation, "response": text, "score": score(pair, text, value)}
        for pair in ALL
        for text, value in ((pair.first, pair.first_value), (pair.second, pair.second_value))
    ]
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    arguments = {"path": str(folder / "scores.csv")}
    return runs.evaluate(folder / "out", "recorded-rewards", arguments, [TASK])


def test_a_planted_preference_is_found_and_the_controls_stay_at_chance(tmp_path):
    """Agency +2 over noise of s.d. 0.5: P(win) = Phi(2 / 0.71) = 0.998; s.e. of 40 controls 0.08.

    The margin ratio is E|N(2, 0.71)| / E|N(0, 0.71)| = 2.00 / 0.56 = 3.55.
    """
    rng = np.random.default_rng(7)
    folder = recorded(tmp_path, lambda pair, text, value: 2.0 * (value == "agency") + noise(rng))
    found = table_of(folder)
    assert found["agency_preference,none"] > 0.97
    for topic in TOPICS:
        assert found[f"agency_preference_{topic},none"] > 0.8
    assert abs(found["control_preference,none"] - 0.5) < 3 * np.sqrt(0.25 / 40)
    assert found["margin_ratio,none"] == pytest.approx(3.55, rel=0.25)
    assert abs(found["length_correlation,none"]) < 3 / np.sqrt(160)
    assert "agency_preference_per_character,none" not in found
    with pytest.raises(DataError, match="not a value probe: value_bias_dilemmas"):
        results.load(folder)


def noise(rng):
    return rng.normal(0, 0.5)


def test_a_scorer_that_likes_long_answers_shows_in_the_length_correlation(tmp_path):
    found = table_of(recorded(tmp_path, lambda pair, text, value: float(len(text))))
    assert found["length_correlation,none"] == pytest.approx(1)
    assert abs(found["agency_preference,none"] - 0.5) < 0.15


def test_words_of_the_big_two_lexicon_side_with_their_value():
    """A bag of words from the one-word probe's lexicon: agency nouns 1, communion nouns -1."""
    lexicon = lexicons.load("big2")
    sign = {
        word: 1 if "Agency" in names else -1
        for word, names in zip(lexicon.words, lexicon.categories, strict=True)
    }

    def score(text):
        return sum(sign.get(word, 0) for word in re.findall(r"[a-z]+", text.lower()))

    margins = np.array([score(pair.first) - score(pair.second) for pair in PAIRS])
    decided = margins[margins != 0]
    assert len(decided) >= 40
    assert np.mean(decided > 0) > 0.8


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny reward model and two tiny language models that take whole answers."""
    base = tmp_path_factory.mktemp("models")
    long = {"max_position_embeddings": 1024, "num_hidden_layers": 1}
    causal = transformers.AutoModelForCausalLM
    return {
        "reward": tiny.save(base / "reward", "llama", **long),
        "lm": tiny.save(base / "lm", "llama", tiny.build("llama", causal, seed=1, **long)),
        "reference": tiny.save(base / "ref", "llama", tiny.build("llama", causal, seed=2, **long)),
    }


@pytest.mark.parametrize("kind", ["reward", "hf", "implicit-reward"])
def test_every_kind_of_scorer_runs_and_its_metrics_are_what_the_samples_give(
    models, tmp_path, kind
):
    arguments = {
        "reward": {"pretrained": str(models["reward"])},
        "hf": {"pretrained": str(models["lm"])},
        "implicit-reward": {
            "pretrained": str(models["lm"]),
            "reference": str(models["reference"]),
        },
    }[kind]
    folder = runs.evaluate(tmp_path, kind, {**arguments, "batch_size": 32}, [TASK])
    wins, lengths = defaultdict(list), []
    margins = {True: [], False: []}
    for sample in samples(folder):
        doc = sample["doc"]
        first, second = (float(score) for score, _ in sample["filtered_resps"])
        control = doc["first_value"] == doc["second_value"]
        name = "control_preference" if control else "agency_preference"
        wins[name].append(1 if first > second else 0)
        if not control:
            wins[f"{name}_{doc['topic']}"].append(1 if first > second else 0)
        if kind == "hf":
            per = first / len(doc["first"]) > second / len(doc["second"])
            wins[f"{name}_per_character"].append(1 if per else 0)
        margins[control].append(first - second)
        lengths.append((first - second, len(doc["first"]) - len(doc["second"])))
    found = table_of(folder)
    shown = {key.partition(",")[0] for key in found if key.endswith(",none")}
    custom = {"margin_ratio", "length_correlation"}
    assert {name for name in shown if not name.endswith("_stderr")} == {*wins, *custom}
    for name, values in wins.items():
        assert found[f"{name},none"] == pytest.approx(np.mean(values))
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert found[f"{name}_stderr,none"] == pytest.approx(error)
    ratio = np.mean(np.abs(margins[False])) / np.mean(np.abs(margins[True]))
    assert found["margin_ratio,none"] == pytest.approx(ratio)
    r = stats.pearsonr(*np.array(lengths).T).statistic
    assert found["length_correlation,none"] == pytest.approx(r)
    assert found["length_correlation_stderr,none"] == "N/A"


def test_the_report_shows_the_dilemmas_beside_the_word_probes(tmp_path):
    """A whole run, a run without control pairs (--limit) and one of the word probe alone."""
    from rm_value_tasks.organisms.demo.example_scores import EXAMPLE_SCORES
    from rm_value_tasks.report import sections_of

    words = {"path": str(EXAMPLE_SCORES)}
    word_probe = tmp_path / "words"
    runs.evaluate(word_probe, "recorded-rewards", words, ["value_bias_big2"], prompts="best_ever_*")
    titles = [section.title for section in sections_of(results.load(word_probe))]
    assert "Whole answers" not in titles

    (tmp_path / "advice").mkdir()
    whole = recorded(tmp_path / "advice", lambda pair, text, value: float(len(text)))
    arguments = {"path": str(tmp_path / "advice" / "scores.csv")}
    runs.evaluate(tmp_path / "part", "recorded-rewards", arguments, [TASK], limit=3)
    sections = sections_of(results.load(tmp_path))
    (section,) = [section for section in sections if section.title == "Whole answers"]
    (table,) = section.tables
    (row,) = table.rows
    shown = dict(zip(table.columns, (cell.value for cell in row), strict=True))
    found = table_of(whole)
    assert shown["agency preference"] == found["agency_preference,none"]
    assert shown["s.e. (controls)"] == found["control_preference_stderr,none"]
    assert shown["work"] == found["agency_preference_work,none"]
    assert "per character" not in shown
    assert section.points == ()
    (reason,) = [text for path, text in results.load(tmp_path).skipped if "part" in str(path)]
    assert reason.startswith(f"{TASK}: ")


def test_the_yaml_lists_every_metric():
    from tests.tasks.test_value_probes import load

    (task,) = load(TASK).values()
    returned = set()
    for doc in task.task_docs:
        returned |= set(dilemmas.dilemma_metrics(doc, [(-1.0, False), (-2.0, False)]))
    assert returned == set(task.aggregation())
