"""The verb and its tables on real lm_eval output: two families with a planted share."""

from dataclasses import replace

import click.testing
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rm_value_tasks import cli, lexicons
from rm_value_tasks.analyses.tracing import MEAN, align, leans_to_draw, read_stage, render, trace
from rm_value_tasks.cli.trace import trace as verb
from rm_value_tasks.errors import DataError
from rm_value_tasks.organisms.demo.families import FAMILIES, STAGES, tastes
from rm_value_tasks.prompts import by_id
from rm_value_tasks.results import load
from tests import runs, tiny

PAIRS = [("best_ever_one", "worst_ever_one"), ("good_time_one", "bad_time_one")]
ONE, OTHER = FAMILIES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``FAMILY-STAGE`` runs on two pairs; the Gemma-like reward model has a pair more."""
    folder = tmp_path_factory.mktemp("families")
    lexicon = lexicons.load("big2")
    agency = lexicon.in_category("Agency").astype(float)
    generator = np.random.default_rng(4)
    own = generator.normal(size=len(agency))
    for place, taste in tastes(agency).items():
        prompts = [prompt for pair in PAIRS for prompt in pair]
        if place == (OTHER, "reward"):
            prompts += ["best_world_one", "worst_world_one"]
        signs = [1 if by_id(prompt).valence == "positive" else -1 for prompt in prompts]
        noise = generator.normal(scale=0.2, size=(len(agency), len(prompts)))
        table = own[:, None] + np.outer(taste, signs) + noise
        path = folder / f"{'-'.join(place)}.csv"
        index = pd.Index(lexicon.words, name="response")
        pd.DataFrame(table, index=index, columns=prompts).to_csv(path)
        task = ["value_bias_big2"]
        runs.evaluate(path.with_suffix(""), "recorded-rewards", {"path": str(path)}, task,
                      prompts=prompts)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def stages(folder):
    return {(f, s): load(folder / f"{f}-{s}") for f in FAMILIES for s in STAGES}


@pytest.fixture(scope="module")
def found(stages):
    return trace(align(stages), resamples=300)


def scores_of(folder, family, stage):
    table = pd.read_csv(folder / f"{family}-{stage}.csv", index_col="response")
    return {"contrast": table[[p for p, _ in PAIRS]].to_numpy() -
            table[[n for _, n in PAIRS]].to_numpy(),
            "positive": table[[p for p, _ in PAIRS]].to_numpy(),
            "negative": table[[n for _, n in PAIRS]].to_numpy()}  # fmt: skip


def places_of(folder, family, stage, kind):
    columns = scores_of(folder, family, stage)[kind].T
    return np.mean([(stats.rankdata(row) - 0.5) / len(row) for row in columns], axis=0)


def test_leans_are_lm_evals(stages, found):
    assert len(found.leans) == 18
    for row in found.leans.itertuples():
        if (row.family, row.stage) != (OTHER, "reward"):  # one pair was cut
            run = stages[row.family, row.stage].runs[0]
            assert row.estimate == pytest.approx(run.metrics[row.metric], abs=1e-6)
        assert row.low < row.estimate < row.high


def test_what_was_cut_is_said(found):
    assert found.design.pairs == tuple(PAIRS)
    assert found.design.notes == (
        "2 prompts that some run lacks are left out: best_world_one, worst_world_one",
    )


def test_shares_are_a_naive_computations(folder, found):
    lexicon = lexicons.load("big2")
    agency = lexicon.in_category("Agency")
    assert len(found.shares) == 9
    for row in found.shares.to_dict("records"):
        kind = row["metric"].removeprefix("agency_")
        b, a = (
            places_of(folder, ONE, stage, kind) - places_of(folder, OTHER, stage, kind)
            for stage in (row["before"], row["after"])
        )
        columns = np.column_stack([agency, ~agency, b]).astype(float)
        slope = np.linalg.lstsq(columns, a, rcond=None)[0][2]
        before, after = (values[agency].mean() - values[~agency].mean() for values in (b, a))
        assert row["difference_before"] == pytest.approx(before, abs=1e-6)
        assert row["difference_after"] == pytest.approx(after, abs=1e-6)
        assert row["slope"] == pytest.approx(slope, abs=1e-6)
        if not row["reason"]:
            assert row["share"] == pytest.approx(slope * before / after, rel=1e-5)
            assert row["ratio"] == pytest.approx(before / after, rel=1e-5)


def test_the_planted_half_is_within_the_interval(found):
    shares = found.shares.set_index(["metric", "before", "after"])
    row = shares.loc["agency_contrast", "base", "reward"]
    assert row["share"] == pytest.approx(0.5, abs=0.05)
    assert row["share_low"] < 0.5 < row["share_high"]
    assert row["share_high"] < 1  # something came later
    row = shares.loc["agency_contrast", "base", "instruct"]
    assert row["share_low"] < 1 < row["share_high"]
    assert row["share_low"] > 0.5


def test_correlations_are_scipys(folder, found):
    assert len(found.correlations) == 3 * 15
    for row in found.correlations.to_dict("records"):
        one = places_of(folder, row["family"], row["stage"], row["kind"])
        other = places_of(folder, row["other_family"], row["other_stage"], row["kind"])
        rho = stats.spearmanr(one.round(12), other.round(12)).statistic
        assert row["rho"] == pytest.approx(rho, abs=1e-6)
        assert row["low"] < row["rho"] < row["high"]


def test_the_same_input_gives_the_same_numbers(stages, found):
    again = trace(align(stages), resamples=300)
    pd.testing.assert_frame_equal(again.shares, found.shares)
    other = trace(align(stages), resamples=300, seed=1)
    assert not other.leans["low"].equals(found.leans["low"])
    assert other.leans["estimate"].equals(found.leans["estimate"])


def test_several_models_of_a_stage_are_averaged(stages, folder):
    both = load([folder / f"{ONE}-base", folder / f"{ONE}-instruct"])
    several = trace(align({**stages, (ONE, "base"): both}), resamples=200)
    rows = several.leans[several.leans["metric"] == "agency_contrast"]
    rows = rows[(rows["family"] == ONE) & (rows["stage"] == "base")].set_index("model")
    single = rows.drop(index=MEAN)["estimate"]
    assert rows.loc[MEAN, "estimate"] == pytest.approx(single.mean())
    assert list(leans_to_draw(several)["mean"]).count(False) == 6
    assert f"{ONE}:base is the mean of 2 models" in several.design.notes[1]


def test_one_reward_model_for_both_families_leaves_the_share_undefined(stages):
    same = {**stages, (OTHER, "reward"): stages[ONE, "reward"]}
    found = trace(align(same), resamples=200)
    rows = found.shares[found.shares["after"] == "reward"]
    assert rows[["share", "share_low", "ratio"]].isna().all(axis=None)
    assert rows["reason"].str.startswith("the later difference may be zero").all()
    text = render(found)
    assert text.count("| undefined |  | undefined |  |") == 2
    assert f"Undefined ({ONE} - {OTHER}, base to reward): the later difference may" in text


def test_words_that_a_run_lacks_are_cut_and_named(stages):
    few = {**stages, (ONE, "base"): runs.with_words(stages[ONE, "base"], slice(10, None))}
    design = align(few)
    assert len(design.lexicon.words) == 258
    first = lexicons.load("big2").words[:8]
    assert design.notes[0] == (
        f"10 words that some run lacks are left out: {', '.join(first)}, ..."
    )


def test_one_family_has_correlations_but_no_share(stages):
    found = trace(align({k: v for k, v in stages.items() if k[0] == ONE}), resamples=200)
    assert found.shares.empty
    assert len(found.correlations) == 9
    assert "No inherited share: it takes two families" in render(found)


def test_a_stage_that_one_family_lacks_is_said(stages):
    without = {k: v for k, v in stages.items() if k != (OTHER, "instruct")}
    found = trace(align(without), resamples=200)
    assert set(found.shares["before"]) == {"base"}
    assert set(found.shares["after"]) == {"reward"}
    assert f"{OTHER} has no stage instruct, which is left out of its comparisons" in (
        found.design.notes
    )


@pytest.mark.parametrize("text", ["runs/a", "Llama=runs/a", "Llama:=runs/a", ":base=x", "A:b= "])
def test_other_forms_of_arguments_are_refused(text):
    with pytest.raises(DataError, match="is not FAMILY:STAGE=RUN"):
        read_stage(text)


def test_arguments_are_read():
    assert read_stage("Llama 3:base=C:\\runs=1") == (("Llama 3", "base"), "C:\\runs=1")


def test_runs_that_do_not_fit_together_are_refused(stages, folder):
    other = runs.with_words(stages[ONE, "base"], slice(0, None), lexicon="mine.csv")
    with pytest.raises(DataError, match=r"the lexicons mine\.csv and big2"):
        align({**stages, (ONE, "base"): other})
    renamed = replace(
        stages[ONE, "base"], runs=(replace(stages[ONE, "base"].runs[0], task="value_bias_paper"),)
    )
    with pytest.raises(DataError, match="tasks that all stages have: none; run one task"):
        align({**stages, (ONE, "base"): renamed})
    with pytest.raises(DataError, match=f"{ONE}:base has no run of nothing; it has value_bias_big"):
        align(stages, "nothing")


def arguments(folder):
    return [f"{f}:{s}={folder / f'{f}-{s}'}" for f in FAMILIES for s in STAGES]


def test_the_verb_writes_tables_and_figures(folder, found, tmp_path):
    output = tmp_path / "trace"
    output.mkdir()
    (output / "words.csv").write_text("of an earlier trace")
    (output / "mine.txt").touch()
    done = click.testing.CliRunner().invoke(
        verb, [*arguments(folder), "-o", str(output), "--resamples", "300"]
    )
    assert done.exit_code == 0, done.output
    assert render(found) in done.output
    assert "no difference of freedom and love: it takes two runs with log-probabilities" in (
        done.stderr
    )
    assert sorted(path.name for path in output.iterdir()) == [
        "correlations.csv", "leans.csv", "leans.png", "leans.svg", "mine.txt", "shares.csv",
        "trace.md",
    ]  # fmt: skip
    assert (output / "trace.md").read_text() == render(found)
    for name in ("leans", "shares", "correlations"):
        table = pd.read_csv(output / f"{name}.csv", keep_default_na=False, na_values=[""])
        expected = getattr(found, name).replace("", np.nan)
        pd.testing.assert_frame_equal(table, expected, check_dtype=False)


def test_the_verb_fails_in_one_sentence(folder, monkeypatch, capsys, tmp_path):
    for more, sentence in (
        (["Llama=x"], "'Llama=x' is not FAMILY:STAGE=RUN; write for example Llama:base=runs/ll"),
        ([*arguments(folder), "--words", "freedom,love"], "no difference of freedom and love"),
        ([f"A:b={tmp_path / 'none'}"], "there is no file or folder"),
        ([*arguments(folder)[:1], "-o", str(folder / f"{ONE}-base.csv" / "x")], f"{folder}"),
    ):
        monkeypatch.setattr("sys.argv", ["rm-value-tasks", "trace", *more])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 2
        lines = capsys.readouterr().err.splitlines(keepends=True)
        error = "".join(line for line in lines if not line.startswith("no difference"))
        assert error.startswith(f"rm-value-tasks: {sentence}")
        assert error.count("\n") == 1


@pytest.fixture(scope="module")
def language_models(tmp_path_factory):
    """Two base models by ``hf`` and their log-ratio by ``implicit-reward``, three pairs."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("language")
    words = folder / "words.csv"
    words.write_text(runs.WORDS.replace("power", "freedom"))
    options = {"lexicon": str(words), "prompts": "best_*_one"}
    task = ["value_bias_big2"]
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        model = tiny.build("llama", AutoModelForCausalLM, seed=seed)
        tiny.save(folder / f"model-{name}", "llama", model)
        arguments = {"pretrained": str(folder / f"model-{name}")}
        runs.evaluate(folder / name, "hf", arguments, task, **options)
    both = {"pretrained": str(folder / "model-first"), "reference": str(folder / "model-second")}
    for score in ("log_ratio", "mwlr"):
        arguments = {**both, "score": score}
        runs.evaluate(folder / score, "implicit-reward", arguments, task, **options)
    return folder


