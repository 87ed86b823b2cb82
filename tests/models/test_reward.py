"""``--model reward`` against naive one-by-one transformers, and its refusals."""

import json
import shutil

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.api.registry import get_model

from rm_value_tasks._autoload import MODELS
from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.reward import RewardLM
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.scores import Reward
from tests import tiny

# Enough that a shared prefix pays, of mixed lengths.
ANSWERS = [
    "freedom", "love", "family and friendship", "a", "Xylophones!", "trust", "power", "care",
    "success", "ability", "kin", "talent", "friend of mine", "ambition", "what", "best", "ever",
    "dog", "cat", "jugs", "system", "model", "user", "box", "five", "lazy", "fox",
]  # fmt: skip
EVERY = [*tiny.DECODERS, *tiny.ENCODERS]


def requests(prompts=PROMPTS[:3], answers=ANSWERS, task="probe"):
    return [
        Instance("loglikelihood", {}, (prompt.text, " " + text), index, metadata=(task, doc, 1))
        for doc, prompt in enumerate(prompts)
        for index, text in enumerate(answers)
    ]


def rewards(model, **kwargs):
    return [float(score) for score, _ in model.loglikelihood(requests(**kwargs), disable_tqdm=True)]


def load(folder, **arguments):
    return RewardLM(str(folder), **{"device": "cpu", "batch_size": 4, **arguments})


def naive(folder, pick=lambda output: output.logits[0, 0], model=None):
    """One conversation at a time, as a model card would do it."""
    model = model or transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    scores = []
    for request in requests():
        question, answer = request.args[0], request.args[1][1:]
        if tokenizer.chat_template:
            turns = [("user", question), ("assistant", answer)]
            inputs = tokenizer.apply_chat_template(
                [{"role": role, "content": text} for role, text in turns],
                return_tensors="pt",
                return_dict=True,
            )
        else:
            inputs = tokenizer(question, answer, return_tensors="pt")
        with torch.no_grad():
            scores.append(pick(model(**inputs)).item())
    assert len(set(scores)) > len(scores) / 2  # a constant would agree with anything
    return scores


@pytest.mark.parametrize("name", EVERY)
def test_rewards_equal_naive_transformers(checkpoint, name):
    folder = checkpoint(name)
    expected = naive(folder)
    for batch_size in (1, 3, 64):
        for shared_prefix in (True, False):
            model = load(folder, batch_size=batch_size, shared_prefix=shared_prefix)
            for side in ("left", "right"):
                model.tokenizer.padding_side = side
                assert rewards(model) == pytest.approx(expected, abs=1e-5)
            shared = model.get_model_info()["shared_prefix"]
            assert shared.startswith("on") == (shared_prefix and name in tiny.DECODERS)


def test_automatic_batch_size(checkpoint):
    folder = checkpoint("llama")
    model = load(folder, batch_size="auto", max_batch_size=8)
    assert rewards(model) == pytest.approx(naive(folder), abs=1e-5)


def test_a_padding_token_that_ends_turns_does_not_move_the_readout(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "pad_token_id": tokenizer.eos_token_id})
    )
    true = naive(checkpoint("llama"))
    assert naive(folder) != pytest.approx(true, abs=1e-3)  # transformers itself moves
    assert rewards(load(folder)) == pytest.approx(true, abs=1e-5)


def test_bfloat16_heads_are_computed_in_float32_unless_asked(checkpoint):
    folder = checkpoint("llama")
    fine = load(folder, dtype="bfloat16", shared_prefix=False)
    coarse = load(folder, dtype="bfloat16", shared_prefix=False, head_dtype="model")
    as_bfloat16 = [torch.tensor(value).bfloat16().item() for value in rewards(coarse)]
    assert rewards(coarse) == as_bfloat16
    assert rewards(fine) != [torch.tensor(value).bfloat16().item() for value in rewards(fine)]
    assert rewards(fine) == pytest.approx(naive(folder), abs=0.1)
    assert fine.get_model_info()["head_dtype"] == "float32"
    assert coarse.get_model_info()["head_dtype"] == "bfloat16"


