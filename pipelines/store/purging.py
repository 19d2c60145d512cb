"""Retention: what is over and older than a site keeps goes, and nothing that still decides anything.

Input positions are never touched, so nothing that was purged is read again and no alert is made a second time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import sqlalchemy as sa

from detector.clock import rfc3339
from detector.encoding import decode_head
from detector.events import EARLIEST
from pipelines.store.tables import (
    TICK,
    alerts,
    deadletters,
    journal,
    labels,
    patients,
    positions,
    segments,
    shadow_patients,
    shadow_segments,
)

PIECE = 10_000
SERVICE_ITSELF = "itbwatch:"  # how the patient_id of the service's own alerts begins (``pipelines.technical``)


class Purged(NamedTuple):
    """How many of each; ``kept`` are patients old enough of whom something must be remembered: a pump, or a merge."""

    patients: int
    kept: int
    alerts: int
    dead_letters: int


def purge(connection: sa.Connection, keep_ms: int, now: int, *, really: bool) -> Purged:
    """Count, and ``really`` delete, what is older than ``keep_ms``.

    Patients and alerts are as old as they are before the last tick of their partition number, which in a stream of past
    data is decades from the host's ``now``; dead letters by when they were stored.

    Raises:
        StateError: a stored patient is of another format.
    """
    gone_patients, kept, gone_alerts = 0, 0, 0
    ticks = sa.select(positions.c.partition, positions.c.next_offset).where(positions.c.topic == TICK)
    for partition, tick in connection.execute(ticks).all():
        if tick - keep_ms < EARLIEST:  # nothing was ticked yet
            continue
        old, remembered = _old_patients(connection, partition, tick - keep_ms)
        gone_patients, kept = gone_patients + len(old), kept + remembered
        over = _old_alerts(connection, partition, tick - keep_ms)
        gone_alerts += len(over)
        if really:
            for some in _pieces(over):
                connection.execute(labels.delete().where(labels.c.alert_id.in_(some)))
                connection.execute(alerts.delete().where(alerts.c.alert_id.in_(some)))
            for some in _pieces(old):
                for table in (segments, shadow_segments, journal, patients):
                    connection.execute(table.delete().where(table.c.patient_id.in_(some)))
                connection.execute(shadow_patients.delete().where(shadow_patients.c.patient_id.in_(some)))
    stale = deadletters.c.stored_at < now - keep_ms
    letters = connection.scalar(sa.select(sa.func.count()).select_from(deadletters).where(stale)) or 0
    if really:
        connection.execute(deadletters.delete().where(stale))
    return Purged(gone_patients, kept, gone_alerts, letters)


def _old_patients(connection: sa.Connection, partition: int, before: int) -> tuple[list[str], int]:
    """Those for whom nothing is due and nothing happened since, and how many more must be remembered."""
    awake = sa.select(shadow_patients.c.patient_id).where(~shadow_patients.c.resting)
    resting = sa.select(patients.c.patient_id, patients.c.head).where(
        patients.c.partition == partition, patients.c.resting, patients.c.patient_id.not_in(awake)
    )
    old, remembered = [], 0
    for patient_id, head in connection.execute(resting):
        patient = decode_head(head)
        if patient.now >= before:
            continue
        if patient.merged_into is not None or any(fact.event != "absent" for fact in patient.pump):
            remembered += 1
        else:
            old.append(patient_id)
    return old, remembered


def _old_alerts(connection: sa.Connection, partition: int, before: int) -> list[str]:
    """Alerts that ended before; none of a patient who is still watched."""
    here = sa.select(patients.c.patient_id).where(patients.c.partition == partition, patients.c.resting)
    mine = alerts.c.patient_id.in_(here) | (alerts.c.patient_id == f"{SERVICE_ITSELF}{partition}")
    newest = sa.func.max(alerts.c.sequence)
    last = sa.select(alerts.c.alert_id, newest).where(mine).group_by(alerts.c.alert_id)
    ended = sa.select(alerts.c.alert_id).where(
        sa.tuple_(alerts.c.alert_id, alerts.c.sequence).in_(last),
        alerts.c.state == "resolved",
        alerts.c.at < rfc3339(before),
    )
    return list(connection.scalars(ended))


def _pieces(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), PIECE):
        yield ids[start : start + PIECE]
