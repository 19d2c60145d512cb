"""What a model sees of a patient: one flat row of numbers, from the same windows the rules read.

A feature is a signal, an operator and a window. A feature that is not known is absent from the row; it is never zero
and never NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log2
from typing import NamedTuple

from detector.clock import DAY, HOUR
from detector.rules.view import View
from detector.scoring import FeatureRow
from detector.windows import Series

Operator = Callable[[Series, int, int], float | None]


def last(series: Series, after: int, now: int) -> float | None:
    """The newest value in (after, now]."""
    k = series.newest(after, now)
    return None if k is None else series.value[k]


def lowest(series: Series, after: int, now: int) -> float | None:
    edges = series.extremes(after, now)
    return None if edges is None else series.value[edges[0]]


def highest(series: Series, after: int, now: int) -> float | None:
    edges = series.extremes(after, now)
    return None if edges is None else series.value[edges[1]]


def spread(series: Series, after: int, now: int) -> float | None:
    """Highest minus lowest."""
    edges = series.extremes(after, now)
    return None if edges is None else series.value[edges[1]] - series.value[edges[0]]


def count(series: Series, after: int, now: int) -> float:
    """How many usable readings there are; 0 is known, not missing."""
    return float(sum(series.usable[k] for k in series.between(after, now)))


def mean(series: Series, after: int, now: int) -> float | None:
    values = [series.value[k] for k in series.between(after, now) if series.usable[k]]
    return sum(values) / len(values) if values else None


def slope(series: Series, after: int, now: int) -> float | None:
    """Least-squares change per hour; None for fewer than two instants."""
    points = [(series.at[k] - now, series.value[k]) for k in series.between(after, now) if series.usable[k]]
    if len({t for t, _ in points}) < 2:
        return None
    middle = sum(t for t, _ in points) / len(points)
    level = sum(v for _, v in points) / len(points)
    spread_of_times = sum((t - middle) ** 2 for t, _ in points)
    return sum((t - middle) * (v - level) for t, v in points) / spread_of_times * HOUR


def fold_change(series: Series, after: int, now: int) -> float | None:
    """Newest over oldest value of the window; None for fewer than two readings or an oldest value of zero."""
    window = [k for k in series.between(after, now) if series.usable[k]]
    if len(window) < 2 or series.value[window[0]] <= 0:
        return None
    return series.value[window[-1]] / series.value[window[0]]


def doublings_per_day(series: Series, after: int, now: int) -> float | None:
    """log2 of the fold change per day: 24 h over the doubling time, 0 for a flat course, negative for a falling one."""
    window = [k for k in series.between(after, now) if series.usable[k]]
    change = fold_change(series, after, now)
    if change is None or change <= 0 or series.at[window[-1]] == series.at[window[0]]:
        return None
    return log2(change) * DAY / (series.at[window[-1]] - series.at[window[0]])


def fall(series: Series, after: int, now: int) -> float | None:
    """How far the newest value lies below the highest of the window, as a share of it (0 = not at all)."""
    newest, top = last(series, after, now), highest(series, after, now)
    return None if newest is None or top is None or top <= 0 else 1 - newest / top


OPERATORS: dict[str, Operator] = {
    "last": last, "min": lowest, "max": highest, "range": spread, "count": count, "mean": mean, "slope": slope,
    "fold_change": fold_change, "doublings_per_day": doublings_per_day, "fall": fall,
}  # fmt: skip


class Feature(NamedTuple):
    """One column: ``{signal}_{operator}_{hours}h``."""

    signal: str
    operator: str
    within: int

    @property
    def name(self) -> str:
        return f"{self.signal}_{self.operator}_{self.within // HOUR}h"


def feature_row(features: tuple[Feature, ...], view: View) -> FeatureRow:
    """The row of a patient at the view's now."""
    values: dict[str, float] = {}
    for feature in features:
        series = view.series(feature.signal)
        if series is None:
            continue
        value = OPERATORS[feature.operator](series, view.now - feature.within, view.now)
        if value is not None:
            values[feature.name] = value
    return FeatureRow(view.patient.patient_id, view.now, values)
