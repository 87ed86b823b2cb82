"""Names and words from models and files are shown as they are."""

import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.text.markup import csv_text, latex, markdown, markdown_table, visible

HOSTILE = (
    "\x1b[31mred", "=cmd|' /C calc'!A0", "http://evil.example", "www.evil.example",
    "<script>alert(1)</script>", "[x](http://evil)", "a|b", "line\nbreak", "@everyone", "_em_",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_markup(text):
    shown = markdown(text)
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert "<" not in shown
    assert "http://" not in shown
    assert "www." not in shown
    table = markdown_table(["name"], [[shown]])
    assert len(table.splitlines()) == 3


def test_words_keep_their_underscores():
    assert markdown("value_bias_big2") == "value_bias_big2"
    assert markdown("_a_ b_") == r"\_a\_ b\_"


@given(st.text())
def test_visible_text_is_one_printable_line(text):
    assert visible(text).isprintable()
    assert "\n" not in latex(text)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_csv_holds_the_same_texts_and_no_formula(texts):
    table = pd.DataFrame({"name": texts, "value": 1.5})
    read = pd.read_csv(io.StringIO(csv_text(table), newline=""), keep_default_na=False, dtype=str,
                       lineterminator="\n" if "\r" in "".join(texts) else None)  # fmt: skip
    for before, after in zip(texts, read["name"], strict=True):
        assert after.removeprefix("'") == before.removeprefix("'")
        assert not (after[0] in "=+-@\t\r" and any(mark in after for mark in "(|!"))


def test_a_formula_is_text_and_a_sign_stays():
    table = pd.DataFrame({"name": ["=cmd|' /C calc'!A0", "=", "-x", "+1+1", "@SUM(A1)"]})
    names = csv_text(table).splitlines()[1:]
    assert names == ["'=cmd|' /C calc'!A0", "=", "-x", "+1+1", "'@SUM(A1)"]
