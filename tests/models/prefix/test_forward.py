"""The engine against naive scoring, one conversation at a time without any cache."""

import random

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForCausalLM

from rm_value_tasks.models.prefix import log_probabilities
from rm_value_tasks.models.prefix.check import supports
from rm_value_tasks.models.prefix.forward import SharedPrefixEngine
from tests import tiny

VOCABULARY = 400
WEIGHTS = torch.linspace(-1, 1, 32)
# Windows of 16 bind (tests/tiny.py): alone, at the prefix's end, and inside the answers.
PREFIXES = (1, 5, 13, 15, 16, 30)
CASES = [
    (name, attention)
    for name in tiny.DECODERS
    for attention in ("eager", "sdpa")
    if (name, attention) != ("gemma2", "sdpa")  # transformers refuses it: soft-capping
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def backbone():
    made = {}

    def make(name, attention="sdpa", **changes):
        key = (name, attention, *sorted(changes.items()))
        if key not in made:
            made[key] = tiny.build(name, AutoModel, vocab_size=VOCABULARY, **changes)
            made[key].set_attn_implementation(attention)
        return made[key]

    return make


def readout(hidden):
    return hidden.float() @ WEIGHTS


def some_tokens(generator, count):
    return [generator.randrange(5, VOCABULARY) for _ in range(count)]


def some_suffixes(generator, count=13, longest=6):
    return [some_tokens(generator, generator.randint(1, longest)) for _ in range(count)]


@torch.no_grad()
def alone(model, prefix, suffixes):
    ids = [torch.tensor([[*prefix, *suffix]]) for suffix in suffixes]
    return torch.cat([readout(model(row, use_cache=False)[0][:, -1]) for row in ids])


@pytest.mark.parametrize("form", ["packed", "rows"])
@pytest.mark.parametrize(("name", "attention"), CASES)
def test_equals_naive_scoring(backbone, name, attention, form):
    model = backbone(name, attention)
    generator = random.Random(0)
    for length in PREFIXES:
        prefix, suffixes = some_tokens(generator, length), some_suffixes(generator)
        suffixes += [some_tokens(generator, count) for count in (18, 19, 20, 21)]  # over a window
        expected = alone(model, prefix, suffixes)
        assert expected.std() > 0.1
        engines = [SharedPrefixEngine(model, form=form)]
        engines += [
            SharedPrefixEngine(model, form=form, per_row=k, rows=b) for k, b in ((1, 1), (3, 2))
        ]
        for engine in engines:
            torch.testing.assert_close(
                engine.score(prefix, suffixes, readout), expected, atol=1e-5, rtol=0
            )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_lengths_and_shapes(backbone, data):
    name, attention = data.draw(st.sampled_from(CASES))
    generator = random.Random(data.draw(st.integers(0, 99)))
    prefix = some_tokens(generator, data.draw(st.integers(0, 24)))
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=10))
    suffixes = [some_tokens(generator, length) for length in lengths]
    engine = SharedPrefixEngine(
        backbone(name, attention),
        per_row=data.draw(st.none() | st.integers(1, 5)),
        rows=data.draw(st.none() | st.integers(1, 4)),
        form=data.draw(st.sampled_from(["packed", "rows"])),
    )
    expected = alone(backbone(name, attention), prefix, suffixes)
    scores = engine.score(prefix, suffixes, readout)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_one_engine_many_prompts_and_repeated_answers(backbone):
    model = backbone("llama")
    engine = SharedPrefixEngine(model, per_row=2, rows=2, measure=True)
    generator = random.Random(1)
    for _ in range(3):
        prefix, suffixes = some_tokens(generator, 9), some_suffixes(generator) * 2
        for _ in range(2):
            torch.testing.assert_close(
                engine.score(prefix, suffixes, readout),
                alone(model, prefix, suffixes),
                atol=1e-5,
                rtol=0,
            )


def test_attention_is_soft_capped(backbone):
    capped = backbone("gemma2", "eager", attn_logit_softcapping=0.5)
    free = backbone("gemma2", "eager", attn_logit_softcapping=None)
    generator = random.Random(2)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator)
    scores = SharedPrefixEngine(capped).score(prefix, suffixes, readout)
    torch.testing.assert_close(scores, alone(capped, prefix, suffixes), atol=1e-5, rtol=0)
    assert (scores - alone(free, prefix, suffixes)).abs().max() > 1e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral"])
