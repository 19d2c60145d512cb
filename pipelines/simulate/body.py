"""The body in a course: drives, and what they do to every signal, on a grid of ten minutes from the onset.

The generic half of ``course_shapes.yaml``: no kind of course is known here. Units are the catalogue's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, log
from typing import Any

import numpy as np

from detector.errors import ConfigError, nearest
from pipelines.simulate import _load
from pipelines.simulate.distributions import Draws
from pipelines.simulate.shapes import FAMILIES, Array, Times, bump, drive, recursion, wander

SHAPES: dict[str, Any] = _load("course_shapes.yaml")
GENERATORS: tuple[str, ...] = tuple(SHAPES["generators"])
KINDS: tuple[str, ...] = tuple(SHAPES["kinds"])
WITHDRAWALS: tuple[str, ...] = tuple(name for name, kind in SHAPES["kinds"].items() if kind.get("withdrawal"))
ARTEFACTS: tuple[str, ...] = tuple(SHAPES["artefacts"])

STEP_H = 1 / 6
LONGEST_H = 120.0
"""How long a course is followed after its onset; five days, D."""

HOURS: Array = np.arange(0.0, LONGEST_H + 2 * STEP_H, STEP_H)

_PRESSURES = ("sbp", "dbp", "map")
_ORGAN_DRIVES = ("injury", "kidney", "clotting", "liver", "coma", "shock")
_PEAK_WITHIN_H = (36.0, 72.0)  # 1.7: CK tops at 24 to 72 h; sooner in a short stay, where one sees the quick courses


@dataclass
class Course:
    """One course. ``add`` and ``factor`` hold what is done to a signal on ``HOURS``; ``expected`` the same as ``add``
    without spasms and slow noise. Hours count from the onset; None = it never happens.
    """

    kind: str
    severity: str | None
    generator: str
    add: dict[str, Array] = field(default_factory=dict)
    factor: dict[str, Array] = field(default_factory=dict)
    expected: dict[str, Array] = field(default_factory=dict)
    drives: dict[str, Array] = field(default_factory=dict)
    context: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    work_up: Mapping[str, float] = field(default_factory=dict)
    mas_steps: float = 0.0
    interrupted_h: float | None = None
    restored_h: float | None = None
    restoration_said: bool = False


def severities(kind: str) -> tuple[str | None, ...]:
    """The severities of a kind of course; ``(None,)`` where it has but one.

    Raises:
        ConfigError: there is no such kind.
    """
    if kind not in SHAPES["kinds"]:
        raise ConfigError([f"kind {kind!r}: expected one of {', '.join(KINDS)}{nearest(kind, KINDS)}"])
    written = SHAPES["kinds"][kind]
    base = SHAPES["kinds"][written["like"]] if "like" in written else written
    return tuple(base["severities"]) if "severities" in base else (None,)


def course(
    kind: str, severity: str | None, generator: str, usual: Mapping[str, float], remaining_h: float,
    rng: np.random.Generator,
) -> Course:  # fmt: skip
    """Draw a course of which ``remaining_h`` hours can be seen, for a patient with these ``usual`` values.

    Raises:
        ConfigError: there is no such kind, severity or generator.
    """
    if severity not in severities(kind):
        raise ConfigError([f"severity {severity!r} of {kind}: expected one of {severities(kind)}"])
    if generator not in FAMILIES:
        raise ConfigError([f"generator {generator!r}: expected one of {', '.join(GENERATORS)}"])
    special = SHAPES["kinds"][kind]
    written = SHAPES["kinds"][special["like"]] if "like" in special else special
    written = written["severities"][severity] if severity is not None else written
    return _Body(Course(kind, severity, generator), written, special, usual, remaining_h, rng).live()


class _Body:
    def __init__(
        self, made: Course, written: Mapping[str, Any], special: Mapping[str, Any], usual: Mapping[str, float],
        remaining_h: float, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.made, self.written, self.special, self.usual, self.rng = made, written, special, usual, rng
        self.draws = Draws(rng, SHAPES["follow"])
        self.remaining = min(remaining_h, LONGEST_H)
        self.amounts = self.draws.free(special["amounts"]) if "amounts" in special else 1.0
        self.release = np.ones_like(HOURS)  # what restoration leaves of the leak of muscle and of the organ injuries
        self.recovery = np.ones_like(HOURS)
        self.inflow: dict[str, Array] = {}
        self.starts: dict[str, float] = {}

    def live(self) -> Course:
        made, draws = self.made, self.draws
        if self.special.get("withdrawal"):
            made.interrupted_h = draws.free(self.written["interrupted_h"])
        if self.special.get("restored"):
            made.restored_h = self.remaining * draws.free(SHAPES["restoration"]["at_share"])
            made.restoration_said = draws.happens(SHAPES["restoration"]["said"])
        self._drives()
        for effect in self.written["effects"]:
            if effect["drive"] in made.drives:
                self._effect(effect)
        self._couple()
        made.expected = {name: curve.copy() for name, curve in made.add.items()}
        self._treat()
        self._paroxysms()
        self._wander()
        self._pressures(made.add)
        self._pressures(made.expected)
        for said in self.written["context"]:
            self._context(said)
        made.work_up = self.written["work_up"]
        made.mas_steps = draws.amount(self.written["mas_steps"]) * self.amounts if "mas_steps" in self.written else 0.0
        return made

    # ------------------------------------------------------------------ drives

    def _drives(self) -> None:
        times = self._times()
        share = self.draws.free(SHAPES["wander"]["share"])
        hours = self.draws.free(SHAPES["wander"]["hours"])
        swing = self.draws.free(SHAPES["wander"]["swing"])
        turn = self.draws.free(SHAPES["wander"]["swing_hours"])
        common = wander(HOURS, hours, self.rng)  # what disturbs one drive disturbs the others a little
        for name, when in times.items():
            curve = drive(HOURS, when, self.made.generator, self.rng)
            own = 0.6 * common + 0.8 * wander(HOURS, hours, self.rng)
            phase = self.rng.uniform(0, 2 * np.pi)
            curve = curve * np.exp(share * own - share * share / 2)
            curve *= 1 + swing * np.sin(2 * np.pi * HOURS / turn + phase)
            curve /= max(1.0, float(np.quantile(curve, 0.99)))  # amounts are tops: noise may not lift a drive over them
            self.made.drives[name] = curve
            self.starts[name] = when.start
        if "flow" in self.special:
            self._partly(self.special["flow"])
        self.inflow = dict(self.made.drives)  # releases follow the undisturbed drives and `release`, `recovery`
        if self.made.restored_h is not None:
            self._restore(self.made.restored_h)

    def _times(self) -> dict[str, Times]:
        """When each drive acts; pressed together where too little of the stay is left to see the course."""
        drawn: dict[str, Times] = {}
        for name, one in self.written["drives"].items():
            after = one.get("after")
            if (after is not None and after not in drawn) or not self.draws.happens(one):
                continue
            start = max(0.0, (drawn[after].start if after else 0.0) + self.draws.time(one["by"]))
            episodes = self._episodes(start, one["episodes"]) if "episodes" in one else ()
            drawn[name] = Times(
                start,
                self.draws.time(one["rise"]),
                self.draws.time(one["hold"]) if "hold" in one else None,
                self.draws.time(one["fall"]) if "fall" in one else 12.0,
                episodes,
            )
        fits = drawn.get(self.written.get("fits", ""))
        if fits is None:
            return drawn
        room = self.made.restored_h if self.made.restored_h is not None else 0.7 * self.remaining
        squeeze = max(0.4, min(1.0, room / (fits.start + fits.rise)))
        return {
            name: Times(
                one.start * squeeze, one.rise * squeeze, None if one.hold is None else one.hold * squeeze, one.fall
            )
            for name, one in drawn.items()
        }

    def _episodes(self, start: float, written: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
        out, at = [], start
        for _ in range(round(self.draws.amount(written["count"]))):
            length = self.draws.free(written["hours"])
            out.append((at, length))
            at += length + self.draws.free(written["gap"])
        return tuple(out)

    def _partly(self, flow: Mapping[str, Any]) -> None:
        """Some drug still flows, more or less by the hour: every drive that answers to it comes and goes."""
        least = self.draws.free(flow["least"])
        slow = wander(HOURS, self.draws.free(flow["hours"]), self.rng)
        share = least + (1 - least) / (1 + np.exp(-2 * (slow + 0.8)))
        for name in self.made.drives.keys() - set(_ORGAN_DRIVES):
            self.made.drives[name] = self.made.drives[name] * share

    def _restore(self, at: float) -> None:
        written, draws = SHAPES["restoration"], self.draws
        ends = {}
        for name in ("heat", "tone", "storm"):
            wait, gone = draws.free(written[name]["wait"]), draws.free(written[name]["gone_h"])
            x = np.clip((HOURS - at - wait) / max(0.5, gone - wait), 0, 1)
            ends[name] = 1 - x * x * (3 - 2 * x)
        since = np.maximum(HOURS - at, 0.0)
        self.release = 0.5 ** (since / draws.free(written["release_half_h"]))
        self.recovery = 0.5 ** (since / draws.free(written["organ_half_h"]))
        for name, curve in self.made.drives.items():
            if name in _ORGAN_DRIVES:
                end = self.recovery
            elif name == "muscle":
                end = self.release
            else:
                end = ends.get(name, ends["storm"])
            self.made.drives[name] = curve * end
        if draws.happens(written["spike"]):
            top = at + draws.free(written["spike_after_h"])
            degrees = draws.amount(written["spike_degrees"])
            self._add("temp", degrees * bump(HOURS, top - 0.75, 3.0))

    # ------------------------------------------------------------------ effects

    def _effect(self, effect: Mapping[str, Any]) -> None:
        signal, curve, draws = effect["signal"], self.made.drives[effect["drive"]], self.draws
        if "to" in effect:
            rise = max(draws.amount(effect["to"]) - self.usual[signal], 0.25)
            self._add(signal, self.amounts * rise * curve)
        elif "add" in effect:
            self._add(signal, self.amounts * draws.amount(effect["add"]) * curve)
        elif "times" in effect:
            self._times_factor(signal, np.exp(self.amounts * log(draws.amount(effect["times"])) * curve))
        elif "released" in effect:
            peak = self.amounts * draws.amount(effect["released"])
            self._add(signal, peak * self._released(effect["drive"], signal, peak))
        elif "gfr_to" in effect:
            left = 1 - self.amounts * (1 - draws.remaining(effect["gfr_to"])) * curve
            self._times_factor(signal, self._creatinine(np.clip(left, 0.02, 1.0)))
        elif "consumed_to" in effect:
            left = draws.remaining(effect["consumed_to"]) ** self.amounts
            self._times_factor(signal, self._platelets(curve, left))
        else:
            raise ConfigError([f"course_shapes.yaml: effect on {signal} has no known way: {sorted(effect)}"])

    def _released(self, name: str, signal: str, peak: float) -> Array:
        """A release into one compartment with a half-life, scaled to a top of 1 were it left alone."""
        keep = 0.5 ** (STEP_H / self.draws.free(SHAPES["half_life_h"][signal]))
        curve = self.inflow[name]
        if self.made.generator == "logistic":  # grows by a share of itself: straight on a logarithmic axis
            reach = log(1 + peak / max(1.0, self.usual.get(signal, 1.0)))
            grown = np.maximum(np.diff(np.expm1(reach * curve), prepend=0.0), 0.0) / np.expm1(reach)
            inflow = 0.7 * grown + 0.3 * curve * STEP_H / 36
        elif self.made.generator == "episodic":  # each storm leaks, and some leaks all the time
            leaks = np.maximum(np.diff(curve, prepend=0.0), 0.0)
            inflow = leaks / max(leaks.sum(), 1e-9) + curve * STEP_H / 48
        else:
            inflow = curve * STEP_H
        alone = recursion(inflow, keep)
        top = float(alone[HOURS <= min(max(_PEAK_WITHIN_H[0], self.remaining), _PEAK_WITHIN_H[1])].max())
        if top <= 0:
            return np.zeros_like(HOURS)
        left = self.recovery if name in _ORGAN_DRIVES else self.release
        return recursion(inflow * left, keep) / top

    def _creatinine(self, filtration: Array) -> Array:
        """Creatinine over its usual level: made at a steady rate, cleared by what filtration is left."""
        rate = STEP_H / self.draws.free(SHAPES["creatinine_turnover_h"])
        ratio, out = 1.0, np.empty_like(filtration)
        for i, left in enumerate(filtration.tolist()):
            ratio += rate * (1 - left * ratio)
            out[i] = ratio
        return out

    def _platelets(self, curve: Array, left: float) -> Array:
        """Platelets over their usual number: replaced at a steady rate, consumed while the drive lasts."""
        rate = STEP_H / self.draws.free(SHAPES["platelet_turnover_h"])
        consumed = rate * (1 / left - 1)
        share, out = 1.0, np.empty_like(curve)
        for i, pull in enumerate(curve.tolist()):
            share += rate * (1 - share) - consumed * pull * share
            out[i] = share
        return out

    def _couple(self) -> None:
        """What follows from other signals: heart and breathing from heat, transaminases and potassium from muscle."""
        written, draws = SHAPES["coupling"], self.draws
        heat = self.made.add.get("temp")
        blunted = draws.free(written["blunted_share"]) if draws.happens(written["blunted_heart"]) else 1.0
        if heat is not None:
            lag = recursion(heat * (1 - exp(-STEP_H / 0.7)), exp(-STEP_H / 0.7))  # the heart follows within the hour
            self._add("hr", draws.amount(written["beats_per_degree"]) * lag)
            self._add("rr", draws.amount(written["breaths_per_degree"]) * heat)
        if "hr" in self.made.add:
            self.made.add["hr"] = self.made.add["hr"] * blunted
        if "rr" in self.made.add and draws.happens(written["ventilated"]):
            self.made.add["rr"] = self.made.add["rr"] * 0.15
        muscle = self.made.add.get("ck")
        if muscle is not None:
            late = recursion(muscle * (1 - exp(-STEP_H / 5)), exp(-STEP_H / 5))
            self._add("ast", draws.free(written["ast_per_ck"]) * late)
            self._add("alt", draws.free(written["alt_per_ck"]) * late)
            self._add("k", np.minimum(draws.free(written["k_per_ck_10000"]) * muscle / 10_000, 2.0))

    def _treat(self) -> None:
        """Antipyretics and cooling, when heat is known; they blunt the temperature that the course would have had."""
        heat, draws, chances = self.made.add.get("temp"), self.draws, self.written["treated"]
        if heat is None:
            return
        for name, chance in chances.items():
            written = SHAPES["treatments"][name]
            hot = np.flatnonzero(self.usual["temp"] + heat >= written["from"])
            if not len(hot) or draws.rng.random() >= chance:
                continue
            at = HOURS[hot[0]] + draws.time(written["delay_h"])
            if name == "antipyretic":
                effect = draws.free({"low": 0.2, "high": 1.0})
                for _ in range(ceil(draws.free(written["doses"]))):
                    if at < self.remaining:
                        share = np.minimum(1.0, np.maximum(heat, 0) / 1.5)
                        heat = heat - effect * share * bump(HOURS, at, draws.free(written["hours"]))
                        self.made.context.append((float(at), {"kind": "antipyretic", "event": "given"}))
                    at += draws.free(written["again_h"])
            else:
                works, lasts = draws.free(written["works_h"]), draws.free(written["lasts_h"])
                on = np.clip((HOURS - at) / works, 0, 1) * np.clip(1 - (HOURS - at - lasts) / works, 0, 1)
                heat = heat * (1 - draws.free({"low": 0.15, "high": 0.6}) * on)
                self.made.context.append((float(at), {"kind": "cooling", "event": "started"}))
                self.made.context.append((float(at + lasts), {"kind": "cooling", "event": "stopped"}))
        self.made.add["temp"] = heat

    def _paroxysms(self) -> None:
        strength = self.written.get("paroxysms", 0.0)
        envelope = self.made.drives.get("tone", self.made.drives.get("storm"))
        if not strength or envelope is None:
            return
        written, draws = SHAPES["paroxysms"], self.draws
        rate = strength * self.amounts * draws.amount(written["per_hour"])
        size = {name: draws.amount(written[name]) for name in ("hr", "sbp", "rr", "temp")}
        sums = {name: np.zeros_like(HOURS) for name in size}
        at = float(draws.rng.exponential(1 / rate))
        while at < self.remaining:
            height = float(np.interp(at, HOURS, envelope))
            if draws.rng.random() < min(1.0, height):
                length = draws.free(written["hours"])
                shape = bump(HOURS, at, length) * draws.rng.uniform(0.4, 1.4)
                for name, most in size.items():
                    sums[name] += most * shape
                if draws.happens(written["brady"]):
                    sums["hr"] += draws.free(written["brady_to"]) * bump(HOURS, at + length, 0.8)
            at += float(draws.rng.exponential(1 / rate))
        for name, total in sums.items():
            self._add(name, total)

    def _wander(self) -> None:
        written = SHAPES["wander"]
        envelope = np.clip(np.max([np.zeros_like(HOURS), *self.made.drives.values()], axis=0), 0, 1)
        for name in ("temp", "hr", "sbp", "rr"):
            if name in self.made.add:
                self._add(name, written[name] * envelope * wander(HOURS, 1.5, self.rng))

    def _pressures(self, add: dict[str, Array]) -> None:
        """Diastolic and mean follow the systolic; they are drawn once for both what is seen and what is expected."""
        if "sbp" not in add:
            return
        if not hasattr(self, "diastolic"):
            self.diastolic = self.draws.free(SHAPES["coupling"]["diastolic_share"])
        add["dbp"] = self.diastolic * add["sbp"]
        add["map"] = (add["sbp"] + 2 * add["dbp"]) / 3

    def _context(self, said: Mapping[str, Any]) -> None:
        name = said.get("drive")
        if (name is not None and name not in self.made.drives) or not self.draws.happens(said):
            return
        at = (self.starts[name] if name is not None else 0.0) + self.draws.time(said["by"])
        if at < self.remaining:
            keys = {key: said[key] for key in ("kind", "event", "tone") if key in said}
            self.made.context.append((max(at, 0.0) if name or at >= 0 else at, keys))

    def _add(self, signal: str, curve: Array) -> None:
        self.made.add[signal] = self.made.add[signal] + curve if signal in self.made.add else curve

    def _times_factor(self, signal: str, curve: Array) -> None:
        self.made.factor[signal] = self.made.factor[signal] * curve if signal in self.made.factor else curve


def first_hour(hours: Array, true: Sequence[bool] | np.ndarray[Any, np.dtype[np.bool_]]) -> float | None:
    """The first hour at which something is true; None = never."""
    found = np.flatnonzero(np.asarray(true))
    return float(hours[found[0]]) if len(found) else None
