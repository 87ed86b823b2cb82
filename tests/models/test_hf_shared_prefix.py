"""``hf-shared-prefix`` gives the numbers of ``hf``."""

import logging
import random

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

import rm_value_tasks.models  # noqa: F401  (registers the model)
from rm_value_tasks.models.hf_shared_prefix import SharedPrefixLM
from rm_value_tasks.models.prefix.forward import SharedPrefixEngine
from rm_value_tasks.prompts import PROMPTS
from tests import tiny

WORDS = [
    *("freedom", "love", "family", "friendship", "friend", "friendly", "trust", "a", "power"),
    *("powerful", "ambition", "success", "dog", "cats", "animals", "language", "user", "users"),
    *("box", "jugs", "five", "dozen", "quick", "brown", "fox", "jumps", "over", "the", "lazy"),
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def causal():
    made = {}

    def make(name, **changes):
        key = (name, *sorted(changes.items()))
        if key not in made:
            made[key] = tiny.build(name, AutoModelForCausalLM, **changes)
        return made[key]

    return make


def wrap(kind, model, name, **arguments):
    return kind(
        model,
        **{
            "tokenizer": tiny.tokenizer_of(name),
            "batch_size": 4,
            "device": "cpu",
            **arguments,
        },
    )


def requests():
    """Probes (many words a prompt), ordinary documents, single ones and an empty context."""
    pairs = [(prompt.text, f" {word}") for prompt in PROMPTS[:2] for word in WORDS]
    pairs += [
        (prompt.text, text) for prompt in PROMPTS[9:11] for text in (" a dog", " a cat", " a")
    ]
    pairs += [("", " love"), ("Which animal barks? ", "the dog"), (PROMPTS[0].text, " freedom")]
    # Contexts differ and the continuation is the same, as in Winogrande.
    start = "The quick brown fox jumps over the lazy dog with five dozen jugs since the "
    pairs += [(start + word, " is lazy and quick") for word in WORDS[:6]]
    random.Random(0).shuffle(pairs)
    return [
        Instance("loglikelihood", {}, pair, index, metadata=("task", index, 1))
        for index, pair in enumerate(pairs)
    ]


def assert_same(found, expected, tolerance=1e-5):
    assert [logp for logp, _ in found] == pytest.approx(
        [logp for logp, _ in expected], abs=tolerance, rel=1e-6
    )
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def run(model, asked=None):
    return model.loglikelihood(asked or requests(), disable_tqdm=True)


@pytest.mark.parametrize("name", tiny.DECODERS)
def test_same_numbers_as_hf(causal, name):
    expected = run(wrap(HFLM, causal(name), name))
    for batch_size in (1, 4, "auto"):
        model = wrap(SharedPrefixLM, causal(name), name, batch_size=batch_size)
        assert_same(run(model), expected)
        assert model._sharing._engine is not None


def test_most_requests_skip_the_ordinary_path(causal, monkeypatch):
    ordinary = []
    original = HFLM._loglikelihood_tokens

    def spy(self, asked, *args, **kwargs):
        ordinary.append(len(asked))
        return original(self, asked, *args, **kwargs)

    monkeypatch.setattr(HFLM, "_loglikelihood_tokens", spy)
    model = wrap(SharedPrefixLM, causal("llama"), "llama")
    run(model)
    assert sum(ordinary) < len(requests()) / 3  # the self-check and the single ones
    ordinary.clear()
    run(wrap(SharedPrefixLM, causal("llama"), "llama", shared_prefix=False))
    assert ordinary == [len(requests())]


@pytest.mark.parametrize("cap", [None, 2.0])
def test_the_heads_soft_capping_is_the_models_own(causal, cap):
    model = causal("gemma2", final_logit_softcapping=cap)
    assert_same(run(wrap(SharedPrefixLM, model, "gemma2")), run(wrap(HFLM, model, "gemma2")))


@pytest.mark.parametrize("max_length", [12, 24])
def test_long_requests_are_truncated_as_hf_does(causal, max_length, caplog):
    arguments = {"max_length": max_length}
    expected = run(wrap(HFLM, causal("llama"), "llama", **arguments))
    assert expected != run(wrap(HFLM, causal("llama"), "llama"))
    caplog.clear()
    found = run(wrap(SharedPrefixLM, causal("llama"), "llama", **arguments))
    assert_same(found, expected)
    assert "exceeds model's maximum length" in caplog.text


def test_what_greedy_decoding_gives_is_greedy(causal):
    model = wrap(SharedPrefixLM, causal("llama"), "llama")
    context = list(range(10, 40))
    ids = model.model.generate(torch.tensor([context]), max_new_tokens=3, do_sample=False)
    best = ids[0, len(context) :].tolist()
    asked = [(None, context, best), (None, context, best[:1])]
    asked += [(None, context, [*best[:2], token]) for token in range(5, 12)]
    asked += [(None, context, [token, *best[:2]]) for token in range(5, 12)]
    found = model._loglikelihood_tokens(asked, disable_tqdm=True)
    ordinary = wrap(HFLM, causal("llama"), "llama")._loglikelihood_tokens(asked, disable_tqdm=True)
    assert_same(found, ordinary)
    assert [greedy for _, greedy in found[:2]] == [True, True]
    assert model._sharing._engine is not None


class _Refusing(LM):
    """A model that may not be asked."""

    def loglikelihood(self, requests):
        raise AssertionError("the cache lacks an answer")

    loglikelihood_rolling = generate_until = loglikelihood


def test_use_cache_stores_every_answer(causal, tmp_path):
    expected = run(wrap(HFLM, causal("llama"), "llama"))
    cached = CachingLM(wrap(SharedPrefixLM, causal("llama"), "llama"), str(tmp_path / "answers.db"))
    assert_same(cached.loglikelihood(requests()), expected)
    unique = {request.args for request in requests()}
    assert len(cached.dbdict) == len(unique)
    again = CachingLM(_Refusing(), str(tmp_path / "answers.db"))
    assert_same(again.loglikelihood(requests()), expected)


def test_perplexities_are_hfs(causal):
    texts = [Instance("loglikelihood_rolling", {}, (" ".join(WORDS * 3),), 0)] * 2
    expected = wrap(HFLM, causal("llama"), "llama").loglikelihood_rolling(texts, True)
    found = wrap(SharedPrefixLM, causal("llama"), "llama").loglikelihood_rolling(texts, True)
    assert found == expected


def test_bfloat16_is_as_near_as_hf_is(causal):
    truth = [logp for logp, _ in run(wrap(HFLM, causal("llama"), "llama"))]
    coarse = tiny.build("llama", AutoModelForCausalLM).bfloat16()
    errors = {}
    for kind in (HFLM, SharedPrefixLM):
        model = wrap(kind, coarse, "llama")
        errors[kind] = max(
            abs(logp - true) for (logp, _), true in zip(run(model), truth, strict=True)
        )
    assert model._sharing._engine is not None
    assert 0 < errors[SharedPrefixLM] <= errors[HFLM]  # whose soft-max is in bfloat16 too


def lora(model):
    config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "up_proj"])
    adapted = get_peft_model(model, config).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return adapted