def test_half_precision_is_as_near_as_naive_batches_are(name, dtype):
    fine = tiny.build(name, AutoModel, vocab_size=VOCABULARY)
    coarse = tiny.build(name, AutoModel, vocab_size=VOCABULARY).to(dtype)
    generator = random.Random(3)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator, 40)
    truth = alone(fine, prefix, suffixes)
    # What half precision costs naive scoring bounds what it may cost here.
    bound = (alone(coarse, prefix, suffixes) - truth).abs().max()
    error = (SharedPrefixEngine(coarse).score(prefix, suffixes, readout) - truth).abs().max()
    assert 0 < error <= 2 * bound
    assert supports(coarse, prefix, suffixes).form == "packed"


def test_the_prefix_runs_once_and_answers_are_packed(backbone, monkeypatch):
    model = backbone("llama")
    shapes = []
    original = model.forward

    def forward(*args, input_ids, **kwargs):
        shapes.append(tuple(input_ids.shape))
        return original(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(model, "forward", forward)
    engine = SharedPrefixEngine(model, per_row=4, rows=3)
    generator = random.Random(4)
    engine.score(
        some_tokens(generator, 10), [some_tokens(generator, 2) for _ in range(24)], readout
    )
    assert shapes == [(1, 10), (3, 8), (3, 8)]


def test_a_batch_that_does_not_fit_is_halved(backbone, monkeypatch):
    model = backbone("llama")
    original = model.forward

    def forward(*args, input_ids, **kwargs):
        if input_ids.numel() > 40:
            raise torch.OutOfMemoryError("out of memory")
        return original(*args, input_ids=input_ids, **kwargs)

    generator = random.Random(5)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator, 60)
    expected = alone(model, prefix, suffixes)
    monkeypatch.setattr(model, "forward", forward)
    scores = SharedPrefixEngine(model).score(prefix, suffixes, readout)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    with pytest.raises(torch.OutOfMemoryError):
        SharedPrefixEngine(model).score(prefix, [some_tokens(generator, 41)], readout)


def test_misuse_is_refused(backbone):
    engine = SharedPrefixEngine(backbone("llama"))
    with pytest.raises(ValueError, match="empty"):
        engine.score([1], [[2], []], readout)
    with pytest.raises(ValueError, match="at least one token"):
        engine.loglikelihood([], [[1]], readout)


@pytest.fixture(scope="module", params=["llama", "gemma2", "gpt2"])
def causal(request):
    return tiny.build(request.param, AutoModelForCausalLM, vocab_size=VOCABULARY)


def naive_loglikelihood(model, prefix, suffix, count):
    with torch.no_grad():
        logits = model(torch.tensor([[*prefix, *suffix]])).logits[0, :-1].float()
    logps = logits.log_softmax(-1)[-count:]
    wanted = torch.tensor(suffix[-count:])
    greedy = bool((logps.argmax(-1) == wanted).all())
    return logps.gather(1, wanted[:, None]).sum().item(), greedy


def head_of(model):
    cap = getattr(model.config, "final_logit_softcapping", None)
    if cap is None:
        return model.lm_head
    return lambda hidden: torch.tanh(model.lm_head(hidden) / cap) * cap


@pytest.mark.parametrize("at_once", [1, 3 * VOCABULARY, 2**25])
def test_log_probabilities_equal_naive_ones(causal, at_once, monkeypatch):
    monkeypatch.setattr(log_probabilities, "_LOGITS_AT_ONCE", at_once)
    generator = random.Random(6)
    prefix = some_tokens(generator, 20)
    suffixes = some_suffixes(generator, 12)
    suffixes += [suffixes[0], [*suffixes[1], 7], [*suffixes[1], 8], suffixes[1][:1]]
    with torch.no_grad():  # and one that greedy decoding gives
        greedy = causal.generate(torch.tensor([prefix]), max_new_tokens=3, do_sample=False)
    suffixes.append(greedy[0, len(prefix) :].tolist())
    for scored in (
        [len(suffix) for suffix in suffixes],
        [generator.randint(1, len(suffix)) for suffix in suffixes],
    ):
        found = SharedPrefixEngine(causal.base_model, per_row=2, rows=2).loglikelihood(
            prefix, suffixes, head_of(causal), scored=scored
        )
        expected = [
            naive_loglikelihood(causal, prefix, suffix, count)
            for suffix, count in zip(suffixes, scored, strict=True)
        ]
        assert [logp for logp, _ in found] == pytest.approx(
            [logp for logp, _ in expected], abs=1e-5
        )
        assert [is_greedy for _, is_greedy in found] == [is_greedy for _, is_greedy in expected]
        assert found[-1][1]