def test_several_labels_need_a_choice(tmp_path):
    folder = tiny.save(tmp_path, "llama", num_labels=10)
    with pytest.raises(ModelError, match=r"10 labels.*label=INDEX"):
        rewards(load(folder))
    assert rewards(load(folder, label=3)) == pytest.approx(
        naive(folder, lambda output: output.logits[0, 3]), abs=1e-5
    )
    # URM's card: five attributes of (mean, variance); the means count with these weights.
    weights = [0.3, 0, 0.74, 0, 0.46, 0, 0.47, 0, -0.33, 0]
    means = torch.tensor(weights[0::2])
    assert rewards(
        load(folder, readout="weighted", weights=";".join(map(str, weights)))
    ) == pytest.approx(
        naive(folder, lambda output: (output.logits.view(-1, 5, 2)[:, :, 0] * means).sum()),
        abs=1e-5,
    )
    with pytest.raises(ModelError, match="2 numbers but the model has 10 labels"):
        rewards(load(folder, readout="weighted", weights="1;2"))


def value_head_checkpoint(folder, layers):
    """A causal LM saved with ``v_head.*`` tensors beside its own, as TRL and GRM do."""
    model = tiny.build("llama", transformers.AutoModelForCausalLM)
    generator = torch.Generator().manual_seed(1)
    head = {
        f"v_head.{name}": torch.randn(shape, generator=generator) for name, shape in layers.items()
    }
    model.save_pretrained(folder, state_dict={**model.state_dict(), **head})
    tiny.tokenizer_of("llama").save_pretrained(folder)
    return model, head


@pytest.mark.parametrize(
    "layers",
    [
        {"summary.weight": (1, 32), "summary.bias": (1,)},
        {"weight": (1, 32)},
        {"summary.0.weight": (16, 32), "summary.0.bias": (16,),
         "summary.2.weight": (1, 16), "summary.2.bias": (1,)},
    ],
    ids=["trl", "starling", "grm"],
)  # fmt: skip
def test_value_heads_are_found_and_read_at_the_last_token(tmp_path, layers):
    model, head = value_head_checkpoint(tmp_path, layers)

    def pick(output):
        value = output.hidden_states[-1][0, -1]
        for index, name in enumerate(name for name in layers if name.endswith("weight")):
            value = torch.relu(value) if index else value
            bias = head.get(f"v_head.{name.replace('weight', 'bias')}", 0)
            value = head[f"v_head.{name}"] @ value + bias
        return value

    model.config.output_hidden_states = True
    lm = load(tmp_path)
    assert lm.get_model_info()["readout"] == "position"
    assert rewards(lm) == pytest.approx(naive(tmp_path, pick, model), abs=1e-4)


def test_token_classifiers_are_read_at_the_last_token(tmp_path):
    model = tiny.build("qwen3", transformers.AutoModelForTokenClassification, num_labels=1)
    tiny.save(tmp_path, "qwen3", model)
    expected = naive(tmp_path, lambda output: output.logits[0, -1, 0], model)
    assert rewards(load(tmp_path)) == pytest.approx(expected, abs=1e-5)


CUSTOM_CODE = """
from dataclasses import dataclass
import torch
from torch import nn
from transformers import LlamaModel, LlamaPreTrainedModel
from transformers.utils import ModelOutput

@dataclass
class Output(ModelOutput):
    score: torch.Tensor = None
    rewards: torch.Tensor = None

class LlamaForRewardModelWithGating(LlamaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)
        self.regression_layer = nn.Linear(config.hidden_size, 19, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        hidden = self.model(input_ids, attention_mask=attention_mask).last_hidden_state
        # The way of the old custom code: the token before the first padding id.
        last = torch.eq(input_ids, self.config.pad_token_id).int().argmax(-1) - 1
        last = last % input_ids.shape[-1]
        rewards = self.regression_layer(hidden[torch.arange(len(hidden)), last])
        return Output(score=rewards.mean(-1), rewards=rewards)
"""


