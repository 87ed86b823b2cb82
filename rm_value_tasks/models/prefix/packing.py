"""What to compute once and what to put side by side: plans on token ids and lengths alone.

``group_by_prefix`` finds the requests that share a prefix. ``Layout`` says how a group's
answers go into rows and batches. ``Tuner`` picks a layout by the speed of real batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

__all__ = ["Group", "Layout", "Tuner", "group_by_prefix", "next_batch"]

Tokens = Sequence[int]


@dataclass(frozen=True)
class Group:
    """Requests that share a prefix.

    Attributes:
        prefix: the shared tokens; may be empty.
        members: indices of the requests, ascending; each has at least one token more.
    """

    prefix: list[int]
    members: list[int]


def group_by_prefix(
    sequences: Sequence[Tokens],
    *,
    limits: Sequence[int] | None = None,
    overhead: int = 0,
) -> list[Group]:
    """Group token sequences by their longest common prefix.

    A group of n sequences with a prefix of p tokens saves (n - 1) * p tokens. The
    groups are chosen on the tree of shared prefixes: at each branch, the
    sequences below either form groups of their own or join the branch's group, whichever
    saves more. That is the best choice where each branch is taken as a whole.

    Args:
        sequences: token ids, each at least one long.
        limits: the most tokens of each sequence that may count as prefix; at most, and by
            default, all but its last token.
        overhead: a group must save more tokens than this; else its members stand alone.

    Returns:
        Groups in the order of their first members. Every index is in exactly one group. A
        sequence alone has all tokens up to its limit as its prefix.

    Raises:
        ValueError: if a sequence is empty.
    """
    if any(len(sequence) == 0 for sequence in sequences):
        raise ValueError("a token sequence is empty, so it has no answer to score")
    caps = [len(sequence) - 1 for sequence in sequences]
    if limits is not None:
        caps = [min(cap, limit) for cap, limit in zip(caps, limits, strict=True)]
    whole = [list(sequence) for sequence in sequences]
    found = []
    for length, members in _best_groups(whole, caps, overhead):
        if (len(members) - 1) * length > overhead or len(members) * (length == 0) > 1:
            found.append(Group(whole[members[0]][:length], sorted(members)))
        else:
            found += [Group(whole[index][: caps[index]], [index]) for index in members]
    return sorted(found, key=lambda group: group.members[0])


def _shared(one: list[int], other: list[int], cap: int) -> int:
    """Return the length of the common prefix, at most ``cap``; bisects on slices, in C."""
    low, high = 0, min(cap, len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


@dataclass
class _Branch:
    """Sequences ``start..end`` (in sorted order) that share ``length`` tokens."""

    length: int
    start: int
    end: int = -1
    children: list[_Branch] = field(default_factory=list)
    apart: list[_Branch] = field(default_factory=list)
    """Children that form groups of their own."""
    joined: bool = False
    """Whether the rest forms one group."""
    saving: int = 0

    def decide(self, overhead: int) -> None:
        size = self.end - self.start + 1
        apart = [
            child
            for child in self.children
            if child.saving > (child.end - child.start + 1) * self.length
        ]
        rest = size - sum(child.end - child.start + 1 for child in apart)
        joined = sum(child.saving for child in apart) + (rest - 1) * self.length - overhead
        separate = sum(child.saving for child in self.children)
        self.joined = rest > 1 and self.length > 0 and joined > separate
        self.apart = apart if self.joined else self.children
        self.saving = max(joined, separate) if self.joined else separate


def _best_groups(
    sequences: Sequence[list[int]], caps: Sequence[int], overhead: int
) -> list[tuple[int, list[int]]]:
    order = sorted(range(len(sequences)), key=lambda index: sequences[index])
    if not order:
        return []
    root = _prefix_tree(sequences, caps, order, overhead)
    groups: list[tuple[int, list[int]]] = []
    open_branches = [root]
    while open_branches:
        branch = open_branches.pop()
        open_branches += branch.apart
        taken: list[int] = []
        start = branch.start
        for child in branch.apart:
            taken += order[start : child.start]
            start = child.end + 1
        taken += order[start : branch.end + 1]
        if branch.joined:
            groups.append((branch.length, taken))
        else:
            groups += [(caps[index], [index]) for index in taken]
    return groups


def _prefix_tree(
    sequences: Sequence[list[int]], caps: Sequence[int], order: Sequence[int], overhead: int
) -> _Branch:
    """Build the tree from the common prefixes of neighbours in sorted order, with one stack."""
    stack = [_Branch(0, 0)]
    for position in range(1, len(order) + 1):
        length = -1
        if position < len(order):
            one, other = order[position - 1], order[position]
            length = _shared(sequences[one], sequences[other], min(caps[one], caps[other]))
        start, closed = position - 1, None
        while stack and stack[-1].length > length:
            branch = stack.pop()
            if closed is not None:
                branch.children.append(closed)
            branch.end = position - 1
            branch.decide(overhead)
            start, closed = branch.start, branch
        if length < 0:
            assert closed is not None
            return closed
        if stack[-1].length < length:
            stack.append(_Branch(length, start))
        if closed is not None:
            stack[-1].children.append(closed)
    raise AssertionError("unreachable: the last step closes the root")


@dataclass(frozen=True)
class Layout:
    """How many answers go into a row and how many rows into a batch.

    Attributes:
        row_tokens: tokens a row aims at; a longer answer has a row to itself.
        batch_tokens: tokens a batch aims at, over all its rows.
        per_row: exact number of answers a row, instead of ``row_tokens``.
        rows: exact number of rows a batch, instead of ``batch_tokens``.
    """

    row_tokens: int
    batch_tokens: int
    per_row: int | None = None
    rows: int | None = None

    def shape(self, longest: int) -> tuple[int, int]:
        """Return (answers a row, rows a batch) for answers of at most ``longest`` tokens."""
        per_row = self.per_row or max(1, self.row_tokens // longest)
        return per_row, self.rows or max(1, self.batch_tokens // (per_row * longest))

    def smaller(self, longest: int, halvings: int) -> Layout:
        """Return a layout of this one's shape, halved: fewer rows first, then shorter ones."""
        per_row, rows = self.shape(longest)
        for _ in range(halvings):
            if rows > 1:
                rows = -(-rows // 2)
            else:
                per_row = -(-per_row // 2)
        return replace(self, per_row=per_row, rows=rows)


def next_batch(
    lengths: Sequence[int], order: Sequence[int], start: int, layout: Layout
) -> tuple[list[list[int]], int]:
    """Take the next batch from answers sorted by length.

    Args:
        lengths: tokens of each answer.
        order: indices of the answers, longest first.
        start: how many of ``order`` are done.
        layout: the rows to aim at.

    Returns:
        Rows of answer indices, of nearly equal token counts, and the new ``start``.
    """
    per_row, rows = layout.shape(lengths[order[start]])
    taken = order[start : start + per_row * rows]
    rows = min(rows, -(-len(taken) // per_row))
    dealt: list[list[int]] = [[] for _ in range(rows)]
    for turn, first in enumerate(range(0, len(taken), rows)):
        # There and back, so that no row gets the longer answer of every turn.
        for row, index in enumerate(taken[first : first + rows]):
            dealt[row if turn % 2 == 0 else rows - 1 - row].append(index)
    return dealt, start + len(taken)


class Tuner:
    """Finds the fastest of several layouts by timing batches that have to be run anyway.

    Args:
        layouts: candidates; the first is the guess to fall back on.
        rounds: how often each is timed; its best time counts, since other processes only
            ever slow a batch down.
    """

    def __init__(self, layouts: Sequence[Layout], *, rounds: int = 2) -> None:
        self._layouts = list(layouts)
        self._waiting = list(layouts) * rounds if len(self._layouts) > 1 else []
        self._best: dict[Layout, float] = {}

    @property
    def layout(self) -> Layout:
        """The layout to use for the next batch."""
        if self._waiting:
            return self._waiting[0]
        if not self._best:
            return self._layouts[0]
        return min(self._best, key=lambda layout: self._best[layout])

    def record(self, layout: Layout, tokens: int, seconds: float) -> None:
        """Note a batch's time; batches that are too small to compare are left out."""
        if not self._waiting or layout != self._waiting[0] or 4 * tokens < 3 * layout.batch_tokens:
            return
        self._waiting.pop(0)
        cost = seconds / tokens
        self._best[layout] = min(cost, self._best.get(layout, cost))
