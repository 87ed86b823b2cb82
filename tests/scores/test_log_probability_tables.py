"""Tables of log-probabilities in the authors' form, written by hand; and what is refused."""

import contextlib
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import by_id
from rm_value_tasks.scores.log_probability_tables import is_token_table, read

HEADER = "token_id,token_name,token_decoded,best_ever_one,worst_ever_one\n"
ROWS = """0,<bos>,<bos>,-20.5,-21.5
1,ĠLove, Love,-1.5,-3.0
2,love,love,-2.5,-2.0
3,null,null,-9.0,-9.5
4,"""  # a lone carriage return follows, unquoted, as Python's csv writes it


def write(folder, text, name="org--model.csv"):
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_a_file_written_by_hand(tmp_path):
    rest = 'č,\r,-4.0,-4.5\n5,Ċ,"\n",-4.0,-4.5\n6,"""","""",-6.0,-6.5\n7,",",",",-7.0,-7.5\n'
    found = read(write(tmp_path, HEADER + ROWS + rest))
    assert found.name == "org/model"
    assert found.prompts == {name: by_id(name).text for name in ("best_ever_one", "worst_ever_one")}
    assert found.table["token_id"].tolist() == list(range(8))
    assert found.table["token_decoded"].tolist() == [
        *("<bos>", " Love", "love", "null", "\r", "\n", '"', ",")
    ]
    assert found.table["best_ever_one"].tolist() == [-20.5, -1.5, -2.5, -9, -4, -4, -6, -7]
    assert found.of_texts("worst_ever_one")["love"] == -2.0
    only = read(tmp_path / "org--model.csv", ["worst_ever_one"])
    assert list(only.prompts) == ["worst_ever_one"]
    assert only.table["worst_ever_one"].tolist() == found.table["worst_ever_one"].tolist()


def test_windows_line_ends_a_byte_order_mark_and_parquet_read_alike(tmp_path):
    plain = HEADER + ROWS.rpartition("\n")[0] + "\n"
    expected = read(write(tmp_path, plain))
    for text, name in (
        (plain.replace("\n", "\r\n"), "windows.csv"),
        ("\ufeff" + plain, "marked.csv"),
        (plain.replace("best_ever_one", f'"{by_id("best_ever_one").text}"'), "texts.csv"),
    ):
        pd.testing.assert_frame_equal(read(write(tmp_path, text, name)).table, expected.table)
    expected.table.to_parquet(tmp_path / "org--model.parquet")
    found = read(tmp_path / "org--model.parquet")
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert (found.name, found.prompts) == (expected.name, expected.prompts)


def test_tokens_of_one_text_count_together_and_tokens_without_text_not_at_all(tmp_path):
    rows = "0,a,a,-1.0\n1,<0x61>,a,-2.0\n2,é,\ufffd,-1.5\n3,x,,-3.0\n4,▁a, a,-4.0\n"
    texts = read(write(tmp_path, "token_id,token_name,token_decoded,p\n" + rows)).of_texts("p")
    assert list(texts.index) == ["a", " a"]
    # log(e^-1 + e^-2) = -1 + log(1 + e^-1)
    assert texts.tolist() == pytest.approx([-1 + math.log(1 + math.exp(-1)), -4])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(-2000, -3)), min_size=1, max_size=9))
