"""Alarms on one parameter, and all of them together, at whatever limit keeps the burden."""

from __future__ import annotations

import numpy as np
import polars as pl

from pipelines.evaluation.truth import Floats, Mask

ALARMS: tuple[tuple[str, int], ...] = (
    ("temp", +1), ("hr", +1), ("sbp", +1), ("sbp", -1), ("rr", +1), ("spo2", -1), ("gcs", -1), ("ck", +1), ("plt", -1),
    ("creat", +1), ("ast", +1), ("wbc", +1), ("lactate", +1),
)  # fmt: skip
"""(signal, direction that is worse)."""


class SingleAlarm:
    """The last value of one signal against one limit. Null where no value is known that is not stale."""

    learns = False
    background_only = True

    def __init__(self, signal: str, worse: int) -> None:
        self.signal, self.worse = signal, worse
        self.name = f"{signal} {'high' if worse > 0 else 'low'}"

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:
        """Nothing to learn."""

    def score(self, rows: pl.DataFrame) -> pl.Series:
        return rows[f"{self.signal}_last"] * float(self.worse)


class AnyAlarm:
    """The OR of all single alarms, each limit equally rare: the score is how rare the rarest of the last values is,
    as -log10 of the share of background rows that are as bad. Null where nothing is known.
    """

    name = "any single alarm"
    learns = True
    background_only = True

    def __init__(self) -> None:
        self.sorted: dict[tuple[str, int], Floats] = {}

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:  # noqa: ARG002 - nothing here is drawn
        for signal, worse in ALARMS:
            self.sorted[signal, worse] = np.sort(rows[f"{signal}_last"].drop_nulls().to_numpy() * worse)

    def score(self, rows: pl.DataFrame) -> pl.Series:
        rarest = np.full(len(rows), np.nan)
        for (signal, worse), background in self.sorted.items():
            value = rows[f"{signal}_last"].to_numpy() * worse
            as_bad = len(background) - np.searchsorted(background, value, side="left")
            rare = -np.log10((as_bad + 1) / (len(background) + 1))
            rarest = np.fmax(rarest, np.where(np.isnan(value), np.nan, rare))
        return pl.Series("score", rarest).fill_nan(None)
