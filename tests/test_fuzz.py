"""Whatever a user's files and arguments hold: a result or one sentence, never a traceback.

``FUZZ_EXAMPLES`` says how many cases each test tries (``make test-slow``: many more).
"""

import contextlib
import json
import os

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rm_value_tasks.errors import DataError, ModelError, RMValueTasksError
from rm_value_tasks.models.common import template as templates
from rm_value_tasks.models.common.arguments import NAMES, RewardArguments
from rm_value_tasks.models.common.chat_encoder import ChatEncoder
from rm_value_tasks.models.loading.doctor import diagnose
from rm_value_tasks.results import load
from rm_value_tasks.tasks.value_probes import documents
from rm_value_tasks.training.config import load as load_config
from rm_value_tasks.vocabulary.store import ScoreStore
from tests import runs, tiny

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SIGNS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, -1, 10**400])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | SIGNS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SIGNS, inner, max_size=3),
    max_leaves=5,
)


@contextlib.contextmanager
def sentence_or_nothing():
    """A refusal has to be one line."""
    try:
        yield
    except RMValueTasksError as error:
        assert "\n" not in str(error)  # noqa: PT017


def places(content, path=()):
    """Every place of a JSON value."""
    yield path
    if isinstance(content, dict):
        for key in content:
            yield from places(content[key], (*path, key))
    elif isinstance(content, list):
        for index in range(min(len(content), 3)):
            yield from places(content[index], (*path, index))


def put(content, path, value):
    if not path:
        return value
    inner = content
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return content


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


@FUZZ
@given(st.data())
def test_one_bad_run_leaves_the_others(root, tmp_path_factory, data):
    folder = runs.copy(root / "first", tmp_path_factory.mktemp("fuzz") / "run")
    path = data.draw(st.sampled_from([runs.results_of(folder), runs.samples_of(folder)]))
    lines = path.read_bytes().split(b"\n")
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, 2000))
        junk = data.draw(st.binary(max_size=20))
        lines[0] = lines[0][:place] + junk + lines[0][place + len(junk) :]
    else:
        text = b"\n".join(lines) if path.suffix == ".json" else lines[0]
        content = json.loads(text)
        where = data.draw(st.sampled_from(list(places(content))))
        text = json.dumps(put(content, where, data.draw(ANYTHING)), default=str).encode()
        lines = [text] if path.suffix == ".json" else [text, *lines[1:]]
    path.write_bytes(b"\n".join(lines))
    loaded = load([folder, root / "second"])
    assert "shifted" in {run.model for run in loaded.runs}
    with sentence_or_nothing():
        load(folder)


METADATA = st.fixed_dictionaries(
    {},
    optional={
        name: ANYTHING | st.sampled_from(["big2", "best_*", "lower", " ", "value_bias"])
        for name in (
            *("lexicon", "foundations", "prompts", "surface_forms", "answer_slot"),
            *("target_delimiter", "single_token_in"),
        )
    },
)


@FUZZ
@given(METADATA)
def test_metadata(monkeypatch, metadata):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with sentence_or_nothing():
        documents(design="twins", default_lexicon="big2", lexicon_option="lexicon", **metadata)


VALUES = ANYTHING | st.sampled_from(
    [*NAMES, "auto", "pooled", "1;2", "hf", "vllm", "float32", 0, 1]
)
ARGUMENTS = st.dictionaries(
    st.sampled_from([*NAMES, "dtype", "max_length", "revision", "peft", "tokenizer", "engine"])
    | SIGNS.filter(str.isidentifier),
    VALUES,
    max_size=4,
)


@FUZZ
@given(ARGUMENTS)
def test_model_args(monkeypatch, checkpoint, arguments):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with contextlib.suppress(ModelError):
        RewardArguments.take(arguments)
    with sentence_or_nothing():
        found = diagnose(str(checkpoint("llama")), arguments)
        assert all("\n" not in refusal for refusal in found.refusals)


CONFIG = {
    "output": "out", "bases": ["a/b"], "data": [{"dataset": "c/d", "held_out": 5}],
    "quantities": [8], "seeds": [0], "counter": {"data": {"dataset": "e"}, "shares": [0.5]},
    "objective": "grm", "method": "lora", "lora": {"r": 4}, "grm": {"beta": 0.1},
    "training": {"learning_rate": 1e-5}, "probe": {"every": 3, "metadata": {"prompts": "*"}},
}  # fmt: skip


@FUZZ
@given(st.data())
def test_train_yaml(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "config.yaml"
    if data.draw(st.booleans()):
        content = json.loads(json.dumps(CONFIG))
        for _ in range(data.draw(st.integers(1, 3))):
            where = data.draw(st.sampled_from(list(places(content))))
            content = put(content, where, data.draw(ANYTHING))
            if not isinstance(content, dict):
                break
        path.write_text(yaml.safe_dump(content))
    else:
        text = yaml.safe_dump(CONFIG)
        place = data.draw(st.integers(0, len(text)))
        junk = data.draw(st.text("&*a-: [{\n!%@`|>#'\"\t", max_size=6))
        path.write_text(text[:place] + junk + text[place + len(junk) :])
    with sentence_or_nothing():
        grid = load_config(path)
        assert len({cell.digest for cell in grid.cells}) == len(grid.cells)


@FUZZ
@given(st.data())
def test_token_runs(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")

    def opened():
        return ScoreStore(folder, {"model": "x"}, prompts=2, tokens=6, chunk_size=4)

    store = opened()
    scores = {chunk: [float(chunk.start + i) for i in range(chunk.stop - chunk.start)]
              for chunk in store.chunks}  # fmt: skip
    for chunk, values in scores.items():
        store.save(chunk, values)
    files = sorted((folder / "chunks").iterdir())
    path = data.draw(st.sampled_from([*files, folder / "run.json"]))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content)))
    junk = data.draw(st.binary(min_size=1, max_size=9))
    path.write_bytes(content[:place] + junk + content[place + len(junk) :])
    with contextlib.suppress(DataError):
        again = opened()
        for chunk in again.chunks:  # what is not missing is what was written
            if chunk not in again.missing():
                assert again._saved(chunk).tolist() == scores[chunk]


PIECES = [
    "{{ messages[0]['content'] }}", "{{ messages[-1]['content'] }}", "{% for m in messages %}",
    "{{ m['role'] }}", "{{ m['content'] }}", "{% endfor %}", "{% if m['role'] == 'user' %}",
    "{% endif %}", "{{ bos_token }}", "{{ 1 // 0 }}", "{% set x = 'a' * 9 %}", "{{ x }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}", "{{ strftime_now('%d') }}",
    "{{ raise_exception('no') }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{", "}}",
    "{% include 'x' %}", "{{ m['content'] | tojson }}", "{{ m['content'][::-1] }}", "\n", "text ",
]  # fmt: skip


@FUZZ
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9))
def test_chat_templates(monkeypatch, pieces):
    monkeypatch.setattr(templates, "_SECONDS", 0.2)
    tokenizer = tiny.chat_tokenizer("llama3")
    tokenizer.chat_template = "".join(pieces)
    with sentence_or_nothing():
        encoder = ChatEncoder(tokenizer)
        one, other = encoder.encode([("Which animal?", " dog"), ("Which animal?", " a <b> cat")])
        assert one != other
