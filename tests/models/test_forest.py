"""The trees asked directly answer as scikit-learn does, and what a column was worth is what its absence changes."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from models.bundle import FOLDER, open_models
from models.columns import column_names
from models.forest import Forest
from models.matrix import Matrix
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings

COLUMNS = column_names(columns_of(load_plan(Settings(), scored=False).catalogue))
FITTED = open_models(FOLDER, COLUMNS).withdrawal.fitted
FOREST = Forest([(member.columns, member.classifier) for member in FITTED.members])


def asked(values: Matrix) -> Matrix:
    """What scikit-learn says."""
    with threadpool_limits(limits=1):
        said = [one.classifier.decision_function(values[:, list(one.columns)]) for one in FITTED.members]
    return np.mean(said, axis=0)


@pytest.fixture(scope="module")
def values() -> Matrix:
    """Rows of every sparsity, around the thresholds that the trees really ask for."""
    rng = np.random.default_rng(3)
    made = np.full((300, len(COLUMNS)), np.nan)
    for member in FITTED.members:
        for stage in member.classifier._predictors:
            inner = stage[0].nodes[stage[0].nodes["is_leaf"] == 0]
            for feature, threshold in zip(inner["feature_idx"], inner["num_threshold"], strict=True):
                chosen = rng.random(len(made)) < 0.05
                made[chosen, member.columns[feature]] = threshold + rng.choice([-0.1, 0.0, 0.1], chosen.sum())
    made[rng.random(made.shape) < 0.3] = np.nan
    return made


def test_the_trees_say_what_scikit_learn_says_to_the_last_bit(values: Matrix) -> None:
    assert np.array_equal(asked(values), FOREST.logits(values))


def test_what_a_column_is_worth_is_what_its_absence_changes(values: Matrix) -> None:
    few = values[:6]
    parts = FOREST.without(few)

    assert (len(COLUMNS), len(few)) == parts.shape
    assert np.abs(parts).max() > 0.1
    for column in range(0, len(COLUMNS), 4):
        hidden = few.copy()
        hidden[:, column] = np.nan
        assert parts[column] == pytest.approx(asked(few) - asked(hidden), abs=1e-12)


def test_what_is_not_known_is_worth_nothing(values: Matrix) -> None:
    parts = FOREST.without(values[:40])

    assert np.isnan(values[:40]).any()
    assert {0.0} == set(np.abs(parts.T[np.isnan(values[:40])]).tolist())
