"""``rm-value-tasks doctor``: what it says of every family is what ``--model reward`` does."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
import transformers
from click.testing import CliRunner
from lm_eval.api.instance import Instance
from safetensors.torch import load_file, save_file

from rm_value_tasks.cli import cli, main
from rm_value_tasks.errors import ModelError
from rm_value_tasks.models.common.arguments import READOUTS
from rm_value_tasks.models.loading import doctor as doctor_module
from rm_value_tasks.models.loading.families import FAMILIES
from rm_value_tasks.models.reward import RewardLM
from tests import hub, tiny, tiny_families
from tests.tiny_families import BUILDERS

QUESTION = "What, in one word, is the best thing ever?"


def doctor(*arguments):
    """Exit code, and the lines by their names (of several, the last)."""
    result = CliRunner().invoke(cli, ["doctor", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    rows = {line[:14].strip(): line[15:] for line in result.output.splitlines()}
    return result.exit_code, rows


def as_model_args(arguments):
    return ",".join(f"{key}={value}" for key, value in arguments.items())


@pytest.mark.parametrize("name", BUILDERS)
def test_it_says_how_every_family_is_read(tmp_path, name, monkeypatch):
    case = BUILDERS[name](tmp_path)
    load = transformers.PreTrainedModel.from_pretrained.__func__

    def headers_alone(cls, *args, **kwargs):
        if kwargs.get("device_map") != "meta":
            pytest.fail("weights")
        return load(cls, *args, **kwargs)

    monkeypatch.setattr(transformers.PreTrainedModel, "from_pretrained", classmethod(headers_alone))
    code, rows = doctor(case.folder, "--model-args", as_model_args(case.arguments))
    assert code == 0, rows
    family = case.family or name
    assert rows["family"].startswith(family)
    readout = next(each.readout for each in FAMILIES if each.name == family)
    assert rows["readout"] == case.arguments.get("readout", readout)
    assert "freedom" in rows["example"]
    if case.shares is not None:
        assert rows["shared prefix"].startswith("expected") == case.shares
    assert f"pretrained={case.folder}" in rows["run"]
    if "template" in rows and "BOS" in rows["template"]:
        assert re.search(r"sha256 \w{12}\.\.\.; [01] BOS", rows["template"])


def test_a_language_model_is_refused_with_what_else_to_do(tmp_path):
    folder = tiny.save(tmp_path, "llama", tiny.build("llama", transformers.AutoModelForCausalLM))
    code, rows = doctor(folder)
    assert code == 2
    assert "implicit-reward" in rows["refused"]
    assert "run" not in rows
    assert doctor(folder, "--readout", "lm_logit")[0] == 0
    code, rows = doctor(folder, "--model-args", "peft=adapter")
    assert (code, rows["note"].startswith("the adapter")) == (0, True)


@pytest.mark.parametrize(
    ("architecture", "name", "message"),
    [
        ("DebertaV2PairRM", "model", "compares two answers"),
        ("InternLM2ForRewardModel", "POLAR-7B", "reference answer"),
        ("LlamaForRewardModelWithGating", "model", "trust_remote_code=True"),
    ],
)
def test_families_that_cannot_run_are_refused(tmp_path, architecture, name, message):
    folder = tiny_families.refused(tmp_path / name, architecture)
    code, rows = doctor(folder)
    assert code == 2
    assert message in rows["refused"]


def test_weights_that_do_not_fit_are_refused_as_by_the_model(tmp_path):
    case = BUILDERS["INF-ORM"](tmp_path)
    tiny_families.edit(case.folder, architectures=["LlamaForSequenceClassification"])
    assert "has no score.weight" in doctor(case.folder)[1]["refused"]
    assert doctor(case.folder, "--readout", "position")[0] == 0
    tiny.save(case.folder, "qwen3" if "qwen" in str(case.folder) else "llama")
    tensors = load_file(case.folder / "model.safetensors")
    save_file({**tensors, "gate.x": torch.ones(1)}, case.folder / "model.safetensors")
    assert "does not use (gate.x)" in doctor(case.folder)[1]["refused"]


def test_several_labels_and_a_missing_template_are_refused(tmp_path, checkpoint):
    folder = tiny.save(tmp_path / "labels", "llama", num_labels=10)
    assert "10 labels" in doctor(folder)[1]["refused"]
    assert doctor(folder, "--model-args", "label=3")[0] == 0
    folder = shutil.copytree(checkpoint("llama"), tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in doctor(folder)[1]["refused"]
    (tmp_path / "template.jinja").write_text(tiny.LLAMA3)
    code, rows = doctor(folder, "--model-args", f"chat_template={tmp_path}/template.jinja")
    assert (code, rows["template"].startswith(str(tmp_path))) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"label": 4},
        {"label": "first"},
        {"label": 0, "weights": "1;2"},
        {"weights": "1;2;3"},
        {"readout": "weighted"},
        {"label": 0, "head_dtype": "float16"},
        {"readout": "lm_logit"},
    ],
)
def test_options_are_refused_as_by_the_model(tmp_path, arguments):
    folder = tiny.save(tmp_path, "llama", num_labels=2)
    code, rows = doctor(folder, "--model-args", as_model_args(arguments))
    with pytest.raises(ModelError) as refused:
        RewardLM(str(folder), device="cpu", **arguments).score_sequences([[1, 2, 3]])
    assert code == 2
    assert str(refused.value).startswith(rows["refused"].partition(": ")[0].partition(". ")[0])


@pytest.mark.parametrize("bare", [False, True])
def test_a_classifier_with_code_of_its_own(tmp_path, bare):
    folder = tiny_families.own_classifier(tmp_path)
    if bare:
        tiny_families.drop_template(folder)
    code, rows = doctor(folder)
    with pytest.raises(ModelError, match="code of its own for a classifier.*trust_remote_code"):
        RewardLM(str(folder), device="cpu")
    assert (code, "code of its own for a classifier" in rows["refused"]) == (2, True)
    code, rows = doctor(folder, "--trust-remote-code")
    if bare:  # no sentence pair: nothing would stand between question and answer
        assert (code, "no chat template" in rows["refused"]) == (2, True)
        with pytest.raises(ModelError, match="nothing between a question and its answer"):
            RewardLM(str(folder), device="cpu", trust_remote_code=True)
        return
    model = RewardLM(str(folder), device="cpu", trust_remote_code=True)
    assert (code, rows["shared prefix"]) == (0, model._sharing.describe().replace(" (", "; ")[:-1])
    native = RewardLM(str(folder), device="cpu", readout="pooled")
    ids = [model.encoder.encode([(QUESTION, " freedom")])[0]["input_ids"]]
    assert rows["example"] == repr(model.tokenizer.decode(ids[0]))
    assert model.score_sequences(ids) == pytest.approx([2 * native.score_sequences(ids)[0]])


def test_arguments_of_the_template_count(checkpoint, tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ enable_thinking }}:{% for m in messages %}{{ m.content }}{% endfor %}")
    arguments = f"chat_template={template},enable_thinking=False"
    assert "False:" in doctor(checkpoint("llama"), "--model-args", arguments)[1]["example"]


def test_another_engine_is_looked_at_as_far_as_it_can_be_without_it(
    checkpoint, tmp_path, monkeypatch
):
    folder, case = checkpoint("llama"), BUILDERS["INF-ORM"](tmp_path)
    monkeypatch.setattr(doctor_module, "find_spec", lambda _: None)
    assert "needs vLLM" in doctor(folder, "--model-args", "engine=vllm")[1]["refused"]
    monkeypatch.setattr(doctor_module, "find_spec", lambda _: "a vLLM")
    code, rows = doctor(folder, "--model-args", "engine=vllm")
    assert (code, "vLLM was not started" in rows["note"]) == (0, True)
    for model, arguments, message in (
        (folder, "engine=vllm,head_dtype=model", "head_dtype does not go with"),
        (folder, "engine=vllm,max_length=9", "max_length does not go with"),
        (folder, "engine=tgi", "neither 'hf' nor 'vllm'"),
        (case.folder, "engine=vllm", "read by readout=position"),
    ):
        code, rows = doctor(model, "--model-args", arguments)
        assert (code, message in rows["refused"]) == (2, True)


def models_of_every_reader(folder):
    """Folders by the way that they are read."""
    found = {
        "one label": tiny.save(folder / "one", "llama"),
        "two labels": tiny.save(folder / "two", "llama", num_labels=2),
        "language model": tiny.save(
            folder / "lm", "llama", tiny.build("llama", transformers.AutoModelForCausalLM)
        ),
    }
    for name in ("sentence pair", "INF-ORM", "process reward", "token classifier"):
        builder = next(each for each in BUILDERS if each.startswith(name))
        found[name] = BUILDERS[builder](folder / name.replace(" ", "-")).folder
    return found


TRIALS = [
    "",
    *(f"readout={name}" for name in READOUTS),
    "label=0", "label=1", "label=7", "label=first", "weights=1", "weights=1;2", "weights=a",
    "readout=weighted,weights=1", "readout=position,weights=0.5;1", "readout=process,label=2",
    "attribute=score", "attribute=logits", "readout=attribute,attribute=logits",
    "token_id=4", "readout=lm_logit,token_id=4", "readout=lm_logit,token_id=4;5;6",
    "readout=lm_logit,token_id=99999", "readout=lm_logit,token_id=zz zz",
    "append_token=zz zz", "append_token=3", "step_token=a b", "step_token=5",
    "bos=paper", "bos=papre", "head_dtype=model", "head_dtype=float16",
    "max_length=9", "max_length=200", "max_length=no", "shared_prefix=False", "shared_prefix=yes",
    "chat_template=nowhere.jinja", "engine=tgi", "engin=vllm", "readot=pooled", "labels=1",
]  # fmt: skip


def test_it_says_what_the_model_does_in_every_trial(tmp_path):
    disagree = []
    for name, folder in models_of_every_reader(tmp_path).items():
        for trial in TRIALS:
            code, rows = doctor(folder, *(["--model-args", trial] if trial else []))
            try:
                model = RewardLM.create_from_arg_string(
                    f"pretrained={folder}" + (f",{trial}" if trial else ""), {"device": "cpu"}
                )
                requests = [
                    Instance("loglikelihood", {}, (QUESTION, answer), index, ("task", 0, 1))
                    for index, answer in enumerate((" freedom", " love"))
                ]
                model.loglikelihood(requests, disable_tqdm=True)
                runs, said = True, ""
            except ModelError as error:
                runs, said = False, str(error)
            if runs != (code == 0):
                disagree.append((name, trial, rows.get("refused"), said))
    assert not disagree


def test_of_a_bare_model_it_gives_the_models_own_reason(checkpoint):
    folder = checkpoint("llama")
    code, rows = doctor(folder, "--readout", "first_output")
    with pytest.raises(ModelError, match="does not use .score.weight") as refused:
        RewardLM(str(folder), device="cpu", readout="first_output")
    assert (code, rows["refused"]) == (2, str(refused.value))


def test_no_model_and_an_adapter_end_in_a_sentence(tmp_path, capsys, monkeypatch):
    (tmp_path / "adapter_config.json").write_text("{}")
    for model, message in (
        (tmp_path, "PEFT adapter"),
        (tmp_path / "no", "there is no such folder"),
        (tmp_path / "adapter_config.json", "is a file; give the folder"),
    ):
        monkeypatch.setattr(sys, "argv", ["rm-value-tasks", "doctor", str(model)])
        with pytest.raises(SystemExit, match="2"):
            main()
        assert message in capsys.readouterr().err


def test_the_command_that_it_prints_is_lm_evals(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("qwen3"), tmp_path / "a folder")
    _, rows = doctor(folder, "--model-args", "device=cpu,batch_size=8,bos=paper")
    words = shlex.split(rows["run"])
    assert words[:4] == ["lm_eval", "--model", "reward", "--model_args"]
    assert words[5:] == ["--tasks", "value_bias", "--batch_size", "8", "--device", "cpu"]
    model = RewardLM.create_from_arg_string(words[4], {"device": "cpu"})
    assert model.specification.family.name == "sequence classifier"
    assert rows["example"] == repr(
        model.tokenizer.decode(model.encoder.encode([(QUESTION, " freedom")])[0]["input_ids"])
    )


def run_doctor(model, **env):
    done = subprocess.run(
        [sys.executable, "-m", "rm_value_tasks", "doctor", model],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_hub_id_is_read_from_the_cache_when_offline(tmp_path):
    snapshot = tmp_path / "hub" / "models--Org--value" / "snapshots" / hub.COMMIT
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(hub.COMMIT)
    BUILDERS["value head (TRL, sharded)"](snapshot)
    output = run_doctor("Org/value", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert "head rebuilt from v_head.summary" in output


def test_of_a_hubs_weights_the_header_alone_is_read(tmp_path):
    BUILDERS["INF-ORM"](tmp_path / "model")
    with hub.serving(tmp_path / "model") as (address, asked):
        environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        output = run_doctor("Org/model", **environment)
    assert "head rebuilt from score.0, score.2" in output
    read = [size for method, path, size in asked if "model.safetensors" in path and size]
    assert read == [100_001]  # what huggingface_hub asks for to find the header
    assert (tmp_path / "model" / "model.safetensors").stat().st_size > 100_001