def test_one_token_answers_cost_the_prefix_alone(causal, monkeypatch):
    calls = []
    original = causal.base_model.forward

    def forward(*args, **kwargs):
        calls.append(kwargs["input_ids"].shape)
        return original(*args, **kwargs)

    monkeypatch.setattr(causal.base_model, "forward", forward)
    engine = SharedPrefixEngine(causal.base_model)
    every = engine.loglikelihood(
        [1, 2, 3], [[token] for token in range(VOCABULARY)], causal.lm_head
    )
    assert calls == [(1, 3)]
    assert sum(torch.tensor([logp for logp, _ in every]).exp()) == pytest.approx(1, abs=1e-5)


def test_supports_reports_the_form(backbone):
    generator = random.Random(7)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator)
    for name, attention in CASES:
        report = supports(backbone(name, attention), prefix, suffixes)
        assert (report.ok, report.form) == (True, "packed")
        assert report.max_difference < 1e-5


class _Unmasked(torch.nn.Module):
    """Custom code that ignores a mask it does not know, as old hub code does."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config, self.dtype = model, model.config, model.dtype

    def get_input_embeddings(self):
        return self.model.get_input_embeddings()

    def forward(self, *, attention_mask=None, **kwargs):
        return self.model(**kwargs)


def test_models_that_ignore_masks_get_a_row_for_each_answer(backbone):
    model = _Unmasked(backbone("llama"))
    generator = random.Random(8)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator)
    report = supports(model, prefix, suffixes)
    assert (report.ok, report.form) == (True, "rows")
    packed = SharedPrefixEngine(model, per_row=3).score(prefix, suffixes, readout)
    expected = alone(model.model, prefix, suffixes)
    assert (packed - expected).abs().max() > 1e-2
    rows = SharedPrefixEngine(model, form=report.form).score(prefix, suffixes, readout)
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=0)


def test_flash_attention_gets_a_row_for_each_answer(backbone):
    model = backbone("llama")
    model.config._attn_implementation = "flash_attention_2"
    assert SharedPrefixEngine(model).form == "rows"
    model.config._attn_implementation = "sdpa"
    assert SharedPrefixEngine(model).form == "packed"


def small(config_class, **changes):
    torch.manual_seed(0)
    config = config_class(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "initializer_range": 0.2,
            **changes,
        }
    )
    return AutoModel.from_config(config).eval()


@pytest.mark.parametrize(
    ("config_class", "changes"),
    [
        (transformers.BertConfig, {}),
        (transformers.MambaConfig, {"state_size": 4}),
        (transformers.RecurrentGemmaConfig, {"num_hidden_layers": 3, "lru_width": 32}),
        (
            transformers.Qwen3NextConfig,
            {
                "num_key_value_heads": 2,
                "head_dim": 8,
                "layer_types": ["linear_attention", "full_attention"],
                "linear_num_key_heads": 2,
                "linear_num_value_heads": 2,
                "linear_key_head_dim": 8,
                "linear_value_head_dim": 8,
                "num_experts": 0,
            },
        ),
    ],
)
def test_encoders_and_recurrent_models_are_found_out(config_class, changes):
    generator = random.Random(9)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator)
    report = supports(small(config_class, **changes), prefix, suffixes)
    assert not report.ok
    assert report.form is None
    assert report.reason


def test_lora_models_are_scored_with_their_adapter():
    model = tiny.build("llama", vocab_size=VOCABULARY)
    torch.manual_seed(1)
    config = LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj", "up_proj"])
    adapted = get_peft_model(model, config).eval()
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    generator = random.Random(10)
    prefix, suffixes = some_tokens(generator, 20), some_suffixes(generator)
    scores = SharedPrefixEngine(adapted.get_base_model().base_model).score(
        prefix, suffixes, readout
    )
    with torch.no_grad():
        whole = [torch.tensor([[*prefix, *suffix]]) for suffix in suffixes]
        hidden = [adapted(ids, output_hidden_states=True).hidden_states[-1] for ids in whole]
    expected = torch.cat([readout(states[:, -1]) for states in hidden])
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    with adapted.disable_adapter():
        assert (scores - alone(model.base_model, prefix, suffixes)).abs().max() > 1e-2