def custom_checkpoint(folder, code=CUSTOM_CODE):
    tiny.save(folder, "llama", tiny.build("llama", transformers.AutoModel))
    (folder / "modeling_custom.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlamaForRewardModelWithGating"]
    config["auto_map"] = {
        "AutoModelForSequenceClassification": "modeling_custom.LlamaForRewardModelWithGating"
    }
    # The end-of-turn token pads, the worst case for code that looks for padding.
    config["pad_token_id"] = tiny.tokenizer_of("llama").eos_token_id
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def gating(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = custom_checkpoint(tmp_path / "gating")
    tensors = {f"model.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
    generator = torch.Generator().manual_seed(2)
    tensors["regression_layer.weight"] = torch.randn((19, 32), generator=generator)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, tensors


def test_attribute_of_custom_code_at_the_true_last_token(gating):
    folder, tensors = gating
    backbone = transformers.AutoModel.from_pretrained(folder)
    expected = naive(
        folder,
        lambda output: (
            tensors["regression_layer.weight"] @ output.last_hidden_state[0, -1]
        ).mean(),
        backbone,
    )
    lm = load(folder, trust_remote_code=True)
    assert lm.get_model_info()["readout"] == "attribute"
    assert rewards(lm) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ModelError, match=r"'rewards' of shape \(\d+, 19\).*attribute=NAME"):
        rewards(load(folder, trust_remote_code=True, attribute="rewards"))


def test_custom_code_does_not_run_unasked_and_is_named_when_it_breaks(gating, tmp_path):
    folder, _ = gating
    # Without its code transformers would load a Llama with a random head of its own.
    with pytest.raises(ModelError, match=r"family gated objectives.*trust_remote_code=True"):
        load(folder)
    broken = custom_checkpoint(
        tmp_path / "broken", "from transformers.utils import GONE\n" + CUSTOM_CODE
    )
    with pytest.raises(ModelError, match="code that .* brings along.*GONE.*model card"):
        load(broken, trust_remote_code=True)


def test_a_lora_adapter_with_its_head_is_read_through_both(tmp_path):
    peft = pytest.importorskip("peft")
    base = tiny.build("llama", transformers.AutoModelForCausalLM)
    tiny.save(tmp_path / "base", "llama", base)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=1
    )
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    tuned = peft.get_peft_model(model, config).eval()
    tuned.save_pretrained(tmp_path / "adapter")
    expected = naive(tmp_path / "base", model=tuned)
    assert rewards(load(tmp_path / "base", peft=str(tmp_path / "adapter"))) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_base_language_model_is_refused(tmp_path):
    tiny.save(tmp_path, "llama", tiny.build("llama", transformers.AutoModelForCausalLM))
    with pytest.raises(ModelError, match=r"has no score\.weight.*random numbers.*--model hf"):
        load(tmp_path)


