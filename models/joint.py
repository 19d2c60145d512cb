"""Joint anomaly: how unusual a panel is as a whole, for stays in which nothing is known to have happened.

The newest values of vital signs and laboratory results are put on scales on which they are about normal, and their
location and covariance are learned on background rows only. Most of a panel is missing most of the time, so the squared
Mahalanobis distance is taken over what is known (the margin of a normal distribution is normal), and compared with the
chi-squared distribution of as many degrees of freedom (Wilson and Hilferty's approximation, PNAS 1931;17:684-688).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detector.scoring import FeatureRow, Score
from models.matrix import Matrix, matrix

NAME = "joint"
FEWEST = 4
"""[D] Values that must be known before a panel says anything."""

RIDGE = 0.05
"""[D] Added to the diagonal of the correlations, so that few background rows cannot make a direction too narrow."""

LARGEST = 8.0
"""[D] The score is the normal deviate of the distance; beyond so many it is all the same."""

NOT_ENOUGH = "too_sparse"


class JointAnomaly:
    """``parameters`` are plain arrays by name: center, scale, correlation. Score: standard deviates, about 0 for the
    usual and 2 for one background row in forty; None below ``FEWEST`` known values.
    """

    name = NAME

    def __init__(self, columns: Sequence[str], logarithmic: Sequence[bool], parameters: Mapping[str, Any]) -> None:
        self.columns = tuple(columns)
        self.logarithmic = np.array(logarithmic, dtype=bool)
        self.center = np.array(parameters["center"], dtype=np.float64)
        self.scale = np.array(parameters["scale"], dtype=np.float64)
        self.correlation = np.array(parameters["correlation"], dtype=np.float64)

    @classmethod
    def fit(cls, columns: Sequence[str], logarithmic: Sequence[bool], values: Matrix) -> JointAnomaly:
        """Learn from background rows (rows, columns), NaN = not known."""
        unscaled = cls(columns, logarithmic, {"center": np.zeros(len(columns)), "scale": np.ones(len(columns)),
                                              "correlation": np.eye(len(columns))})  # fmt: skip
        seen = unscaled._transformed(values)
        center = np.nanmedian(seen, axis=0)
        spread = np.nanpercentile(seen, 75, axis=0) - np.nanpercentile(seen, 25, axis=0)
        scale = np.maximum(spread / 1.349, 1e-3)  # the interquartile range of a normal distribution is 1.349 deviations
        z = np.clip((seen - center) / scale, -4, 4)  # for learning only: no artefact may widen what is usual
        known = ~np.isnan(z)
        filled = np.where(known, z, 0.0)
        together = known.T.astype(float) @ known.astype(float)
        covariance = (filled.T @ filled) / np.maximum(together, 1.0)
        deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
        correlation = np.where(together >= 50, covariance / np.outer(deviation, deviation), 0.0)
        np.fill_diagonal(correlation, 1.0)
        correlation = _positive((1 - RIDGE) * correlation + RIDGE * np.eye(len(columns)))
        return cls(columns, logarithmic, {"center": center, "scale": scale * deviation, "correlation": correlation})

    @property
    def parameters(self) -> dict[str, Any]:
        return {"center": self.center, "scale": self.scale, "correlation": self.correlation}

    def score(self, rows: Sequence[FeatureRow]) -> list[Score]:
        return [
            Score(None, NOT_ENOUGH) if np.isnan(value) else Score(round(float(value), 6))
            for value in self.deviates(matrix(rows, self.columns))
        ]

    def deviates(self, values: Matrix) -> Matrix:
        """The score of each row; NaN = too little is known."""
        if not len(values):
            return np.zeros(0)
        z = (self._transformed(values) - self.center) / self.scale
        known = ~np.isnan(z)
        size = len(self.columns)
        filled = np.where(known, z, 0.0)
        # unknown columns become uncorrelated and zero: they add nothing, and one solve serves every pattern
        both = known[:, :, None] & known[:, None, :]
        squares = np.where(both, self.correlation, np.eye(size))
        distance = np.einsum("ij,ij->i", filled, np.linalg.solve(squares, filled[:, :, None])[:, :, 0])
        k = known.sum(axis=1)
        freedom = np.maximum(k, 1).astype(float)
        deviate = (np.cbrt(np.maximum(distance, 0.0) / freedom) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))
        return np.where(k >= FEWEST, np.minimum(deviate, LARGEST), np.nan)

    def _transformed(self, values: Matrix) -> Matrix:
        with np.errstate(invalid="ignore"):
            return np.where(self.logarithmic, np.log(np.maximum(values, 1e-3)), values)


def _positive(correlation: Matrix) -> Matrix:
    """The nearest correlation matrix without a direction narrower than ``RIDGE``: pairs were averaged apart."""
    values, vectors = np.linalg.eigh(correlation)
    mended = (vectors * np.maximum(values, RIDGE)) @ vectors.T
    deviation = np.sqrt(np.diag(mended))
    return np.asarray(mended / np.outer(deviation, deviation))
