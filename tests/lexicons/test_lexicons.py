"""Lexicons: embedded, published and the user's own, and every file that is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import Lexicon, downloads, load, parse

FOUNDATIONS = ("Care", "Fairness", "Loyalty", "Authority", "Sanctity")
FACETS = {
    "Agency": {"competence", "assertiveness", "autonomy", "achievement", "power"},
    "Communion": {"warmth", "care", "affiliation", "morality", "family"},
}


@pytest.fixture
def from_folder(published: Path, monkeypatch) -> Path:
    monkeypatch.setenv(downloads.FOLDER_ENV, str(published))
    return published


def sizes(lexicon: Lexicon) -> dict[str, int]:
    return {name: int(lexicon.in_category(name).sum()) for name in lexicon.category_names}


def write(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


# Embedded


def test_big2_has_two_equal_sides_of_single_lower_case_words():
    lexicon = load("big2")
    agency, communion = (sizes(lexicon)[name] for name in ("Agency", "Communion"))
    assert agency == communion >= 60
    assert all(re.fullmatch("[a-z]+", word) for word in lexicon.words)
    assert len(set(lexicon.words)) == len(lexicon)


def test_big2_has_every_facet_on_its_own_side():
    lexicon = load("big2")
    for category, expected in FACETS.items():
        member = lexicon.in_category(category)
        found = {facet for facet, inside in zip(lexicon.facets, member, strict=True) if inside}
        assert found == expected


def test_foundations_fills_ten_cells_with_words_of_one_cell_each():
    lexicon = load("foundations")
    assert lexicon.category_names == tuple(
        f"{foundation}/{side}" for foundation in FOUNDATIONS for side in ("Virtue", "Vice")
    )
    assert min(sizes(lexicon).values()) >= 20
    assert all(len(names) == 1 for names in lexicon.categories)
    assert all(re.fullmatch("[a-z]+", word) for word in lexicon.words)


def test_the_hash_is_the_file_s():
    content = files("rm_value_tasks.lexicons").joinpath("data/big2.csv").read_bytes()
    assert load("big2").sha256 == hashlib.sha256(content).hexdigest()


# Published: expectations counted by hand from the files with the csv module, as below


def test_published_nouns(from_folder):
    lexicon = load("big2_nouns")
    assert len(lexicon) == 263
    assert sizes(lexicon) == {"Agency": 104, "Communion": 159}
    with (from_folder / "dict_big2_nouns.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [(c[0], w) for w, c in zip(lexicon.words, lexicon.categories, strict=True)] == [
        tuple(row) for row in rows
    ]


def test_published_expanded_drops_exact_repeats_only(from_folder):
    lexicon = load("big2_expanded")
    with (from_folder / "dict_big2_expanded.csv").open() as file:
        rows = [tuple(row) for row in list(csv.reader(file))[1:]]
    assert len(rows) - len(set(rows)) == 36
    assert len(lexicon) == len(set(rows)) == 900
    marked = {word for word, agency, _ in rows if agency == "X"}
    assert {w for w, a in zip(lexicon.words, lexicon.in_category("Agency"), strict=True) if a} == (
        marked
    )
    assert sizes(lexicon)["Communion"] == len({row[0] for row in rows if row[2] == "X"})


def test_published_foundations_complete(from_folder):
    lexicon = load("mfd2_complete")
    assert len(lexicon) == 2040
    assert sizes(lexicon)["Sanctity/Vice"] == 388
    assert set(lexicon.category_names) == {
        f"{f}/{s}" for f in FOUNDATIONS for s in ("Virtue", "Vice")
    }
    assert all(len(names) == 1 for names in lexicon.categories)


def test_published_foundations_as_the_paper_used_them(from_folder):
    lexicon, complete = load("mfd2"), load("mfd2_complete")
    assert len(lexicon) == 1652
    assert set(lexicon.category_names) == set(FOUNDATIONS)
    expected = Counter(
        names[0].split("/")[0] for names in complete.categories if names != ("Sanctity/Vice",)
    )
    assert sizes(lexicon) == expected
    assert (
        lexicon.sha256
        == complete.sha256
        == downloads.PUBLISHED["moral-foundations-dictionary-20.dicx"]
    )


# The user's own


def test_a_csv_of_words_and_categories(tmp_path):
    lexicon = load(write(tmp_path, "word,category\nfreedom,Agency\nlove,Communion\n"))
    assert lexicon.name == "mine"
    assert lexicon.words == ("freedom", "love")
    assert lexicon.categories == (("Agency",), ("Communion",))
    assert lexicon.facets == ()
    assert lexicon.in_category("Agency").tolist() == [True, False]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffword,category\r\nfreedom,Agency\r\nlove,Communion\r\n",
        "category,notes,word\nAgency,x,freedom\nCommunion,,love",
        "word, category\n\n freedom , Agency\n,\nlove,Communion\n",
    ],
    ids=["byte order mark and CRLF", "other columns", "spaces and blank lines"],
)
def test_harmless_variants_are_read_alike(content):
    lexicon = parse(content.encode(), "mine")
    assert lexicon.words == ("freedom", "love")
    assert lexicon.category_names == ("Agency", "Communion")


def test_words_that_look_like_missing_values_stay_words():
    lexicon = parse(b"word,category\nnull,A\nnan,B\nNA,B\nNone,A\n", "mine")
    assert lexicon.words == ("null", "nan", "NA", "None")


def test_accents_are_composed():
    lexicon = parse("word,category\nfierte\u0301,Agency\namour,Communion\n".encode(), "mine")
    assert lexicon.words[0] == "fiert\u00e9"


def test_agency_comes_first_whatever_the_file_s_order():
    lexicon = parse(b"word,category\nlove,Communion\nfreedom,Agency\n", "mine")
    assert lexicon.category_names == ("Agency", "Communion")


def test_a_word_in_two_of_three_categories_counts_in_each():
    lexicon = parse(b"word,category\nlaw,Fairness\nlaw,Authority\nsin,Sanctity\n", "mine")
    assert lexicon.words == ("law", "sin")
    assert lexicon.categories == (("Fairness", "Authority"), ("Sanctity",))
    assert sizes(lexicon) == {"Fairness": 1, "Authority": 1, "Sanctity": 1}


def test_facets_are_read_where_given():
    lexicon = parse(b"word,category,facet\nfreedom,Agency,autonomy\nlove,Communion,\n", "mine")
    assert lexicon.facets == ("autonomy", None)


REFUSED = {
    "repeated row": (
        "word,category\nlove,Communion\nwit,Agency\nlove,Communion\n",
        r"line 4, repeats 'love' in Communion \(first on line 2\)",
    ),
    "repeated after composing accents": (
        "word,category\n\u00e9lan,Agency\ne\u0301lan,Agency\nlove,Communion\n",
        "repeats '\u00e9lan'",
    ),
    "word in both of two categories": (
        "word,category\nlove,Communion\nlove,Agency\nwit,Agency\n",
        "'love' in both Agency and Communion",
    ),
    "word in both of the Big Two among three": (
        "word,category\nlove,Communion\nlove,Agency\nwit,Neither\n",
        "'love' in both Agency and Communion",
    ),
    "word in both of two other categories": (
        "word,category\nred,Warm\nred,Cold\nblue,Cold\n",
        "'red' in both Cold and Warm",
    ),
    "empty word": ("word,category\n,Agency\nlove,Communion\n", "line 2, has an empty word"),
    "empty category": ("word,category\nwit, \nlove,Communion\n", "line 2, has an empty category"),
    "one category": ("word,category\nwit,Agency\n", r"1 category \(Agency\); .* at least two"),
    "category in two spellings": (
        "word,category\nwit,Agency\nskill,agency\nlove,Communion\n",
        "spells one category as 'Agency' and 'agency'",
    ),
    "Latin-1": (
        "word,category\nfiert\u00e9,Agency\n".encode("latin-1"),
        "not UTF-8 .byte 0xe9 at position 19",
    ),
    "UTF-16": ("word,category\nwit,Agency\n".encode("utf-16"), "not UTF-8 .byte 0xff"),
    "no category column": ("word,kind\nwit,Agency\n", "no column 'category'; .* 'word', 'kind'"),
    "semicolons": ("word;category\nwit;Agency\n", "between commas: word, category"),
    "no header": ("wit,Agency\nlove,Communion\n", "no column 'word' and no column 'category'"),
    "column twice": ("word,word,category\na,b,c\n", "two columns of one name"),
    "web page": ("\n<!DOCTYPE html><html><body>404</body></html>", "is a web page"),
    "empty": ("", "is empty"),
    "blank": ("\n \n", "is empty"),
    "header only": ("word,category\n", "a header but no words"),
    "comma in a word": ("word,category\nwell,being,Communion\n", "line 2, has 3 cells"),
    "short row": ("word,category\nwit\n", "line 2, has 1 cells"),
    "open quote": ('word,category\n"wit,Agency\n', "cannot be read as CSV"),
    "line break in a word": ('word,category\n"a\nb",Agency\nc,Communion\n', "control character"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_bad_file_is_refused(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_suggests_a_near_one():
    with pytest.raises(DataError, match="did you mean big2_nouns") as caught:
        load("big2_noun")
    assert all(name in str(caught.value) for name in lexicons.NAMES)


@pytest.mark.parametrize("path", ["no/such/file.csv", "a\0b", "."])
def test_an_unreadable_path_is_refused(path):
    with pytest.raises(DataError, match="no readable file"):
        load(path)


def test_an_unknown_category_is_refused():
    with pytest.raises(DataError, match="big2 has no category 'agency'; it has: Agency, Comm"):
        load("big2").in_category("agency")


# Properties

NAME = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8).map(
    lambda text: unicodedata.normalize("NFC", text)
)


@st.composite
def tables(draw) -> dict[str, list[str]]:
    """Words with one to three of three or more categories."""
    categories = draw(
        st.lists(NAME, min_size=3, max_size=5, unique_by=lambda text: text.casefold())
    )
    if {"Agency", "Communion"} <= set(categories):
        categories.append("Other")
    words = draw(st.lists(NAME, min_size=3, max_size=12, unique=True))
    some = st.lists(st.sampled_from(categories), min_size=1, max_size=3, unique=True)
    table = {word: draw(some) for word in words}
    for word, category in zip(words, categories, strict=False):  # so that three are in use
        if category not in table[word]:
            table[word] = [*table[word], category]
    return table


@given(tables(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_was_written_is_read(table, line_end, byte_order_mark):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(["word", "category"])
    rows = [(word, name) for word, names in table.items() for name in names]
    writer.writerows(rows)
    content = ("\ufeff" * byte_order_mark + text.getvalue()).encode()
    lexicon = parse(content, "mine")
    assert dict(zip(lexicon.words, map(list, lexicon.categories), strict=True)) == table
    assert lexicon.words == tuple(table)
    counted = Counter(name for _, name in rows)
    assert {name: np.count_nonzero(lexicon.in_category(name)) for name in counted} == counted


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text('word,category\n"A;<é\0 ', max_size=60).map(
            lambda text: ("word,category\n" + text).encode()
        ),
    )
)
def test_any_bytes_give_a_lexicon_or_a_data_error(content):
    try:
        lexicon = parse(content, "mine")
    except DataError:
        return
    assert len(lexicon.category_names) >= 2
    assert len(set(lexicon.words)) == len(lexicon.words) == len(lexicon.categories)
    assert all(lexicon.words)