def test_weights_that_would_be_left_out_are_refused(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(checkpoint("llama"), tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    head = tensors.pop("score.weight")
    save_file(
        {**tensors, "score.0.weight": head}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(ModelError, match=r"score\.weight"):
        load(folder)
    extra = {**tensors, "score.weight": head, "gate.weight": torch.ones(2, 2)}
    save_file(extra, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"does not use \(gate\.weight\)"):
        load(folder)


def test_a_missing_chat_template_is_refused_and_can_be_given(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        load(folder)
    (tmp_path / "template.jinja").write_text(tiny.LLAMA3)
    model = load(folder, chat_template=str(tmp_path / "template.jinja"))
    assert rewards(model) == pytest.approx(naive(checkpoint("llama")), abs=1e-5)
    with pytest.raises(ModelError, match="nowhere.jinja.*cannot be read"):
        load(folder, chat_template="nowhere.jinja")


def test_a_reward_that_is_not_a_number_names_prompt_and_word(checkpoint):
    model = load(checkpoint("llama"), shared_prefix=False)
    with torch.no_grad():
        model.model.score.weight.fill_(float("nan"))
    model = RewardLM(model.model, tokenizer=model.tokenizer, batch_size=4)
    with pytest.raises(
        ModelError, match=r"the reward of the answer '[\w ]+!?' to 'What.*\?.*' is nan"
    ):
        rewards(model)


def test_over_long_input_is_refused_not_truncated(checkpoint):
    with pytest.raises(ModelError, match=r"has \d+ tokens but the model takes 20"):
        rewards(load(checkpoint("llama"), max_length=20))


def test_requests_that_need_another_model_are_refused(checkpoint):
    model = load(checkpoint("llama"))
    with pytest.raises(ModelError, match="'lambada' asks for one answer"):
        rewards(model, answers=["love"], task="lambada")
    with pytest.raises(ModelError, match="wikitext asks for perplexities"):
        model.loglikelihood_rolling(requests(task="wikitext"))
    with pytest.raises(ModelError, match="gsm8k asks for generated text"):
        model.generate_until(requests(task="gsm8k"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"readout": "last"}, "'last' is none of auto, pooled"),
        ({"head_dtype": "fp8"}, "neither 'float32' nor 'model'"),
        ({"readout": "weighted"}, "needs weights="),
        ({"weights": "a;b"}, "not numbers separated by ';'"),
        ({"bos": "two"}, "neither 'one' nor 'paper'"),
    ],
)
def test_options_that_mean_nothing_are_refused(checkpoint, arguments, message):
    with pytest.raises(ModelError, match=message):
        load(checkpoint("llama"), **arguments)


def test_scores_are_rewards_and_are_cached_by_lm_eval(checkpoint, tmp_path):
    model = load(checkpoint("llama"))
    cached = CachingLM(model, str(tmp_path / "cache.db"))
    first = cached.loglikelihood(requests())
    model.readout = None  # from here on only the cache can answer
    again = cached.loglikelihood(requests())
    assert again == first
    assert {type(score) for score, _ in again} == {Reward}


def test_a_run_stopped_in_the_middle_of_a_document_goes_on(checkpoint, tmp_path):
    model = load(checkpoint("llama"))
    cached = CachingLM(model, str(tmp_path / "cache.db"))
    cached.loglikelihood(requests(PROMPTS[:1])[:-1])
    assert len(cached.loglikelihood(requests(PROMPTS[:1]))) == len(ANSWERS)


def test_the_chat_template_of_lm_eval_and_ours_meet(checkpoint):
    """With --apply_chat_template the answer is the last turn of the same conversation."""
    model = load(checkpoint("llama"))
    plain = rewards(model)
    chat = [
        Instance(
            "loglikelihood",
            {},
            (
                model.apply_chat_template([{"role": "user", "content": request.args[0]}]),
                request.args[1][1:],
            ),
            request.idx,
            metadata=request.metadata,
        )
        for request in requests()
    ]
    assert [score for score, _ in model.loglikelihood(chat, disable_tqdm=True)] == plain


def test_results_say_how_the_scores_were_made(checkpoint):
    model = load(checkpoint("gemma2"))
    rewards(model)
    info = model.get_model_info()
    assert info["score_kind"] == "reward"
    assert info["attn_implementation"] == "eager"  # soft-capping needs it
    assert info["bos_count"] == 1
    assert info["first_token_ids"][0] == model.tokenizer.bos_token_id
    assert len(info["chat_template_sha256"]) == 64
    assert json.dumps(info["first_token_ids"])


def test_custom_code_beyond_a_score_head_is_not_bypassed(tmp_path):
    code = CUSTOM_CODE.replace("regression_layer", "score").replace("19, bias", "1, bias")
    code = code.replace("score: torch.Tensor = None", "logits: torch.Tensor = None").replace(
        "Output(score=rewards.mean(-1), rewards=rewards)",
        "Output(logits=-rewards.relu() - rewards)",
    )
    folder = custom_checkpoint(tmp_path / "negated", code)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["Mine"]}))
    from safetensors.torch import load_file, save_file

    tensors = {f"model.{k}": v for k, v in load_file(folder / "model.safetensors").items()}
    tensors["score.weight"] = torch.randn((1, 32), generator=torch.Generator().manual_seed(3))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = transformers.AutoModel.from_pretrained(folder)

    def pick(output):
        value = (tensors["score.weight"] @ output.last_hidden_state[0, -1])[0]
        return -value.relu() - value

    assert rewards(load(folder, trust_remote_code=True)) == pytest.approx(
        naive(folder, pick, backbone), abs=1e-5
    )


