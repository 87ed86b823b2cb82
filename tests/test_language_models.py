"""How answers join prompts for lm-eval's own models: the first-token distribution."""

import lm_eval
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from lm_eval.tasks import TaskManager

from rm_value_tasks import task_config_dir
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from tests import completions_server, tiny
from tests.lexicons.test_single_tokens import train

QUESTION = by_id("best_ever_one").text
KNOWN = ["power", "success", "ability", "love", "trust", "care"]
SPLIT = ["freedom", "kindness"]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder by vocabulary: byte-level BPE and SentencePiece-like BPE."""
    folders = {}
    for kind in ("bytes", "sentencepiece"):
        lines = [*KNOWN, *(f"a {word}" for word in KNOWN), *QUESTION.split(), "assistant:", "user:"]
        tokenizer = train(kind, *lines)
        tokenizer.add_special_tokens({"eos_token": "<eos>", "pad_token": "<pad>"})
        tokenizer.chat_template = TEMPLATE
        torch.manual_seed(len(folders))
        config = tiny.config_of("llama", tokenizer, initializer_range=0.2)
        model = transformers.AutoModelForCausalLM.from_config(config)
        folders[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folders[kind])
        tokenizer.save_pretrained(folders[kind])
    return folders


@pytest.fixture
def lexicon(tmp_path):
    categories = dict.fromkeys(["power", "success", "ability", "freedom"], "Agency")
    categories |= dict.fromkeys(["love", "trust", "care", "kindness"], "Communion")
    path = tmp_path / "words.csv"
    rows = "".join(f"{word},{category}\n" for word, category in categories.items())
    path.write_text("word,category\n" + rows)
    return str(path)


def run(folder, chat=False, model="hf", arguments=None, task="value_bias_big2", **metadata):
    manager = TaskManager(
        include_path=task_config_dir(),
        include_defaults=False,
        metadata={"prompts": "best_ever_one", **metadata},
    )
    results = lm_eval.simple_evaluate(
        model=model,
        model_args={"path" if model == "recorded-rewards" else "pretrained": str(folder)}
        | (arguments or {}),
        device="cpu",
        batch_size=8,
        tasks=[task],
        apply_chat_template=chat,
        task_manager=manager,
        bootstrap_iters=0,
    )
    sample = results["samples"][task][0]
    words = sample["doc"]["words"]
    scores = [score for score, _ in sample["filtered_resps"][: len(words)]]
    return dict(zip(words, scores, strict=True)), sample, results


def next_token(folder, text):
    """Natural log-probabilities of the token after a text, and what maps a text to its id."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logs = model(**tokenizer(text, return_tensors="pt")).logits[0, -1].log_softmax(-1)

    def of(answer):
        (token,) = tokenizer(text + answer).input_ids[len(tokenizer(text).input_ids) :]
        return logs[token].item()

    return of


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
@pytest.mark.parametrize(
    ("metadata", "context", "joint"),
    [
        ({}, QUESTION, " "),
        ({"answer_slot": "Answer:"}, f"{QUESTION} Answer:", " "),
        ({"answer_slot": "\nAnswer:"}, f"{QUESTION}\nAnswer:", " "),
        ({"surface_forms": ["lower"], "target_delimiter": ""}, QUESTION, ""),
        ({"surface_forms": ["space"], "answer_slot": "Answer:"}, f"{QUESTION} Answer:", " "),
    ],
    ids=["space", "slot", "slot on its own line", "bare", "space form"],
)
def test_a_base_models_first_token(models, lexicon, kind, metadata, context, joint):
    scores, sample, _ = run(models[kind], lexicon=lexicon, **metadata)
    assert sample["arguments"][0] == (context, joint + "power")
    first = next_token(models[kind], context)
    for word in KNOWN:
        assert scores[word] == pytest.approx(first(joint + word), abs=1e-4)
    assert len({round(score, 3) for score in scores.values()}) == len(scores)


@pytest.mark.parametrize("kind", ["bytes", "sentencepiece"])
def test_a_chat_models_first_token_is_right_behind_the_generation_prompt(models, lexicon, kind):
    """``hf`` adds the log-probability of the generation prompt's newline, the same to all."""
    scores, sample, _ = run(models[kind], chat=True, lexicon=lexicon)
    context = f"user:\n{QUESTION}\nassistant:\n"
    assert sample["arguments"][0] == (context, "power")
    newline = next_token(models[kind], context[:-1])("\n")
    first = next_token(models[kind], context)
    for word in KNOWN:
        assert scores[word] == pytest.approx(newline + first(word), abs=1e-4)