def test_adapters():
    model = tiny.build("llama", AutoModelForCausalLM)
    plain = run(wrap(HFLM, model, "llama"))
    adapted = lora(model)
    expected = run(wrap(HFLM, adapted, "llama"))
    assert expected != plain
    shared = wrap(SharedPrefixLM, adapted, "llama")
    assert_same(run(shared), expected)
    assert shared._sharing._engine is not None


def unfit(name):
    """Models that cannot share, with the reason given."""
    if name == "prompt tuning":
        model = tiny.build("llama", AutoModelForCausalLM)
        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
        return get_peft_model(model, config).eval(), "virtual tokens before the prompt"
    if name == "mamba":
        torch.manual_seed(0)
        config = transformers.MambaConfig(
            vocab_size=700, hidden_size=32, num_hidden_layers=2, state_size=4
        )
        return AutoModelForCausalLM.from_config(config).eval(), "cannot run on a prefix"
    model = tiny.build("llama", AutoModelForCausalLM)
    model.lm_head.register_forward_hook(  # logits that depend on more than a hidden state
        lambda module, args, logits: logits * (1 + torch.arange(logits.shape[1])[:, None] / 100)
    )
    return model, "log-probabilities come out different"


@pytest.mark.parametrize("name", ["prompt tuning", "mamba", "odd head"])
def test_unfit_models_take_hfs_path_and_say_so_once(name, caplog):
    model, reason = unfit(name)
    expected = run(wrap(HFLM, model, "llama"))
    shared = wrap(SharedPrefixLM, model, "llama")
    with caplog.at_level(logging.WARNING, logger="lm_eval"):
        assert run(shared) == expected
        assert run(shared) == expected
    said = [record.message for record in caplog.records if "cannot share" in record.message]
    assert len(said) == 1
    assert reason in said[0]


def test_seq2seq_takes_hfs_path():
    torch.manual_seed(0)
    tokenizer = tiny.tokenizer_of("llama")
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        decoder_start_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    shared = wrap(SharedPrefixLM, model, "llama", backend="seq2seq")
    asked = requests()[:5]
    assert run(shared, asked) == run(wrap(HFLM, model, "llama", backend="seq2seq"), asked)
    assert shared._sharing._engine is None


def test_it_is_registered():
    assert get_model("hf-shared-prefix") is SharedPrefixLM


def test_a_wrong_engine_would_be_found_out(causal, monkeypatch, caplog):
    right = SharedPrefixEngine.loglikelihood
    monkeypatch.setattr(
        SharedPrefixEngine,
        "loglikelihood",
        lambda *args, **kwargs: [(logp - 0.1, greedy) for logp, greedy in right(*args, **kwargs)],
    )
    expected = run(wrap(HFLM, causal("llama"), "llama"))
    assert run(wrap(SharedPrefixLM, causal("llama"), "llama")) == expected
    assert "cannot share prefixes" in caplog.text