def test_mixed_precision_leaves_the_head_in_float32(checkpoint):
    model = load(checkpoint("llama"), mixed_precision_dtype="bfloat16", shared_prefix=False)
    values = rewards(model)
    assert values != [torch.tensor(value).bfloat16().item() for value in values]


def test_an_adapter_of_another_model_is_refused(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["q_proj"])
    tuned = peft.get_peft_model(tiny.build("llama", num_hidden_layers=3), config)
    tuned.save_pretrained(tmp_path / "adapter")
    tiny.save(tmp_path / "base", "llama", tiny.build("llama", transformers.AutoModelForCausalLM))
    with pytest.raises(ModelError, match=r"no place.*layers\.2"):
        load(tmp_path / "base", peft=str(tmp_path / "adapter"))


def test_a_path_that_leads_nowhere_is_said_to(tmp_path):
    with pytest.raises(ModelError, match="there is no such folder; check the path"):
        RewardLM(str(tmp_path / "nowhere"), device="cpu")


def test_a_misspelt_argument_is_refused_before_anything_is_loaded():
    with pytest.raises(ModelError, match="no argument readot=; did you mean readout="):
        RewardLM("nowhere", readot="pooled", device="cpu")


def test_arguments_that_lm_eval_has_options_for_may_be_given_as_the_models(checkpoint):
    for name in ("reward", "hf-shared-prefix", "implicit-reward"):
        reference = ",reference=none" if name == "implicit-reward" else ""
        given = f"pretrained={checkpoint('llama')},device=cpu,batch_size=3{reference}"
        model = get_model(name).create_from_arg_string(given, {"device": "cuda:0", "batch_size": 1})
        assert str(model.device) == "cpu"
        assert getattr(model, "policy", model).batch_size == 3


@pytest.mark.parametrize("name", [*MODELS])
def test_no_model_takes_an_argument_in_silence(name, checkpoint):
    needed = {"recorded-rewards": "path=x", "reward-server": "base_url=http://localhost:1"}
    given = needed.get(name, f"pretrained={checkpoint('llama')}")
    given += ",reference=none" if name == "implicit-reward" else ""
    wrong = "nonsense" if name != "reward-vllm" else "weigths"
    with pytest.raises(ModelError, match=f"there is no argument {wrong}="):
        get_model(name).create_from_arg_string(f"{given},{wrong}=1", {"device": "cpu"})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chat_template_args": "x"}, "chat_template_args='x' is no mapping"),
        ({"weights": [None]}, "is not numbers separated"),
        ({"chat_template": 3}, "chat_template=3 is no file's name"),
        ({"append_token": True}, "append_token=True is no token's text"),
        ({"shared_prefix": "no"}, "shared_prefix='no' is neither True nor False"),
    ],
)
def test_values_of_another_type_end_in_a_sentence(checkpoint, arguments, message):
    with pytest.raises(ModelError, match=message):
        load(checkpoint("llama"), **arguments)


