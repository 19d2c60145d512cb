"""What each row of a cohort is an example of, from the truth of its stay."""

from __future__ import annotations

import polars as pl

from detector.clock import HOUR

AFTER_RESTORED = 6 * HOUR
"""Rows so long after restoration still look like withdrawal (1.7: fever falls 4 to 8 h after refill)."""

INSEPARABLE = ("nms", "heat_stroke")
"""On these signals they cannot be told apart (clinical-evidence.md 3.1), so they teach neither."""


def labelled(rows: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """The rows that are examples, with ``label`` (1 = withdrawal is visible), ``stay_id``, ``kind``, ``generator``.

    Between the onset of a course and its first visible sign, and long after restoration, a row is an example of
    neither and is left out.
    """
    about = truth.select(
        "patient_id", "stay_id", "kind", "severity", "generator", "onset_at", "first_visible_at", "restored_at",
        "first_at", "last_at", "data_set",
    )  # fmt: skip
    course = pl.col("severity").is_not_null()
    until = pl.col("restored_at").fill_null(pl.col("last_at")) + AFTER_RESTORED
    return (
        rows.join(about, on="patient_id")
        .filter(pl.col("at").is_between(pl.col("first_at"), pl.col("last_at") + HOUR))
        .filter(~pl.col("kind").is_in(INSEPARABLE))
        .with_columns(
            label=pl.when(~course | (pl.col("at") < pl.col("onset_at")))
            .then(0)
            .when((pl.col("at") >= pl.col("first_visible_at")) & (pl.col("at") <= until))
            .then(1)
            .otherwise(None)
        )
        .filter(pl.col("label").is_not_null())
        .drop("onset_at", "first_visible_at", "restored_at", "first_at", "last_at")
    )
