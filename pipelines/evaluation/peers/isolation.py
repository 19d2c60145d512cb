"""Isolation forest on background rows (Liu, Ting, Zhou, ICDM 2008, doi:10.1109/ICDM.2008.17), from scikit-learn."""

from __future__ import annotations

import polars as pl
from sklearn.ensemble import IsolationForest as Forest

from pipelines.evaluation.peers.matrix import Matrix
from pipelines.evaluation.truth import Mask


class IsolationForest:
    """How few cuts set a row apart from the background. Never null: gaps are filled with medians."""

    name = "isolation forest"
    learns = True
    background_only = True

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:  # noqa: ARG002 - it never sees a label
        self.matrix = Matrix(rows)
        self.forest = Forest(n_estimators=100, max_samples=min(256, len(rows)), random_state=seed)
        self.forest.fit(self.matrix.of(rows))

    def score(self, rows: pl.DataFrame) -> pl.Series:
        return pl.Series("score", -self.forest.score_samples(self.matrix.of(rows)))
