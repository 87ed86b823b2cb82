"""``tokens --model hf`` and ``implicit-reward`` against one naive forward pass a prompt."""

import json
import math

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from click.testing import CliRunner
from lm_eval.api.instance import Instance

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.models.common.answer_log_probabilities import AnswerLM
from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
from rm_value_tasks.prompts import by_id
from rm_value_tasks.scores.log_probability_tables import read
from rm_value_tasks.vocabulary.implicit_rewards import score_ratios
from rm_value_tasks.vocabulary.next_tokens import score_next_tokens
from tests import tiny

PROMPTS = {name: by_id(name).text for name in ("best_ever_one", "worst_time_please")}
# Byte-level BPE with a BOS, byte-level BPE without, SentencePiece-like BPE, WordPiece.
NAMES = ["llama", "qwen3", "gemma2", "bert"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    made = {}

    def make(name, seed=0):
        if (name, seed) not in made:
            folder = tmp_path_factory.mktemp(name)
            made[name, seed] = tiny.save_language_model(folder, name, seed=seed)
        return made[name, seed]

    return make


def extra(folder):
    return {"add_bos_token": False} if "bert" in folder.name else {}


def scored(folder, output, *, chat=False, prompts=PROMPTS, **arguments):
    given = {"pretrained": str(folder), **extra(folder), **arguments}
    lm = AnswerLM(**given, device="cpu")
    return score_next_tokens(lm, prompts, output, chat=chat, model_args=given)


def naive(folder, question, *, chat=False, slot=""):
    """Token id -> natural log-probability, from one pass with transformers alone."""
    network = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if chat:
        turns = [{"role": "user", "content": question + slot}]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True).input_ids
    else:
        special = tokenizer.cls_token is None
        ids = tokenizer(question + slot, add_special_tokens=special).input_ids
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0, -1].double()
    logs = logits - torch.logsumexp(logits, 0)
    return dict(enumerate(logs.tolist()))


@pytest.mark.parametrize(
    ("name", "chat"),
    [(name, chat) for name in NAMES for chat in (False, True) if not (chat and name == "bert")],
)
def test_a_run_is_one_softmax_over_the_vocabulary(model, tmp_path, name, chat):
    folder = model(name)
    run = scored(folder, tmp_path, chat=chat)
    rows = pd.read_parquet(run.store.merged)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for prompt, text in PROMPTS.items():
        own = rows[rows.prompt_id == prompt]
        expected = naive(folder, text, chat=chat)
        assert own.token_id.tolist() == list(range(len(tokenizer)))
        assert own.score.tolist() == pytest.approx(list(expected.values()), abs=2e-5)
        assert sum(math.exp(score) for score in own.score) == pytest.approx(1, abs=1e-4)
        assert own.token.tolist() == tokenizer.convert_ids_to_tokens(own.token_id)
    assert rows.score.nunique() > len(rows) / 2  # a constant would agree with anything


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_a_token_scores_as_the_same_answer_in_a_task(model, tmp_path, name, chat):
    """Base models: the word with its space after the prompt; chat: the bare word."""
    folder = model(name)
    rows = pd.read_parquet(scored(folder, tmp_path, chat=chat).store.merged)
    rows = rows[rows.prompt_id == "best_ever_one"].set_index("token_id").score
    lm = AnswerLM(str(folder), device="cpu", batch_size=4)
    text = PROMPTS["best_ever_one"]
    context = lm.render([{"role": "user", "content": text}]) if chat else text
    before = lm.prompt_ids(context)
    found = 0
    for token, decoded in enumerate(read(tmp_path).table["token_decoded"]):
        if decoded.strip() and decoded.strip().isalpha() and decoded.startswith(" ") != chat:
            context_ids, ids = lm._encode_pair(context, decoded)
            if (context_ids, ids) == (before, [token]):
                request = Instance("loglikelihood", {}, (context, decoded), 0)
                ((score, _),) = lm.loglikelihood([request], disable_tqdm=True)
                assert score == pytest.approx(rows[token], abs=1e-4)
                found += 1
        if found == 8:
            break
    assert found == 8


