"""``--model reward-server`` against a loopback server with a tiny model, well and unwell."""

import functools
import itertools
import json
import logging
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.models.reward_server import ServerRewardLM
from rm_value_tasks.models.serving import client
from rm_value_tasks.models.serving.protocols import BadAnswer, make_backend, root_of
from rm_value_tasks.models.serving.raw_outputs import PROBES, refuse_activated
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.scores import Reward
from tests import tiny
from tests.models.test_reward import ANSWERS, requests
from tests.reward_servers import RewardServer

START = 2
"""Posts of the check at start: vLLM is asked with and without activation."""


def connect(server, folder, **arguments):
    return ServerRewardLM(
        server.url, **{"pretrained": str(folder), "retry_wait": 0, "batch_size": 8, **arguments}
    )


def rewards(model, **kwargs):
    return [float(score) for score, _ in model.loglikelihood(requests(**kwargs), disable_tqdm=True)]


@pytest.fixture(scope="module")
def expected(checkpoint):
    @functools.cache
    def of(name):
        return rewards(RewardLM(str(checkpoint(name)), device="cpu", batch_size=16))

    return of


def after_start(*faults):
    """The given faults for the first posts after the check at start, then none."""

    def fault(number, payload):
        return faults[number - START - 1] if START < number <= START + len(faults) else None

    return fault


@pytest.mark.parametrize(
    ("name", "program", "route"),
    [
        ("llama", "vllm", "classify"),
        ("llama", "vllm", "pooling"),
        ("llama", "sglang", "classify"),
        ("qwen3", "vllm", "classify"),
        ("gemma2", "sglang", "classify"),
    ],
)
def test_rewards_equal_those_of_model_reward(checkpoint, expected, name, program, route):
    folder = checkpoint(name)
    with RewardServer(folder, program) as server:
        model = connect(server, folder, route=route, num_concurrent=3)
        scores = model.loglikelihood(requests(), disable_tqdm=True)
        info = model.get_model_info()
    assert [float(score) for score, _ in scores] == pytest.approx(expected(name), abs=1e-5)
    assert {type(score) for score, _ in scores} == {Reward}
    assert info["engine"] == program
    assert info["engine_version"] == {"vllm": "0.33.0", "sglang": "0.5.23"}[program]
    assert info["served_model"] == str(folder)
    assert info["route"] == f"/{route}"
    assert info["max_length"] == 256
    hf = RewardLM(str(folder), device="cpu")
    rewards(hf)
    for key in ("chat_template_sha256", "first_token_ids", "bos", "bos_count", "score_kind"):
        assert info[key] == hf.get_model_info()[key]


def test_token_ids_are_sent_with_the_activation_off(checkpoint):
    folder = checkpoint("llama")
    with RewardServer(folder) as server:
        rewards(connect(server, folder))
    sent = server.posts[START:]
    assert {type(token) for post in sent for ids in post["input"] for token in ids} == {int}
    assert {post["use_activation"] for post in sent} == {False}
    assert {post["add_special_tokens"] for post in sent} == {False}
    bos = tiny.tokenizer_of("llama").bos_token_id
    assert all(ids[0] == bos != ids[1] for post in sent for ids in post["input"])
    assert sorted(len(post["input"]) for post in sent) == [1, *[8] * 10]


@pytest.mark.parametrize("fault", ["500", "503", "429", "drop", "cut"])
def test_what_may_pass_is_tried_again_and_every_score_comes_once(checkpoint, expected, fault):
    folder = checkpoint("llama")
    seen = []
    with RewardServer(folder, fault=after_start(fault, None, fault)) as server:
        model = connect(server, folder)
        model.cache_hook.add_partial = lambda kind, pair, result: seen.append(pair)
        assert rewards(model) == pytest.approx(expected("llama"), abs=1e-5)
    assert len(server.posts) == START + 11 + 2
    assert sorted(seen) == sorted(request.args for request in requests())


def test_a_slow_answer_times_out_and_is_asked_for_again(checkpoint, expected):
    folder = checkpoint("llama")
    with RewardServer(folder, fault=after_start("slow"), slow=8) as server:
        model = connect(server, folder, timeout=5)  # answers on a loaded machine take a second
        assert rewards(model) == pytest.approx(expected("llama"), abs=1e-5)
        assert len(server.posts) > START + 11


