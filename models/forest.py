"""A bag of boosted trees, asked for many rows at once without walking a tree.

Every node that sends a row to the right rules out the leaves on its left; of the leaves that no node has ruled out, the
leftmost is the one that a walk would have reached (QuickScorer: Lucchese et al., SIGIR 2015, doi
10.1145/2766462.2767733). Which leaves a column rules out depends on nothing but where its value lies among the
thresholds, so that is worked out once, for all trees, when the models are opened.

Leaves are added tree after tree, as scikit-learn adds them, so the logits equal its ``decision_function`` to the last bit
and do not depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.matrix import Matrix
from models.trees import Tree, Trees

Leaves = NDArray[Any]
"""(..., trees), unsigned: a bit for each leaf of a tree that is not ruled out, the leftmost lowest."""

WIDTHS: dict[int, type[np.unsignedinteger[Any]]] = {16: np.uint16, 32: np.uint32, 64: np.uint64}
"""Most leaves of a tree -> the narrowest type that has a bit for each."""


TOGETHER = 64
"""Rows that are explained at once: memory grows with columns x rows x trees."""


class Column(NamedTuple):
    """``left``: the leaves left by a value above none, one, two, ... of the ``thresholds``; last, by no value."""

    thresholds: Matrix
    left: Leaves

    def leaves(self, values: Matrix) -> Leaves:
        """(rows, trees): what each value leaves."""
        above = self.thresholds.searchsorted(values)
        above[np.isnan(values)] = -1
        return self.left.take(above, axis=0, mode="wrap")  # -1 is the last


class Rule(NamedTuple):
    """One node: the leaves ``out``, as bits, are ruled out by a value above its threshold, and perhaps by no value."""

    tree: int
    threshold: float
    out: int
    by_none: bool


class Forest:
    """``members``: (columns, trees) of each classifier; ``columns`` index the rows' values.

    Raises:
        ValueError: a tree has more than 64 leaves.
    """

    def __init__(self, members: Sequence[tuple[Sequence[int], Trees]]) -> None:
        counts = [len(trees.sizes) for _, trees in members]
        self._shape = (max(counts), len(members))
        self._place = np.concatenate([member + len(members) * np.arange(count) for member, count in enumerate(counts)])
        self._baselines = np.array([[trees.baseline] for _, trees in members])
        rules: dict[int, list[Rule]] = {}
        values: list[list[float]] = []
        for columns, trees in members:
            for tree in trees.each():
                leaves = tuple(_leaves(tree, 0))
                for node in np.flatnonzero(~tree.leaf).tolist():
                    out = sum(1 << leaves.index(leaf) for leaf in _leaves(tree, tree.left[node]))
                    rule = Rule(len(values), float(tree.threshold[node]), out, not tree.missing_left[node])
                    rules.setdefault(columns[tree.feature[node]], []).append(rule)
                values.append(tree.value[list(leaves)].tolist())
        most = max(len(leaves) for leaves in values)
        width = next((kind for size, kind in WIDTHS.items() if most <= size), None)
        if width is None:
            raise ValueError(f"a tree of {most} leaves; expected at most {max(WIDTHS)}")
        self._values = np.array([[*leaves, *[0.0] * (most - len(leaves))] for leaves in values])
        self._all = np.full(len(values), np.iinfo(width).max, dtype=width)
        self._columns = {column: _column(rules[column], self._all) for column in sorted(rules)}

    def logits(self, values: Matrix) -> Matrix:
        """The mean logit of the bag for each row."""
        left = np.tile(self._all, (len(values), 1))
        for column, known in self._columns.items():
            left &= known.leaves(values[:, column])
        ordered = np.zeros((self._shape[0] * self._shape[1], len(values)))  # the members' first trees, second ones, ...
        ordered[self._place] = self._values[np.arange(len(self._all)), _number(left)].T
        total = np.repeat(self._baselines, len(values), axis=1)
        for one_of_each in ordered.reshape(*self._shape, len(values)):
            total += one_of_each
        return np.asarray(np.mean(list(total), axis=0))

    def without(self, values: Matrix) -> Matrix:
        """(columns, rows): by how much the mean logit of each row is higher than if a column were not known."""
        parts = np.zeros((values.shape[1], len(values)))
        for start in range(0, len(values), TOGETHER):
            some = values[start : start + TOGETHER]
            known = [column for column in self._columns if not np.isnan(some[:, column]).all()]
            if not known:
                continue
            own = np.stack([self._columns[column].leaves(some[:, column]) for column in known])
            none = np.stack([self._columns[column].left[-1] for column in known])
            always = [one.left[-1] for column, one in self._columns.items() if column not in known]
            rest, whole = _all_but_one(own, np.bitwise_and.reduce([self._all, *always]))
            here, there = _lowest(whole), _lowest(rest & none[:, None])
            column, row, tree = np.nonzero(here != there)
            change = (
                self._values[tree, _number(here[row, tree])] - self._values[tree, _number(there[column, row, tree])]
            )
            summed = np.bincount(column * len(some) + row, change, len(known) * len(some))
            parts[known, start : start + TOGETHER] = summed.reshape(-1, len(some))
        return parts / self._shape[1]


def _all_but_one(own: Leaves, always: Leaves) -> tuple[Leaves, Leaves]:
    """What is left by all columns of ``own`` (columns, rows, trees) but each, and by all of them."""
    rest = np.empty_like(own)
    before = after = np.broadcast_to(always, own.shape[1:])
    for column in range(len(own)):
        rest[column] = before
        before = before & own[column]
    for column in reversed(range(len(own))):
        rest[column] &= after
        after = after & own[column]
    return rest, before


def _column(rules: Sequence[Rule], everything: Leaves) -> Column:
    thresholds = np.unique([rule.threshold for rule in rules])
    left = np.tile(everything, (len(thresholds) + 2, 1))
    for tree, threshold, out, by_none in rules:
        stays = everything[tree] ^ everything.dtype.type(out)
        left[np.searchsorted(thresholds, threshold) + 1, tree] &= stays
        if by_none:
            left[-1, tree] &= stays
    left[:-1] = np.bitwise_and.accumulate(left[:-1], axis=0)
    return Column(thresholds, left)


def _leaves(tree: Tree, node: int) -> Iterator[int]:
    """The leaves below a node, from the left."""
    if tree.leaf[node]:
        yield node
    else:
        yield from _leaves(tree, tree.left[node])
        yield from _leaves(tree, tree.right[node])


def _lowest(left: Leaves) -> Leaves:
    """The lowest bit of each."""
    return np.asarray(left & (~left + left.dtype.type(1)))


def _number(left: Leaves) -> NDArray[Any]:
    """The number of the lowest bit; a power of two is exact as a float."""
    return np.asarray(np.frexp(_lowest(left).astype(np.float64))[1] - 1)