def test_the_answer_slot_stands_behind_the_prompt(model, tmp_path):
    arguments = ["tokens", "--model", "hf", "--model-args", f"pretrained={model('llama')}"]
    arguments += ["--prompts", "best_ever_one", "--answer-slot", "Answer:", "--device", "cpu"]
    done = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = read(tmp_path)
    text = PROMPTS["best_ever_one"]
    assert found.prompts == {"best_ever_one": f"{text} Answer:"}
    expected = naive(model("llama"), text, slot=" Answer:")
    assert found.table["best_ever_one"].tolist() == pytest.approx([*expected.values()], abs=2e-5)


# -- implicit rewards -------------------------------------------------------------------


def ratios(first, second, output, *, chat=False, **arguments):
    lm = ImplicitRewardLM(str(first), str(second), device="cpu", **arguments)
    return score_ratios(lm, PROMPTS, output, chat=chat)


def naive_texts(folder, question, **kwargs):
    """Decoded text -> probability, summed over the tokens that decode to it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    found = {}
    for token, log in naive(folder, question, **kwargs).items():
        text = tokenizer.decode([token])
        if text and "\ufffd" not in text:
            found[text] = found.get(text, 0) + math.exp(log)
    return found


@pytest.mark.parametrize("score", ["log_ratio", "mwlr"])
@pytest.mark.parametrize(
    ("first", "second", "chat"),
    [("llama", "gemma2", True), ("qwen3", "gemma2", False), ("llama", "bert", False)],
)
def test_rewards_of_two_vocabularies_meet_in_their_texts(
    model, tmp_path, first, second, chat, score
):
    folders = model(first), model(second)
    more = {f"reference_{key}": value for key, value in extra(folders[1]).items()}
    run = ratios(*folders, tmp_path, chat=chat, score=score, **more)
    rows = pd.read_parquet(run.store.merged)
    for prompt, text in PROMPTS.items():
        own = rows[rows.prompt_id == prompt]
        a, b = (naive_texts(folder, text, chat=chat) for folder in folders)
        expected = {}
        for decoded in a:
            if decoded in b:
                ratio = math.log(a[decoded]) - math.log(b[decoded])
                weight = (a[decoded] + b[decoded]) / 2 if score == "mwlr" else 1
                expected[decoded] = weight * ratio
        assert set(own.decoded) == set(expected)
        assert len(own) == len(expected) > 30
        wanted = [expected[decoded] for decoded in own.decoded]
        assert own.score.tolist() == pytest.approx(wanted, abs=1e-6 if score == "mwlr" else 1e-4)
    (sentence,) = run.left_out
    counts = [len(texts) - len(expected) for texts in (a, b)]
    assert sentence.startswith(f"{counts[0]} texts of the policy's tokens and {counts[1]} of")


def test_one_vocabulary_meets_in_its_ids_whatever_they_decode_to(model, tmp_path):
    policy, reference = model("llama"), model("llama", 1)
    run = ratios(policy, reference, tmp_path, beta=0.1)
    rows = pd.read_parquet(run.store.merged)
    rows = rows[rows.prompt_id == "best_ever_one"]
    a, b = (naive(folder, PROMPTS["best_ever_one"]) for folder in (policy, reference))
    assert rows.score.tolist() == pytest.approx([0.1 * (a[i] - b[i]) for i in a], abs=1e-5)
    assert rows.is_undecodable.any()
    assert run.left_out == []


def test_sequential_models_give_the_same_file(model, tmp_path):
    folders = model("llama"), model("gemma2")
    both = ratios(*folders, tmp_path / "both", score="mwlr")
    one = ratios(*folders, tmp_path / "one", score="mwlr", sequential=True)
    for role in ("", "policy", "reference"):
        files = [run.store.merged.parent / role / "tokens.parquet" for run in (both, one)]
        first, second = (pd.read_parquet(file) for file in files)
        pd.testing.assert_frame_equal(first, second)


def test_swapped_models_give_opposite_rewards(model, tmp_path):
    folders = [model("llama"), model("gemma2")]
    there = pd.read_parquet(ratios(*folders, tmp_path / "a", score="mwlr").store.merged)
    back = pd.read_parquet(ratios(*folders[::-1], tmp_path / "b", score="mwlr").store.merged)
    keys = ["prompt_id", "decoded"]
    there, back = (rows.set_index(keys).score.sort_index() for rows in (there, back))
    assert (there == -back).all()


# -- going on, and refusing -------------------------------------------------------------


def test_a_stopped_run_goes_on_with_the_prompts_that_are_missing(model, tmp_path, monkeypatch):
    folder = model("llama")
    expected = scored(folder, tmp_path / "whole").store.merged.read_bytes()
    calls = []
    forward = AnswerLM.forward_of_size

    def stop(self, *args, **kwargs):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(AnswerLM, "forward_of_size", stop)
    with pytest.raises(KeyboardInterrupt):
        scored(folder, tmp_path / "out")
    assert not (tmp_path / "out" / "tokens.parquet").exists()
    run = scored(folder, tmp_path / "out")
    assert len(calls) == 3  # one pass a prompt, and the one that was stopped
    assert run.store.merged.read_bytes() == expected
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "run.json", "tokens.parquet"
    ]  # fmt: skip
    scored(folder, tmp_path / "out")
    assert len(calls) == 3
    with pytest.raises(DataError, match="apply_chat_template: False there, True now"):
        scored(folder, tmp_path / "out", chat=True)


def test_what_the_file_was_made_with_is_in_it(model, tmp_path):
    run = ratios(model("llama"), model("gemma2"), tmp_path, score="mwlr")
    settings = json.loads(pq.read_schema(run.store.merged).metadata[b"rm_value_tasks"])
    assert (settings["score_kind"], settings["score"]) == ("reward", "mwlr")
    assert settings["policy"]["model_args"]["pretrained"] == str(model("llama"))
    assert settings["policy"]["prompts"][0]["id"] == "best_ever_one"
    assert settings == json.loads((tmp_path / "run.json").read_text())
    with pytest.raises(DataError, match="score: 'mwlr' there, 'log_ratio' now"):
        ratios(model("llama"), model("gemma2"), tmp_path)
    with pytest.raises(DataError, match="holds rewards, which are not log-probabilities"):
        read(tmp_path)


def test_what_cannot_be_done_is_refused_in_a_sentence(model, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="'p' ends in white space, but tokens bring their own"):
        scored(model("llama"), out, prompts={"p": "What? "})
    with pytest.raises(ModelError, match=r"'p' has \d+ tokens but the model takes 256"):
        scored(model("llama"), out, prompts={"p": "word " * 300 + "."})
    with pytest.raises(ModelError, match="no chat template"):
        scored(model("bert"), out, chat=True)
    with pytest.raises(ModelError, match=r"ends every text with '\[SEP\]'.*add_bos_token=False"):
        scored(model("bert"), out, add_bos_token=None)
    with pytest.raises(ModelError, match="whole_response=True counts the end of a response"):
        ratios(model("llama"), model("gemma2"), out, whole_response=True)
    with pytest.raises(ModelError, match="reference=none leaves .* give --model hf"):
        ratios(model("llama"), "none", out)
    assert not out.exists()


def test_a_log_probability_that_is_no_number_is_refused_and_not_saved(tmp_path):
    network = tiny.build("llama", transformers.AutoModelForCausalLM)
    network.get_output_embeddings().weight.data[7] = float("nan")
    folder = tiny.save(tmp_path / "model", "llama", network)
    with pytest.raises(ModelError, match=r"log-probability of token 0 .* is nan"):
        scored(folder, tmp_path / "out")
    assert not list((tmp_path / "out" / "chunks").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--apply-chat-template"], "are for language models"),
        (["--answer-slot", "Answer:"], "are for language models"),
        (["--model", "vllm"], "'vllm' is not one of"),
        (["--model", "hf", "--answer-slot", "Answer: "], "no white space at its end"),
        (["--model", "hf", "--wide", "x.txt"], "neither .csv nor .parquet"),
        (["--model", "hf", "--model-args", "pretrained={},whole_response=True"], "no argument of"),
        (["--model", "implicit-reward"], "give pretrained=A,reference=B"),
        (["--model", "hf", "--model-args", "pretrained={}/no"], "there is no such folder"),
    ],
)
def test_a_command_that_cannot_run_says_why(model, tmp_path, arguments, message):
    arguments = [text.format(model("llama")) for text in arguments]
    command = ["tokens", "--model-args", f"pretrained={model('llama')}", *arguments]
    done = CliRunner().invoke(cli, [*command, "--device", "cpu", "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert message in (done.output if done.exit_code == 2 else str(done.exception))
    assert isinstance(done.exception, SystemExit | ModelError | DataError)
    assert not (tmp_path / "out").exists()


# -- the authors' form ------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_wide_form_reads_back_as_the_run_itself(model, tmp_path, ending):
    arguments = ["tokens", "--model", "hf", "--model-args", f"pretrained={model('llama')}"]
    arguments += ["--prompts", "best_ever_*", "--device", "cpu", "-o", str(tmp_path / "run")]
    wide = tmp_path / f"wide.{ending}"
    done = CliRunner().invoke(cli, [*arguments, "--wide", str(wide)])
    assert done.exit_code == 0, done.output
    run, found = read(tmp_path / "run"), read(wide)
    names = ["best_ever_one", "best_ever_single", "best_ever_please"]
    assert list(found.table.columns) == ["token_id", "token_name", "token_decoded", *names]
    pd.testing.assert_frame_equal(found.table, run.table, check_dtype=False, rtol=1e-6)
    assert found.prompts == run.prompts
    assert "\r" in set(found.table["token_decoded"])
    assert run.name == model("llama").name


def test_a_failed_write_leaves_nothing(model, tmp_path, monkeypatch):
    folder = model("llama")
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    arguments = ["tokens", "--model", "hf", "--model-args", f"pretrained={folder}", "--device"]
    arguments += ["cpu", "-o", str(tmp_path / "run"), "--wide", str(tmp_path / "wide.csv")]
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, DataError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_file_that_was_sorted_otherwise_reads_alike_and_a_gap_is_refused(model, tmp_path):
    expected = read(scored(model("llama"), tmp_path / "run").store.merged)
    rows = pd.read_parquet(tmp_path / "run" / "tokens.parquet")
    path = tmp_path / "tokens.parquet"
    mixed = rows.sort_values(["decoded", "prompt_id"])
    mixed.to_parquet(path, row_group_size=100)
    found = read(path)
    assert found.prompts == expected.prompts
    pd.testing.assert_frame_equal(
        found.table.sort_values("token_id", ignore_index=True)[expected.table.columns],
        expected.table,
    )
    only = read(path, ["worst_time_please"])
    assert list(only.prompts) == ["worst_time_please"]
    assert only.table["worst_time_please"].tolist() == found.table["worst_time_please"].tolist()
    rows.drop(index=len(rows) - 1).to_parquet(path)
    with pytest.raises(DataError, match=r"has .*nan.* for token \d+ .* and 'worst_time_please'"):
        read(path)
    pd.concat([rows, rows.tail(1)]).to_parquet(path)
    with pytest.raises(DataError, match="has a token twice for one prompt"):
        read(path)
    rows.head(0).to_parquet(path)
    with pytest.raises(DataError, match="has no rows"):
        read(path)
