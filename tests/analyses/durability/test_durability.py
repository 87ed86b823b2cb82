"""The verb on real lm_eval output that records its training steps."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.stats import norm

from rm_value_tasks.analyses.durability import durability
from rm_value_tasks.analyses.durability.draws import checkpoint_draws
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from rm_value_tasks.figures import word_ridits
from rm_value_tasks.prompts import PROMPTS
from rm_value_tasks.results import load
from rm_value_tasks.results.score_table import sides, twins_in, word_scores
from rm_value_tasks.stats.intervals import paired_shift
from tests import runs

HALF_LIFE = 300
STEPS = {0: 0, 10: 100, 20: 200, 40: 400, 80: 800}
WORDS = [f"agent{i}" for i in range(40)] + [f"friend{i}" for i in range(40)]
IDS = [p.id for p in PROMPTS if p.id.startswith(("best_ever", "worst_ever"))]


def record(folder, base, seed, step, lean, quantity=800, **changes):
    """One checkpoint as train records it: lm-eval's output with a training entry."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(0, 1 / np.sqrt(2), (len(WORDS), len(IDS)))
    # Differences of twins then have variance 1, so this shift gives the lean asked for.
    member = np.array([word.startswith("agent") for word in WORDS])
    positive = np.array([name.startswith("best") for name in IDS])
    noise += np.sqrt(2) * norm.ppf(lean) * np.outer(member, positive)
    folder = folder / f"{base}-{seed}-{quantity}-{step}"
    folder.mkdir(parents=True)
    pd.DataFrame(noise, index=WORDS, columns=IDS).rename_axis("response").to_csv(
        folder / "scores.csv"
    )
    lexicon = folder.parent / "words.csv"
    categories = ["Agency" if m else "Communion" for m in member]
    pd.DataFrame({"word": WORDS, "category": categories}).to_csv(lexicon, index=False)
    runs.evaluate(
        folder, "recorded-rewards", {"path": str(folder / "scores.csv")}, ["value_bias_big2"],
        lexicon=str(lexicon), prompts="best_ever_*",
    )  # fmt: skip
    path = runs.results_of(folder)
    content = json.loads(path.read_text())
    training = {
        "base": base, "data": "toy", "quantity": quantity, "counter_share": 0.0, "seed": seed,
        "objective": "bradley-terry", "method": "full", "step": step, "pairs_seen": STEPS[step],
        "held_out_accuracy": 0.7,
    }  # fmt: skip
    content["config"]["training"] = training | changes
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    for step, pairs in STEPS.items():
        for base, sign in (("llama", 1), ("gemma", -1)):
            lean = 0.5 if step == 0 else 0.5 + sign * 0.35 * 0.5 ** (pairs / HALF_LIFE)
            record(folder, base, 0, step, lean)
    for base, lean in (("llama", 0.8), ("gemma", 0.2)):
        record(folder, base, 0, 20, lean, quantity=200)
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return durability(load(folder))


def test_the_planted_half_life_is_found(found):
    (curve,) = [curve for curve in found.curves if curve.axis == "preference pairs seen"
                and "800" in curve.setting]  # fmt: skip
    assert (curve.gaps.first, curve.gaps.second) == ("gemma", "llama")
    assert list(curve.gaps.table["pairs"]) == list(STEPS.values())
    assert curve.decay.half_life_low < HALF_LIFE < curve.decay.half_life_high
    quantity = found.checkpoints["quantity"] == 800
    leans = found.checkpoints[quantity].pivot(index="pairs_seen", columns="base", values="lean")
    expected = leans["gemma"] - leans["llama"]
    assert curve.gaps.table["gap"].to_numpy() == pytest.approx(expected.to_numpy())


def test_quantities_are_compared_at_their_last_checkpoint(found):
    (curve,) = [curve for curve in found.curves if curve.axis == "preference pairs trained on"]
    assert list(curve.gaps.table["pairs"]) == [200, 800]
    assert curve.decay.status == "too few"
    assert set(found.finals["step"]) == {20, 80}


