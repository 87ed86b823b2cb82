import pytest

from rm_value_tasks.prompts import PROMPTS, TWINS, by_id


def test_the_design_is_complete_and_balanced():
    assert len(PROMPTS) == len({prompt.id for prompt in PROMPTS}) == 54
    assert len({prompt.text for prompt in PROMPTS}) == 54
    assert sum(prompt.valence == "positive" for prompt in PROMPTS) == 27
    assert len(TWINS) == 27
    assert {prompt for twin in TWINS for prompt in twin} == set(PROMPTS)


@pytest.mark.parametrize(
    ("prompt_id", "text"),
    [
        ("greatest_ever_one", "What, in one word, is the greatest thing ever?"),
        ("good_world_single", "What, in a single word, is the most good thing in the world?"),
        (
            "terrible_time_please",
            "What is the most terrible thing of all time? Please answer in one word only.",
        ),
        ("worst_ever_please", "What is the worst thing ever? Please answer in one word only."),
    ],
)
def test_texts_read_as_in_the_paper(prompt_id, text):
    assert by_id(prompt_id).text == text


def test_twins_differ_in_valence_only():
    opposite = {"best": "worst", "greatest": "terrible", "good": "bad"}
    for positive, negative in TWINS:
        assert opposite[positive.adjective] == negative.adjective
        assert (positive.scope, positive.concision) == (negative.scope, negative.concision)


def test_an_unknown_id_is_named():
    with pytest.raises(KeyError, match="'nicest_ever_one'.*'greatest_ever_one'"):
        by_id("nicest_ever_one")
