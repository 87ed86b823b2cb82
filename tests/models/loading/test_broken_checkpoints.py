"""Checkpoints as people have them: read right, or one sentence from doctor and run alike."""

import json
import os

import peft
import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from safetensors.torch import load_file, save_file

from rm_value_tasks.errors import RMValueTasksError
from rm_value_tasks.models.loading.doctor import diagnose
from rm_value_tasks.models.reward import RewardLM
from tests import tiny

PAIRS = [("What is 2+2?", " four"), ("What is 2+2?", " five")]
CAUSAL = transformers.AutoModelForCausalLM


def plain(model, name):
    """One conversation at a time, by ``transformers`` and ``peft`` alone."""
    tokenizer, scores = tiny.tokenizer_of(name), []
    for question, answer in PAIRS:
        turns = [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer.strip()},
        ]
        text = tokenizer.apply_chat_template(turns, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        scores.append(model.eval()(input_ids=ids).logits[0, 0].item())
    return scores


def run(folder, **arguments):
    model = RewardLM(str(folder), device="cpu", batch_size=2, **arguments)
    requests = [
        Instance("loglikelihood", {}, pair, index, metadata=("probe", 0, 1))
        for index, pair in enumerate(PAIRS)
    ]
    return [float(score) for score, _ in model.loglikelihood(requests, disable_tqdm=True)]


def adapter(folder, model, targets, **options):
    config = peft.LoraConfig(r=4, target_modules=targets, init_lora_weights=False, **options)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(folder)
    return adapted


def edit(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def configured(folder, **changes):
    path = folder / "config.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content.pop(key, None) if value is None else content.update({key: value})
    path.write_text(json.dumps(content))


def test_lora_on_the_score_layer(tmp_path):
    folder = tiny.save(tmp_path / "base", "llama")
    adapted = adapter(tmp_path / "adapter", tiny.build("llama"), ["q_proj", "score"])
    arguments = {"peft": str(tmp_path / "adapter")}
    assert run(folder, **arguments) == pytest.approx(plain(adapted, "llama"), abs=1e-5)
    assert diagnose(str(folder), arguments).refusals == []


def test_one_row_and_a_config_that_says_nothing(tmp_path):
    folder = tiny.save(tmp_path, "llama")
    configured(folder, id2label=None, label2id=None, num_labels=None)
    assert run(folder) == pytest.approx(plain(tiny.build("llama"), "llama"), abs=1e-5)
    assert diagnose(str(folder), {}).refusals == []


def test_masks_that_old_checkpoints_carry(tmp_path):
    folder = tiny.save(tmp_path, "gpt2")

    def add(tensors):
        for layer in range(2):
            name = f"transformer.h.{layer}.attn"
            tensors[f"{name}.masked_bias"] = torch.tensor(-1e4)
            tensors[f"{name}.bias"] = torch.ones(1, 1, 256, 256).tril()

    edit(folder / "model.safetensors", add)
    assert run(folder) == pytest.approx(plain(tiny.build("gpt2"), "gpt2"), abs=1e-5)
    assert diagnose(str(folder), {}).refusals == []


def test_causal_masks_that_are_called_bias(tmp_path):
    """GPT-J's, which ``transformers`` reports as unexpected."""
    tokenizer = tiny.chat_tokenizer("chatml")
    torch.manual_seed(0)
    config = transformers.GPTJConfig(
        vocab_size=len(tokenizer), n_positions=256, n_embd=32, n_layer=2, n_head=4, rotary_dim=4,
        num_labels=1, initializer_range=0.2, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    name = "transformer.h.0.attn"
    mask = {f"{name}.bias": torch.ones(1, 1, 256, 256).tril()}
    edit(tmp_path / "model.safetensors", lambda tensors: tensors.update(mask))
    assert run(tmp_path) == pytest.approx(plain(model, "gpt2"), abs=1e-5)
    assert diagnose(str(tmp_path), {}).refusals == []
    layer = {f"{name}.bias": torch.ones(32)}  # a layer's own is no mask
    edit(tmp_path / "model.safetensors", lambda tensors: tensors.update(layer))
    with pytest.raises(RMValueTasksError, match=r"does not use .*attn\.bias"):
        run(tmp_path)


class Code:
    def __reduce__(self):
        return (os.mkdir, ("this-must-not-be-made",))


def lora_on_a_language_model(folder):
    tiny.save(folder / "lm", "llama", tiny.build("llama", CAUSAL))
    adapter(folder / "adapter", tiny.build("llama"), ["q_proj", "score"])
    return folder / "lm", {"peft": str(folder / "adapter")}


def value_head_beside_an_adapter(folder):
    tiny.save(folder / "lm", "llama", tiny.build("llama", CAUSAL))
    adapter(folder / "adapter", tiny.build("llama", CAUSAL), ["q_proj"])
    head = {"v_head.summary.weight": torch.ones(1, 32), "v_head.summary.bias": torch.zeros(1)}
    save_file(head, folder / "adapter" / "value_head.safetensors")
    return folder / "lm", {"peft": str(folder / "adapter")}


def lora_without_one_half(folder):
    tiny.save(folder / "base", "llama")
    adapter(folder / "adapter", tiny.build("llama"), ["q_proj"], task_type="SEQ_CLS")
    path = folder / "adapter" / "adapter_model.safetensors"
    edit(path, lambda tensors: tensors.pop(next(key for key in tensors if "lora_B" in key)))
    return folder / "base", {"peft": str(folder / "adapter")}


def test_an_adapter_without_one_of_its_layers_is_refused(tmp_path):
    folder, arguments = tiny.save(tmp_path / "base", "llama"), {"peft": str(tmp_path / "adapter")}
    adapter(tmp_path / "adapter", tiny.build("llama"), ["q_proj"], task_type="SEQ_CLS")

    def drop(tensors):
        for key in [key for key in tensors if "layers.1" in key]:
            del tensors[key]

    edit(tmp_path / "adapter" / "adapter_model.safetensors", drop)
    with pytest.raises(RMValueTasksError, match=r"lacks .*layers\.1.* that its config names"):
        run(folder, **arguments)


def missing_shard(folder):
    tiny.build("llama").save_pretrained(folder, max_shard_size="30KB")
    tiny.tokenizer_of("llama").save_pretrained(folder)
    sorted(folder.glob("model-*.safetensors"))[1].unlink()
    return folder, {}


def other_head(*shape):
    def spoil(folder):
        tiny.save(folder, "llama")
        head = {"score.weight": torch.ones(shape)}
        edit(folder / "model.safetensors", lambda tensors: tensors.update(head))
        return folder, {}

    return spoil


def test_an_adapter_with_biases(tmp_path):
    folder = tiny.save(tmp_path / "base", "llama")
    adapted = adapter(
        tmp_path / "adapter", tiny.build("llama"), ["q_proj"], task_type="SEQ_CLS", lora_bias=True
    )
    arguments = {"peft": str(tmp_path / "adapter")}
    assert run(folder, **arguments) == pytest.approx(plain(adapted, "llama"), abs=1e-5)
    assert diagnose(str(folder), arguments).refusals == []


def without(key):
    def spoil(folder):
        tiny.save(folder, "llama")
        edit(folder / "model.safetensors", lambda tensors: tensors.pop(key))
        return folder, {}

    return spoil


def spare(key, *shape):
    def spoil(folder):
        tiny.save(folder, "llama")
        edit(folder / "model.safetensors", lambda tensors: tensors.update({key: torch.ones(shape)}))
        return folder, {}

    return spoil


def adapter_of_another_depth(layers):
    def spoil(folder):
        tiny.save(folder / "base", "llama")
        other = tiny.build("llama", num_hidden_layers=layers)
        adapter(folder / "adapter", other, ["q_proj"], task_type="SEQ_CLS")
        return folder / "base", {"peft": str(folder / "adapter")}

    return spoil


def prompt_tuning(folder):
    tiny.save(folder / "base", "llama")
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    peft.get_peft_model(tiny.build("llama"), config).save_pretrained(folder / "adapter")
    return folder / "base", {"peft": str(folder / "adapter")}


def other_tokenizer(folder):
    return tiny.save(folder, "llama", tiny.build("llama", vocab_size=300)), {}


def pickled(content):
    def spoil(folder):
        tiny.save(folder, "llama")
        (folder / "model.safetensors").unlink()
        torch.save(content, folder / "pytorch_model.bin")
        return folder, {}

    return spoil


def spoilt(name, content, **changes):
    def spoil(folder):
        tiny.save(folder, "llama")
        path = folder / name
        path.unlink() if content is None else path.write_bytes(content)
        return folder, {}

    return spoil


def cut(folder):
    tiny.save(folder, "llama")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5000])
    return folder, {}


def an_adapter(folder):
    adapter(folder, tiny.build("llama"), ["q_proj"])
    return folder, {}


def nowhere(name, argument=None):
    def spoil(folder):
        sound = tiny.save(folder, "llama")
        place = name.replace("{}", str(folder))
        return (sound, {argument: place}) if argument else (place, {})

    return spoil


BROKEN = {
    "LoRA on the score of a language model": (lora_on_a_language_model, "has no score.weight"),
    "a value head beside an adapter": (value_head_beside_an_adapter, "merge the adapter into"),
    "LoRA without lora_B": (lora_without_one_half, r"lora_A\.weight without .*lora_B"),
    "a missing shard": (missing_shard, "has no model-00002-of-00004.safetensors"),
    "a head of another width": (other_head(1, 16), "another shape of score.weight"),
    "a layer's weight missing": (
        without("model.layers.1.mlp.up_proj.weight"),
        "so layers would be random numbers",
    ),
    "a layer too many": (spare("model.layers.2.mlp.up_proj.weight", 64, 32), "does not use"),
    "a bias that the config denies": (
        spare("model.layers.1.self_attn.q_proj.bias", 32),
        "does not use",
    ),
    "an adapter of three layers on two": (adapter_of_another_depth(3), "has no place"),
    "an adapter of one layer on two": (adapter_of_another_depth(1), "lacks .*layers.1"),
    "an adapter of virtual tokens": (prompt_tuning, "puts virtual tokens before the prompt"),
    "a head of three rows": (other_head(3, 32), r"names 1 labels, but its head .* has 3 rows"),
    "fewer embeddings than tokens": (other_tokenizer, "has embeddings for 300 tokens"),
    "pickled objects": (pickled({"score.weight": Code()}), "holds Python objects"),
    "no pickle": (spoilt("pytorch_model.bin", b"junk"), None),
    "junk for weights": (spoilt("model.safetensors", b"junk" * 9), "cannot be read"),
    "weights cut short": (cut, "cannot be read"),
    "no weights": (spoilt("model.safetensors", None), "has a config but no weights"),
    "an index that is no JSON": (spoilt("model.safetensors.index.json", b"{"), "cannot be read"),
    "a config that is no JSON": (spoilt("config.json", b"{"), "the config of .* cannot be read"),
    "a config that is a list": (spoilt("config.json", b"[1]"), "the config of .* cannot be read"),
    "an unknown type": (spoilt("config.json", b'{"model_type": "zzz"}'), "type `zzz`"),
    "a deep config": (spoilt("config.json", b"[" * 100_000), "the config of .* cannot be read"),
    "no tokenizer": (spoilt("tokenizer.json", None), "the tokenizer of .* cannot be read"),
    "a broken tokenizer": (spoilt("tokenizer.json", b"{"), "the tokenizer of .* cannot be read"),
    "an adapter for a model": (an_adapter, r"is a PEFT adapter; run it on .*peft="),
    "a folder that is not there": (nowhere("{}/no"), "no model '.*no': there is no such folder;"),
    "a path that is not there": (nowhere("./no/no"), "there is no such folder; check the path"),
    "a hub name that is not there": (nowhere("org/name"), "neither hub nor cache gives it"),
    "a file for a folder": (nowhere("{}/config.json"), "is a file; give the folder"),
    "an adapter that is not there": (nowhere("{}/no", "peft"), "no adapter '.*no': there is no"),
    "a tokenizer that is not there": (nowhere("{}/no", "tokenizer"), "no tokenizer '.*no': there"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_doctor_and_run_say_the_same_sentence(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    spoil, said = BROKEN[kind]
    folder, arguments = spoil(tmp_path / "model")
    if said is None:  # safetensors beside it are read, as transformers does
        assert run(folder, **arguments) == pytest.approx(plain(tiny.build("llama"), "llama"))
        return
    with pytest.raises(RMValueTasksError, match=said) as refused:
        run(folder, **arguments)
    try:
        told = diagnose(str(folder), arguments).refusals[0]
    except RMValueTasksError as error:
        told = str(error)
    assert told == str(refused.value)
    assert "\n" not in told
    assert "hub" not in told or not str(folder).startswith((".", "/")) or "is a file" in told
    assert not (tmp_path / "this-must-not-be-made").exists()