def test_a_server_that_stays_unwell_stops_the_run_after_the_last_try(checkpoint):
    folder = checkpoint("llama")
    fault = after_start(*["500"] * 99)
    with RewardServer(folder, fault=fault) as server:
        model = connect(server, folder, max_retries=2, num_concurrent=1)
        with pytest.raises(ModelError, match=r"/classify failed 3 times in a row.*HTTP 500: busy"):
            rewards(model)
        assert len(server.posts) == START + 3


def test_nobody_at_the_address(checkpoint):
    with RewardServer(checkpoint("llama")) as server:
        pass
    with pytest.raises(ModelError, match=r"/v1/models failed 2 times in a row, last with Client"):
        connect(server, checkpoint("llama"), max_retries=1)


@pytest.mark.parametrize("program", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fewer", "7 answers to 8 conversations"),
        ("bare", "answered with .* where a"),
        ("text", r"'0\.5'\] where a list of numbers belongs"),
        ("empty", r"is \[\] where a list of numbers"),
        ("nested", r"is \[\[0\.5\]\] where a list of numbers"),
        ("truth", r"is \[True\] where a list of numbers"),
        ("none", "is None where a list of numbers"),
        ("truncated", r"tokens read where \d+ were sent"),
        ("html", "'<html>hello</html>', which is no JSON"),
        ("400", "HTTP 400: This model does not support the classify task"),
        ("null", r"the reward of the answer '[\w ]+!?' to 'What.*' is nan"),
    ],
)
def test_a_wrong_answer_stops_the_run_at_once(checkpoint, program, fault, message):
    folder = checkpoint("llama")
    start = {"vllm": START, "sglang": 1}[program]
    spoil = lambda number, payload: fault if number == start + 1 else None  # noqa: E731
    with RewardServer(folder, program, fault=spoil) as server:
        model = connect(server, folder, num_concurrent=1)
        with pytest.raises(ModelError, match=message):
            rewards(model)
        assert len(server.posts) == start + 1


def test_answers_out_of_order_are_put_in_order_and_doubled_ones_refused(checkpoint, expected):
    folder = checkpoint("llama")
    with RewardServer(folder, fault=lambda number, payload: "reversed") as server:
        assert rewards(connect(server, folder)) == pytest.approx(expected("llama"), abs=1e-5)
    with RewardServer(folder, fault=after_start("twice")) as server:
        model = connect(server, folder)
        with pytest.raises(ModelError, match=r"answered with indices \[0, 1, 2, 3, 4, 5, 6, 0\]"):
            rewards(model)


def test_an_activation_that_cannot_be_switched_off_is_refused(checkpoint, tmp_path, caplog):
    folder = checkpoint("llama")
    with (
        RewardServer(folder, activated=True) as server,
        pytest.raises(ModelError, match="same with and without its activation"),
    ):
        connect(server, folder)
    for program in ("vllm", "sglang"):
        with (
            RewardServer(folder, program, fault=lambda number, payload: "same") as server,
            pytest.raises(ModelError, match=r"the same output, \[1.0\], for 4 different"),
        ):
            connect(server, folder)
    three = tiny.save(tmp_path, "llama", num_labels=3)
    with (
        RewardServer(three, "sglang", activated=True) as server,
        pytest.raises(ModelError, match="add up to 1, so a softmax is on"),
    ):
        connect(server, three)
    with RewardServer(folder, "sglang", activated=True) as server:
        with caplog.at_level(logging.WARNING):
            model = connect(server, folder)
        assert model.get_model_info()["activation"].startswith("not proven")
        assert "lie between 0 and 1" in caplog.text


def test_small_raw_rewards_are_told_from_activated_ones():
    small, squeezed = [[0.1], [0.2], [0.3], [0.4]], [[0.52], [0.55], [0.57], [0.6]]
    assert refuse_activated(small, squeezed).startswith("raw: asking")
    assert refuse_activated([[0.1], [1.2], [0.3], [0.4]], None).startswith("raw: outputs outside")
    with pytest.raises(ModelError, match="same with and without"):
        refuse_activated(squeezed, squeezed)
    with pytest.raises(ModelError, match="another dtype"):
        refuse_activated([[0.1], [float("nan")]], None)
    assert len(PROBES) == len(set(PROBES))


