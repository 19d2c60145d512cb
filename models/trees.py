"""Boosted trees as plain arrays: what scikit-learn fitted, readable without it.

At a node that is no leaf a row goes left when its value is at most the threshold; a value that is not known (NaN) goes
where ``missing_left`` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NODES = {
    "feature": np.int16, "threshold": np.float64, "left": np.int16, "right": np.int16,
    "missing_left": np.bool_, "leaf": np.bool_, "value": np.float64,
}  # fmt: skip
"""What is known of a node; scikit-learn's names for it are in ``SKLEARN``."""

SKLEARN = {
    "feature": "feature_idx",
    "threshold": "num_threshold",
    "missing_left": "missing_go_to_left",
    "leaf": "is_leaf",
}


class Tree(NamedTuple):
    """One entry a node, the root first. ``feature``: place among the columns of the classifier; ``left`` and ``right``:
    nodes; ``value``: what a leaf adds to the logit.
    """

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    leaf: Array
    value: Array


class Trees(NamedTuple):
    """One classifier of two classes: its logit is ``baseline`` plus the value of one leaf of every tree. ``sizes``: the
    nodes of each tree; ``nodes``: those of all trees, one after the other.
    """

    baseline: float
    sizes: Array
    nodes: Tree

    def each(self) -> Iterator[Tree]:
        """One tree after the other."""
        start = 0
        for size in self.sizes.tolist():
            yield Tree(*(array[start : start + size] for array in self.nodes))
            start += size


def trees_of(classifier: Any) -> Trees:
    """Of a fitted ``HistGradientBoostingClassifier`` of two classes without categorical columns."""
    each = [tree.nodes for stage in classifier._predictors for tree in stage]  # noqa: SLF001 - no public name for them
    nodes = np.concatenate(each)
    baseline = float(classifier._baseline_prediction.ravel()[0])  # noqa: SLF001
    read: dict[str, Array] = {name: nodes[SKLEARN.get(name, name)].astype(kind) for name, kind in NODES.items()}
    return Trees(baseline, np.array([len(one) for one in each], dtype=np.int32), Tree(**read))


def packed(members: Sequence[Trees]) -> dict[str, Array]:
    """All classifiers as arrays by name, for a file."""
    return {
        "baselines": np.array([one.baseline for one in members], dtype=np.float64),
        "trees": np.array([len(one.sizes) for one in members], dtype=np.int32),
        "sizes": np.concatenate([one.sizes for one in members]),
        **{name: np.concatenate([getattr(one.nodes, name) for one in members]) for name in NODES},
    }


def unpacked(arrays: Mapping[str, Array]) -> list[Trees]:
    """The classifiers of :func:`packed`."""
    sizes = np.split(arrays["sizes"], np.cumsum(arrays["trees"])[:-1])
    ends = np.cumsum([int(mine.sum()) for mine in sizes])[:-1]
    nodes = [np.split(arrays[name], ends) for name in NODES]
    return [
        Trees(float(baseline), mine, Tree(*parts))
        for baseline, mine, *parts in zip(arrays["baselines"], sizes, *nodes, strict=True)
    ]
