"""Runs beside the ten published models, and never on another scale without a word."""

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
from click.testing import CliRunner

from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.publish import published_models
from rm_value_tasks.publish.leaderboard import leaderboard, render
from rm_value_tasks.results import lexicon_digest, load
from tests import runs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def loaded(root):
    return load([root / "first", root / "second", root / "plain"]).runs


def test_ten_reference_rows_are_marked(loaded):
    table = leaderboard(loaded)
    kinds = table["kind"].value_counts()
    assert kinds["reference"] == 10
    assert kinds["run"] == 3
    text = render(table, "markdown")
    assert len(re.findall(r"^\| .* † \|", text, flags=re.MULTILINE)) == 10
    assert "no direction is better" in text


def test_another_lexicon_is_put_apart_and_says_so(loaded):
    table = leaderboard(loaded)
    own = table[table["kind"] == "run"]
    assert own["note"].str.contains("not on the scale of the reference rows").all()
    assert list(table["kind"][:10]) == ["reference"] * 10
    assert "4 of 27 documents (value_bias_big2)" in own.set_index("model").loc["shifted", "note"]
    assert "log-probabilities" in own.set_index("model").loc["tiny-causal", "note"]
    assert "surface forms lower, space_title" in own.set_index("model").loc["tiny-causal", "note"]


def test_the_published_nouns_stand_among_the_reference_rows(loaded):
    run = replace(
        next(run for run in loaded if run.model == "shifted"),
        lexicon="nouns.csv",
        lexicon_digest=published_models.LEXICON_DIGEST,
        documents=27,
        metrics={"agency_contrast": 0.43, "agency_positive": 0.5, "agency_negative": 0.6},
    )
    table = leaderboard([run])
    place = table.index[table["model"] == "shifted"][0]
    assert 0 < place < 10
    assert table["note"][place] == ""
    assert table["agency_contrast"].is_monotonic_decreasing
    # The name alone does not put a run there once its words are known.
    other = replace(run, lexicon="big2_nouns", lexicon_digest="0" * 64)
    assert "not on the scale" in leaderboard([other])["note"].iloc[-1]
    unknown = replace(run, lexicon="big2_nouns", lexicon_digest="")
    assert "" in set(leaderboard([unknown])["note"])


def test_the_digest_is_of_the_published_nouns(published, monkeypatch):
    from rm_value_tasks import lexicons

    monkeypatch.setenv("RM_VALUE_TASKS_DATA", str(published))
    nouns = lexicons.load("big2_nouns")
    assert lexicon_digest(nouns.words, nouns.categories) == published_models.LEXICON_DIGEST


def test_the_digest_knows_words_and_categories_but_no_order():
    words, categories = ["a", "b"], [("X",), ("Y", "Z")]
    digest = lexicon_digest(words, categories)
    assert lexicon_digest(["b", "a"], [("Z", "Y"), ("X",)]) == digest
    assert lexicon_digest(words, [("Y", "Z"), ("X",)]) != digest


def test_csv_has_all_digits(loaded):
    rows = {
        row["model"]: row for row in csv.DictReader(io.StringIO(render(leaderboard(loaded), "csv")))
    }
    run = next(run for run in loaded if run.model == "shifted")
    assert float(rows["shifted"]["agency_contrast"]) == run.metrics["agency_contrast"]
    assert float(rows["shifted"]["agency_contrast_stderr"]) == run.stderrs["agency_contrast"]
    reference = rows["nicolinho/QRM-Llama3.1-8B"]
    assert float(reference["agency_contrast"]) == pytest.approx(0.3893, abs=5e-5)
    assert float(reference["communion_rank_positive"]) == pytest.approx(125.74, abs=5e-3)


@pytest.mark.parametrize("style", ["markdown", "html"])
def test_names_stay_text(loaded, style):
    hostile = replace(loaded[0], model="<script>alert(1)</script>|[x](http://y)\n# h")
    text = render(leaderboard([hostile]), style)
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    if style == "markdown":
        row = next(line for line in text.splitlines() if "script" in line)
        assert row.count("|") - row.count("\\|") == len(text.splitlines()[0].split("|")) - 1
        assert "[x](" not in text


class Cells(HTMLParser):
    """Collects the text of every table cell."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_html_holds_the_same_cells(loaded):
    table = leaderboard(loaded)
    cells = Cells()
    cells.feed(render(table, "html"))
    header, *rows = cells.rows
    assert len(rows) == len(table) == 13
    assert {len(row) for row in rows} == {len(header)}
    assert [row[0].removesuffix(" †") for row in rows] == list(table["model"])
    shown = [float(row[header.index("agency_contrast")].split(" ")[0]) for row in rows]
    assert shown == pytest.approx(list(table["agency_contrast"]), abs=5e-4)


def test_runs_without_agency_are_refused(loaded):
    other = replace(loaded[0], metrics={"care_virtue_contrast": 0.5})
    with pytest.raises(DataError, match="value_bias_big2"):
        leaderboard([other])
    with pytest.raises(DataError, match="none of markdown"):
        render(leaderboard(loaded), "pdf")


def test_the_command(root, tmp_path):
    target = tmp_path / "table.csv"
    folders = [str(root / "first"), str(root / "second")]
    done = CliRunner().invoke(cli, ["leaderboard", *folders, "--format", "csv", "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(target)) == 12
