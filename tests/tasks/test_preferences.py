"""Preference tasks: their documents, and their scores against RewardBench's rules."""

import importlib.util
import json
import sys
import types
from collections import defaultdict
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from lm_eval.tasks import TaskManager

from rm_value_tasks import task_config_dir
from rm_value_tasks.errors import DataError
from rm_value_tasks.tasks import preferences
from tests import runs, tiny

FORMS = ("pairs", "best_of_4", "ties")
TASKS = [f"rm_preferences_{form}" for form in FORMS]


def rows_of(form):
    file = preferences.EMBEDDED / f"{form}.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def texts(value):
    return [value] if isinstance(value, str) else value


def test_the_embedded_samples_have_the_public_columns_and_sizes():
    pairs, best, ties = (rows_of(form) for form in FORMS)
    assert (len(pairs), len(best), len(ties)) == (20, 8, 8)
    for row in pairs:
        assert isinstance(row["chosen"], str)
        assert isinstance(row["rejected"], str)
        assert isinstance(row["id"], int)
    for row in best + ties:
        assert row["num_correct"] == len(row["chosen"])
        assert row["num_incorrect"] == len(row["rejected"])
        assert row["total_completions"] == row["num_correct"] + row["num_incorrect"]
        assert isinstance(row["id"], str)
    assert {row["num_correct"] for row in best} == {1}
    assert {row["num_incorrect"] for row in best} == {3}
    assert {row["subset"] for row in ties} == {"Ties"}
    assert "Ties" not in {row["subset"] for row in best}
    for row in pairs + best + ties:
        answers = texts(row["chosen"]) + texts(row["rejected"])
        assert len(set(answers)) == len(answers)
        assert all(answers)


def test_documents_put_the_good_answers_first():
    (doc, *_) = preferences.documents(form="pairs", version=1.0, pretrained="x")["test"]
    row = rows_of("pairs")[0]
    assert doc["prompts"] == [doc["prompt"]] == [row["prompt"]]
    assert doc["answers"] == [[row["chosen"], row["rejected"]]]
    (doc, *_) = preferences.documents(form="ties")["test"]
    ref, tied = rows_of("ties")[:2]
    assert doc["id"] == "ref:0/tied:0"
    assert doc["prompts"] == [ref["prompt"], tied["prompt"]]
    assert doc["answers"] == [r["chosen"] + r["rejected"] for r in (ref, tied)]
    assert doc["num_correct"] == [1, 3]


def test_one_file_may_hold_best_of_4_and_ties_as_the_public_one_does(tmp_path):
    file = write(tmp_path / "v2.jsonl", rows_of("ties") + rows_of("best_of_4"))
    for form in ("best_of_4", "ties"):
        mixed = preferences.documents(form=form, source=file)["test"].to_list()
        assert mixed == preferences.documents(form=form)["test"].to_list()


