"""What is left of a vocabulary when words alone are shown."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import load
from rm_value_tasks.vocabulary.word_filter import word_filter
from tests import tiny


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("love", True), (" Love", True), ("love ", True), ("d'accord", True), ("well-being", True),
        ("Größe", True), ("प्यार", True), ("愛情", True),
        ("a", False), ("", False), (" ", False), ("\n\n", False),
        ("42", False), ("love2", False), ("lo_ve", False), ("-love", False), ("two words", False),
        ("<|end|>", False), ("love.", False),
    ],
)  # fmt: skip
def test_words(text, kept):
    assert word_filter(None, True).keeps(text) is kept


def test_a_lexicons_words_in_every_case(tmp_path):
    only = word_filter("big2", words_only=True)
    assert all(only.keeps(f" {word.title()}") for word in load("big2").words)
    assert not only.keeps("the")
    assert "big2" in only.said
    assert word_filter(None, False) is None
    with pytest.raises(DataError, match="no lexicon 'big3'"):
        word_filter("big3", False)


@given(st.text(), st.text())
def test_a_digit_or_a_sign_makes_no_word(before, after):
    for sign in "0_.<\n":
        assert not word_filter(None, True).keeps(f"a{before}{sign}{after}b")


def test_the_commands_show_words_alone_and_rank_among_them(tmp_path):
    model = tiny.save(tmp_path / "model", "llama")
    common = [
        "--model-args",
        f"pretrained={model}",
        "--prompts",
        "best_ever_one",
        "--device",
        "cpu",
    ]
    common += ["--batch-size", "16", "-o", str(tmp_path / "out"), "--top", "3"]
    done = CliRunner().invoke(cli, ["tokens", *common, "--lexicon", "big2"])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line[:8].strip().isdecimal()]
    assert [row[0] for row in rows[:3]] == ["1", "2", "3"]
    words = {word.lower() for word in load("big2").words}
    assert all(row[-1].strip("'").lower() in words for row in rows)
    assert "shown: words of big2 alone" in done.output


def test_optimal_tokens_of_a_lexicon(tmp_path):
    for name, scores in (("a.csv", (-0.5, -2, -3)), ("b.csv", (-2, -0.9, -2))):
        rows = [
            f"{i},{text},{text},{score}"
            for i, (text, score) in enumerate(zip(("the", "love", "power"), scores, strict=True))
        ]
        header = "token_id,token_name,token_decoded,greatest_ever_one"
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
    command = ["optimal-tokens", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--top", "2"]
    whole = CliRunner().invoke(cli, command)
    assert "| 1 | the |" in whole.output
    (tmp_path / "words.csv").write_text("word,category\nlove,Communion\npower,Agency\n")
    done = CliRunner().invoke(cli, [*command, "--lexicon", str(tmp_path / "words.csv")])
    assert done.exit_code == 0, done.output
    assert "| the |" not in done.output
    assert "2 words are tokens of both" in done.output
    assert "alone." in done.output
    (tmp_path / "none.csv").write_text("word,category\nx1,Communion\ny1,Agency\n")
    done = CliRunner().invoke(cli, [*command, "--lexicon", str(tmp_path / "none.csv")])
    assert isinstance(done.exception, DataError)
    assert "share no token that is one of the words of" in str(done.exception)
