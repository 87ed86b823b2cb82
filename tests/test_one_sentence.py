"""Ten mistakes with the real lm_eval command: one sentence each, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers

from rm_value_tasks import _one_sentence
from rm_value_tasks.errors import DataError, ModelError
from tests import tiny

BIN = Path(sys.executable).parent


def lm_eval(model, arguments, *more, tasks="value_bias_big2", level="INFO"):
    command = [str(BIN / "lm_eval"), "--model", model, "--tasks", tasks, "--device", "cpu"]
    return subprocess.run(
        [*command, "--model_args", arguments, *more],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "LMEVAL_LOG_LEVEL": level},
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    causal = tiny.build("llama", transformers.AutoModelForCausalLM)
    tiny.save(folder / "base", "llama", causal)
    tiny.save(folder / "two", "llama", num_labels=2)
    (folder / "scores.csv").write_text("prompt,response,score\n")
    return folder


MISTAKES = {
    "no such folder": ("reward", "pretrained={}/none", (), "no model '"),
    "no reward model": ("reward", "pretrained={}/base", (), "it is not a reward model"),
    "no such argument": ("reward", "pretrained={}/two,lable=0", (), "did you mean label=?"),
    "no such label": ("reward", "pretrained={}/two,label=best", (), "label='best' is not"),
    "no such template": (
        "reward", "pretrained={}/two,label=0,chat_template={}/x.jinja", (), "cannot be read"
    ),
    "no such scores": ("recorded-rewards", "path={}/none.csv", (), "there is no file"),
    "no reference": ("implicit-reward", "pretrained={}/base,reference={}/no", (), "no model '"),
    "no such lexicon": (
        "recorded-rewards", "path={}/scores.csv", ("--metadata", '{"lexicon": "big3"}'),
        "did you mean big2?",
    ),
    "no server": (
        "reward-server", "base_url=http://127.0.0.1:9,pretrained={}/two,max_retries=0", (),
        "127.0.0.1:9",
    ),
    "no language model": ("hf", "pretrained={}/none", (), "none"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence(folders, mistake):
    model, arguments, more, said = MISTAKES[mistake]
    done = lm_eval(model, arguments.replace("{}", str(folders)), *more)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("lm_eval: ")
    assert said in last


def test_the_calls_are_shown_when_asked_for(folders):
    done = lm_eval("reward", f"pretrained={folders}/none", level="DEBUG")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ModelError: no model '" in done.stderr


def raised(error, cause=None):
    try:
        raise error from cause
    except Exception as caught:
        return caught


def test_faults_of_programs_keep_their_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lm_eval", "--tasks", "value_bias"])
    assert _one_sentence.sentence(raised(DataError("a\nb"))) == "a b"
    assert _one_sentence.sentence(raised(ValueError("x"), ModelError("why"))) == "why"
    for fault in (ValueError("x"), OSError("x"), KeyError("x"), TypeError("x")):
        assert _one_sentence.sentence(raised(fault)) is None
    with pytest.raises(Exception, match="none") as caught:
        transformers.AutoConfig.from_pretrained("/none/none/none")
    assert "none" in _one_sentence.sentence(caught.value)
    monkeypatch.setattr(_one_sentence, "_ROOMS", ("not.loaded",))
    for argv in (["--tasks", "arc_easy"], ["--tasks=arc_easy", "--output_path", "reward/out"]):
        monkeypatch.setattr(sys, "argv", ["lm_eval", *argv])
        assert _one_sentence.sentence(caught.value) is None
    monkeypatch.setattr(sys, "argv", ["lm_eval", "--tasks=value_bias"])
    assert _one_sentence.sentence(caught.value)


def test_other_programs_are_left_alone(monkeypatch):
    before = sys.excepthook
    for program in ("/usr/bin/pytest", "", "/x/other/__main__.py", "-c"):
        monkeypatch.setattr(sys, "argv", [program])
        _one_sentence.install()
        assert sys.excepthook is before
    monkeypatch.setattr(sys, "excepthook", before)
    monkeypatch.setattr(sys, "argv", ["/x/lm_eval/__main__.py"])
    _one_sentence.install()
    assert sys.excepthook is not before
