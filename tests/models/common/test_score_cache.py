"""``--use_cache`` gives out no scores of another model, readout or template."""

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.models.huggingface import HFLM

from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.generative_judge import GenerativeJudgeLM
from rm_value_tasks.models.hf_shared_prefix import SharedPrefixLM
from rm_value_tasks.models.implicit_reward import ImplicitRewardLM
from rm_value_tasks.models.recorded_rewards import RecordedRewards
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.models.reward_server import ServerRewardLM
from tests import tiny
from tests.reward_servers import RewardServer

QUESTION = "What, in one word, is the best thing ever?"


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache.db")


def run(model, cache):
    pairs = [(QUESTION, " freedom"), (QUESTION, " love")]
    requests = [
        Instance("loglikelihood", {}, pair, index, metadata=("probe", 0, 1))
        for index, pair in enumerate(pairs)
    ]
    cached = CachingLM(model, cache)
    return [float(score) for score, _ in cached.loglikelihood(requests)]


def reward(folder, **arguments):
    return RewardLM(str(folder), device="cpu", **arguments)


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"bos": "paper"}, "bos='one', not 'paper'"),
        ({"label": 1}, "label=0, not 1"),
        ({"readout": "weighted", "weights": "0.5;0.5"}, "label=0, not None"),
        ({"dtype": "bfloat16"}, "dtype="),
        ({"append_token": 5}, "appended_token_ids="),
    ],
)
def test_another_setting_is_refused_and_the_same_goes_on(tmp_path, cache, other, named):
    folder = tiny.save(tmp_path, "llama", num_labels=2)
    scores = run(reward(folder, label=0), cache)
    assert run(reward(folder, label=0, batch_size=2, shared_prefix=False), cache) == scores
    changed = other if "readout" in other else {"label": 0, **other}
    with pytest.raises(ModelError, match=rf"made with {named}.*--use_cache"):
        run(reward(folder, **changed), cache)
    assert run(reward(folder, label=0), cache) == scores  # the refusal left it as it was


def test_another_template_or_model_is_refused(checkpoint, tmp_path, cache):
    run(reward(checkpoint("qwen3")), cache)
    template = tmp_path / "template.jinja"
    template.write_text(tiny.LLAMA3)
    with pytest.raises(ModelError, match="chat_template_sha256="):
        run(reward(checkpoint("qwen3"), chat_template=str(template)), cache)
    with pytest.raises(ModelError, match="--use_cache"):
        run(reward(checkpoint("llama")), cache)


@pytest.mark.parametrize("replaced", ["head", "weights", "tokenizer", "config"])
def test_what_was_replaced_in_the_same_folder_is_refused(tmp_path, cache, replaced):
    folder = tiny.save(tmp_path, "llama")
    run(reward(folder), cache)
    model = tiny.build("llama", seed=1 if replaced == "weights" else 0)
    if replaced == "head":
        model.score.weight.data.neg_()
    if replaced == "config":
        model.config.rms_norm_eps = 0.1
    tiny.save(folder, "llama", model)
    if replaced == "tokenizer":
        tokenizer = tiny.tokenizer_of("llama")
        tokenizer.add_tokens(["zzz"])
        tokenizer.save_pretrained(folder)
    digest = {"head": "weights", "weights": "weights"}.get(replaced, replaced)
    with pytest.raises(ModelError, match=rf"{digest}_digest=.*--use_cache"):
        run(reward(folder), cache)
    run(reward(folder), cache + "2")


def test_a_replaced_adapter_is_refused(tmp_path, cache):
    from peft import LoraConfig, get_peft_model

    folder = tiny.save(tmp_path / "model", "llama")

    def adapt(seed):
        model = tiny.build("llama")
        torch.manual_seed(seed)
        config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
        get_peft_model(model, config).save_pretrained(tmp_path / "adapter")
        return reward(folder, peft=str(tmp_path / "adapter"))

    scores = run(adapt(0), cache)
    assert run(adapt(0), cache) == scores
    with pytest.raises(ModelError, match="weights_digest="):
        run(adapt(1), cache)


