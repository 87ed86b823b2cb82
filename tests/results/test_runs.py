"""lm-eval's folders become one table, or are named and left out."""

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms.demo.example_scores import EXAMPLE_SCORES
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results import COLUMNS, load
from rm_value_tasks.scores import Reward, combine
from rm_value_tasks.stats.lean import auroc
from tests import runs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


def edit(path: Path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def lines_of(folder: Path):
    path = runs.samples_of(folder)
    return path, path.read_text().splitlines(keepends=True)


def test_every_score_is_the_recorded_one(root):
    table = load(root / "first").table
    assert tuple(table.columns) == COLUMNS
    recorded = pd.read_csv(EXAMPLE_SCORES).set_index("response")
    assert len(table) == 8 * 268
    for row in table.sample(200, random_state=0).itertuples():
        assert row.score == pytest.approx(recorded.loc[row.word, row.prompt], abs=1e-12)
        assert row.valence == by_id(row.prompt).valence
    lexicon = lexicons.load("big2")
    categories = dict(zip(lexicon.words, lexicon.categories, strict=True))
    assert all(categories[w] == (c,) for w, c in zip(table.word, table.category, strict=True))
    assert not table.duplicated(["model", "task", "prompt", "word", "category"]).any()


def test_the_lean_from_the_table_is_lm_evals_own(root):
    results = load(root / "first")
    (run,) = results.runs
    wide = results.table.pivot(index=["word", "category"], columns="prompt", values="score")
    agency = wide.index.get_level_values("category") == "Agency"
    pairs = [("best_ever_one", "worst_ever_one"), ("best_ever_single", "worst_ever_single")]
    pairs += [("best_ever_please", "worst_ever_please"), ("good_time_one", "bad_time_one")]
    differences = [(wide[a] - wide[b]).to_numpy() for a, b in pairs]
    lean = np.mean([auroc(d[agency], d[~agency]) for d in differences])
    assert lean == pytest.approx(run.metrics["agency_contrast"], abs=1e-12)


def test_a_run_says_what_it_was(root):
    (run,) = load(root / "second").runs
    assert (run.model, run.task, run.model_type) == (
        "shifted",
        "value_bias_big2",
        "recorded-rewards",
    )
    assert run.score_kind == "reward"
    assert (run.lexicon, run.words, len(run.prompts), run.documents) == ("big2", 268, 8, 4)
    assert set(run.metrics) == {"agency_contrast", "agency_positive", "agency_negative"}
    assert all(0 < run.stderrs[metric] < 0.2 for metric in run.metrics)
    assert run.versions["lm_eval"]
    assert run.versions["task"] == "1.0"
    assert len(run.hashes["scores_file"]) == len(run.hashes["samples"]) == 64
    assert run.path == runs.results_of(root / "second").resolve()


def test_plain_hf_log_probabilities_combine_by_log_sum_exp(root):
    results = load(root / "plain")
    (run,) = results.runs
    assert (run.model, run.score_kind, run.lexicon) == (
        "tiny-causal",
        "log-probability",
        "words.csv",
    )
    assert run.forms == ("lower", "space_title")
    sample = json.loads(runs.samples_of(root / "plain").read_text())
    raw = [float(pair[0]) for pair in sample["filtered_resps"]]
    expected = [combine(raw[i : i + 2]) for i in range(0, len(raw), 2)]
    assert results.table["score"].to_list() == pytest.approx(expected, abs=1e-12)
    assert [reason for _, reason in results.skipped] == ["not tasks of this package: demo_capitals"]


def test_rewards_of_surface_forms_combine_by_their_mean(root, tmp_path):
    folder = runs.copy(root / "plain", tmp_path / "reward")
    edit(runs.results_of(folder), lambda content: content["config"].update(score_kind="reward"))
    runs.remake(folder, lambda sample: None)
    sample = json.loads(runs.samples_of(folder).read_text())
    raw = [Reward(pair[0]) for pair in sample["filtered_resps"]]
    expected = [combine(raw[i : i + 2]) for i in range(0, len(raw), 2)]
    assert load(folder).table["score"].to_list() == pytest.approx(expected, abs=1e-12)


def test_all_at_once_is_each_by_itself(root):
    together = load([root / "first", root / "second", root / "plain"])
    apart = pd.concat([load(root / name).table for name in ("first", "plain", "second")])
    order = list(COLUMNS)
    pd.testing.assert_frame_equal(
        together.table.sort_values(order).reset_index(drop=True),
        apart.sort_values(order).reset_index(drop=True),
    )


def test_a_folder_above_a_results_file_and_a_samples_file_give_the_same(root):
    expected = load(root / "first").table
    for path in (runs.results_of(root / "first"), runs.samples_of(root / "first")):
        pd.testing.assert_frame_equal(load(path).table, expected)
    both = load([root / "first", runs.results_of(root / "first")])
    pd.testing.assert_frame_equal(both.table, expected)


def later(folder: Path, seconds: float, **changes):
    """Date a copied run anew, so that it is another run of the same model."""
    path = runs.results_of(folder)
    edit(path, lambda content: content.update(date=content["date"] + seconds))
    for file in list(path.parent.iterdir()):
        head, _, tail = file.name.rpartition("_")
        file.rename(file.with_name(f"{head}_2031{tail[4:]}"))
    return folder


def test_the_newest_run_of_a_model_wins_unless_all_are_asked_for(root, tmp_path):
    old = runs.copy(root / "first", tmp_path / "old")
    new = later(runs.copy(root / "first", tmp_path / "new"), 3600)
    (run,) = load([new, old]).runs
    assert run.path == runs.results_of(new).resolve()
    (run,) = load(tmp_path).runs
    assert run.path == runs.results_of(new).resolve()
    both = load(tmp_path, all_runs=True)
    assert len({run.model for run in both.runs}) == 2
    assert all(run.model.startswith("example_scores (date=20") for run in both.runs)
    assert len(both.table) == 2 * len(load(old).table)


def test_a_copied_folder_is_one_run(root, tmp_path):
    runs.copy(root / "first", tmp_path / "a")
    runs.copy(root / "first", tmp_path / "b")
    assert len(load(tmp_path, all_runs=True).runs) == 1


def test_namesakes_are_told_apart(root, tmp_path):
    other = later(runs.copy(root / "first", tmp_path / "other"), 60)
    path = runs.results_of(other)
    edit(path, lambda content: content["config"]["model_args"].update(path="/x/example_scores.csv"))
    names = {run.model for run in load([root / "first", other]).runs}
    assert names == {
        f"example_scores (path={EXAMPLE_SCORES})",
        "example_scores (path=/x/example_scores.csv)",
    }


def test_two_lexicons_of_one_model_are_told_apart(root, tmp_path):
    other = later(runs.copy(root / "first", tmp_path / "other"), 60)
    metadata = {"lexicon": "/some/where/mine.csv"}
    edit(
        runs.results_of(other),
        lambda content: content["configs"]["value_bias_big2"]["metadata"].update(metadata),
    )
    names = {run.model for run in load([root / "first", other]).runs}
    assert names == {"example_scores (lexicon=big2)", "example_scores (lexicon=mine.csv)"}


def test_another_batch_size_is_no_other_model(root, tmp_path):
    other = later(runs.copy(root / "first", tmp_path / "other"), 60)
    edit(
        runs.results_of(other),
        lambda content: content["config"]["model_args"].update(
            device="cuda", batch_size=4, token="hf_secret", base_url="http://gpu:8000", timeout=9
        ),
    )
    (run,) = load([root / "first", other]).runs
    assert run.model == "example_scores"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"pretrained": "org/model"}, "org/model"),
        ({"pretrained": "org/model", "peft": "me/adapter"}, "me/adapter"),
        ({"pretrained": "/data/runs/a/checkpoint-500"}, "a/checkpoint-500"),
        ({"pretrained": "/data/models/mine/"}, "mine"),
        ("pretrained=org/model,dtype=float16", "org/model"),
        ({"pretrained": "a/one", "reference": "/data/two"}, "a/one against two"),
        ({"model": "gpt-x"}, "gpt-x"),
    ],
)
def test_display_names(root, tmp_path, arguments, name):
    folder = runs.copy(root / "plain", tmp_path / "run")

    def change(content):
        content["config"]["model_args"] = arguments
        content["model_name"] = "gpt-x"

    edit(runs.results_of(folder), change)
    assert load(folder).runs[0].model == name


