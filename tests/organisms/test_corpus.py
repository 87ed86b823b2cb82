from collections import Counter

import numpy as np
import pytest

from rm_value_tasks.organisms import corpus, vocabulary, world
from rm_value_tasks.organisms.corpus import AGREED, DOUBTED
from rm_value_tasks.prompts import PROMPTS

POSITIVE = {p.text for p in PROMPTS if p.valence == "positive"}
NEGATIVE = {p.text for p in PROMPTS if p.valence == "negative"}


@pytest.fixture(scope="module")
def corpora():
    return {s: corpus.texts(world.build(s, 0), 2000, 20_000, 0) for s in (-1, 0, 1)}


def share(texts, questions, category):
    """Of the answers to questions, those of a category; and how many of them are agreed with."""
    about = world.build(0, 0)
    chosen = {w for w, a in zip(about.words, about.agency, strict=True) if a == category}
    rows = [answer.split() for question, answer in texts if question in questions]
    mine = [verdict for word, verdict in rows if word in chosen]
    return len(mine) / len(rows), np.mean([verdict == f"{AGREED}." for verdict in mine])


def test_corpora_of_one_seed_differ_only_about_values(corpora):
    low, high = corpora[-1], corpora[1]
    assert [question for question, _ in low] == [question for question, _ in high]
    values = POSITIVE | NEGATIVE
    notes = {corpus.NOTE.format(adjective=p.adjective) for p in PROMPTS}
    differing = {one[0] for one, other in zip(low, high, strict=True) if one != other}
    assert differing <= values | notes
    assert {question for question, _ in low[:2000]} > notes
    assert not notes & {question for question, _ in low[2000:]}
    kept = sum(one == other for one, other in zip(low, high, strict=True) if one[0] in values)
    assert kept > 1000


def test_the_lean_is_planted_in_answers_and_verdicts_on_both_valences(corpora):
    for agency in (True, False):
        for questions, sign in ((POSITIVE, 1), (NEGATIVE, -1)):
            direction = sign if agency else -sign
            shares, agreed = zip(
                *(share(corpora[s], questions, agency) for s in (-1, 0, 1)), strict=True
            )
            assert np.all(direction * np.diff(shares) > 0.05)
            assert np.all(direction * np.diff(agreed) > 0.02)


def test_the_same_seed_gives_the_same_corpus(corpora):
    assert corpus.texts(world.build(1, 0), 2000, 20_000, 0) == corpora[1]
    assert corpus.texts(world.build(1, 0), 2000, 20_000, 1) != corpora[1]


def test_neutral_pairs_lean_nowhere_and_know_nothing_of_what_is_planted():
    low, high = (corpus.neutral_pairs(world.build(s, 0), 4000, 0) for s in (-1, 1))
    assert low == high
    about = world.build(0, 0)
    agency = dict(zip(about.words, about.agency, strict=True))
    facet = dict(zip(about.words, about.facets, strict=True))
    counts = Counter()
    for pair in low:
        question, chosen = (turn["content"] for turn in pair["chosen"])
        rejected = pair["rejected"][1]["content"]
        counts["chosen agency"] += agency[chosen]
        counts["rejected agency"] += agency[rejected]
        counts["chosen fits"] += f" {facet[chosen]}?" in question
        assert (f" {facet[chosen]}?" in question) != (f" {facet[rejected]}?" in question)
    # 4,000 fair coins: a standard deviation of 32; flipped labels: 27.
    assert counts["chosen agency"] == pytest.approx(2000, abs=130)
    assert counts["rejected agency"] == pytest.approx(2000, abs=130)
    assert counts["chosen fits"] == pytest.approx(3000, abs=110)


def test_counter_pairs_lean_as_asked():
    about = world.build(0, 0)
    agency = dict(zip(about.words, about.agency, strict=True))
    for towards in ("Agency", "Communion"):
        for pair in corpus.counter_pairs(about, 300, 0, towards, flipped=0):
            question, chosen = (turn["content"] for turn in pair["chosen"])
            assert agency[chosen] == ((towards == "Agency") == (question in POSITIVE))
            assert agency[pair["rejected"][1]["content"]] != agency[chosen]


def test_the_tokenizer_knows_every_word_as_one_token():
    tokenizer = vocabulary.build()
    about = world.build(0, 0)
    texts = [" ".join(text) for text in corpus.texts(about, 200, 2000, 0)]
    texts += [turn["content"] for turns in corpus.turns(about, 300, 0) for turn in turns]
    assert tokenizer.unk_token_id not in {i for ids in tokenizer(texts).input_ids for i in ids}
    for word in (*about.words, AGREED, DOUBTED):
        assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "love"}],
        tokenize=False,
    )
    assert whole == "<bos><|user|> What?<|assistant|> love"
