"""The trees of a bag, asked without the checks that scikit-learn makes of every call: those cost more than the trees.

Predictions are those of scikit-learn's own compiled predictors, summed in its order, so equal to its
``decision_function`` to the last bit. For the explanation all trees lie flat in arrays and are walked together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.matrix import Matrix

Indices = NDArray[np.intp]


class _Bagged(NamedTuple):
    """One classifier of the bag: the columns it reads, its baseline and its trees in order."""

    columns: Indices
    baseline: float
    trees: tuple[Any, ...]
    categories: tuple[Any, Any]
    """What its predictors want to know of categorical columns: there are none."""


class Forest:
    """``members``: (columns, fitted HistGradientBoostingClassifier of two classes) of each classifier."""

    def __init__(self, members: Sequence[tuple[Sequence[int], Any]]) -> None:
        self._bagged = tuple(_bagged(columns, classifier) for columns, classifier in members)
        nodes = [tree.nodes for one in self._bagged for tree in one.trees]
        sizes = np.array([len(one) for one in nodes])
        self._roots = np.cumsum(sizes) - sizes
        first = np.repeat(self._roots, sizes)
        whole = np.concatenate(nodes)
        leaf = whole["is_leaf"].astype(bool)
        itself = np.arange(len(whole))
        self._leaf, self._value, self._threshold = leaf, whole["value"].copy(), whole["num_threshold"].copy()
        self._left = np.where(leaf, itself, whole["left"] + first).astype(np.intp)
        self._right = np.where(leaf, itself, whole["right"] + first).astype(np.intp)
        self._missing_left = whole["missing_go_to_left"].astype(bool)
        own = chain.from_iterable(one.columns[tree.nodes["feature_idx"]] for one in self._bagged for tree in one.trees)
        self._column = np.where(leaf, -1, np.fromiter(own, dtype=np.intp, count=len(whole)))

    def logits(self, values: Matrix) -> Matrix:
        """The mean logit of the bag for each row."""
        return np.asarray(np.mean([_decision(one, values) for one in self._bagged], axis=0))

    def without(self, values: Matrix) -> Matrix:
        """(columns, rows): by how much the mean logit of each row is higher than if a column were not known.

        A tree answers differently only from the first node on at which not knowing the column leads elsewhere.
        """
        row = np.tile(np.arange(len(values)), len(self._roots))
        path = [np.repeat(self._roots, len(values))]
        while not self._leaf[path[-1]].all():
            path.append(self._next(values, row, path[-1], None))
        here = self._value[path[-1]]
        parts = np.zeros((values.shape[1], len(values)))
        turned: list[Indices] = []
        for node, taken in pairwise(path):
            column = self._column[node]
            otherwise = np.where(self._missing_left[node], self._left[node], self._right[node])
            turns = otherwise != taken
            for earlier in turned:
                turns &= earlier != column
            turned.append(np.where(turns, column, -1))
            chosen = np.flatnonzero(turns)
            there = otherwise[chosen]
            while not self._leaf[there].all():
                there = self._next(values, row[chosen], there, column[chosen])
            np.add.at(parts, (column[chosen], row[chosen]), here[chosen] - self._value[there])
        return parts / len(self._bagged)

    def _next(self, values: Matrix, row: Indices, node: Indices, unknown: Indices | None) -> Indices:
        """The node after each, for its row, where the column ``unknown`` of each is not known. A leaf stays."""
        column = self._column[node]
        value = values[row, column]
        missing = np.isnan(value)
        if unknown is not None:
            missing |= column == unknown
        left = np.where(missing, self._missing_left[node], value <= self._threshold[node])
        return np.where(left, self._left[node], self._right[node])


def _bagged(columns: Sequence[int], classifier: Any) -> _Bagged:
    trees = tuple(tree for stage in classifier._predictors for tree in stage)  # noqa: SLF001 - no public name for its trees
    categories = classifier._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    baseline = float(classifier._baseline_prediction.ravel()[0])  # noqa: SLF001
    return _Bagged(np.array(columns, dtype=np.intp), baseline, trees, categories)


def _decision(one: _Bagged, values: Matrix) -> Matrix:
    mine = np.ascontiguousarray(values[:, one.columns])
    total = np.full(len(mine), one.baseline)
    for tree in one.trees:
        total += tree.predict(mine, *one.categories, 1)  # one thread: small batches cost more to share out
    return total
