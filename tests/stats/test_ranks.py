"""Ranks and foundations against plain loops."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as distributions

from rm_value_tasks import lexicons
from rm_value_tasks.errors import DataError
from rm_value_tasks.prompts import TWINS
from rm_value_tasks.stats.foundations import as_published, foundation_ranks
from rm_value_tasks.stats.lean import contrast
from rm_value_tasks.stats.ranks import contrast_ranks, median_ranks, rank_table

SIDES = [f"{name}/{side}" for name in ("Care", "Sanctity") for side in ("Virtue", "Vice")]


def tidy(seed, words=9, categories=("Agency", "Communion"), twins=TWINS[:2], models=("a", "b")):
    """Coarse scores, so that there are ties; the last word is in two categories."""
    generator = np.random.default_rng(seed)
    rows = []
    for model in models:
        for prompt in [prompt for twin in twins for prompt in twin]:
            for i in range(words):
                score = float(generator.integers(5))
                names = [categories[i % len(categories)]]
                if len(categories) > 2 and i == words - 1:
                    names.append(categories[(i + 1) % len(categories)])
                rows += [(model, "t", prompt.id, prompt.valence, f"w{i}", n, score) for n in names]
    columns = ["model", "task", "prompt", "valence", "word", "category", "score"]
    return pd.DataFrame(rows, columns=columns)


@given(st.integers(0, 10**6), st.sampled_from([2, 4]))
@settings(max_examples=15, deadline=None)
def test_median_ranks_by_scipy(seed, kinds):
    table = tidy(seed, categories=SIDES[:kinds] if kinds > 2 else ("Agency", "Communion"))
    shuffled = table.sample(frac=1, random_state=seed % 1000)
    found = median_ranks(shuffled).set_index(["model", "prompt", "category"])["rank"]
    for (model, prompt), rows in table.groupby(["model", "prompt"]):
        once = rows.drop_duplicates("word").set_index("word")["score"]
        places = pd.Series(distributions.rankdata(-once), index=once.index)
        for category, members in rows.groupby("category")["word"]:
            assert found[model, prompt, category] == places[members].median()
    assert len(found) == 2 * 4 * kinds


def test_the_table_of_ranks_leaves_other_valences_empty():
    wide = rank_table(median_ranks(tidy(1)))
    assert wide.shape == (8, 4)
    assert (wide.notna().sum(axis=1) == 2).all()
    assert wide.loc["a"].notna().sum().tolist() == [2] * 4


def test_contrast_ranks_are_the_leans():
    """Mean ranks of the categories give the contrast that lm-eval's task reports."""
    table = tidy(2)
    found = contrast_ranks(table)
    for good, bad in TWINS[:2]:
        for model in ("a", "b"):
            rows = table[table["model"] == model]
            scores = rows.pivot(index="word", columns="prompt", values="score")
            agency = np.array([int(word[1:]) % 2 == 0 for word in scores.index])
            part = found[(found["model"] == model) & (found["pair"] == good.id)]
            means = part.groupby("category")["rank"].mean()
            lean = (means["Communion"] - means["Agency"]) / 9 + 0.5
            assert lean == pytest.approx(contrast(scores[good.id], scores[bad.id], agency, ~agency))


def test_contrasts_without_a_value_are_left_out():
    table = tidy(3)
    first = TWINS[0][0].id, TWINS[0][1].id
    lost = (table["model"] == "a") & table["prompt"].isin(first) & (table["word"] == "w3")
    found = contrast_ranks(table.assign(score=table["score"].mask(lost, -np.inf)))
    assert found.groupby("model")["pair"].nunique().to_dict() == {"a": 1, "b": 2}
    assert contrast_ranks(table[table["valence"] == "positive"]).empty


def test_foundations_as_published_and_complete():
    table = tidy(4, categories=SIDES, words=12)
    merged = as_published(table)
    assert set(merged["category"]) == {"Care", "Sanctity"}
    sanctity = merged[merged["category"] == "Sanctity"]["word"]
    assert set(sanctity) == set(table[table["category"] == "Sanctity/Virtue"]["word"])
    kept = table[table["category"] != "Sanctity/Vice"]
    renamed = kept.assign(category=kept["category"].str.split("/").str[0])
    assert foundation_ranks(table, published=True).equals(median_ranks(renamed.drop_duplicates()))
    assert foundation_ranks(table).equals(median_ranks(table))
    with pytest.raises(DataError, match="Care/Virtue"):
        as_published(tidy(4))


def test_the_published_dictionary_has_its_sizes(published, monkeypatch):
    """reference/README: 1,652 of 2,040 words; merging is what the paper's lexicon does."""
    monkeypatch.setenv("RM_VALUE_TASKS_DATA", str(published))
    whole, paper = (lexicons.load(name) for name in ("mfd2_complete", "mfd2"))
    rows = [(w, c) for w, names in zip(whole.words, whole.categories, strict=True) for c in names]
    assert len(whole) == 2040
    merged = as_published(pd.DataFrame(rows, columns=["word", "category"]))
    assert merged["word"].nunique() == len(paper) == 1652
    ours = set(merged.itertuples(index=False, name=None))
    assert ours == {
        (w, c) for w, names in zip(paper.words, paper.categories, strict=True) for c in names
    }
