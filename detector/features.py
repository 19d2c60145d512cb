"""What a model sees of a patient: one flat row of numbers, from the same windows the rules read.

A feature is a signal, an operator and a window. A feature that is not known is absent from the row; it is never zero
and never NaN. Over a window that reaches further back than readings are kept, an operator reads the hourly summaries
(DESIGN.md 1). No operator walks through a history: each looks at hours, and opens those at the edges of its window.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, log2
from typing import TYPE_CHECKING, NamedTuple

from detector.clock import DAY, HOUR
from detector.rules.view import View
from detector.scoring import FeatureRow
from detector.windows import Series

if TYPE_CHECKING:
    from detector.catalogue.signals import Catalogue
    from detector.patient import Patient
    from detector.plan import Plan

Operator = Callable[[Series, int, int], float | None]
"""(series, after, now) -> what holds over (after, now]; None = not known."""


def last(series: Series, after: int, now: int) -> float | None:
    """The newest value."""
    k = series.newest(after, now)
    if k is not None:
        return series.value[k]
    return next((hour.last for hour in series.summaries(after)), None)


def first(series: Series, after: int, now: int) -> tuple[int, float] | None:
    """When the oldest value was measured, and it; of a summarised hour its start and its median."""
    hours = list(series.summaries(after))
    if hours:
        return hours[-1].start, hours[-1].median
    k = series.oldest(after, now)
    return None if k is None else (series.at[k], series.value[k])


def lowest(series: Series, after: int, now: int) -> float | None:
    edges = series.extremes(after, now)
    lows = [hour.low for hour in series.summaries(after)]
    if edges is not None:
        lows.append(series.value[edges[0]])
    return min(lows, default=None)


def highest(series: Series, after: int, now: int) -> float | None:
    edges = series.extremes(after, now)
    highs = [hour.high for hour in series.summaries(after)]
    if edges is not None:
        highs.append(series.value[edges[1]])
    return max(highs, default=None)


def spread(series: Series, after: int, now: int) -> float | None:
    """Highest minus lowest."""
    low, high = lowest(series, after, now), highest(series, after, now)
    return None if low is None or high is None else high - low


def count(series: Series, after: int, now: int) -> float:
    """How many usable readings there are; 0 is known, not missing."""
    return float(series.count(after, now))


def mean(series: Series, after: int, now: int) -> float | None:
    found = series.moments(after, now)
    return None if found is None else found.mean


def slope(series: Series, after: int, now: int) -> float | None:
    """Least-squares change per hour; None for fewer than two instants."""
    found = series.moments(after, now)
    return None if found is None else found.slope


def _tempo(series: Series, after: int, now: int) -> tuple[float, float] | None:
    """(newest over oldest value, ms between them); None for fewer than two instants or an oldest value of zero."""
    start, end = first(series, after, now), series.newest(after, now)
    if start is None or end is None or start[1] <= 0 or series.at[end] <= start[0]:
        return None
    return series.value[end] / start[1], series.at[end] - start[0]


def fold_change(series: Series, after: int, now: int) -> float | None:
    """Newest over oldest value; None for fewer than two instants or an oldest value of zero."""
    found = _tempo(series, after, now)
    return None if found is None else found[0]


def doubling_time(series: Series, after: int, now: int) -> float | None:
    """Hours in which the value doubles, dt ln 2 / ln(newest / oldest); None unless it rises (R-07)."""
    found = _tempo(series, after, now)
    return found[1] / HOUR * log(2) / log(found[0]) if found is not None and found[0] > 1 else None


def doublings_per_day(series: Series, after: int, now: int) -> float | None:
    """log2 of the fold change per day: 24 h over the doubling time, 0 for a flat course, negative for a falling one."""
    found = _tempo(series, after, now)
    return log2(found[0]) * DAY / found[1] if found is not None and found[0] > 0 else None


def fall(series: Series, after: int, now: int) -> float | None:
    """How far the newest value lies below the highest of the window, as a share of it (0 = not at all)."""
    newest, top = last(series, after, now), highest(series, after, now)
    return None if newest is None or top is None or top <= 0 else 1 - newest / top


OPERATORS: dict[str, Operator] = {
    "last": last, "min": lowest, "max": highest, "range": spread, "count": count, "mean": mean, "slope": slope,
    "fold_change": fold_change, "doubling_time": doubling_time, "doublings_per_day": doublings_per_day, "fall": fall,
}  # fmt: skip

FromBase = Callable[[float, float], float | None]
"""(newest value, usual value of the patient) -> how they differ."""

FROM_BASE: dict[str, FromBase] = {
    "rise_from_baseline": lambda value, usual: value - usual,
    "fall_from_baseline": lambda value, usual: 1 - value / usual if usual > 0 else None,
    "fold_of_baseline": lambda value, usual: value / usual if usual > 0 else None,
}
"""Against the patient's own usual value: supplied, else of its history (clinical-evidence.md 5.1); of the newest value
in the window. ``fall_from_baseline`` is a share: 0.6 = the value lost 60 % of what is usual.
"""


SAID = "said"
"""1 where a treatment runs, or a treatment or note of that kind began in the window, else 0: notes are written when
something is seen, so none is not unknown (as the rules read them)."""


class Feature(NamedTuple):
    """One column: ``{signal}_{operator}_{hours}h``. ``operator`` is of ``OPERATORS``, of ``FROM_BASE``, or ``SAID``;
    for that the signal is a kind of context.
    """

    signal: str
    operator: str
    within: int

    @property
    def name(self) -> str:
        return f"{self.signal}_{self.operator}_{self.within // HOUR}h"


RECENT = 2 * HOUR
"""What a learner compares with a patient's habits: the readings of so long (the staleness of vitals)."""


def vitals_between(catalogue: Catalogue, patient: Patient, after: int, upto: int) -> dict[str, list[float]]:
    """The usable readings of each vital sign in (after, upto]; a signal without one is left out."""
    found = {}
    for name, series in patient.series.items():
        if catalogue.signals[name].is_vital:
            values = [series.value[k] for k in series.between(after, upto) if series.usable[k]]
            if values:
                found[name] = values
    return found


def feature_row(plan: Plan, view: View) -> FeatureRow:
    """The row of a patient at the view's now."""
    values: dict[str, float] = {}
    if plan.learner is not None:
        recent = vitals_between(view.catalogue, view.patient, view.now - RECENT, view.now)
        values.update(plan.learner.read(view.patient.learned, recent))
    for feature in plan.features:
        if feature.operator == SAID:
            values[feature.name] = _said(feature, view)
            continue
        series = view.series(feature.signal)
        if series is None:
            continue
        value = _value(feature, series, view)
        if value is not None:
            values[feature.name] = value
    return FeatureRow(view.patient.patient_id, view.now, values)


def _said(feature: Feature, view: View) -> float:
    if feature.signal in view.patient.running:
        return 1.0
    told = view.context_facts(frozenset({feature.signal}), view.now - feature.within)
    return float(any(fact.event != "stopped" for fact in told))


def _value(feature: Feature, series: Series, view: View) -> float | None:
    after = view.now - feature.within
    operator = OPERATORS.get(feature.operator)
    if operator is not None:
        return operator(series, after, view.now)
    newest, usual = last(series, after, view.now), view.base(feature.signal)[0]
    return None if newest is None or usual is None else FROM_BASE[feature.operator](newest, usual)
