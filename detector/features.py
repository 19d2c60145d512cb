"""What a model sees of a patient: one flat row of numbers, from the same windows the rules read.

A feature is a signal, an operator and a window. A feature that is not known is absent from the row; it is never zero
and never NaN. Over a window that reaches further back than readings are kept, an operator reads the hourly summaries
(DESIGN.md 1). No operator walks through a history: each looks at hours, and opens those at the edges of its window.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import fsum, log, log2
from typing import TYPE_CHECKING, NamedTuple

from detector.clock import DAY, HOUR, NEVER
from detector.rules.view import View
from detector.scoring import FeatureRow
from detector.windows import SHORT, Series

if TYPE_CHECKING:
    from detector.patient import Patient
    from detector.plan import Plan
    from detector.scoring import Learner

Operator = Callable[[Series, int, int], float | None]
"""(series, after, now) -> what holds over (after, now]; None = not known."""


def last(series: Series, after: int, now: int) -> float | None:
    """The newest value."""
    k = series.newest(after, now)
    if k is not None:
        return series.value[k]
    return next(series.summaries(after)).last if series.summarised(after) else None


def first(series: Series, after: int, now: int) -> tuple[int, float] | None:
    """When the oldest value was measured, and it; of a summarised hour its start and its median."""
    if series.summarised(after):
        *_, hour = series.summaries(after)
        return hour.start, hour.median
    k = series.oldest(after, now)
    return None if k is None else (series.at[k], series.value[k])


def lowest(series: Series, after: int, now: int) -> float | None:
    edges = _edges(series, after, now)
    return None if edges is None else edges[0]


def highest(series: Series, after: int, now: int) -> float | None:
    edges = _edges(series, after, now)
    return None if edges is None else edges[1]


def spread(series: Series, after: int, now: int) -> float | None:
    """Highest minus lowest."""
    edges = _edges(series, after, now)
    return None if edges is None else edges[1] - edges[0]


def _edges(series: Series, after: int, now: int) -> tuple[float, float] | None:
    """(lowest, highest)."""
    found = series.extremes(after, now)
    kept = None if found is None else (series.value[found[0]], series.value[found[1]])
    if not series.summarised(after):
        return kept
    edges = [(hour.low, hour.high) for hour in series.summaries(after)]
    if kept is not None:
        edges.append(kept)
    return min(low for low, _ in edges), max(high for _, high in edges)


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

AT_ONCE: dict[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1], "min": min, "max": max, "range": lambda values: max(values) - min(values),
    "mean": lambda values: fsum(values) / len(values),
}  # fmt: skip
"""The same of the values alone, for a short window of which every reading is kept and usable, as nearly all are."""

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


def vitals_between(learner: Learner, patient: Patient, after: int, upto: int) -> dict[str, list[float]]:
    """The usable readings of each vital sign that a learner reads, in (after, upto]; one without any is left out."""
    found = {}
    for name in learner.signals:
        series = patient.series.get(name)
        if series is not None:
            values = series.values(after, upto)
            if values:
                found[name] = values
    return found


class Columns(NamedTuple):
    """The features of a plan by what they read, and their names."""

    by_signal: tuple[tuple[str, tuple[tuple[str, Feature], ...]], ...]
    said: tuple[tuple[str, str, int], ...]
    """(name, kind of context, window)."""


def columns(features: tuple[Feature, ...]) -> Columns:
    """Put the features of one signal together: they are worked out together."""
    by_signal: dict[str, list[tuple[str, Feature]]] = {}
    for feature in features:
        if feature.operator != SAID:
            by_signal.setdefault(feature.signal, []).append((feature.name, feature))
    said = tuple((f.name, f.signal, f.within) for f in features if f.operator == SAID)
    return Columns(tuple((signal, tuple(mine)) for signal, mine in by_signal.items()), said)


Kept = tuple[int, int, dict[str, float]]
"""(changes of the series, until when it stands, the features of one signal)."""


def feature_row(plan: Plan, view: View) -> FeatureRow:
    """The row of a patient at the view's now.

    What was worked out of a signal stands until a reading of it comes or goes, or until one leaves a window; keeping it
    is a saving, never a decision.
    """
    values: dict[str, float] = {}
    patient, now = view.patient, view.now
    if plan.learner is not None:
        recent = vitals_between(plan.learner, patient, now - RECENT, now)
        values.update(plan.learner.read(patient.learned, recent))
    for signal, mine in plan.columns.by_signal:
        series = patient.series.get(signal)
        if series is None:
            continue
        kept = patient.features.get(signal)
        if kept is None or kept[0] != series.changes or kept[1] <= now:
            kept = patient.features[signal] = _worked_out(mine, series, view)
        values.update(kept[2])
    if plan.columns.said:
        _said(plan.columns.said, view, values)
    return FeatureRow(patient.patient_id, now, values)


def _worked_out(mine: tuple[tuple[str, Feature], ...], series: Series, view: View) -> Kept:
    values: dict[str, float] = {}
    until, now, at = NEVER, view.now, series.at
    end = bisect_right(at, now)
    for name, (signal, operator, within) in mine:
        after = now - within
        start = bisect_right(at, after)
        at_once = AT_ONCE.get(operator)
        if (
            at_once is not None
            and 0 < end - start <= SHORT
            and not series.summarised(after)
            and 0 not in series.usable[start:end]
        ):
            values[name] = at_once(series.value[start:end])
            until = min(until, at[start] + within)
            continue
        if operator in OPERATORS:
            value = OPERATORS[operator](series, after, now)
        else:
            newest, usual = last(series, after, now), view.base(signal)[0]
            value = None if newest is None or usual is None else FROM_BASE[operator](newest, usual)
            until = now  # the baseline has a life of its own
        if value is not None:
            values[name] = value
        oldest = series.begins(after)
        if oldest is not None:
            until = min(until, oldest + within)
    return series.changes, until, values


def _said(said: tuple[tuple[str, str, int], ...], view: View, values: dict[str, float]) -> None:
    newest: dict[str, int] = {}
    for fact in view.patient.context:
        if fact.at <= view.now and fact.event != "stopped":
            newest[fact.kind] = fact.at
    for name, kind, within in said:
        told = newest.get(kind)
        values[name] = float(kind in view.patient.running or (told is not None and told > view.now - within))