def test_sharing_may_be_switched_by_a_number_in_every_model(checkpoint):
    assert load(checkpoint("llama"), shared_prefix=0)._sharing.describe() == "off (switched off)"
    given = f"pretrained={checkpoint('llama')},shared_prefix="
    model = get_model("hf-shared-prefix").create_from_arg_string(given + "0", {"device": "cpu"})
    assert not model._sharing.possible
    with pytest.raises(ModelError, match="shared_prefix='no' is neither"):
        get_model("hf-shared-prefix").create_from_arg_string(given + "no", {"device": "cpu"})


def test_values_of_the_models_config_are_handed_on(checkpoint):
    model = load(checkpoint("llama"), pad_token_id=5)
    assert model.model.config.pad_token_id == 5


def test_the_first_output_of_a_loaded_classifier_is_its_logit(checkpoint):
    folder = checkpoint("llama")
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = RewardLM(loaded, tokenizer=tokenizer, readout="first_output", batch_size=2)
    plain = load(folder).score_sequences([[1, 2, 3], [4, 5]])
    assert model.score_sequences([[1, 2, 3], [4, 5]]) == pytest.approx(plain, abs=1e-5)


def test_a_label_can_be_named(tmp_path):
    folder = tiny.save(tmp_path, "llama", num_labels=3, id2label={0: "bad", 1: "good", 2: "bad"})
    named, numbered = load(folder, label="good"), load(folder, label=1)
    assert rewards(named) == rewards(numbered)
    info = named.get_model_info()
    assert (info["label"], info["label_name"]) == (1, "good")
    for wrong in ("better", "bad"):
        with pytest.raises(ModelError, match=f"label='{wrong}' is not the name of one label"):
            load(folder, label=wrong)


def test_swapped_heads_are_told_apart_by_their_labels_names(tmp_path):
    model = tiny.build("llama", num_labels=2, id2label={0: "good", 1: "bad"})
    first = load(tiny.save(tmp_path / "a", "llama", model), label="good")
    model.score.weight.data = model.score.weight.data.flip(0)
    model.config.id2label = {0: "bad", 1: "good"}
    second = load(tiny.save(tmp_path / "b", "llama", model), label="good")
    assert rewards(first) == rewards(second)
    assert [each.get_model_info()["label"] for each in (first, second)] == [0, 1]


def test_the_template_that_lm_eval_names_is_the_one_that_is_scored_with(tmp_path):
    folder = tiny.save(tmp_path / "both", "qwen3")
    tokenizer = tiny.tokenizer_of("qwen3")
    tokenizer.chat_template = {"default": tiny.CHATML, "tool_use": tiny.CHATML.replace("\n", " ")}
    tokenizer.save_pretrained(folder)
    model = load(folder)
    default = rewards(model)
    assert model.chat_template("tool_use") == tokenizer.chat_template["tool_use"]
    named = rewards(model)
    assert named != default
    tokenizer.chat_template = tokenizer.chat_template["tool_use"]
    tokenizer.save_pretrained(tiny.save(tmp_path / "one", "qwen3"))
    assert named == pytest.approx(rewards(load(tmp_path / "one")))
    assert rewards(load(folder, chat_template="tool_use")) == pytest.approx(named)


def test_a_path_of_which_lm_eval_makes_no_folder_is_refused_before_scoring(tmp_path, monkeypatch):
    folder = tmp_path.joinpath(*["a" * 60] * 5)
    tiny.save(folder, "llama")
    arguments = {"pretrained": str(folder)}
    RewardLM.create_from_arg_obj(arguments, {"device": "cpu"})
    monkeypatch.setattr("sys.argv", ["lm_eval", "--output_path=out"])
    with pytest.raises(ModelError, match=r"has \d+ letters where a file system takes 255"):
        RewardLM.create_from_arg_obj(arguments, {"device": "cpu"})