def test_sums_over_tokens_of_one_text_are_naive_sums(tmp_path_factory, tokens):
    rows = "".join(f"{i},t{i},{text},{log!r}\n" for i, (text, log) in enumerate(tokens))
    path = write(tmp_path_factory.mktemp("t"), "token_id,token_name,token_decoded,p\n" + rows)
    for text, log in read(path).of_texts("p").items():
        parts = [value for name, value in tokens if name == text]
        top = max(parts)
        expected = top + math.log(sum(math.exp(value - top) for value in parts))
        assert log == pytest.approx(expected, rel=1e-12)
        assert np.isfinite(log)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column token_id.*got nothing"),
        ("token_id,token_decoded,p\n0,a,-1\n", "has no column token_name.*got token_id"),
        ("token_id,token_name,token_decoded\n0,a,a\n", "no prompt's column"),
        (HEADER, "has no rows"),
        (HEADER.replace("worst", "best"), "'best_ever_one' twice"),
        (HEADER + "0,a,a,-1\n", "needed is a natural log-probability"),
        (HEADER + "0,a,a,-1,\n", r"has '' for token 0 \('a'\) and 'worst_ever_one'"),
        (HEADER + "0,a,a,-1,-2\n1,b,b,-1,high\n", r"has 'high' for token 1 \('b'\)"),
        (HEADER + "0,a,a,-1,nan\n", "has .*nan.* for token 0"),
        (HEADER + "0,a,a,-1,-inf\n", "a finite number of at most 0"),
        (HEADER + "0,a,a,-1,0.5\n", "has .*0.5.* for token 0"),
        (HEADER + "0,a,a,-0.1,-1\n1,b,b,-0.1,-1\n", "'best_ever_one' that add up to 1.81"),
        (HEADER + "0,a,a,-1,-1\n0,b,b,-1,-1\n", "token_id 0 twice"),
        (HEADER + "x,a,a,-1,-1\n", "token_id that is no whole number"),
        (HEADER + "0,a,a,-1,-1,-1\n", "cannot be read as csv"),
        (HEADER.replace("\n", ",\n") + "0,a,a,-1,-1,-1\n", "a column without a name"),
        ((HEADER + "0,a,a,-1,-1\n").replace("\n", "\r"), "cannot be read as csv|has no rows"),
        (HEADER + "0,a,a,-1,-1\n1,b,b,-1,-1,-1\n", "cannot be read as csv"),
        (HEADER + '0,a,a,-1,-1\n1,"b,b,-1,-1,-1\n', "cannot be read as csv"),
    ],
)
def test_what_cannot_be_log_probabilities_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(write(tmp_path, text))
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_tokens_that_are_bytes_are_refused(tmp_path):
    table = read(write(tmp_path, HEADER + "0,a,a,-1,-1\n")).table
    table["token_decoded"] = [b"a"]
    table.to_parquet(tmp_path / "bytes.parquet")
    with pytest.raises(DataError, match="token_decoded that is no text"):
        read(tmp_path / "bytes.parquet")


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["csv", "parquet"]), st.binary(min_size=1, max_size=30), st.integers(0, 500))
def test_no_bytes_make_a_traceback(tmp_path_factory, ending, content, place):
    folder = tmp_path_factory.mktemp("fuzz")
    sound = write(folder, HEADER + "0,a,a,-1,-1\n1,b,b,-2,-2\n")
    if ending == "parquet":
        read(sound).table.to_parquet(folder / "sound.parquet")
        sound = folder / "sound.parquet"
    data = sound.read_bytes()
    path = folder / f"spoilt.{ending}"
    path.write_bytes(data[:place] + content + data[place + len(content) :])
    is_token_table(path)
    with contextlib.suppress(DataError):
        read(path)


def test_other_files_and_prompts_are_refused(tmp_path):
    path = write(tmp_path, HEADER + "0,a,a,-1,-1\n")
    with pytest.raises(DataError, match="no prompt 'good_ever_one'; it has best_ever_one, worst"):
        read(path, ["good_ever_one"])
    with pytest.raises(DataError, match="no prompt 'other'; it has"):
        read(path).of_texts("other")
    with pytest.raises(DataError, match="there is no file"):
        read(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match=r"there is no file .*tokens\.parquet"):
        read(tmp_path)
    with pytest.raises(DataError, match="neither .csv nor .parquet"):
        read(write(tmp_path, "", "scores.txt"))
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read(write(tmp_path, "mine", "x.parquet"))
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"0,\xe9,\xe9,-1,-1\n")
    with pytest.raises(DataError, match="cannot be read as csv"):
        read(tmp_path / "latin.csv")
