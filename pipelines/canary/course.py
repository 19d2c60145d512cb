"""What a canary says, and what comes of it: a new pump, tone, and a temperature that no rule can overlook."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from detector.clock import rfc3339
from detector.engine import Ward, run
from detector.errors import InputError
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from detector.plan import Plan
from detector.records import AlertRecord
from pipelines.formats import canonical
from pipelines.sources import RawRecord
from pipelines.technical import CANARY_PATIENT

log = logging.getLogger(__name__)

SAYS: Final[dict[str, dict[str, object]]] = {
    "encounters": {"type": "encounter", "event": "admitted"},
    "pumps": {"type": "pump", "event": "implanted"},
    "context": {"type": "context", "kind": "spasticity", "event": "noted"},
    # C-13 and R-06 are true from 41.1 Cel on (clinical-evidence.md section 5.2).
    "observations": {"type": "observation", "code": "temp", "value": 41.1, "unit": "Cel"},
}
"""The parts of a trip, by topic: every topic that the feed fills."""


UNDER_WAY: Final = 8
"""Trips of a partition number that wait for their other parts; the oldest is given up for a newer one."""


def patient_id(partition: int) -> str:
    """Whose records and alerts these are."""
    return f"{CANARY_PATIENT}{partition}"


def parts(partition: int, trip: int) -> dict[str, bytes]:
    """The canonical record of each topic. ``trip`` is when it began, ms UTC: its number, and its stay_id."""
    when, found = rfc3339(trip), {}
    for topic, says in SAYS.items():
        time_key = "effective_at" if topic == "observations" else "at"
        found[topic] = msgspec.json.encode(
            {"patient_id": patient_id(partition), "stay_id": str(trip), time_key: when} | says
        )
    return found


def trip_of(record: AlertRecord) -> int | None:
    """The number of the trip that an alert ends. None = it is no canary's."""
    if record.canary is not True or record.stay_id is None or not record.stay_id.isdecimal():
        return None
    return int(record.stay_id)


class Flock:
    """The canaries of one partition number: a trip is judged when all of its parts have come."""

    def __init__(self) -> None:
        self._trips: dict[int, dict[str, RawRecord]] = {}

    def take(self, raws: Iterable[RawRecord]) -> list[RawRecord]:
        """The parts of the trip that became whole last, in the order of topics; empty = none did."""
        whole: list[RawRecord] = []
        for raw in raws:
            if raw.trip is None or raw.role not in SAYS:
                continue
            came = self._trips.setdefault(raw.trip, {})
            came[raw.role] = raw
            if came.keys() == SAYS.keys():
                del self._trips[raw.trip]
                whole = [came[topic] for topic in SAYS]
            elif len(self._trips) > UNDER_WAY:
                del self._trips[next(iter(self._trips))]
        return whole


def fly(plan: Plan, whole: Iterable[RawRecord], at: int) -> list[AlertRecord]:
    """The alert records of one trip, as if all of it had become known at ``at`` (ms UTC), in a ward of its own.

    No model is asked: one that is out has an alarm of its own.
    """
    events: list[PatientEvent] = []
    for raw in whole:
        try:
            event = canonical.decode(raw.value, topic=raw.role, timestamp=raw.timestamp, position=raw.position)
        except InputError as error:
            log.warning("canary_unreadable topic=%s partition=%d offset=%d reason=%s", *raw.position, error.reason)
            continue
        if isinstance(event, Observation):
            event = replace(event, effective_at=at, available_at=at)
        elif isinstance(event, Encounter | Pump | Context):
            event = replace(event, at=at, available_at=at)
        else:
            continue
        events.append(event)
    records = run(plan, Ward(plan), events).records
    return [replace(record, canary=True) for record in records]
