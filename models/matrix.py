"""Rows as one matrix: a column that a row does not have is NaN, for models that know what to do with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detector.scoring import FeatureRow

Matrix = NDArray[np.float64]


def matrix(rows: Sequence[FeatureRow], columns: Sequence[str]) -> Matrix:
    """(rows, columns), float64; NaN = not known."""
    nan = float("nan")
    flat = [row.values.get(name, nan) for row in rows for name in columns]
    return np.array(flat, dtype=np.float64).reshape(len(rows), len(columns))
