"""Rows as a matrix for models that know no missing value: gaps take the median of what the model was taught on."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.evaluation.truth import Floats

KEYS = ("stay_id", "at")
ANOMALY = tuple(
    f"{signal}_{what}"
    for signal in ("temp", "hr", "sbp", "rr", "gcs")
    for what in ("last", "mean_24h", "max_24h", "rise")
)
"""What the two anomaly peers see. With every laboratory value as well they found next to nothing of a crude injection at
the same burden (they set sick kidneys apart, not rising temperatures), and a peer is to be met at its best."""


def known_columns(rows: pl.DataFrame) -> list[str]:
    """The columns that were known at least once."""
    return [name for name in rows.columns if name not in KEYS and rows[name].null_count() < len(rows)]


class Matrix:
    """Remembers those columns of ``ANOMALY`` that were ever known in training, and their medians."""

    def __init__(self, taught: pl.DataFrame) -> None:
        self.columns = [name for name in known_columns(taught) if name in ANOMALY]
        self.medians = np.array([float(taught[name].median()) for name in self.columns])  # type: ignore[arg-type]

    def of(self, rows: pl.DataFrame) -> Floats:
        """float64, (rows, columns), without a gap."""
        values = rows.select(self.columns).to_numpy().astype(np.float64)
        return np.where(np.isnan(values), self.medians, values)
