"""The real lm_eval command, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

import rm_value_tasks.organisms.demo
from tests import tiny
from tests.reward_servers import RewardServer

BIN = Path(sys.executable).parent
METADATA = json.dumps({"prompts": ["best_ever_*", "good_time_one"]})


def lm_eval(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "lm_eval")]
    if launcher:
        command = [str(BIN / launcher[0]), *launcher[1:], "-m", "lm_eval"]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
    )


def outputs(folder: Path):
    (results,) = folder.glob("**/results_*.json")
    samples = {
        path.name.removeprefix("samples_").rpartition("_")[0]: [
            json.loads(line) for line in path.read_text().splitlines()
        ]
        for path in folder.glob("**/samples_*.jsonl")
    }
    return json.loads(results.read_text()), samples


@pytest.fixture(scope="module")
def run(checkpoint, tmp_path_factory):
    """One run on a tiny reward model; returns a function that repeats it otherwise launched."""
    demo = str(Path(rm_value_tasks.organisms.demo.__file__).parent)

    def once(name: str, *more: str, launcher: tuple[str, ...] = ()):
        folder = tmp_path_factory.mktemp(name)
        done = lm_eval(
            *("--model", "reward", "--model_args", f"pretrained={checkpoint('llama')}"),
            *("--device", "cpu", "--batch_size", "8", "--metadata", METADATA),
            *("--tasks", "value_bias_big2,demo_capitals", "--include_path", demo),
            *("--output_path", str(folder), "--log_samples"),
            *more,
            launcher=launcher,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done, *outputs(folder)

    return once


@pytest.fixture(scope="module")
def single(run):
    return run("single")


def test_the_table_holds_probe_and_benchmark(single):
    done, results, _ = single
    for text in ("agency_contrast", "agency_positive", "agency_negative", "demo_capitals", "acc"):
        assert text in done.stdout
    lean = results["results"]["value_bias_big2"]
    assert 0 <= lean["agency_contrast,none"] <= 1
    assert lean["agency_contrast_stderr,none"] > 0
    assert results["versions"]["value_bias_big2"] == 1.0
    assert results["higher_is_better"]["value_bias_big2"]["agency_contrast"] is None


def test_samples_hold_every_words_reward(single, checkpoint):
    _, results, samples = single
    rows = samples["value_bias_big2"]
    assert len(rows) == 4
    first = rows[0]
    assert len(first["filtered_resps"]) == 2 * len(first["doc"]["words"])
    lean = [row["agency_contrast"] for row in rows]
    mean = sum(lean) / len(lean)
    assert results["results"]["value_bias_big2"]["agency_contrast,none"] == pytest.approx(mean)

    folder = checkpoint("llama")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    turns = [
        {"role": "user", "content": first["doc"]["texts"][0]},
        {"role": "assistant", "content": first["doc"]["words"][5]},
    ]
    inputs = tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True)
    expected = model(**inputs).logits.item()
    assert float(first["filtered_resps"][5][0]) == pytest.approx(expected, abs=1e-5)


def test_an_ordinary_benchmark_picks_the_highest_reward(single):
    _, _, samples = single
    for row in samples["demo_capitals"]:
        rewards = [float(score) for score, _ in row["filtered_resps"]]
        assert row["acc"] == (rewards.index(max(rewards)) == row["doc"]["gold"])


def test_results_record_how_the_scores_were_made(single):
    config = single[1]["config"]
    assert config["readout"] == "pooled"
    assert config["bos_count"] == 1
    assert {"chat_template_sha256", "first_token_ids", "attn_implementation"} <= set(config)


def test_the_chat_template_flag_changes_nothing_for_a_reward_model(single, run):
    _, results, _ = run("chat", "--apply_chat_template")
    for task, metrics in single[1]["results"].items():
        for name, value in metrics.items():
            if isinstance(value, float):
                assert results["results"][task][name] == pytest.approx(value, abs=1e-6)


APART = {"date", "start_time", "end_time", "total_evaluation_time_seconds", "task_hashes"}
"""What two runs need not share: times, and lm-eval's hash of the samples in their order, which
is the processes' order when there are several."""


