"""Half-space trees (Tan, Ting, Liu, IJCAI 2011), from River: one population model, taught in random order."""

from __future__ import annotations

import numpy as np
import polars as pl
from river.anomaly import HalfSpaceTrees as Trees

from pipelines.evaluation.peers.matrix import Matrix
from pipelines.evaluation.truth import Mask

TAUGHT_ON = 30_000
"""Rows. A window of 250 rows is all that the trees remember in the end; more only takes time."""


class HalfSpaceTrees:
    """How thin the background is where a row lies. It learns before and never while it scores."""

    name = "half-space trees"
    learns = True
    background_only = True

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:  # noqa: ARG002 - it never sees a label
        self.matrix = Matrix(rows)
        values = self.matrix.of(rows)
        # Trees without limits expect 0 to 1 and score everything beyond alike.
        ends = np.quantile(values, (0.001, 0.999), axis=0) if len(values) else np.zeros((2, 0))
        self.names = self.matrix.columns
        limits = {
            name: (float(low), float(max(high, low + 1e-6))) for name, low, high in zip(self.names, *ends, strict=True)
        }
        self.trees = Trees(n_trees=25, height=6, window_size=250, limits=limits, seed=seed)
        # In the order of the stays the last window would hold two or three people and take them for everybody.
        order = np.random.default_rng(seed).permutation(len(values))[:TAUGHT_ON]
        for row in values[order].tolist():
            self.trees.learn_one(dict(zip(self.names, row, strict=True)))

    def score(self, rows: pl.DataFrame) -> pl.Series:
        values = self.matrix.of(rows).tolist()
        return pl.Series(
            "score", [self.trees.score_one(dict(zip(self.names, row, strict=True))) for row in values], pl.Float64
        )
