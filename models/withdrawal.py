"""Withdrawal score: the probability that a course is compatible with withdrawal rather than with what looks like it.

A bag of gradient-boosted trees (scikit-learn's HistGradientBoostingClassifier; LightGBM's histogram method, NeurIPS
2017), each member on its own share of the columns and of the generators of simulated courses, against sepsis,
post-operative CK, isolated organ failure, fever without more, seizures and plain background. The trees are monotone
where medicine says so: a higher temperature, a growing CK and more tone never lower it, an operation or a positive
culture never raise it. The mean logit is calibrated (Platt 1999) on people that no tree has seen.

The probability is that of the mix it was calibrated on, not of an ICU: thresholds are set by the burden they make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.scoring import FeatureRow, Score
from models.forest import Forest
from models.matrix import Matrix, matrix
from models.trees import Trees

NAME = "withdrawal"
TOO_SPARSE, OUTSIDE = "too_sparse", "outside_fitted_range"
STRONGEST = 4
"""Features named in an alert."""

EXPLAINED_FROM = 0.2
"""[D] Lower scores are not explained: neither the shipped rule nor a threshold that `evaluate --budget` writes reads them."""


class Member(NamedTuple):
    """One classifier of the bag and the columns it reads, as indices."""

    columns: tuple[int, ...]
    trees: Trees


class Fitted(NamedTuple):
    """What was fitted. ``needed``: groups of columns of which at least one must be known. ``reach``: for each column
    the (lowest, highest) value that a row may have (infinite where it does not matter).
    """

    columns: tuple[str, ...]
    members: tuple[Member, ...]
    slope: float
    intercept: float
    needed: tuple[tuple[int, ...], ...]
    reach: tuple[tuple[float, float], ...]


class WithdrawalScore:
    """See the module. Silent (None, with a reason) when temperature or heart rate are not known, or a value lies
    outside what it was fitted on.
    """

    name = NAME

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted
        self.columns = fitted.columns
        self._forest = Forest([(member.columns, member.trees) for member in fitted.members])
        self._low = np.array([low for low, _ in fitted.reach])
        self._high = np.array([high for _, high in fitted.reach])

    def score(self, rows: Sequence[FeatureRow]) -> list[Score]:
        values = matrix(rows, self.columns)
        reasons = self.reasons(values)
        usable = np.flatnonzero([reason is None for reason in reasons])
        chances = dict(zip(usable.tolist(), self.probabilities(values[usable]).tolist(), strict=True))
        because = self._because(values, {row: chance for row, chance in chances.items() if chance >= EXPLAINED_FROM})
        return [
            Score(None, reason) if reason is not None else Score(round(chances[row], 6), None, because.get(row, ()))
            for row, reason in enumerate(reasons)
        ]

    def reasons(self, values: Matrix) -> list[str | None]:
        """Why a row has no score; None = it has one."""
        known = ~np.isnan(values)
        sparse = np.zeros(len(values), dtype=bool)
        for group in self.fitted.needed:
            sparse |= ~known[:, list(group)].any(axis=1)
        with np.errstate(invalid="ignore"):
            outside = ((values < self._low) | (values > self._high)).any(axis=1)
        return [
            TOO_SPARSE if s else OUTSIDE if o else None
            for s, o in zip(sparse.tolist(), np.asarray(outside).tolist(), strict=True)
        ]

    def probabilities(self, values: Matrix) -> Matrix:
        """The calibrated probability of each row."""
        return np.asarray(1 / (1 + np.exp(-(self.fitted.slope * self.logits(values) + self.fitted.intercept))))

    def logits(self, values: Matrix) -> Matrix:
        """The mean logit of the bag, before calibration."""
        if not len(values):
            return np.zeros(0)
        return self._forest.logits(values)

    def _because(self, values: Matrix, chances: dict[int, float]) -> dict[int, tuple[tuple[str, float], ...]]:
        """For each row the features without which its logit would differ most, and by how much."""
        rows = list(chances)
        if not rows:
            return {}
        chosen = values[rows]
        parts = np.round(self.fitted.slope * self._forest.without(chosen), 3).T.tolist()
        found = {}
        for row, mine in zip(rows, parts, strict=True):
            order = sorted(range(len(mine)), key=lambda column: (-abs(mine[column]), column))[:STRONGEST]
            found[row] = tuple((self.columns[column], mine[column]) for column in order if abs(mine[column]) >= 0.05)
        return found
