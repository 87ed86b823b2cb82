"""The published scores through the real lm_eval, against figures computed independently."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as distributions

from benchmarks.lexicons import published_models
from rm_value_tasks.report.families import compare_families
from rm_value_tasks.results import load
from rm_value_tasks.stats.crossed import crossed_model
from rm_value_tasks.stats.mixed import rank_model
from rm_value_tasks.stats.permutation import exact_p, panel_tests, three_way_contrasts
from rm_value_tasks.stats.ranks import contrast_ranks, median_ranks, rank_table
from tests import runs

# design's table: agency_positive, agency_negative, agency_contrast, standard error.
LEANS = {
    "LxzGordon/URM-LLaMa-3.1-8B": (0.5129, 0.6746, 0.4286, 0.0090),
    "RLHFlow/ArmoRM-Llama3-8B-v0.1": (0.5574, 0.6479, 0.4551, 0.0108),
    "Ray2333/GRM-Llama3-8B-rewardmodel-ft": (0.4900, 0.5526, 0.4624, 0.0094),
    "Ray2333/GRM-Llama3.2-3B-rewardmodel-ft": (0.5235, 0.5903, 0.4759, 0.0078),
    "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2": (0.5319, 0.6619, 0.4504, 0.0083),
    "nicolinho/QRM-Llama3.1-8B": (0.4682, 0.6417, 0.3893, 0.0093),
    "Ray2333/GRM-gemma2-2B-rewardmodel-ft": (0.5019, 0.6852, 0.4059, 0.0096),
    "Skywork/Skywork-Reward-Gemma-2-27B-v0.2": (0.5013, 0.6884, 0.4047, 0.0066),
    "Skywork/Skywork-Reward-Gemma-2-27B": (0.4858, 0.6241, 0.4148, 0.0064),
    "nicolinho/QRM-Gemma-2-27B": (0.4989, 0.6515, 0.4180, 0.0061),
}
# The reference's short names: first letter of the author, base, size.
SHORT = {
    "N-Gem-27B": "nicolinho/QRM-Gemma-2-27B",
    "S-Gem-27B-v0.2": "Skywork/Skywork-Reward-Gemma-2-27B-v0.2",
    "S-Gem-27B": "Skywork/Skywork-Reward-Gemma-2-27B",
    "R-Gem-2B": "Ray2333/GRM-gemma2-2B-rewardmodel-ft",
    "S-Lla-8B-v0.2": "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2",
    "N-Lla-8B": "nicolinho/QRM-Llama3.1-8B",
    "L-Lla-8B": "LxzGordon/URM-LLaMa-3.1-8B",
    "R-Lla-8B": "Ray2333/GRM-Llama3-8B-rewardmodel-ft",
    "R-Lla-3B": "Ray2333/GRM-Llama3.2-3B-rewardmodel-ft",
    "F-Lla-8B-v0.1": "RLHFlow/ArmoRM-Llama3-8B-v0.1",
}


@pytest.fixture(scope="module")
def folder(published, tmp_path_factory):
    """lm_eval's output for the ten models on both tasks."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RM_VALUE_TASKS_DATA", str(published))
        files = sorted((published / "reward_scores_big2_nouns").glob("*.csv"))
        assert len(files) == 10
        for file in files:
            arguments = {"path": str(file)}
            tasks = list(published_models.TASKS)
            runs.evaluate(
                folder / file.stem, "recorded-rewards", arguments, tasks, lexicon="big2_nouns"
            )
    return folder


@pytest.fixture(scope="module")
def measured(folder, published):
    rows = []
    for file in sorted((published / "reward_scores_big2_nouns").glob("*.csv")):
        content = json.loads(runs.results_of(folder / file.stem).read_text())
        rows.append(published_models.row(file, content["results"]))
    return pd.DataFrame(rows).set_index("model")


@pytest.fixture(scope="module")
def table(folder):
    """Tidy rows of the twin task, model names as the reference has them."""
    found = load(folder).table
    found = found[found["task"] == "value_bias_big2"]
    names = {name.replace("/", "_", 1): short for short, name in SHORT.items()}
    return found.assign(model=found["model"].map(names))