@pytest.mark.parametrize("name", ["llama", "gemma2"])  # gemma2's template takes no system turn
def test_lm_evals_chat_template_gives_what_model_reward_gives(checkpoint, name):
    folder = checkpoint(name)
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PROMPTS[0].text},
    ]
    with RewardServer(folder) as server:
        model = connect(server, folder)
        hf = RewardLM(str(folder), device="cpu", batch_size=8)
        ours, theirs = (lm.apply_chat_template(turns) for lm in (model, hf))
        assert (ours, ours.messages) == (theirs, theirs.messages)
        chat = [
            Instance("loglikelihood", {}, (ours, answer), index, metadata=("probe", 0, 1))
            for index, answer in enumerate(ANSWERS[:4])
        ]
        served, here = (lm.loglikelihood(chat, disable_tqdm=True) for lm in (model, hf))
        assert [score for score, _ in served] == pytest.approx([s for s, _ in here], abs=1e-5)
        assert model.chat_template(True) == hf.tokenizer.chat_template
        assert model.tokenizer_name == hf.tokenizer_name


def test_several_labels_need_a_choice(tmp_path):
    folder = tiny.save(tmp_path, "llama", num_labels=3)
    with RewardServer(folder) as server:
        with pytest.raises(ModelError, match=r"3 labels.*label=INDEX"):
            rewards(connect(server, folder))
        for arguments in ({"label": 2}, {"weights": "0.5;0;-2"}):
            readout = {"readout": "weighted"} if "weights" in arguments else {}
            hf = RewardLM(str(folder), device="cpu", batch_size=16, **readout, **arguments)
            served = rewards(connect(server, folder, **arguments))
            assert served == pytest.approx(rewards(hf), abs=1e-5)
        with pytest.raises(ModelError, match="2 numbers but the model has 3 labels"):
            rewards(connect(server, folder, weights="1;2"))
        with pytest.raises(ModelError, match="label=5 is none of the model's 3"):
            rewards(connect(server, folder, label=5))
        with pytest.raises(ModelError, match="exclude each other"):
            connect(server, folder, label=1, weights="0.5")
        for readout in ("lm_logit", "process", "weighted"):
            with pytest.raises(ModelError, match="there is no argument readout="):
                connect(server, folder, readout=readout)


def test_long_input_is_refused_before_it_is_sent(checkpoint):
    folder = checkpoint("llama")
    with RewardServer(folder, max_model_len=90) as server:
        model = connect(server, folder)
        with pytest.raises(ModelError, match=r"has \d+ tokens but the model takes 90"):
            rewards(model, answers=["love", "very " * 80])
        assert len(server.posts) == START
        model = connect(server, folder, max_length=20)
        with pytest.raises(ModelError, match="the model takes 20"):
            rewards(model)


def test_a_stopped_run_goes_on_from_lm_evals_cache(checkpoint, expected, tmp_path):
    folder = checkpoint("llama")
    cache = str(tmp_path / "cache.db")
    fault = lambda number, payload: "400" if number > START + 4 else None  # noqa: E731
    with RewardServer(folder, fault=fault) as server:
        broken = CachingLM(connect(server, folder, num_concurrent=1), cache)
        with pytest.raises(ModelError, match="HTTP 400"):
            broken.loglikelihood(requests())
        server.fault = lambda number, payload: None
        server.posts.clear()
        again = CachingLM(connect(server, folder), cache)
        scores = [float(score) for score, _ in again.loglikelihood(requests())]
    assert scores == pytest.approx(expected("llama"), abs=1e-5)
    sent = sum(len(post["input"]) for post in server.posts[START:])
    assert sent == len(scores) - 4 * 8


def test_requests_are_under_way_together_but_no_more_than_asked(checkpoint):
    folder = checkpoint("llama")
    fault = lambda number, payload: "slow" if number > START else None  # noqa: E731
    with RewardServer(folder, fault=fault, slow=0.1) as server:
        rewards(connect(server, folder, num_concurrent=4))
    assert server.most_under_way == 4


def test_a_key_is_masked_before_a_long_message_is_cut():
    settings = {"num_concurrent": 1, "timeout": 1, "max_retries": 0, "retry_wait": 0}
    asking = client.RewardServer("http://h", key="sk-very-secret", **settings)
    said = asking._said(b"x" * 295 + b"sk-very-secret " * 9)
    assert said == "x" * 295 + "*** \N{HORIZONTAL ELLIPSIS}"


