"""One poll's changes as statements of one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from detector.errors import StateError
from detector.snapshot import Changes
from pipelines.store.audit import Detail, Happened, append
from pipelines.store.rows import Fenced, Work, written
from pipelines.store.spellings import Spelling, note
from pipelines.store.tables import (
    alerts,
    deadletters,
    drift,
    journal,
    labels,
    model_events,
    outbox,
    patients,
    positions,
    segments,
    shadow_alerts,
    shadow_patients,
    shadow_runs,
    shadow_segments,
)


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


def _save_head(table: str) -> sa.TextClause:
    return sa.text(
        f"insert into {table} (patient_id, partition, resting, head)"  # noqa: S608 - ours
        " values (:patient_id, :partition, :resting, :head) on conflict (patient_id) do update"
        " set partition = excluded.partition, resting = excluded.resting, head = excluded.head"
    )


def _add_segment(table: str) -> sa.TextClause:
    return sa.text(
        f"insert into {table} (patient_id, number, payload)"  # noqa: S608 - ours
        f" select :patient_id, coalesce(max(number), 0) + 1, :payload from {table} where patient_id = :patient_id"
    )


_CHAMPION = segments, _save_head("patients"), _add_segment("segments")
_SHADOW = shadow_segments, _save_head("shadow_patients"), _add_segment("shadow_segments")


def _write_patients(
    connection: sa.Connection, where: tuple[sa.Table, sa.TextClause, sa.TextClause], partition: int,
    changed: Sequence[tuple[str, Changes]], resting: set[str],
) -> None:  # fmt: skip
    readings, save_head, add_segment = where
    forgotten = [patient_id for patient_id, changes in changed if changes.replace]
    _execute(
        connection, readings.delete().where(readings.c.patient_id == sa.bindparam("id")), [{"id": i} for i in forgotten]
    )
    _execute(connection, save_head, (
        {"patient_id": patient_id, "partition": partition, "resting": patient_id in resting, "head": changes.head}
        for patient_id, changes in changed
    ))  # fmt: skip
    _execute(connection, add_segment, (
        {"patient_id": patient_id, "payload": changes.segment}
        for patient_id, changes in changed if changes.segment is not None
    ))  # fmt: skip


def write_shadow(connection: sa.Connection, work: Work, stands: Mapping[str, int]) -> None:
    """What the challenger changed; ``stands`` are the positions after this transaction."""
    shadow = work.shadow
    if shadow is None:
        return
    _write_patients(connection, _SHADOW, work.partition, shadow.patients, shadow.resting)
    _execute(connection, shadow_alerts.insert(), (
        {"partition": work.partition, "generation": shadow.of.generation, "record": one.to_json()}
        for one in shadow.alerts
    ))  # fmt: skip
    connection.execute(shadow_runs.delete().where(shadow_runs.c.partition == work.partition))
    row = shadow.of._asdict() | {"partition": work.partition, "positions": written(stands)}
    connection.execute(shadow_runs.insert().values(row))


def copy_champion(connection: sa.Connection, partition: int) -> None:
    """The challenger's patients become those of the champion, as they are stored now."""
    theirs = sa.select(patients.c.patient_id).where(patients.c.partition == partition)
    old = sa.select(shadow_patients.c.patient_id).where(shadow_patients.c.partition == partition)
    for table in (shadow_segments, shadow_patients):
        connection.execute(table.delete().where(table.c.patient_id.in_(theirs) | table.c.patient_id.in_(old)))
    for source, table in ((patients, shadow_patients), (segments, shadow_segments)):
        rows = sa.select(*source.c).where(source.c.patient_id.in_(theirs))
        connection.execute(table.insert().from_select([column.name for column in source.c], rows))


def write(connection: sa.Connection, work: Work, stored_at: int) -> None:
    _write_patients(connection, _CHAMPION, work.partition, work.patients, work.resting)
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
    redriven = deadletters.update().where(deadletters.c.id == sa.bindparam("letter")).values(redriven=True)
    _execute(connection, redriven, ({"letter": number} for number in work.redriven))
    _execute(connection, journal.insert(), (
        {"patient_id": patient_id, "payload": lines, "stored_at": stored_at} for patient_id, lines in work.journal
    ))  # fmt: skip
    if work.drift is not None:
        connection.execute(drift.delete().where(drift.c.partition == work.partition))
        _execute(connection, drift.insert(), (
            {"partition": work.partition, "signal": signal, "since": since, "seen": seen}
            for signal, (since, seen) in work.drift.items()
        ))  # fmt: skip
    _execute(connection, model_events.insert(), (
        msgspec.structs.asdict(one) | {"partition": work.partition, "stored_at": stored_at} for one in work.model_events
    ))  # fmt: skip


def write_shared(connection: sa.Connection, works: Sequence[Work], stored_at: int) -> None:
    """What workers have in common: counts of unknown spellings, then the end of the audit chain. All workers come to them
    last and in this order, so that no two wait for each other.
    """
    unknown: Counter[Spelling] = Counter()
    happened: list[tuple[Happened, Detail]] = []
    for work in works:
        unknown.update(work.unmapped)
        if work.redriven:
            happened.append(("redriven", {"partition": work.partition, "dead_letters": len(work.redriven)}))
        happened += work.audit
    note(connection, unknown, stored_at)
    if happened:  # most polls have none, and the end of the chain need not be looked up for them
        append(connection, happened, stored_at)


def _execute(connection: sa.Connection, statement: sa.Executable, rows: Iterable[dict[str, Any]]) -> None:
    if many := list(rows):
        connection.execute(statement, many)