@pytest.fixture(scope="module")
def medians(table):
    found = median_ranks(table)
    gemma = found["model"].str.contains("Gem")
    return found.assign(base=gemma.map({True: "Gemma", False: "Llama"}))


def test_leans_to_four_digits(measured):
    names = ["agency_positive", "agency_negative", "agency_contrast", "agency_contrast_stderr"]
    for model, expected in LEANS.items():
        assert measured.loc[model, names].tolist() == pytest.approx(expected, abs=0.5001e-4)


def test_median_ranks_equal_the_reference(measured, reference):
    means = pd.read_csv(reference / "big2_model_means.csv").set_index("model_id")
    pairs = {
        "pos_Agency": "agency_rank_positive",
        "pos_Communion": "communion_rank_positive",
        "neg_Agency": "agency_rank_negative",
        "neg_Communion": "communion_rank_negative",
    }
    assert set(means.index) == set(SHORT)
    for short, model in SHORT.items():
        for theirs, ours in pairs.items():
            assert measured.loc[model, ours] == pytest.approx(means.loc[short, theirs], abs=1e-6)


def test_the_packaged_table_is_what_the_run_gives(measured):
    packaged = pd.read_csv(published_models.PUBLISHED_MODELS).set_index("model")
    pd.testing.assert_frame_equal(packaged, measured, check_exact=False, atol=1.1e-6)


def test_the_packaged_tables_own_run_gives_the_same(measured, published, monkeypatch):
    monkeypatch.setenv("RM_VALUE_TASKS_DATA", str(published))
    file = published / "reward_scores_big2_nouns" / "nicolinho_QRM-Gemma-2-27B.csv"
    made = published_models.row(file)
    assert {name: made[name] for name in measured} == measured.loc[made["model"]].to_dict()


def test_every_median_rank_equals_the_reference(medians, reference):
    """1,080 rows by R, ties averaged."""
    expected = pd.read_csv(reference / "rank_results_big2.csv").set_index(
        ["model_id", "prompt", "Category"]
    )
    ours = medians.set_index(["model", "prompt", "category"])
    assert len(ours) == len(expected) == 1080
    found = ours.join(expected.rename_axis(ours.index.names))
    assert (found["rank"] == found["sum_value"]).all()
    assert (found["valence"] == found["prompt_framing"]).all()
    wide = rank_table(medians)
    assert wide.shape == (540, 4)
    assert wide.loc[("N-Gem-27B", "bad_ever_one"), ("Agency", "negative")] == 98


def test_panels_equal_the_reference(medians, reference):
    expected = pd.read_csv(reference / "panel_tests_big2.csv").set_index(["Category", "framing"])
    found = panel_tests(medians, ["Gemma", "Llama"]).set_index(["category", "valence"])
    pairs = {
        "first": "mean_gemma", "second": "mean_llama", "difference": "diff_llama_minus_gemma",
        "welch_df": "df_welch", "welch": "p_welch", "welch_bonferroni": "p_welch_bonf",
        "model_welch": "modelmean_welch_p", "model_welch_bonferroni": "modelmean_welch_p_bonf",
        "model_exact": "modelmean_exact_perm_p_210",
        "model_exact_bonferroni": "modelmean_exact_perm_p_210_bonf",
    }  # fmt: skip
    expected.index.names = found.index.names
    for ours, theirs in pairs.items():
        assert found[ours].to_dict() == pytest.approx(expected[theirs].to_dict(), rel=1e-8), ours
    # The reference's t is Gemma minus Llama.
    assert found["welch_t"].to_dict() == pytest.approx((-expected["t_welch"]).to_dict(), rel=1e-8)
    # True permutation p values are random at 9,999 resamples: four standard errors of 1e-3.
    for name in ("perm_p_mkinfer_def", "perm_p_scipy_abs_greater"):
        gaps = (found["permutation"] - expected[name]).abs()
        assert (gaps < 4 * np.sqrt(1e-3 / 9999)).all()
    assert (found["permutation"] >= 1e-4).all()