def test_the_same_words_for_base_and_chat_models_of_all_vocabularies(models, lexicon):
    """The paper's form: bare lower-case words that are one token everywhere."""
    form = {
        "lexicon": lexicon,
        "surface_forms": ["lower"],
        "single_token_in": [str(folder) for folder in models.values()],
    }
    for folder in models.values():
        base, _, results = run(folder, target_delimiter="", **form)
        chat, sample, _ = run(folder, chat=True, **form)
        assert list(base) == list(chat) == ["power", "success", "ability", "love", "trust", "care"]
        assert sample["doc"]["dropped"] == SPLIT
        config = results["configs"]["value_bias_big2"]
        assert config["metadata"]["dropped_words"] == SPLIT
        assert config["target_delimiter"] == ""
        first = next_token(folder, QUESTION)
        assert list(base.values()) == pytest.approx([first(word) for word in base], abs=1e-4)
        values = np.array(list(base.values()))
        lean = np.mean(values[:3, None] > values[None, 3:])
        assert results["results"]["value_bias_big2"]["agency_positive,none"] == pytest.approx(lean)


def test_words_chosen_by_another_form_than_is_asked_for_are_refused(models, lexicon):
    tokenizers = str(models["bytes"])
    with pytest.raises(DataError, match="one token after '', but answers are asked for after ' '"):
        run(models["bytes"], lexicon=lexicon, single_token_in=tokenizers)
    with pytest.raises(DataError, match="one token after ' ', but answers are asked for after ''"):
        run(
            models["bytes"],
            chat=True,
            lexicon=lexicon,
            single_token_in=tokenizers,
            target_delimiter=" ",
        )
    for metadata in ({"target_delimiter": " "}, {"surface_forms": ["space"]}):
        scores, _, _ = run(models["bytes"], lexicon=lexicon, single_token_in=tokenizers, **metadata)
        assert list(scores) == ["power", "success", "ability", "love", "trust", "care"]


@pytest.mark.parametrize(
    ("kind", "ending", "chat"),
    [("bytes", "", False), ("bytes", ".csv", True), ("sentencepiece", ".csv", False)],
)
def test_a_table_of_tokens_gives_the_scores_that_hf_gives(
    models, lexicon, tmp_path, kind, ending, chat
):
    folder, wide = models[kind], tmp_path / "wide.csv"
    arguments = ["tokens", "--model", "hf", "--model-args", f"pretrained={folder}", "--device"]
    arguments += ["cpu", "--prompts", "best_ever_one,worst_ever_one", "-o", str(tmp_path / "run")]
    arguments += ["--wide", str(wide), *(["--apply-chat-template"] if chat else [])]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    table = wide if ending else tmp_path / "run"
    metadata = {"lexicon": lexicon, "single_token_in": [str(table)]}
    if not chat:
        metadata["surface_forms"] = ["space"]
    scores, sample, results = run(table, chat, "recorded-rewards", **metadata)
    assert sample["doc"]["dropped"] == SPLIT
    assert results["config"]["score_kind"] == "log-probability"
    own, _, expected = run(folder, chat, **{**metadata, "single_token_in": [str(folder)]})
    constant = 0.0
    if chat:  # hf adds the newline's log-probability
        constant = next_token(folder, f"user:\n{QUESTION}\nassistant:")("\n")
    assert list(scores) == list(own) == KNOWN
    assert [score + constant for score in scores.values()] == pytest.approx(
        list(own.values()), abs=1e-4
    )
    name = "agency_contrast,none"
    task = "value_bias_big2"
    assert results["results"][task][name] == expected["results"][task][name]


FORMS = {
    "slot": {"answer_slot": "Answer:"},
    "bare": {"surface_forms": ["lower"], "target_delimiter": ""},
    "chat": {"chat": True},
}


@pytest.mark.parametrize("form", ["bare", "chat"])
def test_shared_prefixes_give_the_same_distribution(models, lexicon, form):
    """``hf-shared-prefix`` asks for the same tokens after the same tokens as ``hf``."""
    own, sample, results = run(models["sentencepiece"], lexicon=lexicon, **FORMS[form])
    shared, same, again = run(
        models["sentencepiece"], model="hf-shared-prefix", lexicon=lexicon, **FORMS[form]
    )
    assert same["arguments"] == sample["arguments"]
    assert list(shared.values()) == pytest.approx(list(own.values()), abs=1e-4)
    for metric, value in results["results"]["value_bias_big2"].items():
        if metric.startswith("agency") and "stderr" not in metric:
            assert again["results"]["value_bias_big2"][metric] == pytest.approx(value)