@pytest.mark.parametrize("sequential", [True, False])
def test_a_replaced_reference_is_refused(tmp_path, cache, sequential):
    def save(folder, seed):
        causal = transformers.AutoModelForCausalLM
        return str(tiny.save(tmp_path / folder, "llama", tiny.build("llama", causal, seed=seed)))

    def model():
        places = {"pretrained": str(tmp_path / "policy"), "reference": str(tmp_path / "reference")}
        return ImplicitRewardLM(**places, sequential=sequential, device="cpu")

    save("policy", 0), save("reference", 1)
    run(model(), cache)
    save("reference", 2)
    with pytest.raises(ModelError, match="reference_pretrained_digest="):
        run(model(), cache)


def test_answers_of_a_model_that_leaves_no_name_are_refused(checkpoint, tmp_path, cache):
    folder = tiny.save(tmp_path, "llama", tiny.build("llama", transformers.AutoModelForCausalLM))
    found = run(HFLM(str(folder), device="cpu"), cache)
    with pytest.raises(ModelError, match="answers of a model that is not named there"):
        run(reward(checkpoint("llama")), cache)
    # but hf-shared-prefix stands for lm-eval's own
    assert run(SharedPrefixLM(str(folder), device="cpu"), cache) == found


def test_log_probabilities_of_replaced_weights_are_refused(checkpoint, tmp_path, cache):
    causal = transformers.AutoModelForCausalLM
    folder = tiny.save(tmp_path, "llama", tiny.build("llama", causal))
    scores = run(SharedPrefixLM(str(folder), device="cpu"), cache)
    assert run(SharedPrefixLM(str(folder), device="cpu", batch_size=4), cache) == scores
    with pytest.raises(ModelError, match="--use_cache"):
        run(reward(checkpoint("llama")), cache)
    tiny.save(folder, "llama", tiny.build("llama", causal, seed=3))
    with pytest.raises(ModelError, match=r"weights_digest=.*--use_cache"):
        run(SharedPrefixLM(str(folder), device="cpu"), cache)


def test_another_reference_or_judge_is_refused(tmp_path, cache):
    folders = [
        str(tiny.save(tmp_path / name, name, tiny.build(name, transformers.AutoModelForCausalLM)))
        for name in ("llama", "qwen3")
    ]
    policy, reference = folders
    implicit = {"pretrained": policy, "reference": reference, "device": "cpu"}
    scores = run(ImplicitRewardLM(**implicit), cache)
    assert run(ImplicitRewardLM(**implicit, sequential=True), cache) == scores
    for other in ({"beta": 0.5}, {"reference": policy}, {"score": "mwlr"}, {"reference": "none"}):
        with pytest.raises(ModelError, match=rf"{next(iter(other))}=.*--use_cache"):
            run(ImplicitRewardLM(**{**implicit, **other}), cache)
    secret = ImplicitRewardLM(**implicit, reference_token="hf_secret", token="hf_secret")
    assert "hf_secret" not in str(secret.cache_settings())
    judged = cache + "judge"
    run(GenerativeJudgeLM(policy, device="cpu"), judged)
    with pytest.raises(ModelError, match="judge_labels="):
        run(GenerativeJudgeLM(policy, device="cpu", ratings="1;2;3"), judged)


def test_a_server_may_move_but_not_change_its_model(checkpoint, tmp_path, cache):
    def at(server, **arguments):
        return ServerRewardLM(server.url, pretrained=str(folder), **arguments)

    folder = checkpoint("llama")
    with RewardServer(folder) as server:
        scores = run(at(server), cache)
        with pytest.raises(ModelError, match="bos="):
            run(at(server, bos="paper"), cache)
    with RewardServer(folder) as server:
        assert run(at(server, batch_size=4, timeout=9), cache) == scores
    other = tiny.save(tmp_path, "llama", tiny.build("llama", seed=7))
    with RewardServer(other) as server:
        model = at(server)
        model._served = {"model": str(folder), "path": str(folder)}  # served under one name
        with pytest.raises(ModelError, match="first_outputs="):
            run(model, cache)


def test_another_file_of_scores_is_refused(tmp_path, cache):
    for name, score in (("one.csv", 1), ("two.csv", 2)):
        rows = [f'"{QUESTION}",{word},{score}' for word in ("freedom", "love")]
        (tmp_path / name).write_text("\n".join(["prompt,response,score", *rows]))
    assert run(RecordedRewards(str(tmp_path / "one.csv")), cache) == [1, 1]
    with pytest.raises(ModelError, match="scores_sha256="):
        run(RecordedRewards(str(tmp_path / "two.csv")), cache)