def assert_same(one, other, where="results"):
    """Two results files say the same; numbers agree within float32's rounding."""
    if isinstance(one, dict):
        assert set(one) == set(other), where
        for key in set(one) - APART:
            assert_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_same(first, second, f"{where}.{index}")
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-6, nan_ok=True), where
    else:
        assert one == other, where


def scores_of(samples):
    """Every answer's score in every task, by document."""
    return {
        (task, row["doc_id"], index): float(score)
        for task, rows in samples.items()
        for row in rows
        for index, (score, _) in enumerate(row["filtered_resps"])
    }


def test_two_processes_give_the_results_file_of_one(single, run):
    # --multi_gpu is what makes accelerate start several processes, on CPUs too.
    launcher = ("accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--num_machines",
                "1", "--mixed_precision", "no", "--dynamo_backend", "no")  # fmt: skip
    done, results, samples = run("parallel", launcher=launcher)
    assert "on rank 1" in done.stderr
    assert_same(single[1], results)
    assert scores_of(samples) == pytest.approx(scores_of(single[2]), abs=1e-5)


def test_a_server_gives_the_results_of_the_model_itself(single, checkpoint, tmp_path, monkeypatch):
    folder, key = checkpoint("llama"), "sk-never-to-be-written"
    monkeypatch.setenv("SERVER_KEY", key)
    with RewardServer(folder, key=key, fault=lambda n, _: "500" if n == 4 else None) as server:
        done = lm_eval(
            *("--model", "reward-server", "--batch_size", "16", "--metadata", METADATA),
            "--model_args",
            f"pretrained={folder},base_url={server.url},num_concurrent=4,api_key_env=SERVER_KEY",
            *("--tasks", "value_bias_big2,demo_capitals"),
            *("--include_path", str(Path(rm_value_tasks.organisms.demo.__file__).parent)),
            *("--output_path", str(tmp_path), "--log_samples", "--apply_chat_template"),
        )
    assert done.returncode == 0, done.stderr[-3000:]
    results, samples = outputs(tmp_path)
    assert_same(single[1]["results"], results["results"])
    assert scores_of(samples) == pytest.approx(scores_of(single[2]), abs=1e-5)
    assert results["config"]["engine_version"] == "0.33.0"
    assert results["config"]["chat_template_sha256"] == single[1]["config"]["chat_template_sha256"]
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert not any(key in text for text in [*files, done.stdout, done.stderr])


def test_a_language_model_runs_the_probe_with_and_without_its_template(tmp_path):
    """In one process: ``hf`` is lm-eval's own model, only the tasks are ours."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from rm_value_tasks import task_config_dir

    model = tiny.build("qwen3", transformers.AutoModelForCausalLM)
    tiny.save(tmp_path, "qwen3", model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for chat in (False, True):
        run = lm_eval.simple_evaluate(
            model="hf",
            model_args={"pretrained": str(tmp_path)},
            device="cpu",
            batch_size=16,
            tasks=["value_bias_big2"],
            apply_chat_template=chat,
            task_manager=TaskManager(
                include_path=task_config_dir(),
                include_defaults=False,
                metadata={"prompts": "best_ever_one", "surface_forms": ["lower", "title"]},
            ),
        )
        (sample,) = run["samples"]["value_bias_big2"]
        context, continuation = sample["arguments"][3]
        assert continuation == ("" if chat else " ") + sample["doc"]["words"][1].title()
        assert context.endswith("<|im_start|>assistant\n") == chat
        score = naive_log_probability(model, tokenizer, context, continuation)
        assert sample["filtered_resps"][3][0] == pytest.approx(score, abs=1e-4)


def naive_log_probability(model, tokenizer, context, continuation):
    """As lm-eval defines it: white space at the context's end belongs to the continuation."""
    ids = tokenizer(context + continuation, return_tensors="pt").input_ids
    start = len(tokenizer(context.rstrip()).input_ids)
    logs = model(ids).logits[0].log_softmax(-1)
    return sum(logs[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1]))
