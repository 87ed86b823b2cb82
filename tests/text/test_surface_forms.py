import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.text.surface_forms import (
    SURFACE_FORMS,
    joint_of,
    read_delimiter,
    read_slot,
    writers,
)


@pytest.mark.parametrize(
    ("forms", "delimiter", "expected"),
    [
        (["as_given"], " ", [" Self-Respect"]),
        (["lower", "title"], "", ["self-respect", "Self-Respect"]),
        (
            ["lower", "space", "space_title"],
            " ",
            ["self-respect", " Self-Respect", " Self-Respect"],
        ),
    ],
)
def test_answers_bring_their_joint(forms, delimiter, expected):
    assert [write("Self-Respect") for write in writers(forms, delimiter)] == expected
    assert all(answer.startswith(joint_of(forms, delimiter)) for answer in expected)


def test_every_form_can_be_written():
    assert [write("love") for write in writers(list(SURFACE_FORMS), " ")] == [
        "love", "love", "Love", " love", " Love",
    ]  # fmt: skip


def test_a_slot_follows_after_one_space_unless_it_brings_white_space():
    assert [read_slot(slot) for slot in ("", "Answer:", "\nAnswer:")] == [
        "", " Answer:", "\nAnswer:",
    ]  # fmt: skip


@pytest.mark.parametrize("slot", ["Answer: ", "Answer:\n", 3, None])
def test_a_slot_that_would_double_the_space_is_refused(slot):
    with pytest.raises(DataError, match="answer_slot is .*such as 'Answer:'"):
        read_slot(slot)


def test_a_delimiter_is_text():
    assert (read_delimiter(None), read_delimiter("")) == (None, "")
    with pytest.raises(DataError, match="target_delimiter is 0"):
        read_delimiter(0)