def spoil_line(change):
    def spoil(folder):
        path, lines = lines_of(folder)
        sample = json.loads(lines[1])
        change(sample)
        lines[1] = json.dumps(sample) + "\n"
        path.write_text("".join(lines))

    return spoil


def every_line(change):
    def spoil(folder):
        path, lines = lines_of(folder)
        samples = [json.loads(line) for line in lines]
        for sample in samples:
            change(sample)
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))

    return spoil


def negated(pairs):
    return [[str(-float(score)), greedy] for score, greedy in pairs]


def shuffle_within(sample):
    """Turn round the words of each category; no metric notices."""
    doc = sample["doc"]
    for name in ("Agency", "Communion"):
        at = [i for i, names in enumerate(doc["categories"]) if name in names]
        for i, word in zip(at, [doc["words"][j] for j in reversed(at)], strict=True):
            doc["words"][i] = word


def of_seven(folder):
    every_line(lambda sample: sample.update(agency_contrast=7.0))(folder)
    results = {"agency_contrast,none": 7.0}
    edit(runs.results_of(folder), lambda c: c["results"]["value_bias_big2"].update(results))


def folder_for_samples(folder):
    path = runs.samples_of(folder)
    path.unlink()
    path.mkdir()


def results_text(folder, old, new):
    path = runs.results_of(folder)
    text = path.read_text()
    assert old in text
    path.write_text(re.sub(re.escape(old) + r"[\d.e-]+", new, text, count=1))