def test_the_key_comes_from_the_environment_and_is_never_shown(checkpoint, monkeypatch, capfd):
    folder, key = checkpoint("llama"), "sk-very-secret"
    with RewardServer(folder, "sglang", key=key) as server:
        with pytest.raises(ModelError, match=r"HTTP 401: Unauthorized; put the server's key"):
            connect(server, folder)
        with pytest.raises(ModelError, match="'NO_SUCH_NAME' names an environment variable"):
            connect(server, folder, api_key_env="NO_SUCH_NAME")
        monkeypatch.setenv("MY_KEY", key)
        model = connect(server, folder, api_key_env="MY_KEY", max_retries=0)
        assert key not in json.dumps(model.get_model_info())
        monkeypatch.setenv("REWARD_SERVER_API_KEY", key)
        model = connect(server, folder, max_retries=0)
        server.fault = lambda number, payload: "500"  # whose text echoes the header
        with pytest.raises(ModelError, match=r"HTTP 500: busy Bearer \*\*\*"):
            rewards(model)
        server.fault = lambda number, payload: "drop"
        with pytest.raises(ModelError, match="ServerDisconnectedError") as caught:
            rewards(model)
    assert key not in repr(caught.value) + "".join(capfd.readouterr())
    with pytest.raises(ModelError, match="api_key= would be written into lm-eval's results"):
        connect(server, folder, api_key=key)
    with pytest.raises(ModelError, match="holds a user name, password"):
        root_of(f"http://me:{key}@localhost:8000")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(-1, 3) | JSON,
        "meta_info": st.fixed_dictionaries({}, optional={"prompt_tokens": st.integers(1, 3)})
        | JSON,
        **dict.fromkeys(("probs", "data", "embedding"), st.lists(st.floats() | JSON, max_size=2)),
    },
)
LIST = st.lists(ITEM | JSON, max_size=3)
ANSWER = st.fixed_dictionaries({"data": LIST | JSON}, optional={"usage": JSON}) | LIST | JSON


@settings(max_examples=50, deadline=None)
@given(ANSWER, st.sampled_from([("vllm", "classify"), ("vllm", "pooling"), ("sglang", "classify")]))
@example(
    {"data": [{"index": 0, "probs": [10**400]}, {"index": 1, "probs": [1]}]}, ("vllm", "classify")
)
@example([{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}], ("sglang", "classify"))
def test_any_answer_is_read_whole_or_refused(answer, which):
    batch = [[1, 2], [3]]
    try:
        rows = make_backend(which[0], model="m", route=which[1]).rows(answer, batch)
    except BadAnswer:
        pass
    else:
        assert len(rows) == len(batch)
        assert {type(value) for row in rows for value in row} == {float}
        assert len({len(row) for row in rows}) == 1


@pytest.mark.parametrize(
    ("base_url", "root"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("https://host/models/a/classify", "https://host/models/a"),
    ],
)
def test_the_servers_address(base_url, root):
    assert root_of(base_url) == root


@pytest.mark.parametrize(
    ("base_url", "message"),
    [
        ("http://h/v1/classify", "ends in a softmax"),
        ("http://h/score", "sentence pairs"),
        ("http://h/v1/score", "sentence pairs"),
        ("http://h/v1/chat/completions", "language models"),
        ("localhost:8000", "no http address"),
        ("http:///", "no http address"),
        ("http://h:99999", "no http address"),
        ("http://h:port", "no http address"),
        ("http://[::1", "no http address"),
        ("http://two words", "no http address"),
    ],
)
def test_addresses_that_give_no_raw_rewards_are_refused(base_url, message):
    with pytest.raises(ModelError, match=message):
        root_of(base_url)


def test_which_program_serves_is_asked_or_told(checkpoint, expected):
    folder = checkpoint("llama")
    with RewardServer(folder, lists_models=False) as server:
        with pytest.raises(ModelError, match="give backend=vllm or backend=sglang"):
            connect(server, folder)
        model = connect(server, folder, backend="vllm")
        assert rewards(model) == pytest.approx(expected("llama"), abs=1e-5)
        assert model.get_model_info()["max_length"] is None
    with RewardServer(folder) as server:
        for arguments, message in (
            ({"backend": "sglang"}, "backend=sglang was given but the server .* is vllm"),
            ({"backend": "tgi"}, "'tgi' is none of vllm, sglang"),
            ({"route": "score"}, "'score' is none of vllm's classify, pooling .*sentence pairs"),
            ({"model": "other"}, "'other' is none that the server holds"),
            ({"pretrained": None}, "give pretrained=MODEL"),
            ({"num_concurrent": 0}, "must be above 0"),
        ):
            with pytest.raises(ModelError, match=message):
                ServerRewardLM(server.url, **{"pretrained": str(folder), **arguments})


