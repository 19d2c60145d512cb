"""One poll's changes as statements of one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from detector.errors import StateError
from pipelines.store.rows import Fenced, Work
from pipelines.store.tables import alerts, deadletters, journal, labels, model_events, outbox, positions, segments


def move(connection: sa.Connection, work: Work) -> None:
    """Compare-and-set the positions. The tick is always among them, so that a batch of ticks alone is fenced too."""
    for topic, offset in work.moved.items():
        if topic not in work.read:
            row = {"topic": topic, "partition": work.partition, "next_offset": offset}
            try:
                connection.execute(positions.insert().values(row))
            except IntegrityError as error:
                raise Fenced(work.partition) from error
            continue
        here = (positions.c.topic == topic) & (positions.c.partition == work.partition)
        as_read = positions.c.next_offset == work.read[topic]
        if connection.execute(positions.update().where(here & as_read).values(next_offset=offset)).rowcount != 1:
            raise Fenced(work.partition)


_SAVE_HEAD = sa.text(
    "insert into patients (patient_id, partition, resting, head) values (:patient_id, :partition, :resting, :head)"
    " on conflict (patient_id) do update"
    " set partition = excluded.partition, resting = excluded.resting, head = excluded.head"
)
_ADD_SEGMENT = sa.text(
    "insert into segments (patient_id, number, payload)"
    " select :patient_id, coalesce(max(number), 0) + 1, :payload from segments where patient_id = :patient_id"
)


def write(connection: sa.Connection, work: Work, stored_at: int) -> None:
    forgotten = [patient_id for patient_id, changes in work.patients if changes.replace]
    _execute(
        connection, segments.delete().where(segments.c.patient_id == sa.bindparam("id")), [{"id": i} for i in forgotten]
    )
    _execute(connection, _SAVE_HEAD, (
        {"patient_id": patient_id, "partition": work.partition, "resting": patient_id in work.resting, "head": changes.head}
        for patient_id, changes in work.patients
    ))  # fmt: skip
    _execute(connection, _ADD_SEGMENT, (
        {"patient_id": patient_id, "payload": changes.segment}
        for patient_id, changes in work.patients if changes.segment is not None
    ))  # fmt: skip
    try:
        _execute(connection, alerts.insert(), (
            {"alert_id": one.alert_id, "sequence": one.sequence, "patient_id": one.patient_id, "syndrome": one.syndrome,
             "severity": one.severity, "state": one.state, "at": one.at, "record": one.to_json()}
            for one in work.alerts
        ))  # fmt: skip
    except IntegrityError as error:
        raise StateError(f"partition {work.partition}: an alert record was made a second time") from error
    _execute(connection, labels.insert(), (
        {"alert_id": one.alert_id, "action": one.action, "reason": one.reason, "by": one.by, "at": one.at}
        for one in work.labels
    ))  # fmt: skip
    _execute(connection, outbox.insert(), (
        one._asdict() | {"partition": work.partition, "published": False, "stored_at": stored_at}
        for one in work.outgoing
    ))  # fmt: skip
    _execute(connection, deadletters.insert(), (
        {name: value for name, value in one._asdict().items() if name != "id"}
        | {"redriven": False, "stored_at": stored_at} for one in work.deadletters
    ))  # fmt: skip
    if work.redriven:
        connection.execute(deadletters.update().where(deadletters.c.id.in_(work.redriven)).values(redriven=True))
    _execute(connection, journal.insert(), (
        {"patient_id": patient_id, "payload": lines, "stored_at": stored_at} for patient_id, lines in work.journal
    ))  # fmt: skip
    _execute(connection, model_events.insert(), (
        msgspec.structs.asdict(one) | {"partition": work.partition, "stored_at": stored_at} for one in work.model_events
    ))  # fmt: skip


def _execute(connection: sa.Connection, statement: sa.Executable, rows: Iterable[dict[str, Any]]) -> None:
    if many := list(rows):
        connection.execute(statement, many)
