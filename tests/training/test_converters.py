"""Hand-made rows in the published datasets' columns."""

import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.training.converters import convert


def talk(*texts):
    roles = ("user", "assistant") * len(texts)
    return [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]


def run(name, *rows):
    return list(convert(rows, name, "mine"))


def test_ultrafeedback_drops_ties_and_the_text_prompt():
    row = {
        "prompt": "q",
        "prompt_id": "1",
        "chosen": talk("q", "good"),
        "rejected": talk("q", "bad"),
        "messages": talk("q", "good"),
        "score_chosen": 8.5,
        "score_rejected": 6.0,
    }
    tie = {**row, "score_rejected": 8.5}
    assert run("ultrafeedback", row, tie) == [
        {"chosen": talk("q", "good"), "rejected": talk("q", "bad"), "margin": 2.5}
    ]


def test_unified_feedback_takes_the_higher_rating_whichever_side_it_is_on():
    a, b = talk("q", "one"), talk("q", "two")
    rows = [
        {"conv_A": a, "conv_B": b, "conv_A_rating": 3.0, "conv_B_rating": 1.0},
        {"conv_A": a, "conv_B": b, "conv_A_rating": 0.0, "conv_B_rating": 1.0},
        {"conv_A": a, "conv_B": b, "conv_A_rating": 1.0, "conv_B_rating": 1.0},
    ]
    assert run("unified-feedback", *rows) == [
        {"chosen": a, "rejected": b, "margin": 2.0},
        {"chosen": b, "rejected": a, "margin": 1.0},
    ]


def test_skywork_keeps_conversations_of_several_turns():
    row = {"chosen": talk("q", "a", "r", "b"), "rejected": talk("q", "a", "r", "c"), "source": "x"}
    same = {**row, "rejected": row["chosen"]}
    assert run("skywork", row, same) == [
        {"chosen": row["chosen"], "rejected": row["rejected"], "margin": 0.0}
    ]


def test_helpsteer2_pairs_the_two_responses_to_a_prompt():
    def row(prompt, response, helpfulness):
        return {
            **{"prompt": prompt, "response": response, "helpfulness": helpfulness},
            **{"correctness": 1, "coherence": 1, "complexity": 1, "verbosity": 1},
        }

    several = "q\n<extra_id_1>Assistant\na\n<extra_id_1>User\nr"
    found = run(
        "helpsteer2",
        *(row("q", "worse", 1), row("q", "better", 4)),
        *(row("tie", "x", 2), row("tie", "y", 2)),
        row("alone", "z", 3),
        *(row(several, "first", 3), row(several, "second", 2)),
    )
    assert found == [
        {"chosen": talk("q", "better"), "rejected": talk("q", "worse"), "margin": 3.0},
        {
            "chosen": talk("q", "a", "r", "first"),
            "rejected": talk("q", "a", "r", "second"),
            "margin": 1.0,
        },
    ]


def test_helpsteer2s_preference_file_is_read_too():
    row = {"prompt": "q", "response_1": "a", "response_2": "b", "preference_strength": 2}
    assert run("helpsteer2", row)[0]["chosen"] == talk("q", "b")


def test_helpsteer3_prefers_the_first_response_where_negative():
    row = {"context": talk("q", "a", "r"), "response1": "x", "response2": "y"}
    rows = [{**row, "overall_preference": n} for n in (-3, 0, 1)]
    x, y = talk("q", "a", "r", "x"), talk("q", "a", "r", "y")
    assert run("helpsteer3", *rows) == [
        {"chosen": x, "rejected": y, "margin": 3.0},
        {"chosen": y, "rejected": x, "margin": 1.0},
    ]


def test_trls_own_forms():
    texts = {"prompt": "q ", "chosen": "a", "rejected": "b"}
    assert run("trl", texts)[0]["chosen"] == "q a"
    full = {"chosen": talk("q", "a"), "rejected": talk("q", "b")}
    expected = {**full, "margin": 0.0}
    split = {"prompt": talk("q"), "chosen": talk("q", "a")[1:], "rejected": talk("q", "b")[1:]}
    doubled = {"prompt": talk("q"), **full}
    trap = {"prompt": "q", **full}
    text_prompt = {**split, "prompt": "q"}
    assert run("trl", full, split, doubled, trap, text_prompt) == [expected] * 5
    assert run("trl", {**full, "margin": 0.5})[0]["margin"] == 0.5


@pytest.mark.parametrize(
    "name", ["ultrafeedback", "unified-feedback", "skywork", "helpsteer2", "helpsteer3", "trl"]
)
def test_another_format_is_refused_by_name(name):
    with pytest.raises(DataError, match=f"mine is not in the format {name}"):
        run(name, {"text": "x"})
