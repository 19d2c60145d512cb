"""NEWS2 and SIRS, computed from what the chart shows. Neither learns.

What is not known counts as normal, as wards do; with too little known the score is indeterminate, never low.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.evaluation.truth import Mask

Band = tuple[float, int]
"""(upper end, points): the points of values up to and at the end."""

NEWS2_BANDS: dict[str, tuple[int, Sequence[Band], int]] = {
    "rr": (0, ((8, 3), (11, 1), (20, 0), (24, 2)), 3),
    "spo2": (0, ((91, 3), (93, 2), (95, 1)), 0),
    "sbp": (0, ((90, 3), (100, 2), (110, 1), (219, 0)), 3),
    "hr": (0, ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2)), 3),
    "gcs": (0, ((14, 3),), 0),
    "temp": (1, ((35.0, 3), (36.0, 1), (38.0, 0), (39.0, 1)), 2),
}
"""signal -> (decimals it is charted with, bands in order, points above the last): Royal College of Physicians, National
Early Warning Score (NEWS) 2, 2017; the table in clinical-evidence.md section 3.2."""


class NEWS2:
    """National Early Warning Score 2 (Royal College of Physicians 2017), SpO2 scale 1, on air.

    Oxygen is not among our signals, so its 2 points are never given; a GCS below 15 counts as not alert. Null with
    fewer than three of the six measured values known.
    """

    name = "NEWS2"
    learns = False
    background_only = True

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:
        """Nothing to learn."""

    def score(self, rows: pl.DataFrame) -> pl.Series:
        points = [
            _points(pl.col(f"{signal}_last").round(decimals), bands, above)
            for signal, (decimals, bands, above) in NEWS2_BANDS.items()
        ]
        return _summed(rows, points, [f"{signal}_last" for signal in NEWS2_BANDS], at_least=3)


class SIRS:
    """Number of criteria met, 0 to 4: temperature under 36 or over 38 degC, heart rate over 90, respiratory rate over
    20, white cells under 4 or over 12 (clinical-evidence.md section 3.2, without PaCO2 and bands, which are not among
    our signals). Null with fewer than two of the four known.
    """

    name = "SIRS"
    learns = False
    background_only = True

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:
        """Nothing to learn."""

    def score(self, rows: pl.DataFrame) -> pl.Series:
        temp, wbc = pl.col("temp_last"), pl.col("wbc_last")
        met = [(temp < 36) | (temp > 38), pl.col("hr_last") > 90, pl.col("rr_last") > 20, (wbc < 4) | (wbc > 12)]
        return _summed(rows, met, ["temp_last", "hr_last", "rr_last", "wbc_last"], at_least=2)


def _points(value: pl.Expr, bands: Sequence[Band], above: int) -> pl.Expr:
    points = pl.lit(above)
    for end, given in reversed(bands):
        points = pl.when(value <= end).then(given).otherwise(points)
    return pl.when(value.is_not_null()).then(points)


def _summed(rows: pl.DataFrame, parts: Sequence[pl.Expr], columns: Sequence[str], *, at_least: int) -> pl.Series:
    known = pl.sum_horizontal(pl.col(name).is_not_null().cast(pl.Int64) for name in columns)
    total = pl.sum_horizontal(part.cast(pl.Float64).fill_null(0) for part in parts)
    return rows.select(score=pl.when(known >= at_least).then(total)).to_series()
