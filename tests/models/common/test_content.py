"""Weights, tokenizers and files are known by what is in them."""

import copy

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.models.common.content import (
    checkpoint_digest,
    files_digest,
    model_digests,
    weights_digest,
)
from tests import tiny


def layer(tensor):
    module = torch.nn.Module()
    module.register_buffer("weight", tensor)
    return module


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.sampled_from(["float32", "bfloat16", "int8", "float64"]), st.data())
def test_any_changed_bit_is_another_digest(size, dtype, data):
    tensor = torch.zeros(size, dtype=getattr(torch, dtype))
    before = weights_digest(layer(tensor))
    place = data.draw(st.integers(0, tensor.nbytes - 1))
    tensor.view(torch.uint8)[place] ^= 1 << data.draw(st.integers(0, 7))
    assert weights_digest(layer(tensor)) != before


def test_the_sums_are_those_of_the_definition():
    from rm_value_tasks.models.common import content

    words = np.random.default_rng(0).integers(-(2**63), 2**63, content._WORDS + 7)
    factors = [int(raw) | 1 for raw in np.random.PCG64(260120838).random_raw(content._WORDS)]
    parts = [words[: content._WORDS], words[content._WORDS :]]
    sums = [sum(int(w) * f for w, f in zip(part, factors, strict=False)) for part in parts]
    expected = b"".join((total % 2**64).to_bytes(8, "little") for total in sums)
    assert content._sums(torch.from_numpy(words)) == expected
    tail = torch.tensor([1, 2, 3], dtype=torch.uint8)
    assert content._sums(tail) == bytes(8) + b"\1\2\3"
    assert content._sums(torch.arange(40, dtype=torch.uint8)[3:]) == content._sums(
        torch.arange(3, 40, dtype=torch.uint8)
    )


def test_a_model_has_one_digest_however_it_is_loaded(tmp_path):
    model = tiny.build("gemma2")
    folder = tiny.save(tmp_path, "gemma2", model)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    told = model_digests(loaded, tiny.tokenizer_of("gemma2"))
    assert told == model_digests(model, tiny.tokenizer_of("gemma2"))
    sharded = tmp_path / "sharded"
    model.save_pretrained(sharded, max_shard_size="50KB")
    again = transformers.AutoModelForSequenceClassification.from_pretrained(sharded)
    assert weights_digest(again) == told["weights_digest"]
    assert weights_digest(again.bfloat16()) != told["weights_digest"]


def test_rows_that_change_places_are_another_model():
    model = tiny.build("llama")
    other = copy.deepcopy(model)
    with torch.no_grad():
        weight = other.get_input_embeddings().weight
        weight[[9, 400]] = weight[[400, 9]]
    assert weights_digest(other) != weights_digest(model)


def test_off_loaded_weights_are_read_where_they_are(tmp_path):
    folder = tiny.save(tmp_path / "model", "llama")
    load = transformers.AutoModelForSequenceClassification.from_pretrained
    whole = weights_digest(load(folder))
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "score": "cpu",
              "model.rotary_emb": "cpu", "model.layers": "disk"}  # fmt: skip
    spread = load(folder, device_map=places, offload_folder=tmp_path / "disk")
    assert any(parameter.is_meta for parameter in spread.parameters())
    assert weights_digest(spread) == whole


def test_names_types_and_shapes_count():
    def digest(**tensors):
        module = torch.nn.Module()
        for name, tensor in tensors.items():
            module.register_buffer(name, tensor)
        return weights_digest(module)

    zeros = torch.zeros(4)
    told = [
        digest(a=zeros),
        digest(b=zeros),
        digest(a=zeros.view(2, 2)),
        digest(a=zeros.view(torch.int32)),
        digest(a=zeros, b=zeros.clone()),
    ]
    assert len(set(told)) == len(told)


def test_weights_out_of_sight_have_no_digest():
    with torch.device("meta"):
        assert weights_digest(torch.nn.Linear(2, 2)) is None


def test_config_and_tokenizer_count_and_use_does_not():
    model, tokenizer = tiny.build("qwen3"), tiny.tokenizer_of("qwen3")
    before = model_digests(model, tokenizer)
    tokenizer(["a", "longer text"], padding=True, truncation=True, max_length=3)
    assert model_digests(model, tokenizer) == before
    tokenizer.add_tokens(["freedom"])
    assert model_digests(model, tokenizer)["tokenizer_digest"] != before["tokenizer_digest"]
    model.config.rms_norm_eps = 0.5
    assert model_digests(model, tokenizer)["config_digest"] != before["config_digest"]


def test_files_count_by_name_and_content(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.bin").write_bytes(b"1")
    before = files_digest(tmp_path)
    (tmp_path / ".lock").write_bytes(b"2")
    assert files_digest(tmp_path) == before
    assert checkpoint_digest(str(tmp_path)) == before
    (tmp_path / "a" / "x.bin").write_bytes(b"2")
    changed = files_digest(tmp_path)
    (tmp_path / "a" / "x.bin").rename(tmp_path / "a" / "y.bin")
    assert len({before, changed, files_digest(tmp_path)}) == 3


def test_a_quantizers_own_tensors_have_no_digest():
    class Packed(torch.nn.Parameter):
        """As bitsandbytes' Params4bit: its scales are elsewhere."""

    module = torch.nn.Linear(2, 2)
    module.weight = Packed(torch.zeros(2, 2))
    assert weights_digest(module) is None


def test_of_a_models_folder_what_makes_the_model_counts(tmp_path):
    folder = tiny.save(tmp_path, "llama")
    before = checkpoint_digest(str(folder))
    (folder / "eval").mkdir()
    (folder / "eval" / "results_2026.json").write_text("{}")
    for name in ("README.md", "trainer_state.json", "optimizer.pt", "results_2026.json"):
        (folder / name).write_text("{}")
    assert checkpoint_digest(str(folder)) == before
    (folder / "chat_template.jinja").write_text("another")
    assert checkpoint_digest(str(folder)) != before
    inner = tiny.save(folder / "step2", "llama")
    before = checkpoint_digest(str(folder), subfolder="step2")
    tiny.save(inner, "llama", seed=2)
    assert checkpoint_digest(str(folder), subfolder="step2") != before
    before = checkpoint_digest(str(folder), data=True)
    (folder / "train.jsonl").write_text("{}")
    assert checkpoint_digest(str(folder), data=True) != before


def test_a_hub_that_is_not_reached_gives_no_digest(monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionAbortedError

    class OwnError(Exception):
        """As httpx's, which is neither an OSError nor a ValueError."""

    def strange(*_, **__):
        raise OwnError

    for failure in (unreachable, strange):
        monkeypatch.setattr("rm_value_tasks.models.common.content.model_info", failure)
        assert checkpoint_digest("nobody/never-cached") is None


@pytest.mark.parametrize("name", ["no/such-model", "a/b/c"])
def test_what_is_nowhere_has_no_digest(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert checkpoint_digest(name) is None
