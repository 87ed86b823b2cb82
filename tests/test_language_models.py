"""How answers join prompts for lm-eval's own ``hf``: the first-token distribution."""

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
from tests import tiny
from tests.test_single_tokens import train

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


def run(folder, chat=False, model="hf", **metadata):
    manager = TaskManager(
        include_path=task_config_dir(),
        include_defaults=False,
        metadata={"prompts": "best_ever_one", **metadata},
    )
    results = lm_eval.simple_evaluate(
        model=model,
        model_args={"pretrained" if model == "hf" else "path": str(folder)},
        device="cpu",
        batch_size=8,
        tasks=["value_bias_big2"],
        apply_chat_template=chat,
        task_manager=manager,
        bootstrap_iters=0,
    )
    (sample,) = results["samples"]["value_bias_big2"]
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