@pytest.mark.parametrize("score", ["log_ratio", "mwlr"])
def test_two_words_under_two_models_and_their_implicit_reward(language_models, score, tmp_path):
    """A pair of runs says what the run of the pair says; both against a computation by hand."""
    output = tmp_path / "trace"
    where = {"A:base": "first", "B:base": "second", "A:implicit": score}
    done = click.testing.CliRunner().invoke(
        verb,
        [f"{place}={language_models / name}" for place, name in where.items()]
        + ["-o", str(output), "--score", score, "--resamples", "200"],
    )
    assert done.exit_code == 0, done.output
    table = pd.read_csv(output / "words.csv")
    assert list(table["first"]) == ["A implicit", "A base"]
    assert list(table["second"]) == ["model-second", "B base"]
    assert list(table["families"]) == ["A", "A / B"]
    logs = {}
    for name in ("first", "second"):
        rows = load(language_models / name).table
        rows = rows[rows["valence"] == "positive"]
        wide = rows.pivot(index="prompt", columns="word", values="score")
        logs[name] = wide[["freedom", "love"]].to_numpy()
    ratio = logs["first"] - logs["second"]
    if score == "mwlr":
        ratio *= (np.exp(logs["first"]) + np.exp(logs["second"])) / 2
    values = ratio[:, 0] - ratio[:, 1]
    assert len(values) == 3
    assert table["difference"][1] == pytest.approx(values.mean())
    assert table["difference"][0] == pytest.approx(values.mean(), rel=1e-3, abs=1e-6)
    assert values.min() - 1e-9 <= table["low"][1] <= table["high"][1] <= values.max() + 1e-9
    assert "## freedom against love: mean over 3 positive prompts" in done.output
    assert {"words.png", "words.svg"} <= {path.name for path in output.iterdir()}


