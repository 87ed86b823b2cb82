"""The report says what the runs hold, needs nothing but itself, and lets no markup through."""

import base64
import hashlib
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from rm_value_tasks import report
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.report.opening import lean_sentences
from rm_value_tasks.report.probes import families_of, stage_order
from rm_value_tasks.results import load
from tests import runs

HOSTILE = "<script>alert('x')</script>|`*_[a](http://evil.test)"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page's elements; raises if one is not closed where it should be."""

    def __init__(self, source: str):
        super().__init__(convert_charrefs=True)
        self.stack, self.elements, self.texts, self.scripts = [], [], [], []
        self.feed(source)
        self.close()
        assert not self.stack, self.stack

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes)
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        where = self.scripts if "script" in self.stack else self.texts
        if "style" not in self.stack:
            where.append(data)

    @property
    def text(self):
        return "".join(self.texts)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def hostile(root, tmp_path_factory):
    """A run whose word ``ability`` and whose model are markup."""
    folder = runs.copy(root / "first", tmp_path_factory.mktemp("hostile") / "run")

    def name(sample):
        words = sample["doc"]["words"]
        sample["doc"]["words"] = [HOSTILE if word == "ability" else word for word in words]

    runs.remake(folder, name)
    path = runs.results_of(folder)
    content = json.loads(path.read_text())
    content["config"] |= {"model": HOSTILE, "model_args": {"pretrained": HOSTILE}}
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def pages(root, hostile):
    """Results and both formats: one model, two models, a language model, markup."""
    sets = {
        "one": [root / "first"],
        "two": [root / "first", root / "second"],
        "language model": [root / "plain"],
        "hostile": [hostile],
    }
    return {
        name: (results := load(paths), report.render(results), report.render(results, "md"))
        for name, paths in sets.items()
    }


@pytest.mark.parametrize("name", ["one", "two", "language model", "hostile"])
def test_the_page_is_well_formed_and_asks_for_nothing(pages, name):
    page = Page(pages[name][1])
    for tag, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "action", "srcset", "poster", "data"):
            if key in attributes:
                assert re.match(r"#|data:(,|image/svg\+xml;base64,)", attributes[key]), tag
    style = pages[name][1].partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    links = [a["href"][1:] for tag, a in page.elements if tag == "a"]
    assert links
    assert set(links) <= set(ids)
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) >= 2
    assert all(image["alt"] for image in images)