def test_the_three_way_contrast_with_the_model_as_unit(medians):
    """The reference: exact p = 0.076, Welch 0.049."""
    contrast = three_way_contrasts(medians, ["Agency", "Communion"])
    gemma, llama = contrast["Gemma"].to_numpy(), contrast["Llama"].to_numpy()
    assert exact_p(gemma, llama) == pytest.approx(0.076, abs=5e-4)
    assert distributions.ttest_ind(gemma, llama, equal_var=False).pvalue == pytest.approx(
        0.049, abs=5e-4
    )


def test_the_mixed_model_equals_nlme(medians, reference):
    expected = pd.read_csv(reference / "lme_big2_coef.csv")
    fit = pd.read_csv(reference / "lme_big2_fit.csv").iloc[0]
    found = rank_model(medians)
    ours = found.coefficients
    assert ours["estimate"].tolist() == pytest.approx(expected["Value"].tolist(), rel=1e-9)
    assert ours["df"].tolist() == expected["DF"].tolist() == [1064, 8, *[1064] * 6]
    assert ours["stderr"].tolist() == pytest.approx(expected["Std.Error"].tolist(), rel=1e-4)
    assert ours["t"].tolist() == pytest.approx(expected["t-value"].tolist(), rel=1e-4)
    assert ours["p"].tolist() == pytest.approx(expected["p-value"].tolist(), rel=3e-3, abs=1e-200)
    assert found.log_likelihood == pytest.approx(fit["logLik"], abs=1e-6)
    assert found.residual_sd == pytest.approx(fit["sigma"], rel=1e-5)
    # reference/README: the random effect's standard deviation to 1e-3.
    assert found.random_sd.tolist() == pytest.approx([fit["re_sd"]], rel=1e-3)


def test_random_slopes_equal_nlme(medians, reference):
    """nlme stops near a singular covariance, so standard errors agree to half a percent only."""
    expected = pd.read_csv(reference / "lme_big2_random_slopes_coef.csv")
    ours = rank_model(medians, random_slopes=True).coefficients
    assert ours["estimate"].tolist() == pytest.approx(expected["Value"].tolist(), rel=1e-6)
    assert ours["df"].tolist() == expected["DF"].tolist()
    assert ours["stderr"].tolist() == pytest.approx(expected["Std.Error"].tolist(), rel=5e-3)


def test_the_crossed_models_leans_are_the_mean_leans(table, measured):
    """In balanced data the estimates are plain means of the models' contrasts."""
    ranked = contrast_ranks(table)
    families = {name: "Gemma" if "Gem" in name else "Llama" for name in SHORT}
    found = crossed_model(ranked, families, "Agency", "Communion").coefficients["estimate"]
    means = measured.groupby("base")["agency_contrast"].mean()
    assert found["lean Gemma"] == pytest.approx(means["Gemma"], abs=2e-6)
    assert found["Llama - Gemma"] == pytest.approx(means["Llama"] - means["Gemma"], abs=2e-6)


def test_readmes_excerpt_is_what_the_report_says(medians, table):
    """docs/reports.md rounds nothing by hand: its rows are the report's cells."""
    families = {name: "Gemma" if "Gem" in name else "Llama" for name in SHORT}
    comparison, _ = compare_families(medians)
    crossed = crossed_model(contrast_ranks(table), families, "Agency", "Communion").coefficients
    rows = [[cell.shown for cell in row] for row in comparison.tables[0].rows]
    rows += [
        [term, f"{row['estimate']:.4f}", f"{row['stderr']:.4f}",
         f"{row['low']:.4f} to {row['high']:.4f}", f"{row['df']:.0f}", f"{row['t']:.2f}",
         f"{row['p']:.4f}"]
        for term, row in crossed.iterrows()
    ]  # fmt: skip
    readme = (Path(__file__).parents[1] / "docs" / "reports.md").read_text()
    block = readme.partition("<!-- report -->")[2].partition("<!-- /report -->")[0]
    shown = [
        [cell.strip().replace("&lt;", "<") for cell in line.strip().strip("|").split("|")]
        for line in block.splitlines()
        if line.startswith("|") and "---" not in line
    ]
    assert [row for row in shown if row[0] not in ("category", "term")] == rows
