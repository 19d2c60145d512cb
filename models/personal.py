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
from statistics import median
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

    @property
    def warm(self) -> bool:
        return self.hours >= WARM_HOURS

    @property
    def scale(self) -> float:
        return max(self._least, float(self.variance**0.5))

    def score_one(self, x: Mapping[str, float]) -> float:
        """How many scales a value lies from the habit, with its sign; 0 while it warms up (see ``warm``)."""
        return (x["value"] - self.location) / self.scale if self.warm else 0.0

    def learn_one(self, x: Mapping[str, float]) -> None:
        """One more hour."""
        value, hours = x["value"], x["hours"]
        deviation = self.score_one(x)
        self.sum = max(0.0, self.sum * 0.5 ** (hours / SUM_HALF_LIFE_H) + deviation - SLACK)
        self.weight = self.weight * 0.5 ** (hours / HALF_LIFE_H) + 1.0
        reach = REACH * self.scale if self.warm else float("inf")
        step = min(max(value - self.location, -reach), reach)
        rate = 1.0 / self.weight
        self.variance = (1 - rate) * (self.variance + rate * step * step)
        self.location += rate * step
        self.hours += 1.0


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
        for kind in KINDS:
            values = readings.get(kind.signal)
            if not values:
                continue
            middle = Habit(kind.scale, learned.get(kind.signal, _NEW))
            middle.learn_one({"value": median(values), "hours": hours})
            after[kind.signal] = middle.state
            if kind.ranging is not None and len(values) > 1:
                name = f"{kind.signal}~"
                ranging = Habit(kind.ranging, learned.get(name, _NEW))
                ranging.learn_one({"value": max(values) - min(values), "hours": hours})
                after[name] = ranging.state
        return after

    def read(self, learned: Learned, recent: Readings) -> dict[str, float]:
        found: dict[str, float] = {}
        for kind in KINDS:
            state = learned.get(kind.signal)
            values = recent.get(kind.signal)
            if state is None:
                continue
            habit = Habit(kind.scale, state)
            if not habit.warm:
                continue
            found[f"personal_{kind.signal}_sum"] = habit.sum
            if not values:
                continue
            now = median(values)
            found[f"personal_{kind.signal}_z"] = habit.score_one({"value": now})
            if kind.signal == "temp":
                found["personal_temp_rise"] = max(values) - habit.location
            if kind.ranging is not None and len(values) > 1 and f"{kind.signal}~" in learned:
                ranging = Habit(kind.ranging, learned[f"{kind.signal}~"])
                if ranging.warm:
                    found[f"personal_{kind.signal}_ranging_z"] = ranging.score_one({"value": max(values) - min(values)})
        return found


_NEW: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)


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
