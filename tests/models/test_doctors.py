"""``doctor`` for the other models: what is scored, with which template, and what it takes."""

import pytest
import transformers
from click.testing import CliRunner

from rm_value_tasks.cli import cli
from tests import tiny
from tests.reward_servers import RewardServer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(
        tmp_path_factory.mktemp("lm"),
        "qwen3",
        tiny.build("qwen3", transformers.AutoModelForCausalLM),
    )


def doctor(folder, kind, *more):
    done = CliRunner().invoke(cli, ["doctor", str(folder), "--model", kind, *more])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    rows = {}
    for line in done.output.splitlines():
        rows.setdefault(line[:14].strip(), line[15:])
    return done.exit_code, rows


@pytest.mark.parametrize("kind", ["hf", "hf-shared-prefix", "implicit-reward", "generative-judge"])
def test_a_language_model(folder, kind):
    more = ["--model-args", f"reference={folder}"] if kind == "implicit-reward" else []
    code, rows = doctor(folder, kind, *more)
    assert code == 0, rows
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert rows["memory"].startswith(f"{model.num_parameters():,} parameters")
    assert "<|im_start|>assistant" in rows["example"]
    assert "sha256" in rows["template"]
    assert rows["scored"]
    assert ("reference" in rows) == (kind == "implicit-reward")


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("generative-judge", "chat_templat=x", "did you mean chat_template=?"),
        ("generative-judge", "chat_template=/none", "cannot be read"),
        ("hf", "chat_template=x", "--model hf takes no chat_template=; save the template"),
        ("hf-shared-prefix", "template_date=2026-01-01", "takes no template_date="),
        ("implicit-reward", "beta=1", "reference= is missing"),
        ("implicit-reward", "reference=/none", "no model '/none'"),
        ("generative-judge", "ratings=high", "is not numbers separated by"),
        ("generative-judge", "judge_prompt=/none", "cannot be read"),
        ("reward-server", "", "base_url= is missing"),
        ("reward-server", "base_url=http://127.0.0.1:9,max_retries=0", "127.0.0.1:9"),
    ],
)
def test_refusals(folder, kind, arguments, said):
    code, rows = doctor(folder, kind, "--model-args", arguments)
    assert code == 2
    assert said in rows["refused"]


def test_a_classifier_is_no_language_model(checkpoint):
    code, rows = doctor(checkpoint("llama"), "hf")
    assert code == 2
    assert "score it with --model reward" in rows["refused"]


def test_a_bare_model_has_no_template_and_a_judge_needs_one(tmp_path):
    tiny.build("llama", transformers.AutoModelForCausalLM).save_pretrained(tmp_path)
    tokenizer = tiny.tokenizer_of("llama")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    code, rows = doctor(tmp_path, "hf")
    assert code == 0
    assert rows["template"] == "none: leave --apply_chat_template out"
    code, rows = doctor(tmp_path, "generative-judge")
    assert code == 2
    assert "has no chat template" in rows["refused"]


def test_a_server_is_asked(checkpoint):
    with RewardServer(checkpoint("llama")) as server:
        code, rows = doctor(
            checkpoint("llama"), "reward-server", "--model-args", f"base_url={server.url}"
        )
    assert code == 0, rows
    assert rows["engine"] == "vllm"
    assert rows["served model"] == str(checkpoint("llama"))
    assert rows["activation"].startswith("raw")
