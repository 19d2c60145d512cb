"""Personal baseline: what is usual for this patient, learned online from its own hours (River).

Each vital sign has a habit: a time-decayed location and scale of its hourly medians, and of how far it ranges within
an hour. An hour pulls the location no further than ``REACH`` scales, so that an artefact or the beginning of an illness
moves the habit slowly while it is compared with it at once. A decayed one-sided sum of deviations (Page's CUSUM,
Biometrika 1954;41:100-115) notices small shifts that last.

Habits are River estimators (``river.base.AnomalyDetector``); their state is a list of plain numbers, never a pickle,
because River's pickles do not outlive a release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from river import base

from detector.scoring import Learned, Readings

HALF_LIFE_H = 36.0
"""[D] Weight of an hour falls to one half in so long: the habit of about the last two days."""

SUM_HALF_LIFE_H = 8.0
"""[D] of the sum of deviations: a shift of that order of hours is what it looks for."""

WARM_HOURS = 5.0
"""[D] Hours with readings before a habit says anything; until then it is silent."""

REACH = 2.5
"""[D] An hour moves the location by what a deviation of at most so many scales would."""

SLACK = 0.75
"""[D] Deviations below so many scales add nothing to the sum."""


class Kind(NamedTuple):
    """A vital sign and the least scale its habit may have, in the catalogue's unit [D]: about its charting noise."""

    signal: str
    scale: float
    ranging: float | None = None


KINDS = (
    Kind("temp", 0.3),
    Kind("hr", 5.0, 4.0),
    Kind("rr", 2.5),
    Kind("sbp", 9.0, 8.0),
    Kind("map", 7.0),
)
"""Ranging: temperature, heart rate and pressure lability are what withdrawal changes first (clinical-evidence.md 1.4)."""


class Habit(base.AnomalyDetector):  # type: ignore[misc]  # river is untyped
    """Location and scale of one number, and how long it has been beside them. ``x`` = {"value", "hours" since}."""

    __slots__ = ("_least", "hours", "location", "sum", "variance", "weight")

    def __init__(self, least: float, state: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 0.0)) -> None:
        self._least = least
        self.hours, self.weight, self.location, self.variance, self.sum = state

    @property
    def state(self) -> list[float]:
        return [self.hours, self.weight, self.location, self.variance, self.sum]

    def score_one(self, x: Mapping[str, float]) -> float:
        """How many scales a value lies from the habit, with its sign; 0 while it warms up."""
        return deviation(self.state, self._least, x["value"])

    def learn_one(self, x: Mapping[str, float]) -> None:
        """One more hour."""
        after = learned_of(self.state, self._least, x["value"], faded(x["hours"]))
        self.hours, self.weight, self.location, self.variance, self.sum = after


def deviation(state: Sequence[float], least: float, value: float) -> float:
    """How many scales a value lies from a habit of this ``state``; 0 in its first ``WARM_HOURS``."""
    hours, _, location, variance, _ = state
    return (value - location) / max(least, variance**0.5) if hours >= WARM_HOURS else 0.0


def faded(hours: float) -> tuple[float, float]:
    """What so many hours leave of the weight of a habit, and of its sum."""
    return 0.5 ** (hours / HALF_LIFE_H), 0.5 ** (hours / SUM_HALF_LIFE_H)


def learned_of(state: Sequence[float], least: float, value: float, left: tuple[float, float]) -> list[float]:
    """The state of a habit after one more hour; ``left``: what the time since the one before has left of it."""
    hours, weight, location, variance, total = state
    weight = weight * left[0] + 1.0
    step = value - location
    beside = 0.0
    if hours >= WARM_HOURS:
        scale = max(least, variance**0.5)
        beside = step / scale
        step = min(max(step, -REACH * scale), REACH * scale)
    total = max(0.0, total * left[1] + beside - SLACK)
    rate = 1.0 / weight
    return [hours + 1.0, weight, location + rate * step, (1 - rate) * (variance + rate * step * step), total]


def middle(values: Sequence[float]) -> float:
    """The median: ``statistics.median`` of a few numbers, at a fifth of its time."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


class PersonalBaseline:
    """The learner of ``detector.scoring``: one habit a vital sign, one of its ranging where that says something.

    Features (absent while a habit warms up): ``personal_{signal}_z`` = deviation of the median of the last two hours in
    scales; ``personal_temp_rise`` in Cel; ``personal_{signal}_sum`` = the sum of deviations so far;
    ``personal_{signal}_ranging_z`` = deviation of the range of the last two hours.
    """

    version = "1"
    signals = tuple(kind.signal for kind in KINDS)

    def learn(self, learned: Learned, hours: float, readings: Readings) -> Learned:
        after = dict(learned)
        left = faded(hours)
        for signal, least, ranging in KINDS:
            values = readings.get(signal)
            if not values:
                continue
            after[signal] = learned_of(learned.get(signal, _NEW), least, middle(values), left)
            if ranging is not None and len(values) > 1:
                name = _RANGING[signal]
                after[name] = learned_of(learned.get(name, _NEW), ranging, max(values) - min(values), left)
        return after

    def read(self, learned: Learned, recent: Readings) -> dict[str, float]:
        found: dict[str, float] = {}
        for signal, least, ranging in KINDS:
            state = learned.get(signal)
            if state is None or state[0] < WARM_HOURS:
                continue
            of_sum, of_z, of_ranging = _NAMES[signal]
            found[of_sum] = state[4]
            values = recent.get(signal)
            if not values:
                continue
            found[of_z] = deviation(state, least, middle(values))
            if signal == "temp":
                found["personal_temp_rise"] = max(values) - state[2]
            if ranging is not None and len(values) > 1:
                of_range = learned.get(_RANGING[signal], _NEW)
                if of_range[0] >= WARM_HOURS:
                    found[of_ranging] = deviation(of_range, ranging, max(values) - min(values))
        return found


_NEW: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
_RANGING = {kind.signal: f"{kind.signal}~" for kind in KINDS}
_NAMES = {kind.signal: tuple(f"personal_{kind.signal}_{what}" for what in ("sum", "z", "ranging_z")) for kind in KINDS}


def feature_names() -> tuple[str, ...]:
    """Every feature the personal baseline can give."""
    names: list[str] = ["personal_temp_rise"]
    for kind in KINDS:
        names += [f"personal_{kind.signal}_z", f"personal_{kind.signal}_sum"]
        if kind.ranging is not None:
            names.append(f"personal_{kind.signal}_ranging_z")
    return tuple(names)


def as_river(learned: Learned) -> dict[str, Any]:
    """The habits of one patient as River estimators, by name, for whoever wants to go on with them in River."""
    least = {kind.signal: kind.scale for kind in KINDS} | {f"{k.signal}~": k.ranging or 1.0 for k in KINDS}
    return {name: Habit(least[name], state) for name, state in learned.items()}