def test_several_processes_are_refused(checkpoint, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ModelError, match="several processes would each score everything"):
        ServerRewardLM("http://localhost:1", pretrained=str(checkpoint("llama")))


def test_it_works_where_an_event_loop_runs_already(checkpoint, expected):
    import asyncio

    folder = checkpoint("llama")

    async def notebook():
        return rewards(connect(server, folder))

    with RewardServer(folder) as server:
        assert asyncio.run(notebook()) == pytest.approx(expected("llama"), abs=1e-5)


def test_requests_that_need_another_model_are_refused(checkpoint):
    folder = checkpoint("llama")
    with RewardServer(folder) as server:
        model = connect(server, folder)
        with pytest.raises(ModelError, match="'lambada' asks for one answer"):
            rewards(model, answers=["love"], task="lambada")
        with pytest.raises(ModelError, match="wikitext asks for perplexities"):
            model.loglikelihood_rolling(requests(task="wikitext"))
        with pytest.raises(ModelError, match="gsm8k asks for generated text"):
            model.generate_until(requests(task="gsm8k"))
        assert rewards(model, prompts=PROMPTS[:1], answers=ANSWERS[:2])


def test_without_the_extra_one_sentence_says_what_is_missing(checkpoint, monkeypatch):
    monkeypatch.delitem(sys.modules, "rm_value_tasks.models.serving.client", raising=False)
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(
        ModelError, match=r"needs tenacity, .*pip install 'rm-value-tasks\[server\]'"
    ):
        ServerRewardLM("http://localhost:1", pretrained=str(checkpoint("llama")))


def test_waits_between_tries_grow_or_are_what_the_server_asks_for(checkpoint):
    folder = checkpoint("llama")
    with RewardServer(folder, fault=after_start(*["500"] * 3)) as server:
        rewards(connect(server, folder, retry_wait=0.1), prompts=PROMPTS[:1], answers=ANSWERS[:8])
    tries = server.times[START:]
    waits = [after - before for before, after in itertools.pairwise(tries)]
    assert all(wait >= least for wait, least in zip(waits, (0.1, 0.2, 0.4), strict=True))
    with RewardServer(folder, fault=after_start("429"), retry_after="1") as server:
        rewards(connect(server, folder), prompts=PROMPTS[:1], answers=ANSWERS[:8])
    assert server.times[-1] - server.times[-2] >= 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("model", "rewards of the model 'another', not of"),
        ("deep", "which is no JSON"),
        ("endless", "over 64 MiB"),
        ("gzip", "which is no JSON|failed 1 times"),
    ],
)
def test_answers_that_no_classifier_gives_are_refused(checkpoint, fault, said):
    folder = checkpoint("llama")
    with RewardServer(
        folder, fault=lambda number, payload: fault if number > 2 else None
    ) as server:
        model = connect(server, folder, max_retries=0)
        with pytest.raises(ModelError, match=said) as refused:
            rewards(model)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("key", ["two\nlines", "a b", "k\u00e9y", "a\r\nX-Evil: 1"])
def test_a_key_that_is_none_is_refused_before_anything_is_sent(checkpoint, monkeypatch, key):
    monkeypatch.setenv("REWARD_SERVER_API_KEY", key)
    with RewardServer(checkpoint("llama")) as server:
        with pytest.raises(ModelError, match="holds a line break, a space or another sign") as told:
            connect(server, checkpoint("llama"))
        assert server.paths == []
    assert key not in str(told.value)


def test_a_key_that_the_server_sends_back_is_not_kept(checkpoint, monkeypatch):
    key = "sk-very-secret"
    monkeypatch.setenv("REWARD_SERVER_API_KEY", key)
    with RewardServer(checkpoint("llama"), key=key, echo=f"/models/{key}") as server:
        model = connect(server, checkpoint("llama"))
        told = json.dumps([model.get_model_info(), model.cache_settings()])
    assert key not in told
    assert "/models/***" in told