def test_the_interval_is_that_of_a_naive_paired_bootstrap_calibrated(folder, found):
    results = load(folder)
    scores = {}
    for base in ("gemma", "llama"):
        row = found.checkpoints.query("base == @base and step == 10").iloc[0]
        run = next(run for run in results.runs if run.model == row["model"])
        wide = word_scores(run)
        scores[base] = dict(sides(wide, twins_in(wide)))["contrast"]
    generator = np.random.default_rng(9)
    naive = []
    for _ in range(800):
        prompts = generator.integers(0, 3, 3)
        a, b = generator.integers(0, 40, 40), generator.integers(40, 80, 40)
        leans = [
            np.mean([(s[p][a][:, None] > s[p][b]).mean() for p in prompts])
            for s in (scores["gemma"], scores["llama"])
        ]
        naive.append(leans[0] - leans[1])
    names = found.checkpoints.query("step == 10").set_index("base")["model"]
    drawn = checkpoint_draws(results, "value_bias_big2", "agency_contrast", names)
    raw = drawn.leans.loc[names["gemma"]] - drawn.leans.loc[names["llama"]]
    width = np.quantile(naive, 0.975) - np.quantile(naive, 0.025)
    assert np.quantile(raw, [0.025, 0.975]) == pytest.approx(
        np.quantile(naive, [0.025, 0.975]), abs=0.15 * width
    )
    curve = next(c for c in found.curves if "800" in c.setting and c.axis.endswith("seen"))
    row = curve.gaps.table.query("pairs == 100").iloc[0]
    member = np.arange(80) < 40
    expected = paired_shift(scores["llama"], scores["gemma"], member, ~member, seed=5)
    assert row["stderr"] == pytest.approx(expected.stderr)
    assert [row["low"], row["high"]] == pytest.approx(
        [expected.low, expected.high], abs=0.1 * (expected.high - expected.low)
    )


def test_moves_are_changes_of_place_between_first_and_last(folder, found):
    results = load(folder)
    names = found.checkpoints.query("base == 'llama' and quantity == 800").set_index("step")
    table = results.table
    places = {
        step: word_ridits(table[table["model"] == names.loc[step, "model"]]).set_index("word")
        for step in (10, 80)
    }
    moves = found.moves[(found.moves["base"] == "llama")].set_index("word")
    expected = places[80]["contrast"] - places[10]["contrast"]
    assert moves["move"].to_dict() == pytest.approx(expected.to_dict())
    assert moves["move"].abs().is_monotonic_decreasing


def test_the_verb_writes_page_tables_and_figures(folder, tmp_path):
    output = tmp_path / "out"
    done = CliRunner().invoke(cli, ["durability", str(folder), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "half-life" in (output / "durability.md").read_text()
    assert {path.name for path in output.iterdir()} >= {
        "durability.md", "checkpoints.csv", "gaps.csv", "word_moves.csv",
        "training_curves.png", "training_curves.svg", "quantity_points.png",
    }  # fmt: skip
    assert len(pd.read_csv(output / "checkpoints.csv")) == 12


def test_refusals(folder, tmp_path_factory, tmp_path):
    plain = runs.all_of(tmp_path_factory.getbasetemp()) / "first"
    with pytest.raises(DataError, match="no run of value_bias_big2 records a training step"):
        durability(load(plain))
    trained = load(folder)
    with pytest.raises(DataError, match="no run of value_bias_fondations .* --task value_bias"):
        durability(trained, task="value_bias_fondations")
    with pytest.raises(DataError, match="no metric 'care_virtue_contrast'"):
        durability(load(folder), metric="care_virtue_contrast")
    record(tmp_path, "llama", 0, 10, 0.6)
    (source,) = folder.glob("gemma-0-800-20")
    other = runs.copy(source, tmp_path / "again")
    duplicate = runs.results_of(other)
    content = json.loads(duplicate.read_text())
    content["config"]["training"] |= {"base": "llama", "step": 10, "pairs_seen": 100}
    duplicate.write_text(json.dumps(content))
    twice = load(tmp_path)
    with pytest.raises(DataError, match="is there twice"):
        durability(twice)