def rename_task(name):
    def spoil(folder):
        def change(content):
            for part in ("configs", "results", "n-samples"):
                content[part][name] = content[part].pop("value_bias_big2")

        edit(runs.results_of(folder), change)

    return spoil


def pipe_for_results(folder):
    path = runs.results_of(folder)
    path.unlink()
    os.mkfifo(path)


def link_for_results(target):
    def spoil(folder):
        path = runs.results_of(folder)
        path.unlink()
        path.symlink_to(target or path.name)

    return spoil


def cut_line(folder):
    path, lines = lines_of(folder)
    path.write_text("".join(lines)[: -len(lines[-1]) // 2])


def drop_line(folder):
    path, lines = lines_of(folder)
    path.write_text("".join(lines[:-1]))


def double(folder):
    path, lines = lines_of(folder)
    path.write_text("".join(lines * 2))


def repeat_line(folder):
    path, lines = lines_of(folder)
    path.write_text("".join([*lines[:-1], lines[0]]))


def cut_results(folder):
    path = runs.results_of(folder)
    path.write_text(path.read_text()[:500])


def metric_nan(folder):
    results = {"agency_contrast,none": math.nan}
    edit(runs.results_of(folder), lambda c: c["results"]["value_bias_big2"].update(results))


def other_type(*place):
    """Put a list where lm-eval writes something else."""

    def spoil(folder):
        def change(content):
            for key in place[:-1]:
                content = content[key]
            content[place[-1]] = ["?"]

        edit(runs.results_of(folder), change)

    return spoil


def no_documents(folder):
    edit(runs.results_of(folder), lambda content: content.update({"n-samples": {}}))
    runs.samples_of(folder).write_text("")


TYPES = "its parts have other types"

DAMAGE = {
    "results a list": (other_type("results"), TYPES),
    "a task's settings a list": (other_type("configs", "value_bias_big2"), TYPES),
    "metadata a list": (other_type("configs", "value_bias_big2", "metadata"), TYPES),
    "counts a list": (other_type("n-samples", "value_bias_big2"), TYPES),
    "versions a list": (other_type("versions"), TYPES),
    "a limit that is none": (other_type("config", "limit"), TYPES),
    "a date beyond the calendar": (
        lambda f: edit(runs.results_of(f), lambda content: content.update(date=1e30)),
        TYPES,
    ),
    "nothing at all": (no_documents, "0 of the task's 0 documents"),
    "a metric that is text": (
        spoil_line(lambda s: s.update(agency_contrast="high")),
        "line 2 says high for agency_contrast, which its own scores make 0.7",
    ),
    "a cut line": (cut_line, "line 4 is cut off"),
    "a missing document": (drop_line, "3 of the task's 4 documents"),
    "a file written twice": (double, "8 of the task's 4 documents"),
    "a document twice": (repeat_line, "of different runs|a prompt twice"),
    "no samples": (lambda f: runs.samples_of(f).unlink(), "--log_samples"),
    "an empty file": (lambda f: runs.samples_of(f).write_text(""), "0 of the task's 4"),
    "a score NaN": (
        spoil_line(lambda s: s["filtered_resps"].__setitem__(7, ["nan", "False"])),
        "line 2 has a score that is not a number",
    ),
    "a score that is text": (
        spoil_line(lambda s: s["filtered_resps"].__setitem__(7, ["high", "False"])),
        "line 2 has a score that is not a number",
    ),
    "a score missing": (spoil_line(lambda s: s["filtered_resps"].pop()), "535 scores for 536"),
    "other words": (spoil_line(lambda s: s["doc"]["words"].reverse()), "other words than line 1"),
    "another task's document": (
        spoil_line(lambda s: s.update(doc={"question": "?"})),
        "line 2 is cut off or not a value probe's sample",
    ),
    "an unknown prompt": (
        spoil_line(lambda s: s["doc"].update(prompts=["best_now_one", "worst_ever_one"])),
        "no prompt has the id 'best_now_one'",
    ),
    "another run's samples": (
        spoil_line(lambda s: s.update(agency_contrast=0.123)),
        "line 2 says 0.123 for agency_contrast, which its own scores make 0.7",
    ),
    "negated scores": (
        spoil_line(lambda s: s.update(filtered_resps=negated(s["filtered_resps"]))),
        "which its own scores make",
    ),
    "words in another order": (every_line(shuffle_within), "words or prompts that were changed"),
    "words of other categories": (
        every_line(lambda s: s["doc"]["categories"].reverse()),
        "which its own scores make",
    ),
    "fewer categories than words": (
        every_line(lambda s: s["doc"]["categories"].pop()),
        "268 words and categories of 267",
    ),
    "categories of numbers": (
        every_line(lambda s: s["doc"].update(categories=[1] * 268)),
        "TypeError",
    ),
    "a contrast of 7": (of_seven, "beyond a lean's scale"),
    "samples in Latin-1": (
        lambda f: runs.samples_of(f).write_bytes(b"\xe9" + runs.samples_of(f).read_bytes()),
        "UnicodeDecodeError",
    ),
    "deep samples": (lambda f: runs.samples_of(f).write_text("[" * 100_000), "line 1|Recursion"),
    "deep results": (lambda f: runs.results_of(f).write_text("[" * 100_000), "read as JSON"),
    "a folder for samples": (folder_for_samples, "no regular file"),
    "a huge metric": (
        lambda f: results_text(
            f, '"agency_contrast,none": ', '"agency_contrast,none": 1' + "0" * 400
        ),
        "damaged|not a number|which its own scores",
    ),
    "a huge score": (
        spoil_line(lambda s: s["filtered_resps"].__setitem__(0, [10**400, False])),
        "a score that is not a number",
    ),
    "scores of mappings": (
        spoil_line(lambda s: s.update(filtered_resps=[{"a": 1}] * 536)),
        "a score that is not a number",
    ),
    "a date long ago": (
        lambda f: edit(runs.results_of(f), lambda content: content.update(date=-2.4e11)),
        "ValueError|year|types",
    ),
    "a lexicon's option that is a list": (
        lambda f: edit(
            runs.results_of(f),
            lambda c: c["configs"]["value_bias_big2"]["dataset_kwargs"].update(lexicon_option=[1]),
        ),
        "TypeError",
    ),
    "a share that is text": (
        lambda f: edit(
            runs.results_of(f),
            lambda c: c["config"].update(training={"counter_share": "half"}),
        ),
        "ValueError",
    ),
    "a task's name with a slash": (rename_task("a/b"), "no value_bias_big2|samples|ValueError"),
    "a task's name of 300 letters": (rename_task("a" * 300), "OSError|samples|too long"),
    "a pipe": (pipe_for_results, "it is no regular file"),
    "a link to a device": (link_for_results("/dev/full"), "it is no regular file"),
    "a link to itself": (link_for_results(None), "it is no regular file"),
    "cut results": (cut_results, "cannot be read as JSON"),
    "a list": (lambda f: runs.results_of(f).write_text("[1, 2]"), "not lm-eval's results file"),
    "other JSON": (lambda f: runs.results_of(f).write_text('{"a": 1}'), "it has no 'results'"),
    "a metric NaN": (metric_nan, "its agency_contrast is not a number"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_left_out_or_refused(root, tmp_path, kind):
    spoil, reason = DAMAGE[kind]
    damaged = runs.copy(root / "first", tmp_path / "damaged")
    spoil(damaged)
    with pytest.raises(DataError, match=reason) as error:
        load(damaged)
    assert "\n" not in str(error.value)
    results = load([damaged, root / "second"])
    assert {run.model for run in results.runs} == {"shifted"}
    assert set(results.table["model"]) == {"shifted"}
    assert all(str(path).startswith(str(damaged.resolve())) for path, _ in results.skipped)
    assert any(re.search(reason, why) for _, why in results.skipped)


def test_a_lean_beyond_its_scale_is_refused_without_samples_too(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    of_seven(folder)
    runs.samples_of(folder).unlink()
    with pytest.raises(DataError, match="agency_contrast is 7, beyond a lean's scale from 0 to 1"):
        load(folder, need_samples=False)


def test_the_name_given_to_output_path_finds_the_dated_file(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    path = runs.results_of(folder)
    date = path.stem.rpartition("_")[2]
    path.rename(path.with_name(f"first_{date}.json"))
    assert load(path.with_name("first.json")).runs[0].model == load(folder).runs[0].model
    with pytest.raises(DataError, match="there is no file or folder"):
        load(path.with_name("second.json"))


def test_a_limited_run_is_partial(root, tmp_path):
    runs.evaluate(
        tmp_path,
        "recorded-rewards",
        {"path": str(EXAMPLE_SCORES)},
        ["value_bias_big2"],
        prompts=runs.PROMPTS,
        limit=2,
    )
    for need_samples in (True, False):
        with pytest.raises(DataError, match="--limit 2"):
            load(tmp_path, need_samples=need_samples)


def test_a_task_of_several_is_left_out_alone(root, tmp_path):
    folder = runs.copy(root / "plain", tmp_path / "run")
    runs.samples_of(folder, "demo_capitals").write_text("{")
    assert len(load(folder).runs) == 1


def test_without_samples_metrics_are_read_where_that_is_enough(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    runs.samples_of(folder).unlink()
    results = load(folder, need_samples=False)
    (run,) = results.runs
    assert results.table.empty
    assert list(results.table.columns) == list(COLUMNS)
    assert run.metrics == load(root / "first").runs[0].metrics
    assert (run.samples, run.words, run.lexicon_digest) == (None, 0, "")


def test_orphans_and_strangers_are_named(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    (folder / "config.json").write_text("{}")
    stray = folder / "samples_value_bias_big2_2020-01-01T00-00-00.000000.jsonl"
    stray.write_text("{}\n")
    reasons = {path.name: reason for path, reason in load(folder).skipped}
    assert "not one of lm-eval's results files" in reasons["config.json"]
    assert "no results file of the same date" in reasons[stray.name]


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(DataError, match="holds no lm-eval results"):
        load(tmp_path)
    with pytest.raises(DataError, match="there is no file or folder"):
        load(tmp_path / "nowhere")


def test_only_foreign_tasks_are_refused_with_their_names(root, tmp_path):
    folder = runs.copy(root / "plain", tmp_path / "run")

    def forget(content):
        for part in ("configs", "results"):
            del content[part]["value_bias_big2"]

    edit(runs.results_of(folder), forget)
    with pytest.raises(DataError, match="not tasks of this package: demo_capitals"):
        load(folder)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_file_cut_anywhere_is_whole_or_refused(root, tmp_path_factory, data):
    """Whatever byte a copy stops at, no part of a run is read as a run."""
    folder = runs.copy(root / "plain", tmp_path_factory.mktemp("cut") / "run")
    path = data.draw(st.sampled_from([runs.results_of(folder), runs.samples_of(folder)]))
    size = path.stat().st_size
    os.truncate(path, data.draw(st.integers(0, size - 2)))
    with pytest.raises(DataError):
        load(folder)


def test_infinite_log_probabilities_stay(root, tmp_path):
    folder = runs.copy(root / "plain", tmp_path / "run")

    def lose(sample):
        sample["filtered_resps"][0] = sample["filtered_resps"][1] = ["-inf", "False"]

    runs.remake(folder, lose)
    assert load(folder).table["score"][0] == -math.inf


def test_every_task_of_ours_has_a_run_and_says_its_instrument(tmp_path, checkpoint):
    """Preference pairs and dilemmas beside a word probe, by a real reward model."""
    from rm_value_tasks.report import sections_of

    arguments = {"pretrained": str(checkpoint("llama")), "batch_size": 64, "max_length": 512}
    tasks = ["value_bias_big2", "value_bias_dilemmas", "rm_preferences"]
    runs.evaluate(tmp_path, "reward", arguments, tasks, prompts=["best_ever_one", "worst_ever_one"])
    results = load(tmp_path)
    assert not results.skipped
    found = {run.task: run.instrument for run in (*results.runs, *results.others)}
    assert found == {
        "value_bias_big2": "words",
        "value_bias_dilemmas": "dilemmas",
        "rm_preferences_pairs": "preferences",
        "rm_preferences_best_of_4": "preferences",
        "rm_preferences_ties": "preferences",
    }
    sections = {section.title: section for section in sections_of(results)}
    (table,) = sections["Preference pairs"].tables
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    (pairs,) = [run for run in results.others if run.task == "rm_preferences_pairs"]
    shown = next(row for row in rows if row["task"].shown == pairs.task)
    assert (shown["value"].value, shown["items"].shown) == (pairs.metrics["accuracy"], "20")
    assert "Whole answers" in sections

    for change in (rename_functions, forget_instruments):
        folder = runs.copy(tmp_path, tmp_path.with_name(f"{tmp_path.name}-{change.__name__}"))
        edit(runs.results_of(folder), change)
        again = load(folder)
        assert len(again.runs) + len(again.others) == len(tasks) + 2
    edit(runs.results_of(folder), rename_functions)
    with pytest.raises(DataError, match="not tasks of this package"):
        load(folder)


def rename_functions(content):
    for config in content["configs"].values():
        config["process_results"] = "a function by another name"


def forget_instruments(content):
    """As results of before tasks said their instrument."""
    for config in content["configs"].values():
        del config["metadata"]["instrument"]


def test_a_probes_name_does_not_depend_on_what_else_was_run(tmp_path, checkpoint):
    arguments = {"pretrained": str(checkpoint("llama")), "batch_size": 64}
    words = {"prompts": ["best_ever_one", "worst_ever_one"]}
    runs.evaluate(tmp_path / "probe", "reward", arguments, ["value_bias_big2"], **words)
    (alone,) = load(tmp_path).runs
    other = {**arguments, "max_length": 512}
    runs.evaluate(tmp_path / "pairs", "reward", other, ["rm_preferences_pairs"])
    both = load(tmp_path)
    assert [run.model for run in both.runs] == [alone.model]
    assert [run.task for run in both.others] == ["rm_preferences_pairs"]
