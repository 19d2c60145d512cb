"""Courses of patients that really alert: runs of regimes with late, lost, duplicated and corrected readings.

Independent random events prove nothing about the engine (hardly any of them alert). A course here is a few hours in each
of several regimes (well, fever, withdrawal, muscle, shock, restored), sampled as wards sample, and then spoiled.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec
from hypothesis import strategies as st

from detector.clock import DAY, HOUR, MINUTE
from detector.events import Context, Encounter, Event, Observation, Position, Pump

START = 1_700_000_040_000 - 1_700_000_040_000 % MINUTE
TOPICS = {"encounter": 0, "pump": 1, "context": 2, "observation": 3, "acknowledgement": 4}

REGIMES: dict[str, dict[str, tuple[float, float]]] = {
    "well": {"temp": (36.5, 37.6), "hr": (70, 95), "sbp": (105, 135), "dbp": (60, 80), "mas": (1, 1), "gcs": (15, 15)},
    "tone": {"temp": (37.0, 37.9), "hr": (90, 115), "sbp": (110, 150), "dbp": (60, 90), "mas": (3, 4), "gcs": (14, 15)},
    "fever": {
        "temp": (38.4, 39.8),
        "hr": (105, 135),
        "sbp": (95, 175),
        "dbp": (55, 100),
        "mas": (2, 4),
        "gcs": (12, 15),
    },
    "storm": {"temp": (39.6, 42.0), "hr": (40, 165), "sbp": (75, 200), "dbp": (40, 110), "mas": (3, 4), "gcs": (5, 12)},
    "shock": {"temp": (38.0, 40.5), "hr": (110, 150), "sbp": (65, 85), "dbp": (30, 45), "mas": (2, 4), "gcs": (4, 9)},
    "quiet": {"temp": (35.0, 36.4), "hr": (45, 60), "sbp": (80, 100), "dbp": (45, 60), "mas": (0, 1), "gcs": (5, 9)},
}
LABS: dict[str, dict[str, tuple[float, float]]] = {
    "well": {"ck": (60, 300), "creat": (0.6, 1.1), "plt": (150, 300), "ast": (20, 60), "inr": (1.0, 1.2)},
    "tone": {"ck": (200, 1500), "creat": (0.7, 1.2), "plt": (140, 280), "ast": (20, 90), "inr": (1.0, 1.2)},
    "fever": {"ck": (800, 6000), "creat": (0.9, 2.0), "plt": (80, 200), "ast": (40, 400), "inr": (1.1, 1.8)},
    "storm": {"ck": (4000, 60000), "creat": (1.5, 4.5), "plt": (9, 90), "ast": (300, 3000), "inr": (1.4, 3.0)},
    "shock": {"ck": (3000, 20000), "creat": (1.5, 5.0), "plt": (20, 120), "ast": (300, 3000), "inr": (1.3, 2.5)},
    "quiet": {"ck": (60, 400), "creat": (0.7, 2.5), "plt": (120, 250), "ast": (20, 80), "inr": (1.0, 1.3)},
}
UNITS = {
    "temp": "Cel",
    "ck": "U/L",
    "creat": "mg/dL",
    "plt": "10*3/uL",
    "ast": "U/L",
    "mas": "{score}",
    "gcs": "{score}",
}
DIGITS = {"temp": 1, "creat": 2, "inr": 1}


@dataclass(frozen=True)
class Course:
    """Events of one or more patients in the one order, positions filled in."""

    events: tuple[Event, ...]
    made_from: str = ""

    def __repr__(self) -> str:
        """Short: the seed and the regimes make the course again."""
        return f"Course({len(self.events)} events of {self.made_from})"

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(sorted({event.patient_id for event in self.events}))  # type: ignore[union-attr]


def in_order(events: list[Event]) -> list[Event]:
    """The one order of DESIGN.md section 2: available_at, then topic, then file order."""
    return sorted(events, key=lambda e: (e.available_at, TOPICS[e.__struct_config__.tag]))  # type: ignore[union-attr]


GATES = ("pump", "pump", "pump", "late pump", "oral", "unknown", "none")


@st.composite
def course(draw: st.DrawFn, patient_id: str = "p1", *, spoiled: bool = True) -> Course:
    """One patient over one to four regimes."""
    regimes = draw(st.lists(st.sampled_from(sorted(REGIMES)), min_size=1, max_size=4))
    return build(draw(st.integers(0, 1 << 32)), regimes, draw(st.sampled_from(GATES)), patient_id, spoiled=spoiled)


def numbered(number: int, patient_id: str = "p1") -> Course:
    """The course of a number, for checks that must not depend on a search."""
    rng = random.Random(number)
    regimes = [rng.choice(sorted(REGIMES)) for _ in range(rng.randrange(1, 5))]
    return build(number, regimes, rng.choice(GATES), patient_id)


def build(seed: int, regimes: list[str], gate: str, patient_id: str = "p1", *, spoiled: bool = True) -> Course:
    """The course of a seed: the same arguments give the same events."""
    rng = random.Random(seed)
    admitted = START + rng.randrange(0, 3 * HOUR)
    stay = f"{patient_id}-s1"
    events: list[Event] = [
        Encounter(patient_id=patient_id, stay_id=stay, event="admitted", at=admitted, available_at=admitted,
                  unit=rng.choice(["MICU", "SICU"]), age_years=rng.choice([3.0, 14.0, 24.0, 61.0, None]),
                  sex=rng.choice(["female", "male", None]), weight_kg=rng.choice([None, 62.0]),
                  baseline=rng.choice([{}, {"sbp": 100.0, "mas": 1.0}, {"creat": 0.8}])),
    ]  # fmt: skip
    if gate == "pump":
        events.append(Pump(patient_id=patient_id, event="implanted", at=admitted - 90 * DAY, available_at=admitted))
    elif gate == "none":
        events.append(Pump(patient_id=patient_id, event="absent", at=admitted, available_at=admitted))
    at = admitted
    for number, regime in enumerate(regimes):
        end = at + rng.randrange(2, 9) * HOUR
        if number == 1 and gate == "late pump":
            events.append(
                Pump(patient_id=patient_id, event="implanted", at=admitted - DAY, available_at=at + 7 * MINUTE)
            )
        if number == 1 and gate == "oral":
            events.append(Context(patient_id=patient_id, kind="oral_baclofen", event="stopped", at=at, available_at=at))
        _happenings(events, rng, patient_id, at, end)
        every = rng.choice([20, 30, 60])
        while at < end:
            for signal, (low, high) in REGIMES[regime].items():
                if signal in ("mas", "gcs") and rng.random() < 0.8:
                    continue
                _observe(
                    events, rng, patient_id, stay, signal, rng.uniform(low, high), at + rng.randrange(0, 9) * MINUTE
                )
            if rng.random() < 0.25:
                for signal, (low, high) in LABS[regime].items():
                    if rng.random() < 0.8:
                        _observe(events, rng, patient_id, stay, signal, rng.uniform(low, high), at, lab=True)
            at += every * MINUTE
    if rng.random() < 0.5:
        events.append(Encounter(patient_id=patient_id, stay_id=stay, event="discharged", at=at, available_at=at + HOUR))
    if spoiled:
        events = _spoil(events, rng)
    ordered = in_order(events)
    placed = tuple(_with_position(event, row) for row, event in enumerate(ordered))
    return Course(placed, f"seed {seed}, {gate}: {' '.join(regimes)}")


def _observe(
    events: list[Event],
    rng: random.Random,
    patient_id: str,
    stay: str,
    signal: str,
    value: float,
    at: int,
    *,
    lab: bool = False,
) -> None:
    delay = rng.choice([1, 5, 20, 55]) * MINUTE if not lab else rng.choice([30, 60, 90, 150]) * MINUTE
    if rng.random() < 0.05:
        delay = -rng.randrange(1, 20) * MINUTE  # charted ahead
    value = round(value, DIGITS.get(signal, 0))
    identity = f"{signal}{at}{rng.randrange(1000)}" if rng.random() < 0.5 else None
    reference = 235.0 if signal == "ck" and rng.random() < 0.5 else None
    events.append(
        Observation(patient_id=patient_id, stay_id=stay, code=signal, value=value, unit=UNITS.get(signal),
                    effective_at=at, available_at=at + delay, observation_id=identity, reference_high=reference)
    )  # fmt: skip


def _happenings(events: list[Event], rng: random.Random, patient_id: str, start: int, end: int) -> None:
    def somewhen() -> int:
        return start + rng.randrange(0, max(1, (end - start) // MINUTE)) * MINUTE

    if rng.random() < 0.3:
        event = rng.choice(["alarm", "refilled", "restored", "interrupted", "interrogated", "mri"])
        at = somewhen()
        events.append(Pump(patient_id=patient_id, event=event, at=at, available_at=at + rng.randrange(0, 300) * MINUTE,
                           level="critical" if event == "alarm" else None, result="ok" if event == "interrogated" else None))  # fmt: skip
    if rng.random() < 0.4:
        kind = rng.choice(["sedation", "vasopressor", "cooling", "seizure", "spasticity", "pruritus", "surgery", "rrt"])
        at = somewhen()
        change = "noted" if kind in ("seizure", "spasticity", "pruritus", "surgery") else "started"
        events.append(Context(patient_id=patient_id, kind=kind, event=change, at=at, available_at=at))
        if change == "started" and rng.random() < 0.6:
            stop = at + rng.randrange(1, 9) * HOUR
            events.append(Context(patient_id=patient_id, kind=kind, event="stopped", at=stop, available_at=stop))


def _spoil(events: list[Event], rng: random.Random) -> list[Event]:
    spoiled: list[Event] = []
    for original in events:
        event = original
        if isinstance(event, Observation):
            fate = rng.random()
            if fate < 0.06:
                continue  # lost
            if fate < 0.12:
                event = msgspec.structs.replace(event, available_at=event.available_at + rng.randrange(1, 30) * HOUR)
            if fate > 0.95 and event.observation_id is not None and event.value is not None:
                later = event.available_at + rng.randrange(1, 10) * HOUR
                status = rng.choice(["corrected", "entered-in-error"])
                value = None if status == "entered-in-error" else round(event.value * rng.choice([0.5, 0.9, 1.3]), 1)
                spoiled.append(msgspec.structs.replace(event, available_at=later, status=status, value=value))
            if 0.85 < fate < 0.9:
                spoiled.append(event)  # twice
        spoiled.append(event)
    return spoiled


def _with_position(event: Event, row: int) -> Event:
    return msgspec.structs.replace(event, position=Position("course", 0, row))  # type: ignore[type-var]


@st.composite
def wards(draw: st.DrawFn, most: int = 3) -> Course:
    """Several patients interleaved in the one order."""
    count = draw(st.integers(min_value=1, max_value=most))
    events: list[Event] = []
    for number in range(count):
        events += draw(course(f"p{number + 1}")).events
    return Course(tuple(in_order(events)), f"{count} patients")
