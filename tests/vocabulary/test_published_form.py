"""A CSV in the authors' form, written by hand, goes the whole way: tasks, tables, tests."""

import csv
import json
import math

import pandas as pd
import pytest
from click.testing import CliRunner

from rm_value_tasks.analyses.anova import model_anova
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import ModelError
from rm_value_tasks.results import load
from rm_value_tasks.stats.anova import post_hocs, three_way
from tests import runs

PROMPTS = ["best_ever_one", "worst_ever_one", "greatest_ever_one", "terrible_ever_one"]
WORDS = {"freedom": "Agency", "power": "Agency", "love": "Communion", "care": "Communion",
         "kindness": "Communion"}  # fmt: skip
# Natural log-probabilities by hand; kindness is no token of gemma's.
LLAMA = {
    "freedom": [-1.0, -5.0, -1.5, -6.5], "power": [-3.0, -6.0, -2.5, -7.5],
    "love": [-2.0, -9.0, -4.5, -3.5], "care": [-4.0, -8.0, -3.5, -5.5],
    "kindness": [-9.0, -9.5, -9.0, -9.5], "Ġpower": [-8.0, -8.0, -8.0, -8.0],
}  # fmt: skip
GEMMA = {
    "freedom": [-4.0, -5.0, -4.5, -5.5], "power": [-3.0, -4.0, -5.5, -4.5],
    "love": [-1.0, -7.0, -1.5, -7.5], "care": [-2.0, -6.0, -2.5, -3.5],
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    for name, rows in (("llama", LLAMA), ("gemma", GEMMA)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["token_id", "token_name", "token_decoded", *PROMPTS])
            for token, (word, logs) in enumerate(rows.items()):
                writer.writerow([token, word, word.replace("Ġ", " "), *logs])
    lines = "".join(f"{word},{category}\n" for word, category in WORDS.items())
    (folder / "words.csv").write_text("word,category\n" + lines)
    for name in ("llama", "gemma"):
        evaluate(
            folder, name, single_token_in=[str(folder / f"{n}.csv") for n in ("llama", "gemma")]
        )
    return folder


def evaluate(folder, name, prompts=PROMPTS, **metadata):
    return runs.evaluate(
        folder / name,
        "recorded-rewards",
        {"path": str(folder / f"{name}.csv")},
        ["value_bias_big2"],
        lexicon=str(folder / "words.csv"),
        prompts=prompts,
        target_delimiter="",
        **metadata,
    )


def test_a_word_without_a_token_stops_a_run_and_is_named(root, tmp_path):
    with pytest.raises(
        ModelError, match=r"no score for 4 of the 20 answers asked for, first 'kindness' to.*single"
    ):
        evaluate(root, "gemma")
    with pytest.raises(ModelError, match=r"no score .* 'What, .* choose a lexicon and prompts"):
        evaluate(root, "llama", prompts=["best_time_*"])
    content = json.loads(runs.results_of(root / "gemma").read_text())
    assert content["configs"]["value_bias_big2"]["metadata"]["dropped_words"] == ["kindness"]


def test_tasks_take_the_tokens_own_log_probabilities(root):
    results = load(root / "llama")
    (run,) = results.runs
    assert (run.score_kind, run.words) == ("log-probability", 4)
    scores = results.table.pivot_table(index="word", columns="prompt", values="score")
    for word, logs in LLAMA.items():
        if word in ("freedom", "power", "love", "care"):
            assert scores.loc[word, PROMPTS].tolist() == logs
    # Positive minus negative: freedom 4 and 5, power 3 and 5, love 7 and -1, care 4 and 2.
    # best/worst: freedom beats neither (ties care), power none: 0.5 of 4; greatest: all 4 win.
    assert run.metrics["agency_contrast"] == pytest.approx((0.5 / 4 + 4 / 4) / 2)


def test_the_pair_gives_table_one(root):
    done = CliRunner().invoke(
        cli, ["optimal-tokens", str(root / "llama.csv"), str(root / "gemma.csv"), "--top", "2"]
    )
    assert done.exit_code == 0, done.output
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[-2:]]
    logs = {word: (LLAMA[word][2], GEMMA[word][2]) for word in GEMMA}
    score = {w: (math.exp(a) + math.exp(b)) / 2 * (a - b) for w, (a, b) in logs.items()}
    # power's spaced form is a token of one model only, and is left out.
    assert [(cells[i][1], cells[i][4]) for i in (0, 1)] == [("freedom", "care"), ("power", "love")]
    assert [float(cells[i][j]) for i in (0, 1) for j in (2, 5)] == pytest.approx(
        [score["freedom"], score["care"], score["power"], score["love"]], abs=1e-5
    )


# Of the few prompts' medians, some are all alike.
few = pytest.mark.filterwarnings("ignore:Precision loss occurred:RuntimeWarning")


@few
def test_median_ranks_by_hand_go_into_the_analysis_of_variance(root):
    (found,) = model_anova(load(root / "llama"), load(root / "gemma"))
    assert (found.task, found.words, found.prompts) == ("value_bias_big2", 4, 4)
    # Ranks of freedom, power | love, care. llama: best 1, 3 | 2, 4; worst 1, 2 | 4, 3;
    # greatest 1, 2 | 4, 3; terrible 3, 4 | 1, 2. gemma: best 4, 3 | 1, 2; worst 2, 1 | 4, 3;
    # greatest 3, 4 | 1, 2; terrible 3, 2 | 4, 1.
    medians = {
        ("llama", "best"): (2, 3), ("llama", "worst"): (1.5, 3.5),
        ("llama", "greatest"): (1.5, 3.5), ("llama", "terrible"): (3.5, 1.5),
        ("gemma", "best"): (3.5, 1.5), ("gemma", "worst"): (1.5, 3.5),
        ("gemma", "greatest"): (3.5, 1.5), ("gemma", "terrible"): (2.5, 2.5),
    }  # fmt: skip
    rows = [
        (model, category, "positive" if word in ("best", "greatest") else "negative", rank)
        for (model, word), ranks in medians.items()
        for category, rank in zip(("Agency", "Communion"), ranks, strict=True)
    ]
    factors = ["model", "category", "valence"]
    table = pd.DataFrame(rows, columns=[*factors, "rank"])
    pd.testing.assert_frame_equal(found.terms, three_way(table, "rank", factors))
    cells = ["category", "valence"]
    by_cell = found.post_hocs.set_index(cells).sort_index()
    expected = post_hocs(table, "rank", factors).set_index(cells).sort_index()
    pd.testing.assert_frame_equal(by_cell, expected)
    # On positive prompts gemma puts communion first: medians 1.5 and 1.5 against 3 and 3.5.
    assert by_cell.loc[("Communion", "positive"), "difference"] == 3.25 - 1.5


@few
def test_compare_shows_the_analysis_where_it_is_asked_for(root, tmp_path):
    arguments = ["compare", str(root / "llama"), str(root / "gemma")]
    plain, more = (
        CliRunner().invoke(cli, [*arguments, *extra]) for extra in ([], ["--anova"])
    )  # fmt: skip
    assert more.exit_code == 0, more.output
    added = more.stdout.removeprefix(plain.stdout)
    assert added != more.stdout
    assert "| model:category:valence | " in added
    assert "| Communion | positive | 3.2 | 1.5 | +1.8 | " in added
    assert "4 words, 4 prompts" in added
