import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from lm_eval.tasks import TaskManager
from scipy import stats

from rm_value_tasks import lexicons, task_config_dir, tasks
from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import PROMPTS, TWINS
from rm_value_tasks.scores import Reward
from rm_value_tasks.tasks import prompt_groups

EMBEDDED = ("value_bias_big2", "value_bias_foundations")


def load(name, **metadata):
    manager = TaskManager(include_path=task_config_dir(), include_defaults=False, metadata=metadata)
    return manager.load(name)["tasks"]


def yaml_files():
    return sorted(Path(task_config_dir()).glob("*/*.yaml"))


def plain(path):
    """The YAML as text: functions stay strings."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    return yaml.load(path.read_text(), Loader=Loader)


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.stem)
def test_every_yaml_is_whole(path):
    config = plain(path)
    assert config["metadata"]["version"] == 1.0
    if "group" in config:
        members = {p.stem for p in path.parent.glob("*.yaml")}
        assert set(config["task"]) <= members
        return
    assert config["task"] == path.stem
    assert "include" not in config or (path.parent / config["include"]).is_file()
    preferences = path.parent.name == "rm_preferences"
    for metric in config["metric_list"]:
        own = metric["aggregation"].startswith("rm_value_tasks.tasks.dilemmas.")
        assert metric["aggregation"] == "mean" or own
        assert metric["higher_is_better"] is (True if preferences else None)


@pytest.mark.parametrize("name", EMBEDDED)
def test_yaml_lists_the_metrics_that_the_lexicon_gives(name):
    path = next(path for path in yaml_files() if path.stem == name)
    config = plain(path)
    lexicon = lexicons.load(config["dataset_kwargs"]["default_lexicon"])
    names = tasks.metric_names(lexicon.category_names, config["dataset_kwargs"]["design"])
    assert [metric["metric"] for metric in config["metric_list"]] == names


def test_documents_of_twins_and_of_single_prompts():
    twins = tasks.documents(design="twins", default_lexicon="big2")["test"]
    single = tasks.documents(design="single", default_lexicon="big2")["test"]
    assert twins["prompts"][:] == [[a.id, b.id] for a, b in TWINS]
    assert single["prompts"][:] == [[prompt.id] for prompt in PROMPTS]
    assert twins[0]["pair"] == "best_ever_one/worst_ever_one"
    assert twins[0]["words"] == list(lexicons.load("big2").words)


def test_prompts_may_be_restricted():
    def pairs(patterns):
        rows = tasks.documents(design="twins", default_lexicon="big2", prompts=patterns)["test"]
        return set(rows["pair"])

    assert pairs("best_ever_one") == pairs(["worst_ever_one"]) == {"best_ever_one/worst_ever_one"}
    assert len(pairs(["best_*"])) == 9
    assert len(pairs(["*_one", "good_*"])) == 9 + 6


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"prompts": ["nicest_*"]}, r"'nicest_\*'.*54 prompt ids"),
        ({"surface_forms": ["shouted"]}, "'shouted'.*as_given, lower, title"),
        ({"lexicon": "big3"}, "big3"),
        ({"answer_slot": "Answer: "}, "answer_slot is 'Answer: '.*white space"),
        ({"target_delimiter": 1, "single_token_in": "x"}, "target_delimiter is 1"),
        ({"single_token_in": ["no/such/tokenizer"]}, "'no/such/tokenizer'.*cannot be loaded"),
    ],
)
def test_options_that_name_nothing_are_refused(metadata, message):
    with pytest.raises(DataError, match=message):
        tasks.documents(
            design="twins", default_lexicon="big2", lexicon_option="lexicon", **metadata
        )


def test_an_answer_slot_ends_every_prompt():
    rows = tasks.documents(design="twins", default_lexicon="big2", answer_slot="Answer:")["test"]
    plain = tasks.documents(design="twins", default_lexicon="big2")["test"]
    for with_slot, without in zip(rows, plain, strict=True):
        assert with_slot["texts"] == [f"{text} Answer:" for text in without["texts"]]
        assert "dropped" not in with_slot


def test_a_delimiter_of_the_wrong_kind_is_refused():
    with pytest.raises(DataError, match="target_delimiter is 1"):
        load("value_bias_big2", prompts="best_ever_one", target_delimiter=1)


def test_a_misspelt_option_is_pointed_out(caplog):
    tasks.documents(design="twins", default_lexicon="big2", lexcion="x", pretrained="model")
    assert [record.getMessage() for record in caplog.records] == [
        "--metadata has 'lexcion', which is ignored; did you mean 'lexicon'?"
    ]


def test_requests_come_prompt_then_word_then_form():
    forms = ["lower", "title", "space"]
    (task,) = load("value_bias_big2", prompts="best_ever_one", surface_forms=forms).values()
    doc = task.eval_docs[0]
    context = task.fewshot_context(doc, 0)
    assert context == doc["texts"]
    word = doc["words"][0]
    for chat in (False, True):
        requests = task.construct_requests(
            doc, context, metadata=("t", 0, 1), apply_chat_template=chat
        )
        assert len(requests) == 2 * 3 * len(doc["words"])
        assert [request.args for request in requests[:3]] == [
            (doc["texts"][0], word.lower()),
            (doc["texts"][0], word.title()),
            (doc["texts"][0], " " + word),
        ]
        assert requests[3 * len(doc["words"])].args == (doc["texts"][1], word.lower())


@pytest.mark.parametrize(("chat", "delimiter"), [(False, " "), (True, "")])
def test_without_space_forms_lm_evals_delimiter_applies(chat, delimiter):
    (task,) = load("value_bias_big2", prompts="best_ever_one").values()
    doc = task.eval_docs[0]
    first, *_ = task.construct_requests(
        doc, doc["texts"], metadata=("t", 0, 1), apply_chat_template=chat
    )
    assert first.args[1] == delimiter + doc["words"][0]


def random_document(design, forms=1, seed=0):
    rows = tasks.documents(design=design, default_lexicon="foundations")["test"]
    doc = {**rows[0], "forms": ["lower", "title"][:forms]}
    count = len(doc["prompts"]) * len(doc["words"]) * forms
    # Rounded, so that ties occur.
    return doc, np.random.default_rng(seed).normal(size=count).round(1)


def test_leans_equal_a_naive_computation():
    doc, scores = random_document("twins")
    values = tasks.value_metrics(doc, [(Reward(score), False) for score in scores])
    positive, negative = scores.reshape(2, -1)
    labels = [names[0] for names in doc["categories"]]
    for side, numbers in {
        "positive": positive, "negative": negative, "contrast": positive - negative
    }.items():  # fmt: skip
        ours = [n for n, label in zip(numbers, labels, strict=True) if label == "Care/Virtue"]
        rest = [
            n
            for n, label in zip(numbers, labels, strict=True)
            if label.endswith("/Virtue") and label != "Care/Virtue"
        ]
        expected = stats.mannwhitneyu(ours, rest).statistic / (len(ours) * len(rest))
        assert values[f"care_virtue_{side}"] == pytest.approx(expected)
    assert len(values) == 30


def test_median_ranks_equal_a_naive_computation():
    doc, scores = random_document("single")
    values = tasks.value_metrics(doc, [(Reward(score), False) for score in scores])
    ranks = stats.rankdata(-scores)
    chosen = [
        r for r, names in zip(ranks, doc["categories"], strict=True) if "Loyalty/Vice" in names
    ]
    assert values["loyalty_vice_rank_positive"] == np.median(chosen)
    assert set(values) == {
        f"{f}_{v}_rank_positive"
        for f in ("care", "fairness", "loyalty", "authority", "sanctity")
        for v in ("virtue", "vice")
    }


def test_surface_forms_combine_by_the_kind_of_score():
    doc, scores = random_document("twins", forms=2)
    logs = -np.abs(scores) - np.random.default_rng(1).random(scores.size)  # no ties
    summed = np.logaddexp(logs[0::2], logs[1::2])
    averaged = (logs[0::2] + logs[1::2]) / 2
    one = {**doc, "forms": ["lower"]}
    as_logs = tasks.value_metrics(doc, [(score, False) for score in logs])
    as_rewards = tasks.value_metrics(doc, [(Reward(score), False) for score in logs])
    assert as_logs == tasks.value_metrics(one, [(score, False) for score in summed])
    assert as_rewards == tasks.value_metrics(one, [(Reward(score), False) for score in averaged])
    assert as_logs != as_rewards


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_what_cannot_be_compared_is_named(bad):
    doc, scores = random_document("twins")
    scores[3] = scores[3 + len(doc["words"])] = bad
    with pytest.raises(DataError, match=f"'{doc['words'][3]}'.*best_ever_one"):
        tasks.value_metrics(doc, [(score, False) for score in scores])


def test_another_lexicon_brings_its_own_metrics(tmp_path):
    path = tmp_path / "colours.csv"
    path.write_text("word,category\nred,Warm\norange,Warm\nblue,Cold\ngreen,Cold\ngrey,Neither\n")
    (task,) = load("value_bias_big2", lexicon=str(path)).values()
    names = [f"{s}_{k}" for s in ("warm", "cold", "neither")
             for k in ("contrast", "positive", "negative")]  # fmt: skip
    assert list(task.aggregation()) == names
    assert [metric["metric"] for metric in task.config.metric_list] == names
    assert set(task.higher_is_better().values()) == {None}
    doc = task.eval_docs[0]
    values = task.process_results(doc, [(Reward(i), False) for i in range(10)])
    assert set(values) == set(names)
    # Scores rise with position, and so do the (constant) differences' ties: warm words are
    # first, so they lose every pair on each side and tie in the contrast.
    assert (values["warm_positive"], values["warm_contrast"]) == (0.0, 0.5)


def test_the_lexicon_option_reaches_only_its_own_task():
    both = load("value_bias", lexicon="foundations", prompts="best_ever_one")
    assert "care_virtue_contrast" in both["value_bias_big2"].aggregation()
    assert set(both) == set(EMBEDDED)
    untouched = load("value_bias_foundations", lexicon="big2", prompts="best_ever_one")
    assert "care_virtue_contrast" in untouched["value_bias_foundations"].aggregation()


def test_forms_that_write_some_words_alike_are_refused(tmp_path):
    path = tmp_path / "mixed.csv"
    path.write_text("word,category\nGod,A\nlove,B\n")
    with pytest.raises(DataError, match="as_given and lower write 'love' alike but 'God' not"):
        tasks.documents(
            design="twins", default_lexicon=str(path), surface_forms=["as_given", "lower"]
        )
    same = tasks.documents(
        design="twins", default_lexicon="big2", surface_forms=["as_given", "lower"]
    )
    assert same["test"][0]["forms"] == ["as_given"]


@pytest.mark.parametrize("bad", [{"prompts": []}, {"prompts": 3}, {"surface_forms": []}])
def test_options_of_the_wrong_kind_are_refused(bad):
    with pytest.raises(DataError, match="--metadata has"):
        tasks.documents(design="twins", default_lexicon="big2", **bad)


def test_a_side_without_rivals_is_compared_with_all_others():
    doc = {
        "prompts": ["best_ever_one", "worst_ever_one"],
        "words": ["a", "b"],
        "categories": [["Power/Virtue"], ["Power/Vice"]],
        "forms": ["as_given"],
    }
    values = tasks.value_metrics(doc, [(Reward(score), False) for score in (2, 1, 0, 0)])
    assert values["power_virtue_positive"] == 1.0
    with pytest.raises(DataError, match="share metric names"):
        tasks.metric_names(["Care Virtue", "Care/Virtue"], "single")


def test_cached_requests_of_other_documents_are_kept_apart():
    names = set()
    for prompts in ("best_ever_one", "good_ever_one"):
        (task,) = load("value_bias_big2", prompts=prompts).values()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                prompt_groups.ConfigurableTask,
                "build_all_requests",
                lambda self, *, tokenizer_name, **kwargs: names.add(tokenizer_name),
            )
            task.build_all_requests(tokenizer_name="x")
    assert len(names) == 2


def test_predict_only_computes_no_metrics():
    (task,) = load("value_bias_big2", prompts="best_ever_one").values()
    task.override_metric("bypass")
    assert task.process_results(task.eval_docs[0], [(0.0, False)]) == {}
