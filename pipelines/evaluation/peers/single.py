"""Alarms on one parameter, and all of them together, at whatever limit keeps the burden."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.evaluation.picture import LABS
from pipelines.evaluation.truth import Floats, Mask

ALARMS: tuple[tuple[str, int], ...] = (
    ("temp", +1), ("hr", +1), ("sbp", +1), ("sbp", -1), ("rr", +1), ("spo2", -1), ("gcs", -1), ("ck", +1), ("plt", -1),
    ("creat", +1), ("ast", +1), ("wbc", +1), ("lactate", +1),
)  # fmt: skip
"""(signal, direction that is worse)."""

TAIL = 0.05
LEAST_KNOWN = 100
"""Background rows below which an alarm is left out of the OR: its limit could not be placed."""


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

    Beyond the worst 5 % of the background the share is that of an exponential tail (of logarithms for laboratory
    values): by counting alone every value worse than all of the background would be equally rare, whatever it is.
    """

    name = "any single alarm"
    learns = True
    background_only = True

    def __init__(self) -> None:
        self.tails: dict[tuple[str, int], Tail] = {}

    def fit(self, rows: pl.DataFrame, course: Mask, seed: int) -> None:  # noqa: ARG002 - nothing here is drawn
        self.tails = {}
        for signal, worse in ALARMS:
            known = _scaled(rows, signal, worse)
            known = known[~np.isnan(known)]
            if len(known) >= LEAST_KNOWN:
                self.tails[signal, worse] = Tail.of(known)

    def score(self, rows: pl.DataFrame) -> pl.Series:
        rarest = np.full(len(rows), np.nan)
        for (signal, worse), tail in self.tails.items():
            rarest = np.fmax(rarest, tail.rareness(_scaled(rows, signal, worse)))
        return pl.Series("score", rarest).fill_nan(None)


class Tail(NamedTuple):
    """The background of one alarm: its sorted values, the start of its worst 5 %, and their mean excess over that."""

    ranked: Floats
    start: float
    excess: float

    @classmethod
    def of(cls, values: Floats) -> Tail:
        start = float(np.quantile(values, 1 - TAIL))
        beyond = values[values > start] - start
        spread = float(values.std()) or 1.0
        return cls(np.sort(values), start, max(float(beyond.mean()) if len(beyond) else 0.0, 0.01 * spread))

    def rareness(self, values: Floats) -> Floats:
        """-log10 of the share of the background that is as bad; NaN stays NaN."""
        as_bad = len(self.ranked) - np.searchsorted(self.ranked, values, side="left")
        inside = -np.log10(np.maximum(as_bad, 1) / len(self.ranked))
        beyond = -np.log10(TAIL) + (values - self.start) / (self.excess * np.log(10))
        rare = np.where(values > self.start, beyond, np.minimum(inside, -np.log10(TAIL)))
        return np.where(np.isnan(values), np.nan, rare)


def _scaled(rows: pl.DataFrame, signal: str, worse: int) -> Floats:
    values = rows[f"{signal}_last"].to_numpy().astype(np.float64)
    return worse * (np.log(np.maximum(values, 1e-3)) if signal in LABS else values)
