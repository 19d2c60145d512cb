"""A ward that never was: events with realistic sampling, filing delays and artefacts, and courses of withdrawal.

What is known of wards and courses stands in the YAML files here, every number with its source; the code is generic.
Every observation carries ``source: synthetic``. Equal seeds give equal wards, and a bed does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from itertools import chain
from math import exp, log
from typing import Any

import numpy as np
from msgspec.structs import replace

from detector.clock import DAY, HOUR, MINUTE
from detector.events import Condition, Context, Encounter, Observation, PatientEvent, Pump
from pipelines.dataset import RANK, SYNTHETIC
from pipelines.yaml_files import read_yaml

Table = Sequence[tuple[float, float]]


def _load(name: str) -> dict[str, Any]:
    with as_file(files(__name__) / name) as path:
        return dict(read_yaml(path))


WARD = _load("ward.yaml")
COURSES = _load("courses.yaml")
PUBLISHED = _load("published_case.yaml")
BEDSIDE = [name for group in ("vitals", "temperature", "neurology") for name in WARD["rounds"][group]["signals"]]
PUMP_COURSES = ("withdrawal_full_blown", "sepsis", "withdrawal_moderate", "withdrawal_mild", None)
"""What the pump patients of a random ward go through, in turn; None = nothing."""


@dataclass(frozen=True)
class Bed:
    """One patient for the whole time. ``course`` None = nothing happens; ``"published"`` = the published case.

    ``arrives_h`` and ``onset_h`` count from the start of the ward.
    """

    number: int
    pump: bool = False
    course: str | None = None
    arrives_h: float = 0.0
    onset_h: float = 12.0

    @property
    def patient_id(self) -> str:
        return f"SYN-{self.number:04d}"


def random_ward(beds: int, days: float, seed: int) -> list[Bed]:
    """Every third bed has a pump and goes through one of ``PUMP_COURSES``; one of the others may be septic or too hot."""
    rng = np.random.default_rng(seed)
    ward = []
    for number in range(1, beds + 1):
        pump = number % 3 == 1
        course = (
            PUMP_COURSES[number // 3 % len(PUMP_COURSES)]
            if pump
            else rng.choice(["", "", "", "sepsis", "hyperthermia"])
        )
        arrives = rng.uniform(0, min(12, 4 * days))
        ward.append(Bed(number, pump, str(course or "") or None, arrives, arrives + rng.uniform(4, 8 + 6 * days)))
    return ward


DEMO_WARD: tuple[Bed, ...] = (
    Bed(1, pump=True, course="published", arrives_h=4),
    Bed(2, pump=True, course="sepsis", onset_h=8),
    Bed(3, pump=True, course="withdrawal_moderate", onset_h=2),
    Bed(4, course="hyperthermia", arrives_h=6, onset_h=6.2),
    *(Bed(number, arrives_h=0.3 * number) for number in range(5, 10)),
)
"""The ward of ``itbwatch demo``: three pumps, one of them the published case, one septic; one too hot without a pump."""


def events(beds: Sequence[Bed], start: int, hours: float, seed: int) -> list[PatientEvent]:
    """Everything recorded of a ward from ``start`` (ms UTC), in the one order; at the end everybody is discharged."""
    made = list(chain.from_iterable(_bed(bed, start, hours, seed) for bed in beds))
    made.sort(key=lambda event: (event.available_at, RANK[type(event)]))
    return made


def _bed(bed: Bed, start: int, hours: float, seed: int) -> Iterator[PatientEvent]:
    rng = np.random.default_rng([seed, bed.number])
    admitted = start + _hours(bed.arrives_h)
    end = start + _hours(hours)
    if bed.course == "published":
        yield from _published(bed, admitted, end)
    else:
        yield from _stay(bed, admitted, end, rng)
        patient = Patient(bed, start + _hours(bed.onset_h), rng)
        yield from patient.context(end)
        for at, signals, filed in patient.rounds(admitted, end):
            yield from patient.chart(at, signals, filed)


def _stay(bed: Bed, admitted: int, end: int, rng: np.random.Generator) -> Iterator[PatientEvent]:
    stays = WARD["stays"]
    age = float(rng.integers(*stays["age_years"]))
    yield from _encounters(
        bed,
        admitted,
        end,
        unit=str(rng.choice(stays["units"])),
        age_years=age,
        sex="female" if rng.random() < 0.5 else "male",
    )
    since = admitted - DAY * int(rng.integers(*stays["pump_implanted_days_ago"]))
    yield Pump(
        patient_id=bed.patient_id,
        event="implanted" if bed.pump else "absent",
        at=since if bed.pump else admitted,
        available_at=admitted,
    )


def _encounters(bed: Bed, admitted: int, end: int, **about: Any) -> Iterator[PatientEvent]:
    ids: dict[str, Any] = {"patient_id": bed.patient_id, "stay_id": f"{bed.patient_id}-1"}
    yield Encounter(**ids, event="admitted", at=admitted, available_at=admitted, **about)
    yield Encounter(**ids, event="discharged", at=end, available_at=end)


@dataclass
class Patient:
    """The body and the charting of one bed: usual values drawn once, then whatever its course does to them."""

    bed: Bed
    onset: int
    rng: np.random.Generator
    usual: dict[str, float] = field(init=False)
    course: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.course = COURSES[self.bed.course] if self.bed.course else {}
        self.usual = {name: float(self.rng.triangular(*signal["stays"])) for name, signal in WARD["signals"].items()}

    def context(self, end: int) -> Iterator[PatientEvent]:
        """The treatments and notes of the course, and what its pump says, up to ``end``."""
        for said in self.course.get("context", ()):
            at = self.onset + _hours(said["h"])
            if at < end:
                yield Context(patient_id=self.bed.patient_id, at=at, available_at=at, **_without(said, "h"))
        said = self.course.get("pump")
        if said and self.bed.pump and self.onset + _hours(said["h"]) < end:
            at = self.onset + _hours(said["h"])
            yield Pump(patient_id=self.bed.patient_id, at=at, available_at=max(at, self.onset), **_without(said, "h"))

    def rounds(self, admitted: int, end: int) -> Iterator[tuple[int, list[str], str]]:
        """(instant, signals, how it is filed) of every round charted from ``admitted`` to ``end``."""
        for name, planned in WARD["rounds"].items():
            every = MINUTE * self.course.get("more_often", {}).get(name, planned["every_min"])
            signals = [*planned["signals"], *self.course.get("also", {}).get(name, ())]
            at = admitted + int(self.rng.uniform(0, min(every, HOUR)))
            while at < end:
                if self.rng.random() >= WARD["artefacts"]["missing_round"]:
                    yield at - at % MINUTE, signals, planned["filed"]
                at += int(every * (1 + WARD["interval_spread"] * self.rng.uniform(-1, 1)))

    def chart(self, at: int, signals: Sequence[str], filed: str) -> Iterator[PatientEvent]:
        """The observations of one round, with its delay and its artefacts."""
        quantiles = WARD["filing"]
        available_at = at + int(MINUTE * np.interp(self.rng.random(), quantiles["quantiles"], quantiles[filed]))
        values = {name: self._value(name, at) for name in signals}
        if "map" in values:  # a monitor computes it from the other two
            values["map"] = round((values["sbp"] + 2 * values["dbp"]) / 3)
        for name, value in values.items():
            signal = WARD["signals"][name]
            seen = Observation(
                patient_id=self.bed.patient_id, stay_id=f"{self.bed.patient_id}-1", effective_at=at,
                available_at=available_at, source=SYNTHETIC, value=value,
                code=self.course.get("code", {}).get(name, signal["code"]),
                unit=signal["units"][int(self.rng.integers(len(signal["units"])))],
            )  # fmt: skip
            yield from self._spoilt(name, seen)

    def _value(self, name: str, at: int) -> float:
        signal = WARD["signals"][name]
        hours = (at - self.onset) / HOUR
        value = self.usual[name] + self.rng.normal(0, signal["noise"])
        value *= exp(_amount(self.course.get("times", {}).get(name), hours, logarithm=True))
        value += _amount(self.course.get("add", {}).get(name), hours)
        value = min(max(value, signal.get("at_least", 0.0)), signal.get("at_most", float("inf")))
        return float(round(value, signal["decimals"]))

    def _spoilt(self, name: str, seen: Observation) -> Iterator[Observation]:
        """The observation as it reaches the record: mostly itself, sometimes one of the artefacts, sometimes twice."""
        rates, chance = WARD["artefacts"], self.rng.random()
        if name == "temp" and chance < rates["probe_off"]:
            seen = replace(seen, value=round(float(self.rng.uniform(*WARD["probe_off_at"])), 1))
        elif name == "temp" and chance < rates["probe_off"] + rates["fahrenheit_in_celsius"] and seen.value:
            seen = replace(seen, value=round(seen.value * 1.8 + 32, 1))
        elif name not in BEDSIDE and chance < rates["not_done"]:
            seen = replace(seen, value=None, value_text="NotDone")
        yield seen
        if self.rng.random() < rates["duplicate"]:
            yield replace(seen, available_at=seen.available_at + int(self.rng.integers(1, 60)) * MINUTE)


def _published(bed: Bed, t0: int, end: int) -> Iterator[PatientEvent]:
    """The published case with its arrival at ``t0``."""
    case = PUBLISHED
    ids: dict[str, Any] = {"patient_id": bed.patient_id}
    conditions = tuple(Condition(code=code) for code in case["conditions"])
    yield from _encounters(bed, t0, min(end, t0 + _hours(case["hours"])), conditions=conditions, **case["patient"])
    yield Pump(**ids, event="implanted", at=t0 - 365 * DAY * case["pump_years"], available_at=t0)
    for kind, name in ((Context, "context"), (Pump, "pumps")):
        for said in case[name]:
            at = t0 + _hours(said["h"])
            yield kind(
                **ids, at=at, available_at=at + said["filed_min"] * MINUTE, **_without(said, "h", "filed_min", "basis")
            )
    for seen in chain(case["observations"], _between(case["between"])):
        at = t0 + _hours(seen["h"])
        said = _without(seen, "h", "filed_min", "basis")
        yield Observation(
            **ids, stay_id=f"{bed.patient_id}-1", effective_at=at, available_at=at + seen["filed_min"] * MINUTE,
            source=SYNTHETIC, **said,
        )  # fmt: skip


def _between(tables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for code, signal in tables.items():
        if code != "every_min":
            table = signal["table"]
            for hour in np.arange(table[0][0], table[-1][0], tables["every_min"] / 60):
                value = round(_amount(table, float(hour)), 1 if code == "temp" else 0)
                yield {"h": float(hour), "filed_min": 5, "code": code, "value": value, "unit": signal["unit"]}


def _amount(table: Table | None, hours: float, *, logarithm: bool = False) -> float:
    """The height of a table at an hour; 0 before the first sign and without a table."""
    if table is None or hours < table[0][0]:
        return 0.0
    return float(np.interp(hours, [h for h, _ in table], [log(y) if logarithm else y for _, y in table]))


def _hours(count: float) -> int:
    return int(count * HOUR)


def _without(mapping: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys}
