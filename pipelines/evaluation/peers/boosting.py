"""A histogram gradient-boosted classifier alone, from scikit-learn: taught which rows lie in the visible course."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier

from pipelines.evaluation.peers.matrix import known_columns
from pipelines.evaluation.truth import Floats, Mask


class GradientBoosting:
    """Probability that a row lies inside the visible course of a withdrawal, against every other row of the training
    stays (background, look-alikes, and courses before they show). Gaps are given as gaps. Null when it was taught on
    one class only.
    """

    name = "gradient boosting"
    learns = True
    background_only = False

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:
        self.columns = known_columns(rows)
        self.model = None
        if course.any() and not course.all():
            self.model = HistGradientBoostingClassifier(
                max_iter=100, learning_rate=0.1, min_samples_leaf=50, l2_regularization=1.0, early_stopping=False,
                random_state=seed,
            ).fit(self._values(rows), course)  # fmt: skip

    def score(self, rows: pl.DataFrame) -> pl.Series:
        if self.model is None:
            return pl.Series("score", [None] * len(rows), dtype=pl.Float64)
        return pl.Series("score", self.model.predict_proba(self._values(rows))[:, 1])

    def _values(self, rows: pl.DataFrame) -> Floats:
        return rows.select(self.columns).to_numpy().astype(np.float64)


class OrdersAlone(GradientBoosting):
    """A control, not a rival: the same classifier on what is known at all, without a single value. What it finds is
    found by what was ordered and charted; where injected courses bring their own laboratory orders this shows how much
    of any recall they give away.
    """

    name = "control: what was measured, without values"

    def _values(self, rows: pl.DataFrame) -> Floats:
        return (~np.isnan(super()._values(rows))).astype(np.float64)
