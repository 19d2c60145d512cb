"""The trees as arrays answer as scikit-learn does, and what a column was worth is what its absence changes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from models.forest import Forest
from models.matrix import Matrix
from models.trees import packed, trees_of, unpacked

COLUMNS = 12
MEMBERS = ((range(12), 16, 30), ((0, 2, 4, 6, 8, 10, 11), 40, 20), ((1, 2, 3, 4, 5), 5, 30))
"""Columns, most leaves and trees of each classifier: what is fitted one day need not look like what is shipped."""


@pytest.fixture(scope="module")
def values() -> Matrix:
    """Rows of every sparsity, many of their values exactly on what others were cut at."""
    rng = np.random.default_rng(3)
    made = np.round(rng.normal(size=(900, COLUMNS)) * 4) / 4
    made[rng.random(made.shape) < 0.3] = np.nan
    made[10:, 7] = np.nan
    made[::50, 3] = np.inf
    return made


@pytest.fixture(scope="module")
def classifiers(values: Matrix) -> list[HistGradientBoostingClassifier]:
    rng = np.random.default_rng(5)
    finite = np.nan_to_num(values, posinf=9.0)
    label = (finite[:, :4] * finite[:, 2:6]).sum(axis=1) + rng.normal(size=len(values)) > 0
    with threadpool_limits(limits=1):
        return [
            HistGradientBoostingClassifier(
                max_iter=trees, max_leaf_nodes=leaves, min_samples_leaf=5, early_stopping=False, random_state=1
            ).fit(np.where(np.isinf(values), 9.0, values)[:, list(columns)], label)
            for columns, leaves, trees in MEMBERS
        ]  # fmt: skip


@pytest.fixture(scope="module")
def forest(classifiers: list[HistGradientBoostingClassifier]) -> Forest:
    """Through what a file holds of them."""
    trees = unpacked(packed([trees_of(one) for one in classifiers]))
    return Forest([(tuple(columns), one) for (columns, *_), one in zip(MEMBERS, trees, strict=True)])


def asked(classifiers: list[HistGradientBoostingClassifier], values: Matrix) -> Matrix:
    """What scikit-learn says."""
    with threadpool_limits(limits=1):
        said = [
            one.decision_function(np.where(np.isinf(values), 1e9, values)[:, list(columns)])
            for (columns, *_), one in zip(MEMBERS, classifiers, strict=True)
        ]
    return np.mean(said, axis=0)


def test_the_trees_say_what_scikit_learn_says_to_the_last_bit(
    classifiers: list[HistGradientBoostingClassifier], forest: Forest, values: Matrix
) -> None:
    said = forest.logits(values)

    assert len(set(said.tolist())) > 500
    assert np.array_equal(asked(classifiers, values), said)


def test_a_row_is_scored_alike_alone_and_among_others(forest: Forest, values: Matrix) -> None:
    alone = [forest.logits(values[row : row + 1])[0] for row in range(100)]

    assert alone == forest.logits(values[:100]).tolist()
    assert np.array_equal(forest.without(values[:100])[:, 70], forest.without(values[70:71])[:, 0])


def test_what_a_column_is_worth_is_what_its_absence_changes(
    classifiers: list[HistGradientBoostingClassifier], forest: Forest, values: Matrix
) -> None:
    parts = forest.without(values[:100])

    assert (COLUMNS, 100) == parts.shape
    assert np.abs(parts).max() > 0.1
    for column in range(COLUMNS):
        hidden = values[:100].copy()
        hidden[:, column] = np.nan
        change = asked(classifiers, values[:100]) - asked(classifiers, hidden)
        assert parts[column] == pytest.approx(change, abs=1e-12)


def test_what_is_not_known_is_worth_nothing(forest: Forest, values: Matrix) -> None:
    parts = forest.without(values[:40])

    assert np.isnan(values[:40]).any()
    assert {0.0} == set(np.abs(parts.T[np.isnan(values[:40])]).tolist())


def test_a_tree_of_more_leaves_than_there_are_bits_is_refused(values: Matrix) -> None:
    rng = np.random.default_rng(1)
    large = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=200, min_samples_leaf=1, early_stopping=False)
    large.fit(np.nan_to_num(values), rng.random(len(values)) > 0.5)

    with pytest.raises(ValueError, match="expected at most 64"):
        Forest([(tuple(range(COLUMNS)), trees_of(large))])
