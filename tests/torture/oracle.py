"""What must have come of an input, made anew from the input alone, and how what did come differs from it.

Nothing here knows of the service: each patient is folded by the pure detector, from the first event to the last, in one
batch. Nothing is read from logs.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from detector.engine import Ward, run
from detector.events import PatientEvent, Ticked
from detector.plan import Plan

Key = tuple[str, int]
Record = dict[str, Any]


class Difference(NamedTuple):
    """How many records are not there, are there too often, and say something else (or were never due)."""

    lost: int = 0
    doubled: int = 0
    wrong: int = 0

    def __add__(self, other: object) -> Difference:
        assert isinstance(other, Difference)
        return Difference(*(one + two for one, two in zip(self, other, strict=True)))


def expected(plan: Plan, events: Sequence[PatientEvent], end: int) -> dict[Key, Record]:
    """The alert records of these events, with a last tick at ``end``."""
    by_patient: defaultdict[str, list[PatientEvent | Ticked]] = defaultdict(list)
    for event in events:
        by_patient[event.patient_id].append(event)
    records = []
    for mine in by_patient.values():
        records += run(plan, Ward(plan), [*mine, Ticked(end)]).records
    return {(one.alert_id, one.sequence): plain(json.loads(one.to_json())) for one in records}


def plain(record: Record) -> Record:
    """A record but for where its input stood, which a fold without offsets does not know."""
    return record | {"provenance": record["provenance"] | {"position": None}}


def stored(due: dict[Key, Record], found: Iterable[bytes]) -> Difference:
    """The table of alerts: every record that is due is there once, and no other."""
    records = [plain(json.loads(one)) for one in found]
    times = Counter((one["alert_id"], one["sequence"]) for one in records)
    return Difference(
        lost=len(due.keys() - times.keys()),
        doubled=sum(times.values()) - len(times),
        wrong=sum(due.get((one["alert_id"], one["sequence"])) != one for one in records),
    )


def published(due: dict[Key, Record], topic: Iterable[bytes]) -> Difference:
    """The alert topic, for a reader that drops sequences not above one already seen: each record once and in order.

    A repetition is allowed where it says the same; one that is seen out of its turn counts as lost.
    """
    newest: dict[str, int] = {}
    seen: set[Key] = set()
    wrong = 0
    for value in topic:
        record = plain(json.loads(value))
        alert_id, sequence = record["alert_id"], record["sequence"]
        wrong += due.get((alert_id, sequence)) != record
        if sequence > newest.get(alert_id, 0):
            newest[alert_id] = sequence
            seen.add((alert_id, sequence))
    return Difference(lost=len(due.keys() - seen), wrong=wrong)
