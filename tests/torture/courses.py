"""Small seeded courses for many schedules: one to three patients, a handful of events each, of which most alert."""

from __future__ import annotations

import random
from typing import NamedTuple

from msgspec.structs import replace

from detector.clock import DAY, HOUR, MINUTE, minute_ceil
from detector.events import Context, Encounter, Observation, PatientEvent, Pump, TimeMoved
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode

START = 1_900_022_400_000
PARTITIONS = 2
STAYS_CLOSE_AFTER = 48 * HOUR + MINUTE
ROLE = dict(zip(RANK, KINDS, strict=False))

VALUES = {
    "temp": (36.8, 38.9, 39.8, 41.2),
    "ck": (180.0, 2_500.0, 9_000.0, 30_000.0),
    "hr": (80.0, 125.0, 150.0),
    "sbp": (75.0, 118.0, 185.0),
    "mas": (1.0, 3.0, 4.0),
    "gcs": (15.0, 11.0, 7.0),
    "plt": (220.0, 70.0),
    "creat": (0.8, 2.6),
}
"""Well, then worse and worse."""
GAPS = (0, 0, MINUTE, MINUTE, 20 * MINUTE, 3 * HOUR)


class Logged(NamedTuple):
    """One record as a producer sent it. ``role`` is that of its topic."""

    role: str
    partition: int
    timestamp: int
    key: bytes | None
    value: bytes


class Course(NamedTuple):
    """What happened (``events``, in the one order) and what was sent, by topic in the order of its offsets: ``taken``
    records with an event, some of them twice, ``refused`` ones that are none, and some that only move time.
    """

    events: list[PatientEvent]
    log: list[Logged]
    taken: int
    refused: int
    end: int


def partition_of(patient_id: str) -> int:
    return int(patient_id.rpartition("-")[2]) % PARTITIONS


def course(seed: int) -> Course:
    """The course of a seed. Some records are sent twice (the second one later), and some are no events at all."""
    rng = random.Random(f"course-{seed}")
    patients = [_patient(rng, f"T-{number}") for number in range(rng.randint(1, 3))]
    events = sorted((event for one in patients for event in one), key=lambda e: (e.available_at, RANK[type(e)]))
    end = minute_ceil(events[-1].available_at + STAYS_CLOSE_AFTER) + 1
    log = [_logged(event) for event in events]
    for one in rng.sample(log, rng.choice((0, 1, 3))):
        log.insert(rng.randint(log.index(one) + 1, len(log)), one)
    taken, refused = len(log), rng.choice((0, 0, 1, 2))
    for _ in range(refused):
        place = rng.randrange(len(log))
        log.insert(place, log[place]._replace(value=rng.choice((b"{", b'{"type":"nothing"}'))))
    closing = encode(TimeMoved(at=end))
    log += [Logged(role, number, end, None, closing) for role in KINDS for number in range(PARTITIONS)]
    return Course(events, log, taken, refused, end)


def _logged(event: PatientEvent) -> Logged:
    return Logged(
        ROLE[type(event)], partition_of(event.patient_id), event.available_at, event.patient_id.encode(), encode(event)
    )


def _patient(rng: random.Random, patient_id: str) -> list[PatientEvent]:
    who = {"patient_id": patient_id}
    now = START + rng.randrange(0, 90) * MINUTE
    events: list[PatientEvent] = [Encounter(**who, stay_id="S", event="admitted", at=now, available_at=now)]
    if rng.random() < 0.8:
        events.append(Pump(**who, event="implanted", at=START - 300 * DAY, available_at=now))
    for number in range(rng.randint(2, 6)):
        now += rng.choice(GAPS)
        signal = rng.choice(list(VALUES))
        seen = Observation(
            **who, stay_id="S", code=signal, value=rng.choice(VALUES[signal]), observation_id=f"O-{number}",
            effective_at=now - rng.choice((0, 0, 0, 40 * MINUTE)), available_at=now,
        )  # fmt: skip
        events.append(seen)
        if rng.random() < 0.15:
            now += rng.choice(GAPS)
            better = {"value": VALUES[signal][0], "status": "corrected", "available_at": now}
            events.append(replace(seen, **better))
    if rng.random() < 0.3:
        events.append(Pump(**who, event="alarm", level="critical", reason="motor_stall", at=now, available_at=now))
    if rng.random() < 0.3:
        events.append(Context(**who, kind="sedation", event="started", at=now, available_at=now))
    if rng.random() < 0.8:
        now += rng.choice((MINUTE, MINUTE, MINUTE, 14 * HOUR))
        events.append(Encounter(**who, stay_id="S", event="discharged", at=now, available_at=now))
    return events