@pytest.fixture(scope="module")
def with_bos(models, tmp_path_factory):
    """A base model whose tokenizer begins every text with a token of its own, as Llama's."""
    folder = tmp_path_factory.mktemp("with-bos")
    torch.manual_seed(5)
    tiny.save(folder, "llama", tiny.build("llama", transformers.AutoModelForCausalLM))
    return folder


def api(url, tokenizer, **arguments):
    return {
        "model": "local-completions",
        "arguments": {
            "pretrained": None,
            "model": "served-name",
            "tokenizer": str(tokenizer),
            "tokenizer_backend": "huggingface",
            "base_url": url,
            "max_length": 256,
            **arguments,
        },
    }


@pytest.mark.parametrize("form", ["slot", "chat"])
def test_an_api_model_gives_what_hf_gives(models, lexicon, form):
    """lm-eval's ``local-completions`` against a real server of the same model, over HTTP."""
    own, sample, results = run(models["bytes"], lexicon=lexicon, **FORMS[form])
    with completions_server.serve(models["bytes"]) as (url, payloads):
        served, same, again = run(None, lexicon=lexicon, **api(url, models["bytes"]), **FORMS[form])
    assert len(payloads) == 2  # of 16 answers, 8 a batch
    assert same["arguments"] == sample["arguments"]
    assert list(served.values()) == pytest.approx(list(own.values()), abs=1e-4)
    assert "score_kind" not in again["config"]
    for metric, value in results["results"]["value_bias_big2"].items():
        if metric.startswith("agency") and "stderr" not in metric:
            assert again["results"]["value_bias_big2"][metric] == pytest.approx(value)


def test_an_api_model_begins_texts_only_when_told_to(with_bos, lexicon):
    """``hf`` begins with BOS by itself; ``local-completions`` needs ``add_bos_token=True``."""
    own, *_ = run(with_bos, lexicon=lexicon)
    bos = transformers.AutoTokenizer.from_pretrained(with_bos).bos_token_id
    with completions_server.serve(with_bos) as (url, payloads):
        told, *_ = run(None, lexicon=lexicon, **api(url, with_bos, add_bos_token=True))
        assert all(ids.count(bos) == 1 for sent in payloads for ids in sent["prompt"])
        payloads.clear()
        untold, *_ = run(None, lexicon=lexicon, **api(url, with_bos))
        assert all(bos not in ids for sent in payloads for ids in sent["prompt"])
        payloads.clear()
        # A chat template has its own.
        chat, *_ = run(None, chat=True, lexicon=lexicon, **api(url, with_bos))
        assert all(ids.count(bos) == 1 for sent in payloads for ids in sent["prompt"])
    assert list(told.values()) == pytest.approx(list(own.values()), abs=1e-4)
    assert list(untold.values()) != pytest.approx(list(own.values()), abs=1e-2)
    by_hf, *_ = run(with_bos, chat=True, lexicon=lexicon)
    assert list(chat.values()) == pytest.approx(list(by_hf.values()), abs=1e-4)


@pytest.mark.parametrize("model", ["hf", "hf-shared-prefix"])
def test_the_papers_ranks_of_a_language_model(models, published, monkeypatch, model):
    """``value_bias_paper`` in the paper's form, for a base model: median ranks by hand."""
    monkeypatch.setenv("RM_VALUE_TASKS_DATA", str(published))
    task = "value_bias_paper_big2"
    tokenizers = [str(folder) for folder in models.values()]
    form = FORMS["bare"] | {"single_token_in": tokenizers}
    scores, _, results = run(models["bytes"], model=model, task=task, **form)
    first = next_token(models["bytes"], QUESTION)
    assert scores == pytest.approx({word: first(word) for word in scores}, abs=1e-4)
    ordered = sorted(scores, key=scores.__getitem__, reverse=True)
    assert sorted(scores) == ["care", "love", "success", "trust"]
    for category, words in {"agency": ["success"], "communion": ["care", "love", "trust"]}.items():
        places = [ordered.index(word) + 1 for word in words]
        metric = f"{category}_rank_positive,none"
        assert results["results"][task][metric] == np.median(places)