def test_words_that_are_not_there_are_refused(language_models):
    from rm_value_tasks.analyses.tracing import WordsNotFoundError, differences

    design = align({("A", s): load(language_models / s) for s in ("first", "second")})
    with pytest.raises(WordsNotFoundError, match="'hope' is not among the words of all runs"):
        differences(design, ("freedom", "hope"))
    with pytest.raises(WordsNotFoundError, match="they are one"):
        differences(design, ("love", "love"))


def test_many_categories_are_traced_one_by_one(tmp_path):
    """Moral foundations: each lean among its own words, correlations over the whole list."""
    lexicon = lexicons.load("foundations")
    prompts = [prompt for pair in PAIRS for prompt in pair]
    found = {}
    for seed, family in enumerate(FAMILIES):
        drawn = np.random.default_rng(seed).normal(size=(len(lexicon.words), 4))
        index = pd.Index(lexicon.words, name="response")
        path = tmp_path / f"{family}.csv"
        pd.DataFrame(drawn, index=index, columns=prompts).to_csv(path)
        runs.evaluate(path.with_suffix(""), "recorded-rewards", {"path": str(path)},
                      ["value_bias_foundations"], prompts=prompts)  # fmt: skip
        found[family, "base"] = load(path.with_suffix(""))
    found[ONE, "a|b\n"] = found[OTHER, "base"]
    traced = trace(align(found), resamples=200)
    assert len(traced.leans) == 3 * 30
    for row in traced.leans.itertuples():
        run = found[row.family, row.stage].runs[0]
        assert row.estimate == pytest.approx(run.metrics[row.metric], abs=1e-6)
    rho = traced.correlations.set_index(["kind", "family", "stage", "other_stage"])["rho"]
    # The same run at two places.
    assert rho["contrast", OTHER, "base", "a|b\n"] == pytest.approx(1)
    assert len(leans_to_draw(traced)["metric"].unique()) == 10
    text = render(traced)
    assert text.count("_contrast |") == 30
    assert f"| {ONE} | a\\|b\\\\n | {OTHER} | care_virtue_contrast | 0." in text
