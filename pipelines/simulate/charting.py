"""How a course reaches the record: the value a device would show, what is ordered and when, and when it is filed.

Delays are the measured quantiles of ``ward.yaml``; what is ordered stands in ``course_shapes.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.catalogue.signals import Catalogue
from detector.clock import HOUR, MINUTE
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import WARD
from pipelines.simulate.body import HOURS, SHAPES, Course
from pipelines.simulate.distributions import Draws
from pipelines.simulate.shapes import Array, wander

Texts = npt.NDArray[np.object_]

_TONE = ("mas", "local:mas")
_MAS = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 4.0])
_FAHRENHEIT_DIGITS = 1


@cache
def catalogue() -> Catalogue:
    """The shipped catalogue: what a code and a unit stand for."""
    return load_plan(Settings()).catalogue


@dataclass
class Record:
    """The numeric rows of a stay as arrays, in canonical units; ``signal`` is None for codes that are not ours.

    ``value`` NaN = a text, an unknown unit, or a value outside the plausible range: left as it came.
    """

    signal: Texts
    value: Array
    at: npt.NDArray[np.int64]
    available_at: npt.NDArray[np.int64]
    factor: Array
    offset: Array

    def of(self, signal: str) -> npt.NDArray[np.bool_]:
        """Which rows hold a usable value of a signal."""
        return np.asarray((self.signal == signal) & ~np.isnan(self.value))

    def level(self, signal: str, at: int) -> float | None:
        """The newest value of a signal at an instant, else its first one; None = there is none."""
        rows = np.flatnonzero(self.of(signal))
        if not len(rows):
            return None
        before = rows[self.at[rows] <= at]
        return float(self.value[before[-1] if len(before) else rows[0]])


def record(codes: Texts, units: Texts, values: Array, at: Any, available_at: Any) -> Record:
    """Resolve codes and units; rows must be in the order of their time."""
    known = catalogue()
    signal = np.full(len(codes), None, dtype=object)
    canonical = np.full(len(codes), np.nan)
    factor, offset = np.ones(len(codes)), np.zeros(len(codes))
    for code, unit in {*zip(codes.tolist(), units.tolist(), strict=True)}:
        named = known.resolve_code(code)
        if named is None:
            continue
        found = known.signals[named.signal].resolve_unit(unit)
        rows = (codes == code) & ((units == unit) if unit is not None else np.array([one is None for one in units]))
        signal[rows] = named.signal
        if found is None or found.redirect or found.needs:
            continue
        factor[rows], offset[rows] = found.factor, found.offset
        plausible = known.signals[named.signal].plausible
        changed = values[rows] * found.factor + found.offset
        canonical[rows] = np.where((changed >= plausible.low) & (changed <= plausible.high), changed, np.nan)
    return Record(signal, canonical, np.asarray(at), np.asarray(available_at), factor, offset)


def saturated(signal: str, value: Array, added: Array) -> Array:
    """``value + added``, bending where the body ends: nothing is cut to a limit, and nothing added changes nothing."""
    written = SHAPES["bounds"].get(signal)
    if written is None:
        return value + added
    return np.asarray(value + _bent(value + added, written) - _bent(value, written))


def _bent(x: Array, written: Mapping[str, Any]) -> Array:
    (high, highest), (low, lowest) = written["up"], written["down"]
    over, under = np.maximum(x - high, 0.0), np.maximum(low - x, 0.0)
    up = (highest - high) * (1 - np.exp(-over / (highest - high)))
    down = (low - lowest) * (1 - np.exp(-under / (low - lowest)))
    return np.asarray(np.clip(x, low, high) + up - down)


def changed(made: Course, signal: str, value: Array, hours: Array, noise: Mapping[str, Array]) -> Array:
    """What a measurement would have shown in the course, of what it showed without; in the catalogue's unit.

    ``hours`` count from the onset. Before it nothing changes.
    """
    after = hours >= 0
    out = value.astype(float, copy=True)
    if signal in made.factor:
        out = np.where(after, out * np.interp(hours, HOURS, made.factor[signal]), out)
    if signal in made.add:
        added = np.interp(hours, HOURS, made.add[signal])
        if signal in noise:  # laboratory noise of what the course adds; what was there has its own
            added = added * (1 + np.interp(hours, HOURS, noise[signal]))
        out = np.where(after, saturated(signal, out, added), out)
    if signal in ("ck", "ast", "alt", "uop", "lactate", "inr", "bili"):
        out = np.where(after, np.maximum(out, 0.1 * value), out)
    return out


def laboratory_noise(rng: np.random.Generator) -> dict[str, Array]:
    """Noise on ``HOURS``, so that the same sample by two routes shows the same value."""
    return {name: SHAPES["laboratory_cv"] * wander(HOURS, 2.0, rng) for name in ("ck", "ast", "alt", "inr", "lactate")}


def decimals(signal: str) -> int:
    """How many decimals a signal is charted with."""
    known = WARD["signals"].get(signal)
    return int(known["decimals"]) if known else 1


def filed(kind: str, at: int, rng: np.random.Generator) -> int:
    """When the record has a value measured at ``at``: a draw of the measured delays of its kind, never before it."""
    table = WARD["filing"]
    return at + int(MINUTE * max(0.0, float(np.interp(rng.random(), table["quantiles"], table[kind]))))


@dataclass
class Extra:
    """A row that the stay did not have: signal, canonical value, when measured and when filed (ms UTC)."""

    signal: str
    value: float
    at: int
    available_at: int


@dataclass
class Nursing:
    """What nurses wrote of tone: grades and notes (``at``, ``available_at``); the same hand for twins and courses."""

    grades: list[Extra] = field(default_factory=list)
    notes: list[tuple[int, int]] = field(default_factory=list)
    raised: list[int] = field(default_factory=list)
    """When a grade above the usual one, made by the course, was on record."""


def nursing(first: int, last: int, onset: int | None, made: Course | None, rng: np.random.Generator) -> Nursing:
    """Ashworth grades at nursing intervals and notes of spasticity, in stays with and without a course."""
    written, draws = SHAPES["charting"], Draws(rng, SHAPES["follow"])
    told = Nursing()
    grades, weights = zip(*written["mas_usual"], strict=True)
    usual = int(np.flatnonzero(_MAS == rng.choice(grades, p=weights))[0])
    charted = draws.happens(written["tone_charted"])
    tone = made.drives.get("tone") if made else None
    steps = made.mas_steps if made else 0.0
    every = draws.free(written["mas_every_h"])
    at = first + int(rng.uniform(0, every) * HOUR)
    while charted and at < last:
        pull = 0.0
        if tone is not None and onset is not None and at >= onset:
            pull = steps * float(np.interp((at - onset) / HOUR, HOURS, tone))
        place = usual + round(pull)
        if draws.happens(written["misgraded"]):
            place += int(rng.choice([-1, 1]))
        value = float(_MAS[min(max(place, 0), len(_MAS) - 1)])
        at_minute = at - at % MINUTE
        one = Extra("mas", value, at_minute, filed("score", at_minute, rng))
        told.grades.append(one)
        if pull >= 0.75 and value > _MAS[usual]:
            told.raised.append(one.available_at)
        at += int(every * rng.uniform(0.7, 1.3) * HOUR)
    for _ in range(rng.poisson(written["false_notes_a_day"] * (last - first) / (24 * HOUR))):
        at = int(rng.integers(first, last))
        told.notes.append((at - at % MINUTE, filed("score", at, rng)))
    if tone is not None and onset is not None and draws.happens(written["note_chance"]):
        strong = np.flatnonzero(tone * min(1.0, 0.4 + steps / 2) >= draws.free(written["note_from"]))
        at = onset + int((HOURS[strong[0]] + rng.uniform(0, 3)) * HOUR) if len(strong) else last
        while at < last:
            if np.interp((at - onset) / HOUR, HOURS, tone) > 0.2:
                told.notes.append((at - at % MINUTE, filed("score", at, rng)))
            at += int(draws.free(written["note_again_h"]) * HOUR)
    told.notes.sort()
    return told