@pytest.mark.parametrize("form", FORMS)
def test_the_hub_form_is_read_by_datasets_at_a_commit(tmp_path, monkeypatch, form):
    """The public layout on disk: parquet files named by split, with more columns."""
    rows = [{**row, "models": ["x"]} for row in rows_of(form)]
    other = [{**row, "models": ["x"]} for row in rows_of("best_of_4" if form == "ties" else form)]
    _, split, commit = preferences.HUB[form]
    assert len(commit) == 40
    (tmp_path / "data").mkdir()
    table = pd.DataFrame(rows + (other if form == "ties" else []))
    table.to_parquet(tmp_path / "data" / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setitem(preferences.HUB, form, (str(tmp_path), split, commit))
    found = preferences.documents(form=form, source="hub")["test"].to_list()
    assert found == preferences.documents(form=form)["test"].to_list()
    (task,) = load(f"rm_preferences_{form}", source="hub", revision="the model's").values()
    assert task.config.metadata["dataset_revision"] == commit
    assert task.config.metadata["revision"] == "the model's"


def test_offline_the_hub_is_refused_with_what_to_do():
    with pytest.raises(DataError, match="reward-bench-2 cannot be loaded.*leave source out"):
        preferences.documents(form="ties", source="hub")


def change(rows, **values):
    rows[0] = {**rows[0], **values}
    return rows


@pytest.mark.parametrize(
    ("form", "make", "message"),
    [
        ("pairs", lambda rows: [{"prompt": "x"}], "no column 'chosen'"),
        ("pairs", lambda rows: [], "no row for the pairs task"),
        ("pairs", lambda rows: change(rows, rejected=[]), "1 chosen and 0 rejected"),
        ("best_of_4", lambda rows: change(rows, chosen=["a", "b"]), "'0' has 2 chosen.*one"),
        ("best_of_4", lambda rows: change(rows, chosen=[]), "0 chosen and 3 rejected"),
        ("ties", lambda rows: rows[1:], "only \\['tied'\\] of number '0'"),
        ("ties", lambda rows: [rows[0], *rows], "'ref:0' twice"),
        ("ties", lambda rows: change(rows[::-1], chosen=["a"]), "'tied:3'.*needed are 2"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(tmp_path, form, make, message):
    file = write(tmp_path / "rows.jsonl", make(rows_of(form)))
    with pytest.raises(DataError, match=message):
        preferences.documents(form=form, source=file)


def test_a_source_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="'nowhere'.*'embedded', 'hub' or a JSONL file"):
        preferences.documents(form="pairs", source="nowhere")
    (tmp_path / "x.jsonl").write_text("{cut off")
    with pytest.raises(DataError, match="cannot be read as JSONL"):
        preferences.documents(form="pairs", source=str(tmp_path / "x.jsonl"))


def test_a_score_that_is_no_number_is_refused():
    doc = preferences.documents(form="pairs")["test"][0]
    with pytest.raises(DataError, match="an answer to '0' has a score that is not a number"):
        preferences.pair_accuracy(doc, [(1.0, False), (float("nan"), False)])


# Scores: an independent reading of the papers, item by item, and RewardBench's own code.

METRICS = dict(
    zip(
        FORMS,
        (preferences.pair_accuracy, preferences.best_of_accuracy, preferences.ties_metrics),
        strict=True,
    )
)


def ties_rows(rng, prompts=40):
    """Random linked prompts with scores; coarse ones, so that equal scores and zeros occur."""
    rows = []
    for number in range(prompts):
        for kind, good in (("ref", 1), ("tied", int(rng.integers(2, 6)))):
            bad = int(rng.integers(1, 6))
            scores = rng.integers(0, 4, good + bad) / 2 + (np.arange(good + bad) < good) * 1.0
            rows.append({"id": f"{kind}:{number}", "num_correct": good, "scores": scores.tolist()})
    return rows


def own_ties(rows):
    by_id = {row["id"]: row for row in rows}
    metrics = []
    for number in {row["id"].rpartition(":")[2] for row in rows}:
        pair = [by_id[f"{kind}:{number}"] for kind in ("ref", "tied")]
        doc = {
            "id": str(number),
            "answers": [["x"] * len(row["scores"]) for row in pair],
            "num_correct": [row["num_correct"] for row in pair],
        }
        metrics.append(
            preferences.ties_metrics(doc, [(s, False) for row in pair for s in row["scores"]])
        )
    return metrics


def spread_of(row):
    good = row["scores"][: row["num_correct"]]
    return max(good) - min(good)


def naive_ties(rows):
    """RewardBench 2, section on Ties: sums over prompts, written without arrays."""
    sums = defaultdict(float)
    count = len(rows) // 2
    for number in range(count):
        gaps = {}
        for row in rows:
            kind, _, where = row["id"].partition(":")
            if int(where) == number:
                good = sorted(row["scores"][: row["num_correct"]])
                bad = sorted(row["scores"][row["num_correct"] :])
                gaps[kind] = good[0] - bad[-1]
                if kind == "tied":
                    spread = good[-1] - good[0]
        smaller = gaps["ref"] if gaps["ref"] < gaps["tied"] else gaps["tied"]
        sums["ref"] += 1 if gaps["ref"] > 0 else 0
        sums["tied"] += 1 if gaps["tied"] > 0 else 0
        sums["preferred"] += 1 if gaps["tied"] > spread else 0
        sums["hard"] += 1 if smaller > spread else 0
        if spread:
            sums["margin"] += np.tanh(smaller / spread - 1)
        elif smaller:
            sums["margin"] += 1 if smaller > 0 else -1
    weights = {"ref": 0.3, "tied": 0.3, "preferred": 0.2, "hard": 0.2, "margin": 0.01}
    return sum(weight * sums[name] / count for name, weight in weights.items())


@pytest.mark.parametrize("seed", range(5))
def test_ties_are_scored_as_a_naive_reading_of_the_definition_does(seed):
    rows = ties_rows(np.random.default_rng(seed))
    values = own_ties(rows)
    assert np.mean([value["ties_score"] for value in values]) == pytest.approx(naive_ties(rows))
    assert {value["accuracy_tied"] for value in values} == {0.0, 1.0}


def test_ties_by_hand():
    """ref: gap 3 - 1 = 2. tied: good 5, 4; bad 2: gap 2, spread 1: tanh(2/1 - 1) = 0.76159."""
    doc = {"id": "x", "answers": [["a", "b"], ["a", "b", "c"]], "num_correct": [1, 2]}
    values = preferences.ties_metrics(doc, [(s, False) for s in (3.0, 1.0, 5.0, 4.0, 2.0)])
    assert values["ties_score"] == pytest.approx(1 + 0.0076159, abs=1e-6)
    # bad 3.5: gap 0.5 on tied, not more than the spread: 0.6 + 0.01 * tanh(-0.5)
    values = preferences.ties_metrics(doc, [(s, False) for s in (3.0, 1.0, 5.0, 4.0, 3.5)])
    assert values["ties_score"] == pytest.approx(0.6 - 0.0046212, abs=1e-6)
    # equal scores everywhere win nothing
    values = preferences.ties_metrics(doc, [(1.0, False)] * 5)
    assert set(values.values()) == {0.0}


def test_equal_scores_count_as_in_rewardbench():
    pair, best = (preferences.documents(form=form)["test"][0] for form in FORMS[:2])
    assert preferences.pair_accuracy(pair, [(1.0, False)] * 2)["accuracy"] == 0
    of_four = {
        (1.0, 1.0, 0.0, 0.0): 1 / 2,
        (1.0, 1.0, 1.0, 1.0): 1 / 4,
        (0.0, 1.0, 1.0, 0.0): 0,
        (2.0, 1.0, 1.0, 1.0): 1,
    }
    for scores, value in of_four.items():
        found = preferences.best_of_accuracy(best, [(score, False) for score in scores])
        assert found == {"accuracy": value, "accuracy_factuality": value}


@pytest.fixture(scope="module")
def rewardbench():
    """RewardBench's scoring code, if it is there: ``pip install --no-deps rewardbench fschat``.

    Its dependencies exclude transformers 5, so only the module with the scoring functions is
    imported, past the package's own ``__init__``.
    """
    spec = importlib.util.find_spec("rewardbench")
    if spec is None or importlib.util.find_spec("fastchat") is None:
        pytest.skip("needs `pip install --no-deps rewardbench fschat`")
    before = set(sys.modules)
    package = types.ModuleType("rewardbench")
    package.__path__ = [str(Path(spec.origin).parent)]
    models = types.ModuleType("rewardbench.models")
    models.REWARD_MODEL_CONFIG = {}
    sys.modules |= {"rewardbench": package, "rewardbench.models": models}
    from rewardbench import utils

    yield utils
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_scores_are_those_of_rewardbenchs_own_code(rewardbench, seed):
    """Release 0.1.4 leaves prompts without spread out of its last term; its repository does not."""
    rng = np.random.default_rng(seed)
    rows = ties_rows(rng)
    flat = {row["id"][5:] for row in rows if "tied" in row["id"] and spread_of(row) == 0}
    assert flat
    rows = [row for row in rows if row["id"].rpartition(":")[2] not in flat]
    _, theirs = rewardbench.process_single_model(datasets.Dataset.from_list(rows))
    ours = np.mean([values["ties_score"] for values in own_ties(rows)])
    assert ours == pytest.approx(theirs, abs=1e-12)

    scores = rng.integers(0, 3, (50, 4)).astype(float)
    flat = {"text": ["x"] * 200, "scores": scores.ravel().tolist()}
    table = rewardbench.reroll_and_score_dataset(datasets.Dataset.from_dict(flat), [4] * 50)
    doc = {"id": "x", "subset": "Math", "answers": [["x"] * 4]}
    ours = [
        preferences.best_of_accuracy(doc, [(s, False) for s in row])["accuracy"] for row in scores
    ]
    assert ours == pytest.approx(table["results"][:])


# Through lm_eval.


def load(name, **metadata):
    manager = TaskManager(include_path=task_config_dir(), include_defaults=False, metadata=metadata)
    return manager.load(name)["tasks"]


def test_the_group_holds_the_three_tasks_and_says_its_source():
    found = load("rm_preferences")
    assert set(found) == set(TASKS)
    for form, name in zip(FORMS, TASKS, strict=True):
        task = found[name]
        assert task.config.metadata["source"] == "embedded"
        given = [metric["metric"] for metric in task.config.metric_list]
        doc = task.task_docs[0]
        count = sum(map(len, doc["answers"]))
        values = METRICS[form](doc, [(float(i), False) for i in range(count)])
        assert set(values) <= set(given)
        assert set(task.aggregation()) == set(task.higher_is_better()) == set(given)
    assert "accuracy_precise_if" in found["rm_preferences_best_of_4"].aggregation()


def test_requests_of_other_documents_have_another_cache_name(tmp_path, monkeypatch):
    from lm_eval.api.task import ConfigurableTask

    names = []
    monkeypatch.setattr(
        ConfigurableTask,
        "build_all_requests",
        lambda self, *, tokenizer_name, **kwargs: names.append(tokenizer_name),
    )
    file = write(tmp_path / "few.jsonl", rows_of("pairs")[:3])
    for metadata in ({}, {"source": file}, {}):
        (task,) = load("rm_preferences_pairs", **metadata).values()
        task.build_all_requests(tokenizer_name="x")
    assert names[0] == names[2] != names[1]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rm")
    return tiny.save(folder, "llama", max_position_embeddings=1024)


@pytest.fixture(scope="module")
def scored(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferences")
    return runs.evaluate(folder, "reward", {"pretrained": str(model), "batch_size": 8}, TASKS)


def samples(folder, task):
    lines = runs.samples_of(folder, task).read_text().splitlines()
    return [json.loads(line) for line in lines]


def table_of(folder, task):
    return json.loads(runs.results_of(folder).read_text())["results"][task]


def test_a_reward_model_reads_prompt_and_answer_as_turns(scored, model):
    rm = transformers.AutoModelForSequenceClassification.from_pretrained(model).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    code = next(s for s in samples(scored, TASKS[0]) if "def " in s["doc"]["answers"][0][0])
    ties = samples(scored, TASKS[2])[0]
    for sample in (code, ties):
        doc = sample["doc"]
        turns = [
            (prompt, answer)
            for prompt, answers in zip(doc["prompts"], doc["answers"], strict=True)
            for answer in answers
        ]
        for (prompt, answer), (score, _) in zip(turns, sample["filtered_resps"], strict=True):
            text = tokenizer.apply_chat_template(
                [
                    {"role": "user", "content": prompt},
                    {"role": "assistant", "content": answer},
                ],
                tokenize=False,
            )
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
            with torch.no_grad():
                reward = rm(**inputs).logits[0, 0].item()
            assert float(score) == pytest.approx(reward, abs=1e-4)


def test_the_metrics_are_what_the_samples_give(scored):
    for name in TASKS[:2]:
        wins, by_subset = [], defaultdict(list)
        for sample in samples(scored, name):
            first, *rest = [float(score) for score, _ in sample["filtered_resps"]]
            wins.append(1 if first > max(rest) else 0)  # random scores: nothing is equal
            by_subset[sample["doc"]["subset"]].append(wins[-1])
        found = table_of(scored, name)
        assert found["accuracy,none"] == pytest.approx(np.mean(wins))
        error = np.std(wins, ddof=1) / np.sqrt(len(wins))
        assert found["accuracy_stderr,none"] == pytest.approx(error)
        for subset, values in by_subset.items():
            key = f"accuracy_{subset.lower().replace(' ', '_')},none"
            assert found[key] == pytest.approx(np.mean(values))
    rows = []
    for sample in samples(scored, TASKS[2]):
        scores = [float(score) for score, _ in sample["filtered_resps"]]
        for place, kind in enumerate(("ref", "tied")):
            size = len(sample["doc"]["answers"][place])
            number = sample["doc"]["id"].rpartition(":")[2]
            good = sample["doc"]["num_correct"][place]
            rows.append({"id": f"{kind}:{number}", "num_correct": good, "scores": scores[:size]})
            scores = scores[size:]
    assert table_of(scored, TASKS[2])["ties_score,none"] == pytest.approx(naive_ties(rows))


def test_scores_that_follow_the_labels_win_everything(tmp_path):
    lines = []
    for form in FORMS:
        for doc in preferences.documents(form=form)["test"]:
            for prompt, answers, good in zip(
                doc["prompts"], doc["answers"], doc["num_correct"], strict=True
            ):
                lines += [
                    {"prompt": prompt, "response": answer, "score": float(place < good)}
                    for place, answer in enumerate(answers)
                ]
    pd.DataFrame(lines).to_csv(tmp_path / "scores.csv", index=False)
    folder = tmp_path / "out"
    runs.evaluate(folder, "recorded-rewards", {"path": str(tmp_path / "scores.csv")}, TASKS)
    for name in TASKS[:2]:
        assert table_of(folder, name)["accuracy,none"] == 1
    # spread 0, gap 1: tanh(infinity) = 1
    assert table_of(folder, TASKS[2])["ties_score,none"] == pytest.approx(1.01)


def test_language_models_are_scored_by_log_probability(model, tmp_path):
    causal = tiny.build(
        "llama", transformers.AutoModelForCausalLM, max_position_embeddings=1024, seed=3
    )
    folder = tiny.save(tmp_path / "lm", "llama", causal)
    out = runs.evaluate(tmp_path / "out", "hf", {"pretrained": str(folder)}, TASKS[:1])
    (first, *_) = samples(out, TASKS[0])
    assert all(float(score) < 0 for score, _ in first["filtered_resps"])
    assert 0 <= table_of(out, TASKS[0])["accuracy,none"] <= 1