def test_no_secret_among_a_models_arguments_is_shown(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    path = runs.results_of(folder)
    content = json.loads(path.read_text())
    secrets = dict.fromkeys(("token", "api_key", "header", "use_auth_token"), "hf_secret")
    content["config"]["model_args"] |= {
        **secrets, "base_url": "http://me:hf_secret@gpu:8000", "dtype": "bfloat16",
    }  # fmt: skip
    path.write_text(json.dumps(content))
    for form in report.FORMATS:
        page = report.render(load(folder), form)
        assert "hf_secret" not in page
        assert "dtype=bfloat16" in page


@pytest.mark.parametrize("name", ["one", "hostile"])
def test_the_policy_allows_our_script_and_no_other(pages, name):
    page = Page(pages[name][1])
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 1
    (policy,) = (a["content"] for _, a in page.elements if "http-equiv" in a)
    (allowed,) = re.findall(r"script-src 'sha256-([^']+)'", policy)
    digest = hashlib.sha256("".join(page.scripts).encode()).digest()
    assert base64.b64encode(digest).decode() == allowed
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy.replace("style-src 'unsafe-inline'", "")


def test_markup_from_models_stays_text(pages):
    page = Page(pages["hostile"][1])
    assert page.text.count(HOSTILE) >= 6  # title, heading, sentence, tables, figures
    assert HOSTILE not in page.scripts[0]
    for tag, attributes in page.elements:
        if tag == "img":
            svg = base64.b64decode(attributes["src"].partition(",")[2]).decode()
            assert "<script" not in svg


def test_markup_from_models_stays_text_in_markdown(pages):
    text = pages["hostile"][2]
    assert "<script>" not in text
    assert r"&lt;script&gt;alert('x')&lt;/script&gt;\|\`\*\_\[a\](http:\//evil.test)" in text


@pytest.mark.parametrize("name", ["one", "two", "language model", "hostile"])
def test_markdown_tables_are_whole(pages, name):
    blocks = re.findall(r"(?:^\|.*\n)+", pages[name][2], flags=re.M)
    assert len(blocks) >= 4
    for block in blocks:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
        assert re.fullmatch(r"\|(---:?\|)+", block.splitlines()[1])


def test_the_leans_are_lm_evals(pages):
    results, source, text = pages["two"]
    for found in (Page(source).text, text.replace("\\", "")):
        for run in results.runs:
            for metric in ("agency_contrast", "agency_positive", "agency_negative"):
                assert f"{run.metrics[metric]:.4f}" in found
            assert f"{run.stderrs['agency_contrast']:.4f}" in found


def test_every_table_row_fills_its_heads(pages):
    for name in pages:
        source = pages[name][1]
        for table in re.findall(r"<table.*?</table>", source, flags=re.S):
            heads = table.count("<th ")
            rows = [row.count("<td") for row in re.findall(r"<tr>(.*?)</tr>", table, flags=re.S)]
            assert set(rows[1:]) == {heads}


def test_sort_keys_are_numbers(pages):
    cells = [a for tag, a in Page(pages["two"][1]).elements if tag == "td" and "data-value" in a]
    assert cells
    assert all(math.isfinite(float(cell["data-value"])) for cell in cells)


def test_it_says_how_the_numbers_came_about(pages):
    results, source, _ = pages["two"]
    page = Page(source).text
    for said in ("ties count half", "0.5 means no lean", "not matched", "No direction is better"):
        assert said in page
    run = results.runs[0]
    assert run.versions["lm_eval"] in page
    assert run.versions["transformers"] in page
    for digest in (run.lexicon_digest, run.hashes["samples"], run.hashes["scores_file"]):
        assert digest[:12] in page


def test_log_probabilities_and_own_lists_are_named(pages):
    page = Page(pages["language model"][1]).text
    assert "log-probability of the word" in page
    assert "the scalar reward" not in page
    assert "not matched in length" in page  # an own list's level is no verdict
    assert "not tasks of this package: demo_capitals" in page


def test_one_pair_of_questions_has_no_interval_but_a_lean(pages):
    results, source, _ = pages["language model"]
    value = results.runs[0].metrics["agency_contrast"]
    assert f"{value:.4f}" in Page(source).text
    assert "nan" not in Page(source).text.lower().split()


def test_published_references_stand_apart_from_other_lists(pages):
    page = Page(pages["one"][1])
    captions = [text for text in page.texts if "published reward models" in text]
    assert captions


def test_rendering_twice_gives_the_same_page(root):
    results = load(root / "plain")
    assert report.render(results) == report.render(results)


def test_families_by_pattern_come_before_the_published():
    models = ["nicolinho_QRM-Gemma-2-27B", "nicolinho/QRM-Llama3.1-8B", "my-LLAMA", "other"]
    assert families_of(models, {}) == {models[0]: "Gemma", models[1]: "Llama"}
    patterns = {"*llama*": "Mine", "*my*": "Late"}
    assert families_of(models, patterns) == {
        models[0]: "Gemma", models[1]: "Mine", models[2]: "Mine"
    }  # fmt: skip


def test_without_samples_there_is_nothing_to_report(root, tmp_path):
    folder = runs.copy(root / "first", tmp_path / "run")
    runs.samples_of(folder).unlink()
    with pytest.raises(DataError, match="log_samples"):
        report.render(load(folder, need_samples=False))


def test_the_command_writes_page_and_card(root, tmp_path):
    for name, start in (("r.html", "<!DOCTYPE html>"), ("r.md", "## Value lean of")):
        output = tmp_path / name
        ran = CliRunner().invoke(cli, ["report", str(root / "plain"), "-o", str(output)])
        assert ran.exit_code == 0, ran.output
        assert output.read_text().startswith(start)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.md"]


def test_the_command_refuses_in_a_sentence(root, tmp_path):
    runner = CliRunner()
    output = tmp_path / "missing" / "r.html"
    ran = runner.invoke(cli, ["report", str(root / "plain"), "-o", str(output)])
    assert isinstance(ran.exception, DataError)
    assert "cannot write" in str(ran.exception)
    ran = runner.invoke(
        cli, ["report", str(root / "plain"), "-o", str(tmp_path / "x.html"), "--family", "llama"]
    )
    assert ran.exit_code == 2
    assert "PATTERN=NAME" in ran.output
    assert not list(tmp_path.iterdir())


def test_an_older_report_survives_a_failed_one(root, tmp_path):
    output = tmp_path / "r.html"
    output.write_text("old")
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = CliRunner().invoke(cli, ["report", str(empty), "-o", str(output)])
    assert isinstance(ran.exception, DataError)
    assert output.read_text() == "old"


def wins(differences, members, others):
    pairs = [(row[i], row[j]) for row in differences for i in members for j in others]
    return sum((x > y) + (x == y) / 2 for x, y in pairs) / len(pairs)


def test_the_crossed_interval_is_a_bootstrap_of_words_and_pairs(root):
    """Against a plain resampling loop; quantiles of 2,000 draws agree within sampling error."""

    from rm_value_tasks.prompts import TWINS
    from rm_value_tasks.report.probes import probes_of
    from rm_value_tasks.stats.leans import crossed_intervals

    (probe,) = probes_of(load(root / "first"))
    kept = [*range(0, 20), *range(140, 160)]
    words = list(dict.fromkeys(probe.table["word"]))
    words = [words[i] for i in kept]
    table = probe.table[probe.table["word"].isin(words)]
    found = crossed_intervals(table, *probe.categories).iloc[0]
    scores = table.pivot(index="word", columns="prompt", values="score").loc[words]
    twins = [(good.id, bad.id) for good, bad in TWINS if good.id in scores]
    differences = np.array([scores[good] - scores[bad] for good, bad in twins])
    is_agency = table.drop_duplicates("word").set_index("word")["category"].loc[words] == "Agency"
    agency, communion = np.flatnonzero(is_agency), np.flatnonzero(~is_agency)
    draw = np.random.default_rng(5)
    leans = []
    for _ in range(400):
        rows = differences[draw.integers(len(twins), size=len(twins))]
        leans.append(
            wins(rows, draw.choice(agency, agency.size), draw.choice(communion, communion.size))
        )
    low, high = np.quantile(leans, [0.025, 0.975])
    assert found["outer_low"] == pytest.approx(low, abs=0.03)
    assert found["outer_high"] == pytest.approx(high, abs=0.03)
    shuffled = []
    for _ in range(400):
        order = draw.permutation(40)
        shuffled.append(wins(differences, order[: agency.size], order[agency.size :]))
    low, high = np.quantile(shuffled, [0.025, 0.975])
    assert found["noise_low"] == pytest.approx(low, abs=0.03)
    assert found["noise_high"] == pytest.approx(high, abs=0.03)


def test_families_are_compared_as_the_reference_does(reference):
    """R and scipy on the published scores: reference/panel_tests_big2.csv, p = 0.076."""

    from rm_value_tasks.report.families import compare_families

    ranks = pd.read_csv(reference / "rank_results_big2.csv").rename(columns={
        "model_id": "model", "base_model": "base", "Category": "category",
        "prompt_framing": "valence", "sum_value": "rank",
    })  # fmt: skip
    found, why_not = compare_families(ranks)
    assert why_not == ""
    expected = pd.read_csv(reference / "panel_tests_big2.csv").set_index(["Category", "framing"])
    (table,) = found.tables
    for row in table.rows:
        target = expected.loc[(row[0].shown, row[1].shown)]
        shown = dict(zip(table.columns[2:], [cell.value for cell in row[2:]], strict=True))
        names = {
            "Gemma, mean": "mean_gemma", "Llama, mean": "mean_llama",
            "p, question as unit (Welch)": "p_welch", "Welch, Bonferroni": "p_welch_bonf",
            "p, model as unit (Welch)": "modelmean_welch_p",
            "p, model as unit (exact permutation)": "modelmean_exact_perm_p_210",
            "exact, Bonferroni": "modelmean_exact_perm_p_210_bonf",
        }  # fmt: skip
        assert [shown[ours] for ours in names] == pytest.approx(list(target[[*names.values()]]))
    assert "permutation p = 0.076" in found.notes[1]
    assert "overstates certainty" in found.notes[0]


def test_a_model_asked_of_one_valence_only_has_no_three_way_contrast():
    """It would make every split's difference NaN and the p value 0."""
    from rm_value_tasks.report.families import compare_families
    from tests.stats import synthetic

    ranks = synthetic.medians(np.random.default_rng(0))
    ranks = ranks[(ranks["model"] != "g0") | (ranks["valence"] == "positive")]
    found, _ = compare_families(ranks)
    note = found.notes[1]
    assert "without 1 asked questions of one valence only" in note
    assert "nan" not in note
    assert "p = 0.000" not in note


def test_families_too_few_are_left_out_with_the_reason(root):
    results = load([root / "first", root / "second"])
    page = Page(report.render(results)).text
    assert "that needs two families, and 0 are known here" in page
    named = {"example*": "Exampla", "shifted*": "Shifta"}
    page = Page(report.render(results, families=named)).text
    assert "that needs two models a family, and Exampla has one" in page


@pytest.fixture(scope="module")
def four_models(root, tmp_path_factory):
    """Two families of two models, on the Big Two and (first model) on foundations."""
    folder = tmp_path_factory.mktemp("families")
    for i, shift in enumerate((0.0, 0.05, -0.6, -0.7)):
        scores = runs.shifted_scores(folder / f"{'ab'[i // 2]}-{i}.csv", shift, seed=i)
        runs.evaluate(
            folder / "runs", "recorded-rewards", {"path": str(scores)}, ["value_bias_big2"],
            prompts=runs.PROMPTS,
        )  # fmt: skip
    return load(folder / "runs")


def test_two_families_of_two_models_are_compared(four_models):
    page = Page(report.render(four_models, families={"a-*": "Alpha", "b-*": "Beta"})).text
    assert "Alpha against Beta: median ranks" in page
    assert "unit of analysis: one model on one question" in page
    assert "permutation p = 0.333" in page  # 2 of the 6 splits are as extreme


def test_only_foundations(tmp_path, checkpoint):
    runs.evaluate(
        tmp_path / "runs", "reward", {"pretrained": str(checkpoint("llama"))},
        ["value_bias_foundations"], prompts=["best_ever_*"],
    )  # fmt: skip
    results = load(tmp_path / "runs")
    page = Page(report.render(results))
    (run,) = results.runs
    for category in ("care_virtue", "sanctity_vice"):
        assert f"{run.metrics[f'{category}_contrast']:.4f}" in page.text
    assert "Profile" in page.text
    assert "Lean: " not in page.text


def test_only_paper_tasks(published, tmp_path, monkeypatch):
    monkeypatch.setenv("RM_VALUE_TASKS_DATA", str(published))
    scores = published / "reward_scores_big2_nouns" / "nicolinho_QRM-Gemma-2-27B.csv"
    runs.evaluate(
        tmp_path / "runs", "recorded-rewards", {"path": str(scores)}, ["value_bias_paper_big2"]
    )
    source = report.render(load(tmp_path / "runs"))
    page = Page(source).text
    for value in ("134.0", "128.9", "97.3", "153.3", "0.4180", "0.0061"):  # published_models.csv
        assert value in page
    assert "level says nothing about a model by itself" in page


@pytest.mark.parametrize("absent", ["matplotlib", "scipy", "statsmodels"])
def test_without_its_libraries_the_command_says_so(root, tmp_path, absent):
    program = (
        f"import sys; sys.modules[{absent!r}] = None; from rm_value_tasks.cli import main; main()"
    )
    output = tmp_path / "r.html"
    done = subprocess.run(
        [sys.executable, "-c", program, "report", str(root / "first"), "-o", str(output)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"report needs {absent}, which is not installed" in line
    assert not output.exists()


def test_models_with_words_questions_and_models_crossed(four_models):
    page = Page(report.render(four_models, families={"a-*": "Alpha", "b-*": "Beta"},
                              covariates=(["length"], ""))).text  # fmt: skip
    assert "agency_contrast by family, words, questions and models crossed" in page
    assert "Beta - Alpha" in page
    assert "Covariates of words (length)" in page
    assert "Mixed-effects model of median ranks, random intercept of models" in page


def test_both_formats_open_with_a_sentence_for_each_model_and_end_with_the_method(pages):
    results, source, text = pages["two"]
    heads = re.findall(r"<h2>(.*?)</h2>", source)
    assert heads == [head.replace("\\", "") for head in re.findall(r"^### (.*)", text, flags=re.M)]
    assert heads[0] == "In short"
    assert heads[-3:] == ["Method and limits", "Runs, versions and hashes", "Files not used"]
    first = source.partition("<h2>")[2].partition("</section>")[0]
    for run in results.runs:
        (sentence,) = (li for li in re.findall("<li>(.*?)</li>", first) if run.model in li)
        assert f"{run.metrics['agency_contrast']:.1%}" in sentence
        assert "95% interval" in sentence
        assert "50% would be no lean" in sentence


@pytest.mark.parametrize(("low", "high", "said"), [
    (0.6, 0.8, "m leans to agency: in 70.0%"), (0.4, 0.9, "m cannot be told apart from no lean"),
    (np.nan, np.nan, "no interval from a single pair"),
])  # fmt: skip
def test_the_sentence_says_a_way_only_where_the_interval_does(low, high, said):
    ends = {"low": low, "high": high, "outer_low": low, "outer_high": high}
    leans = pd.DataFrame({"contrast": 0.7, **ends}, index=["m"])
    (sentence,) = lean_sentences(leans, "Agency", "Communion", "big2")
    assert said in sentence


def test_a_models_stages_follow_one_another(root):
    (run, *_) = load(root / "first").runs
    names = ["a-reward", "b-it", "a-instruct", "b", "a-base", "b-step-10", "b-step-9"]
    found = sorted((replace(run, model=name, score_kind="") for name in names), key=stage_order)
    assert [run.model for run in found] == [
        "a-base", "a-instruct", "a-reward", "b", "b-it", "b-step-9", "b-step-10"
    ]  # fmt: skip


def test_mixed_models_come_after_the_method(four_models):
    text = report.render(four_models, "md", families={"a-*": "Alpha", "b-*": "Beta"})
    before, _, after = text.partition("### Method and limits")
    assert "REML" in after
    assert "REML" not in before
