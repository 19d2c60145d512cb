"""Another generator of courses: published cases, joined by straight lines. For testing only; no model is fitted on it.

It shares nothing with ``body`` but the form of what it makes: no drives that rise and fall, no lags, no severity that all
amounts follow, no coupling of heart and heat. How a course reaches the record (nursing, orders, filing) is the hospital's
and the same for both. What a case tells in words has the number of the evidence review; see ``published_courses.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detector.errors import ConfigError
from pipelines.simulate import _load
from pipelines.simulate.body import HOURS, LONGEST_H, SHAPES, Course
from pipelines.simulate.distributions import quantile
from pipelines.simulate.shapes import Array

CASES: dict[str, Any] = _load("published_courses.yaml")
KIND = "published_withdrawal"
GENERATOR = "published"
SEVERITIES = ("full_blown", "moderate", "mild")

_BY_FACTOR = ("creat", "plt", "wbc")  # what a course multiplies; everything else it adds to
_RISES = ("temp", "hr", "ck", "ast", "alt", "creat", "wbc", "inr", "k")
_FALLS = ("gcs", "plt", "hco3", "spo2")  # who is worse already is not made better by a printed value
_FITS = 0.6  # D: the first assessment lies in this share of what is left of a stay


def course(severity: str | None, usual: Mapping[str, float], remaining_h: float, rng: np.random.Generator) -> Course:
    """A drawn case of a severity, of which ``remaining_h`` hours can be seen, for a patient with these ``usual`` values.

    Raises:
        ConfigError: there is no such severity.
    """
    if severity not in SEVERITIES:
        raise ConfigError([f"severity {severity!r} of {KIND}: expected one of {SEVERITIES}"])
    cases = CASES[severity]
    return of_case(cases[int(rng.integers(len(cases)))], severity, usual, remaining_h, rng)


def of_case(
    case: Mapping[str, Any], severity: str, usual: Mapping[str, float], remaining_h: float, rng: np.random.Generator
) -> Course:
    """One case as a course; hours count from its first sign."""
    made = Course(KIND, severity, GENERATOR)
    hospital = SHAPES["kinds"]["withdrawal"]["severities"][severity]
    tempo = _drawn(CASES["tempo"], rng)
    before = -case["first_sign"] if "first_sign" in case else _drawn(CASES["first_sign_h"], rng)
    first = min(tempo * before, _FITS * min(remaining_h, LONGEST_H))

    def hour(from_first_assessment: float) -> float:
        if from_first_assessment >= 0:
            return first + tempo * from_first_assessment
        return max(0.0, first * (1 + from_first_assessment / max(before, 1.0)))

    for signal, written in case["points"].items():
        points = [(hour(at), level) for at, level in written]
        level = _level(signal, points, usual[signal], rng)
        if signal in _BY_FACTOR:
            made.factor[signal] = np.maximum(level / usual[signal], 0.01)
        else:
            made.add[signal] = level - usual[signal]
    if "sbp" in made.add:
        made.add["map"] = (made.add["sbp"] + 2 * made.add["dbp"]) / 3
        made.drives["shock"] = (made.add["sbp"] < 0).astype(float)
    if "tone" in case:
        made.drives["tone"] = np.minimum(HOURS / min(_drawn(CASES["tone_rise_h"], rng), max(first, 1.0)), 1.0)
        made.mas_steps = case["tone"]["steps"]
    made.expected = {name: curve.copy() for name, curve in made.add.items()}
    for said in case.get("context", ()):
        at = hour(said["h"])
        if at < remaining_h:
            made.context.append((at, {"kind": said["kind"], "event": said["event"]}))
    made.work_up = hospital["work_up"]
    return made


def _level(signal: str, points: Sequence[tuple[float, Any]], usual: float, rng: np.random.Generator) -> Array:
    """The level of a signal on ``HOURS``: lines from the usual value to each (hour, level), broken half-way, the last held."""
    amount = _drawn(CASES["amount"], rng)
    at, height = 0.0, _scale(signal, usual)
    knots, heights = [at], [height]
    for hour, written in points:
        printed = float(rng.uniform(*written)) if isinstance(written, list) else float(written)
        later, there = max(hour, at + 0.25), _scale(signal, _moved(signal, usual, printed, amount))
        knots += [(at + later) / 2, later]
        heights += [(height + there) / 2 + _drawn(CASES["broken"], rng) * (there - height), there]
        at, height = later, there
    curve = np.interp(HOURS, knots, heights)
    return np.asarray(np.exp(curve) if signal in CASES["logarithmic"] else curve)


def _moved(signal: str, usual: float, printed: float, amount: float) -> float:
    """A printed level with ``amount`` of its change from the patient's own value; of enzymes and cells, of its multiple."""
    if (signal in _RISES and usual >= printed) or (signal in _FALLS and usual <= printed):
        return usual
    if signal in CASES["logarithmic"] or signal in _BY_FACTOR:
        return float(usual * (printed / usual) ** amount)
    return usual + amount * (printed - usual)


def _scale(signal: str, level: float) -> float:
    return float(np.log(max(level, 1.0))) if signal in CASES["logarithmic"] else level


def _drawn(written: Mapping[str, Any], rng: np.random.Generator) -> float:
    return quantile(written, float(rng.random()))
