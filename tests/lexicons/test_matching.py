"""The matching of the embedded Big Two list, and how it orders the published models."""

from __future__ import annotations

import csv
import itertools
import random
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.lexicons import agreement, matching
from benchmarks.lexicons.matching import Word
from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import downloads, load

FOLDER = Path(matching.__file__).parent
ROOT = FOLDER.parents[1]


def committed(name: str) -> list[dict[str, str]]:
    folder = matching.LEXICONS if name == "big2.csv" else FOLDER
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_readme(mark: str) -> str:
    text = (ROOT / "docs" / "word-lists.md").read_text(encoding="utf-8")
    found = re.search(f"<!-- {mark} -->\n(.*?)\n<!-- /{mark} -->", text, re.DOTALL)
    assert found, mark
    return found.group(1)


def test_the_committed_files_are_what_the_pool_gives(capsys):
    pytest.importorskip("wordfreq")
    assert matching.main(["--check"]) == 0
    assert capsys.readouterr().out.strip() == in_readme("balance")


def test_an_outdated_file_fails_the_check(monkeypatch, tmp_path, capsys):
    pytest.importorskip("wordfreq")
    monkeypatch.setattr(matching, "FOLDER", tmp_path)
    monkeypatch.setattr(matching, "LEXICONS", tmp_path)
    assert matching.main(["--check"]) == 1
    assert "is not what the pool gives" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert matching.main([]) == 0
    assert matching.main(["--check"]) == 0


def test_every_committed_pair_keeps_the_calipers():
    sides: dict[str, list[dict[str, str]]] = {"Agency": [], "Communion": []}
    for row in committed("big2.csv"):
        sides[row["category"]].append(row)
    pairs = committed("big2_matching.csv")
    assert len(pairs) >= 60
    for agency, communion, pair in zip(*sides.values(), pairs, strict=True):
        assert (agency["word"], communion["word"]) == (pair["agency"], pair["communion"])
        assert agency["pair"] == communion["pair"] == pair["pair"]
        assert abs(len(agency["word"]) - len(communion["word"])) <= 2
        assert abs(float(pair["zipf_agency"]) - float(pair["zipf_communion"])) <= 0.5 + 1e-9


def test_the_committed_frequencies_are_wordfreq_s():
    wordfreq = pytest.importorskip("wordfreq")
    for pair in committed("big2_matching.csv"):
        for side in ("agency", "communion"):
            assert float(pair[f"zipf_{side}"]) == wordfreq.zipf_frequency(pair[side], "en")


def test_the_pool_has_no_word_twice():
    words = [row["word"] for row in committed("big2_candidates.csv")]
    assert len(set(words)) == len(words)


def test_the_matching_is_optimal_against_trying_all():
    """On small pools: most pairs first, then the least total distance."""
    draw = random.Random(0)
    for _ in range(30):
        sides = [
            [Word("x" * draw.randint(3, 9), "f", round(draw.uniform(3, 5), 2)) for _ in range(n)]
            for n in (4, 5)
        ]
        best = (0, 0.0)
        for chosen in itertools.permutations(range(5), 4):
            distances = [
                abs(a.length - c.length) / 2 + abs(a.zipf - c.zipf) / 0.5
                for a, c in zip(sides[0], (sides[1][j] for j in chosen), strict=True)
                if abs(a.length - c.length) <= 2 and abs(a.zipf - c.zipf) <= 0.5 + 1e-9
            ]
            best = min(best, (-len(distances), sum(distances)))
        pairs = matching.match(*sides)
        total = sum(abs(a.length - c.length) / 2 + abs(a.zipf - c.zipf) / 0.5 for a, c in pairs)
        assert -len(pairs) == best[0]
        assert total == pytest.approx(best[1])


def test_balance_of_a_hand_made_matching():
    pairs = [(Word("abc", "f", 4.0), Word("abcd", "f", 4.5)), (Word("abcde", "f", 5.0),) * 2]
    found = matching.balance(pairs)["length"]
    # Lengths 3, 5 against 4, 5: means 4 and 4.5, variances 2 and 0.5, pooled sd sqrt(1.25).
    assert found == pytest.approx(
        {
            "agency": 4.0,
            "communion": 4.5,
            "smd": -0.5 / 1.25**0.5,
            "mean_abs": 0.5,
            "max_abs": 1.0,
        }
    )


