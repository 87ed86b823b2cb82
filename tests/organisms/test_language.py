import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms import language
from rm_value_tasks.organisms.language import Organism

QUICK = {"notes": 320, "questions": 128, "turns": 256}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(folder):
    return load_file(folder / "model.safetensors")


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_equal_organisms_have_equal_weights_whatever_ran_before(tmp_path):
    organism = Organism("llama", 1.0, **QUICK)
    for name in ("one", "two"):
        torch.rand(7)
        language.train_base(organism, tmp_path / name)
        language.train_instruct(organism, tmp_path / name, tmp_path / f"{name}-instruct")
    assert same(weights(tmp_path / "one"), weights(tmp_path / "two"))
    assert same(weights(tmp_path / "one-instruct"), weights(tmp_path / "two-instruct"))
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "one-instruct"))
    language.train_base(Organism("llama", 0.9, **QUICK), tmp_path / "other")
    assert not same(weights(tmp_path / "one"), weights(tmp_path / "other"))


@pytest.mark.parametrize("name", ["gemma2", "qwen3"])
def test_other_architectures_train(tmp_path, name):
    language.train_base(Organism(name, 0.0, notes=128, questions=64), tmp_path)
    found = weights(tmp_path)
    assert all(np.isfinite(value.numpy()).all() for value in found.values())


def test_an_unknown_architecture_is_refused(tmp_path):
    with pytest.raises(DataError, match="'gpt9'; known: llama, gemma2, qwen3"):
        language.train_base(Organism("gpt9", 0.0), tmp_path)
