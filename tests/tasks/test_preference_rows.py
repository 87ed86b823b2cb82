"""Preference rows as texts and as messages are one."""

import contextlib
import json

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.errors import DataError
from rm_value_tasks.tasks import preferences
from rm_value_tasks.tasks.preference_rows import read_row
from tests import runs, tiny

ASK = {"role": "user", "content": "Which animal barks?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("A dog.", "A cat."))
PLAIN = {
    "id": "1",
    "subset": "x",
    "prompt": ASK["content"],
    "chosen": "A dog.",
    "rejected": "A cat.",
}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [ASK]},
        {"prompt": [ASK], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"prompt": None, "chosen": [ASK, GOOD], "rejected": [ASK, BAD]},
        {"chosen": [[ASK, GOOD]], "rejected": [[ASK, BAD]]},
        {"chosen": ["A dog."], "rejected": ["A cat."]},
        {"id": 1},
    ],
)
def test_one_pair_in_every_form(row):
    assert read_row({**PLAIN, **row}) == read_row(PLAIN)
    assert read_row(PLAIN).prompt == ASK["content"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": [ASK]}, "an answer by 'user'"),
        ({"chosen": [ASK, GOOD], "rejected": [{**ASK, "content": "?"}, BAD]}, "other turns before"),
        ({"prompt": "?", "chosen": [ASK, GOOD], "rejected": [ASK, BAD]}, "not what its answers"),
        ({"prompt": [ASK, GOOD], "chosen": [BAD]}, "not what its answers follow"),
        ({"prompt": 3}, "3 where its prompt belongs"),
        ({"prompt": []}, "messages that are not of a role and a text"),
        ({"prompt": [{"role": "user"}]}, "messages that are not of a role and a text"),
        ({"prompt": [{"role": "user", "content": ["?"]}]}, "messages that are not of a role"),
        ({"chosen": 4}, "4 where answers belong"),
        ({"chosen": None}, "None where answers belong"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(row, said):
    with pytest.raises(DataError, match=said):
        read_row({**PLAIN, **row})


def test_columns_that_are_missing_are_named():
    with pytest.raises(DataError, match="no column 'chosen'"):
        read_row({"id": 1, "subset": "x", "prompt": "?", "rejected": "a"})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.fixed_dictionaries({key: ANYTHING for key in PLAIN}))
def test_no_row_makes_a_traceback(row):
    with contextlib.suppress(DataError):
        read_row(row)


def test_every_turn_of_a_conversation_is_scored(tmp_path):
    """Against the chat template and a plain forward pass, one conversation at a time."""
    folder = tiny.save(tmp_path / "model", "qwen3")
    turns = [
        {"role": "system", "content": "Be brief."}, ASK, GOOD,
        {"role": "user", "content": "Which animal meows?"},
    ]  # fmt: skip
    rows = [
        {"id": "1", "subset": "x", "prompt": turns, "chosen": [BAD], "rejected": [GOOD]},
        {**PLAIN, "id": "2"},
    ]
    source = tmp_path / "pairs.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    def reward(*conversation):
        ids = tokenizer.apply_chat_template(
            list(conversation), return_dict=True, return_tensors="pt"
        )
        return model(**ids).logits.item()

    expected = [[reward(*turns, BAD), reward(*turns, GOOD)], [reward(ASK, GOOD), reward(ASK, BAD)]]
    given = {"source": str(source)}
    arguments = {"pretrained": str(folder)}
    out = runs.evaluate(
        tmp_path / "out", "reward", arguments, ["rm_preferences_pairs"], chat=True, **given
    )
    lines = runs.samples_of(out, "rm_preferences_pairs").read_text().splitlines()
    found = [[float(pair[0]) for pair in json.loads(line)["filtered_resps"]] for line in lines]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    with pytest.raises(DataError, match=r"'1' has 4 turns.*--apply_chat_template"):
        runs.evaluate(tmp_path / "no", "reward", arguments, ["rm_preferences_pairs"], **given)


def test_a_source_may_hold_other_line_ends_and_strangers_are_named(tmp_path):
    row = {**PLAIN, "chosen": "A\u2028dog\u0085.", "rejected": "A\u2029cat."}
    source = tmp_path / "pairs.jsonl"
    source.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    (doc,) = preferences.documents(form="pairs", source=str(source))["test"]
    assert doc["answers"] == [["A\u2028dog\u0085.", "A\u2029cat."]]
    source.write_text(json.dumps(row) + "\n0\n")
    with pytest.raises(DataError, match="'0' in a line, no object"):
        preferences.documents(form="pairs", source=str(source))
    source.write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read as JSONL"):
        preferences.documents(form="pairs", source=str(source))
