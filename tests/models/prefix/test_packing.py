"""Grouping and layout: every request exactly once, prefixes common, nothing worse than naive."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm_value_tasks.models.prefix.packing import Group, Layout, Tuner, group_by_prefix, next_batch

# Few different tokens, so that prefixes are shared often and at many lengths.
SEQUENCES = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), max_size=12)


def cost(groups, sequences):
    """Tokens to compute: each prefix once, and what follows it in each sequence."""
    return sum(
        len(group.prefix) + sum(len(sequences[i]) - len(group.prefix) for i in group.members)
        for group in groups
    )


def check(groups, sequences, limits=None):
    assert sorted(i for group in groups for i in group.members) == list(range(len(sequences)))
    for group in groups:
        for index in group.members:
            assert sequences[index][: len(group.prefix)] == group.prefix
            assert len(sequences[index]) > len(group.prefix)
            assert limits is None or len(group.prefix) <= limits[index]


@given(SEQUENCES, st.integers(0, 5))
def test_every_sequence_is_in_one_group_and_extends_its_prefix(sequences, overhead):
    groups = group_by_prefix(sequences, overhead=overhead)
    check(groups, sequences)
    assert [group.members[0] for group in groups] == sorted(g.members[0] for g in groups)
    for group in groups:
        assert len(group.members) == 1 or (len(group.members) - 1) * len(group.prefix) > overhead
    assert cost(groups, sequences) <= sum(map(len, sequences))


@given(SEQUENCES, st.data())
def test_limits_hold(sequences, data):
    limits = [data.draw(st.integers(0, len(sequence))) for sequence in sequences]
    check(group_by_prefix(sequences, limits=limits), sequences, limits)


def partitions(items):
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        yield [[first], *partition]
        for i in range(len(partition)):
            yield [*partition[:i], [first, *partition[i]], *partition[i + 1 :]]


def best_cost(sequences):
    """By trying every partition."""
    found = []
    for partition in partitions(list(range(len(sequences)))):
        total = 0
        for members in partition:
            shared = 0
            columns = zip(*(sequences[i][:-1] for i in members), strict=False)
            for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns):
                shared += len(column) > 0
            total += shared + sum(len(sequences[i]) - shared for i in members)
        found.append(total)
    return min(found)


def test_as_cheap_as_the_best_partition_but_for_rare_ties_within_branches():
    generator = random.Random(0)
    ours = best = 0
    for _ in range(150):
        count = generator.randint(1, 6)
        sequences = [
            [generator.randint(0, 1) for _ in range(generator.randint(1, 6))] for _ in range(count)
        ]
        ours += cost(group_by_prefix(sequences), sequences)
        best += best_cost(sequences)
    assert best <= ours <= 1.01 * best


def test_a_probe_is_grouped_by_prompt_although_prompts_share_their_start():
    prompts = [[9, 9, 9, *[prompt] * 20] for prompt in range(3)]
    words = [[word, 50] for word in range(30)]
    sequences = [prompt + word for prompt in prompts for word in words]
    groups = group_by_prefix(sequences)
    assert [group.prefix for group in groups] == prompts
    assert [group.members for group in groups] == [
        list(range(30 * prompt, 30 * prompt + 30)) for prompt in range(3)
    ]


def test_few_answers_to_many_questions_share_the_examples_before_them():
    examples = list(range(500))
    sequences = [[*examples, *[q] * 10, answer] for q in (600, 601, 602) for answer in (7, 8)]
    (group,) = group_by_prefix(sequences)
    assert group.prefix == examples


def test_identical_and_unrelated_sequences():
    assert group_by_prefix([[1, 2, 3], [4, 5], [1, 2, 3]]) == [
        Group([1, 2], [0, 2]),
        Group([4], [1]),
    ]
    assert group_by_prefix([]) == []
    with pytest.raises(ValueError, match="empty"):
        group_by_prefix([[1], []])


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 8),
)
def test_exact_shapes_are_kept_and_rows_are_even(lengths, per_row, rows):
    layout = Layout(1, 1, per_row=per_row, rows=rows)
    seen = []
    for batch in batches(lengths, layout):
        assert len(batch) <= rows
        assert all(1 <= len(row) <= per_row for row in batch)
        totals = [sum(lengths[i] for i in row) for row in batch]
        # A row may lack one answer, or hold the longer one of a turn.
        assert max(totals) - min(totals) <= 2 * max(lengths[i] for row in batch for i in row)
        seen += [i for row in batch for i in row]
    assert sorted(seen) == list(range(len(lengths)))


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.integers(1, 100),
    st.integers(1, 300),
)
def test_token_targets_bound_rows_and_batches(lengths, row_tokens, batch_tokens):
    seen = []
    for batch in batches(lengths, Layout(row_tokens, batch_tokens)):
        for row in batch:
            assert len(row) == 1 or sum(lengths[i] for i in row) <= row_tokens
        longest = max(lengths[i] for row in batch for i in row)
        total = sum(lengths[i] for row in batch for i in row)
        assert total <= max(batch_tokens, row_tokens, longest)
        seen += [i for row in batch for i in row]
    assert sorted(seen) == list(range(len(lengths)))


def batches(lengths, layout):
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    done = 0
    while done < len(order):
        batch, now = next_batch(lengths, order, done, layout)
        assert now > done
        yield batch
        done = now


def test_a_smaller_layout_halves_rows_then_answers():
    layout = Layout(96, 768)
    assert layout.shape(3) == (32, 8)
    assert [layout.smaller(3, halvings).shape(3) for halvings in range(9)] == [
        (32, 8), (32, 4), (32, 2), (32, 1), (16, 1), (8, 1), (4, 1), (2, 1), (1, 1),
    ]  # fmt: skip


def test_the_tuner_settles_on_the_fastest():
    layouts = [Layout(96, 700), Layout(48, 700), Layout(192, 700)]
    seconds = dict(zip(layouts, ([3.0, 2.0], [1.5, 9.0], [4.0, 4.0]), strict=True))
    tuner = Tuner(layouts)
    tuner.record(layouts[0], 10, 0.001)  # a small last batch tells nothing
    for turn in range(2):
        for layout in layouts:
            assert tuner.layout == layout
            tuner.record(layout, 700, seconds[layout][turn])
    assert tuner.layout == layouts[1]
    assert Tuner(layouts[:1]).layout == layouts[0]
