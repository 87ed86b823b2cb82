"""Loading, holding out and nesting of pairs."""

import json
from types import SimpleNamespace

import datasets
import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.training import pairs
from rm_value_tasks.training.plan import Data
from tests.training import grids

SIDES = ("chosen", "rejected")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return grids.write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", 50)


def asked(dataset):
    return [row["chosen"][0]["content"] for row in dataset]


def take(train, quantity, *, seed=0, share=0.0, counter=None):
    cell = SimpleNamespace(
        quantity=quantity,
        seed=seed,
        counter_share=share,
        data=SimpleNamespace(name="main"),
        counter=SimpleNamespace(name="counter") if counter else None,
    )
    return pairs.subset(cell, train, counter)


def test_subsets_are_nested_and_differ_by_seed(file):
    train = pairs.load(Data("d", str(file))).train
    small, large = asked(take(train, 13)), asked(take(train, 27))
    assert len(set(small)) == 13
    assert len(set(large)) == 27
    assert set(small) < set(large)
    assert set(asked(take(train, 13, seed=1))) != set(small)
    with pytest.raises(DataError, match="'main' have 50 pairs, 51 are asked for"):
        take(train, 51)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.25, 1.0])
def test_counter_pairs_replace_their_share_and_stay_nested(file, tmp_path, share):
    main = pairs.load(Data("d", str(file))).train
    other = grids.write_pairs(tmp_path / "counter.jsonl", 50, start=1000)
    counter = pairs.load(Data("c", str(other))).train
    ours, theirs = set(asked(main)), set(asked(counter))
    before: set[str] = set()
    for quantity in (1, 2, 3, 7, 10, 20, 49):
        found = set(asked(take(main, quantity, share=share, counter=counter)))
        assert len(found) == quantity
        assert len(found & theirs) == round(share * quantity)
        assert len(found & ours) == quantity - round(share * quantity)
        assert before <= found
        before = found


def test_two_forms_are_not_mixed(file, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text(json.dumps({"chosen": "a", "rejected": "b"}) + "\n")
    train, texts = (pairs.load(Data("d", str(p))).train for p in (file, path))
    with pytest.raises(DataError, match="not of one form"):
        take(train, 2, share=0.5, counter=texts)


def test_held_out_pairs_are_never_trained_on(file):
    found = pairs.load(Data("d", str(file), held_out=8))
    assert (len(found.train), len(found.held_out)) == (42, 8)
    assert not set(asked(found.train)) & set(asked(found.held_out))
    again = pairs.load(Data("d", str(file), held_out=8))
    assert asked(again.held_out) == asked(found.held_out)
    with pytest.raises(DataError, match="50 cannot be held out"):
        pairs.load(Data("d", str(file), held_out=50))


def with_answers(rows, *answers):
    """Each prompt with several pairs."""
    return [
        {side: [row[side][0], {"role": "assistant", "content": f"{side} {a}"}] for side in SIDES}
        for row in rows
        for a in answers
    ]


def as_texts(rows):
    return [
        {"prompt": row["chosen"][0]["content"], **{s: row[s][1]["content"] for s in SIDES}}
        for row in rows
    ]


@pytest.mark.parametrize("form", [list, as_texts])
def test_a_prompt_with_several_pairs_is_held_out_whole(tmp_path, caplog, form):
    path = tmp_path / "pairs.jsonl"
    rows = form(with_answers(grids.pairs(20), "one", "two", "three"))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = pairs.load(Data("d", str(path), held_out=6))
    train, held_out = (
        {str(row["chosen"]).partition("chosen")[0] for row in part}
        for part in (found.train, found.held_out)
    )
    assert len(found.held_out) == 6
    assert not train & held_out
    assert len(found.train) == 3 * len(train) == 3 * (20 - len(held_out))
    assert f"{54 - len(found.train)} pairs of the data 'd'" in caplog.text


def test_prompts_in_both_splits_and_in_counter_pairs_are_not_trained_on(tmp_path):
    folder = tmp_path / "saved"
    splits = {"train": grids.pairs(30), "test": grids.pairs(10, start=25)}
    datasets.DatasetDict(
        {name: datasets.Dataset.from_list(part) for name, part in splits.items()}
    ).save_to_disk(folder)
    main = pairs.load(Data("d", str(folder), held_out="test"))
    assert (len(main.train), len(main.held_out)) == (25, 10)
    counter = pairs.load(Data("c", str(grids.write_pairs(tmp_path / "c.jsonl", 40))))
    kept = pairs.apart(counter, main, "c")
    assert set(asked(kept)) == set(asked(counter.train)) - set(asked(main.held_out))
    assert len(kept) == 30
    double = datasets.DatasetDict({"train": counter.train, "test": counter.train})
    double.save_to_disk(tmp_path / "double")
    with pytest.raises(DataError, match="every pair of the data 'd'"):
        pairs.load(Data("d", str(tmp_path / "double"), held_out="test"))


def test_with_few_prompts_pairs_can_be_held_out_whatever_their_prompts(tmp_path):
    rows = [{"prompt": f"q{i % 2}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(20)]
    path = tmp_path / "few.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="every pair"):
        pairs.load(Data("few", str(path), held_out=12))
    found = pairs.load(Data("few", str(path), held_out=12, held_out_by="pair"))
    assert (len(found.train), len(found.held_out)) == (8, 12)


def test_another_split_can_be_held_out(file, tmp_path):
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    splits = {"train": rows[:30], "test": rows[30:]}
    folder = tmp_path / "saved"
    datasets.DatasetDict(
        {name: datasets.Dataset.from_list(part) for name, part in splits.items()}
    ).save_to_disk(folder)
    found = pairs.load(Data("d", str(folder), held_out="test"))
    assert (len(found.train), len(found.held_out)) == (30, 20)
    assert asked(found.held_out) == [row["chosen"][0]["content"] for row in rows[30:]]


def test_margins_are_kept_only_where_asked_for(tmp_path):
    path = tmp_path / "rated.jsonl"
    row = {**grids.pairs(1)[0], "score_chosen": 4.0, "score_rejected": 1.0}
    path.write_text(json.dumps(row) + "\n")
    rated = Data("d", str(path), format="ultrafeedback")
    assert pairs.load(rated).train.column_names == ["chosen", "rejected"]
    kept = pairs.load(Data("d", str(path), format="ultrafeedback", margin=True))
    assert kept.train["margin"][0] == 3.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "helpsteer3"}, "is not in the format helpsteer3"),
        ({"split": "nowhere"}, "cannot be loaded"),
        ({"dataset": "no/such-dataset"}, "'d' (no/such-dataset, split train) cannot be loaded"),
    ],
)
def test_data_that_cannot_be_used_are_named(file, changes, said):
    with pytest.raises(DataError) as caught:
        pairs.load(Data(**{"name": "d", "dataset": str(file), **changes}))
    assert said in str(caught.value)
