"""A stored alert run again: the patient's journal through the detector, stopped where a record of the alert was made.

The journal has every event as it was folded and the ticks between, so the records come out as they were stored, unless
the plan has changed since or the journal no longer reaches back to the patient's first event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from detector.clock import minute_floor
from detector.engine import Ward, run
from detector.events import Event, Merged, PatientEvent, Ticked, TimeMoved
from detector.plan import Plan
from detector.records import AlertRecord
from detector.rules.truth import Found
from detector.scoring import Scorer
from pipelines.formats.canonical import decode_journal
from pipelines.formats.times import parse_time

Key = tuple[str, int]
"""(alert_id, sequence): one record."""


@dataclass
class Again:
    """What came out again: the records by key, and the answers of the rules when the asked one was made.

    ``found`` is empty when the record did not come out again, or when no stay was open any more.
    """

    records: dict[Key, AlertRecord] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)


def events_of(journal: bytes) -> list[Event]:
    """The events and ticks of a stored journal, in the order in which they were folded."""
    decoded = (decode_journal(line) for line in journal.splitlines())
    return [event for event in decoded if not isinstance(event, TimeMoved)]


def run_again(plan: Plan, scorer: Scorer, events: Sequence[Event], asked: AlertRecord, upto: int) -> Again:
    """Run one patient's events from the beginning to ``upto`` (ms, the instant of the newest record that is stored)."""
    again = Again()
    ward = Ward(plan)
    at = parse_time(asked.at)
    key = asked.alert_id, asked.sequence
    for event in _with_stop(events, at, upto):
        for record in run(plan, ward, [event], scorer).records:
            again.records[record.alert_id, record.sequence] = record
            if (record.alert_id, record.sequence) == key:
                patient = ward.patients[record.patient_id]
                late = patient.shown.found if patient.shown is not None and patient.found else {}
                again.found = {**late, **patient.found}  # what reads a score is answered in pass 2
    return again


def as_scenario(events: Iterable[Event]) -> Iterator[PatientEvent]:
    """The events as a replay must find them: one that was decided later than it was available (it came late, or time
    had been ticked on) says so in its ``available_at``. Ticks and merges have no place in a file.
    """
    now = None
    for event in events:
        if isinstance(event, Ticked):
            now = event.at if now is None else max(now, event.at)
        elif not isinstance(event, Merged):
            now = event.available_at if now is None else max(now, event.available_at)
            yield event if event.available_at == now else msgspec.structs.replace(event, available_at=now)


def _with_stop(events: Iterable[Event], at: int, upto: int) -> Iterator[Event]:
    """The events, and between them the minute of the record that time alone made: the answers are looked at there."""
    now = at - 1
    for event in events:
        now = event.at if isinstance(event, Ticked) else event.available_at
        if now > at and at == minute_floor(at):
            yield Ticked(at)
        yield event
    if now <= at == minute_floor(at):
        yield Ticked(at)
    yield Ticked(minute_floor(upto))