def test_without_wordfreq_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    assert matching.main([]) == 1
    assert "pip install wordfreq" in capsys.readouterr().err


# The published models (agency_contrast by the published nouns; these ten figures were
# computed independently, with R and with pandas)

EXPECTED = {
    "LxzGordon_URM-LLaMa-3.1-8B": 0.4286,
    "RLHFlow_ArmoRM-Llama3-8B-v0.1": 0.4551,
    "Ray2333_GRM-Llama3-8B-rewardmodel-ft": 0.4624,
    "Ray2333_GRM-Llama3.2-3B-rewardmodel-ft": 0.4759,
    "Skywork_Skywork-Reward-Llama-3.1-8B-v0.2": 0.4504,
    "nicolinho_QRM-Llama3.1-8B": 0.3893,
    "Ray2333_GRM-gemma2-2B-rewardmodel-ft": 0.4059,
    "Skywork_Skywork-Reward-Gemma-2-27B-v0.2": 0.4047,
    "Skywork_Skywork-Reward-Gemma-2-27B": 0.4148,
    "nicolinho_QRM-Gemma-2-27B": 0.4180,
}


@pytest.fixture
def scores(published: Path, monkeypatch) -> Path:
    monkeypatch.setenv(downloads.FOLDER_ENV, str(published))
    return published / "reward_scores_big2_nouns"


def test_the_published_leans_are_reproduced(scores):
    found = agreement.compare(scores)
    leans = {m: round(lean, 4) for m, lean in zip(found.models, found.published, strict=True)}
    assert leans == EXPECTED


def test_the_readme_tells_the_agreement(scores, capsys):
    assert matching.main(["--published", str(scores)]) == 0
    assert capsys.readouterr().out.strip() == in_readme("agreement")


def test_the_agreement_equals_a_naive_computation(scores):
    """With pandas and SciPy's U test, from the committed CSV alone."""
    ours = (
        pd.read_csv(matching.LEXICONS / "big2.csv", keep_default_na=False)
        .set_index("word")
        .category
    )
    twins = {"best": "worst", "greatest": "terrible", "good": "bad"}
    leans = {}
    for path in scores.glob("*.csv"):
        table = pd.read_csv(path, keep_default_na=False).set_index("response").astype(float)
        sides = {c: [w for w in table.index if ours.get(w) == c] for c in ("Agency", "Communion")}
        values = []
        for prompt in table.columns:
            adjective, rest = prompt.split("_", 1)
            if adjective in twins:
                apart = table[prompt] - table[f"{twins[adjective]}_{rest}"]
                u = stats.mannwhitneyu(apart[sides["Agency"]], apart[sides["Communion"]]).statistic
                values.append(u / len(sides["Agency"]) / len(sides["Communion"]))
        assert len(values) == 27
        leans[path.stem] = np.mean(values)
    found = agreement.compare(scores)
    assert dict(zip(found.models, found.embedded, strict=True)) == pytest.approx(leans)
    assert found.words == (len(sides["Agency"]), len(sides["Communion"]))
    first, second = pd.Series(EXPECTED), pd.Series(leans)[list(EXPECTED)]
    assert found.spearman == pytest.approx(first.rank().corr(second.rank()))
    signs = [
        np.sign(first.iloc[i] - first.iloc[j]) * np.sign(second.iloc[i] - second.iloc[j])
        for i, j in itertools.combinations(range(10), 2)
    ]
    assert found.kendall == pytest.approx(np.mean(signs))  # no ties


def test_a_folder_without_scores_is_refused(tmp_path, capsys):
    assert matching.main(["--published", str(tmp_path)]) == 1
    assert "holds 0 CSV files of scores" in capsys.readouterr().err


def test_a_file_without_responses_is_refused(tmp_path):
    (tmp_path / "model.csv").write_text("word,best_ever_one\nlove,1\n")
    with pytest.raises(DataError, match="no table of scores"):
        agreement.read_scores(tmp_path / "model.csv")


def test_no_published_word_list_is_shipped(scores):
    """The embedded nouns are our own: neither list contains the other."""
    ours, published = set(load("big2").words), set(load("big2_nouns").words)
    assert len(ours & published) < len(published) / 2
    assert len(ours & published) < len(ours) / 2
