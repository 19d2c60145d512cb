"""Everything that outlives a restart, in one database: SQLite, or PostgreSQL where several workers share one.

What one poll changed is one transaction (``Store.commit``). It moves the input positions only from what this worker
read; a worker that lost its partition meanwhile fails there with ``Fenced`` and nothing of that transaction is kept.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from detector.clock import DAY, HOUR
from pipelines.errors import StoreError, StoreOutage
from pipelines.outages import ModelEvent
from pipelines.settings import Store as StoreSettings
from pipelines.store.audit import AuditRecord, Detail, Happened, append, read
from pipelines.store.listening import Patience, Silent
from pipelines.store.postgresql import MAKING, POSTGRESQL, no_service_runs, open_postgresql, read_address, take_turn
from pipelines.store.purging import Purged, purge
from pipelines.store.rows import (
    OUTGOING,
    DeadLetter,
    Fenced,
    OutboxRow,
    Outgoing,
    ShadowRun,
    ShadowWork,
    StoredPartition,
    StoredPatient,
    Work,
)
from pipelines.store.spellings import Unmapped
from pipelines.store.spellings import read as read_unmapped
from pipelines.store.sqlite import lock_for_writing, open_sqlite
from pipelines.store.tables import (
    SCHEMA,
    TABLES,
    TICK,
    alerts,
    audit,
    deadletters,
    drift,
    journal,
    meta,
    model_events,
    outbox,
    patients,
    positions,
    segments,
    shadow_alerts,
    shadow_patients,
    shadow_runs,
    shadow_segments,
    unmapped,
)
from pipelines.store.writing import copy_champion, move, write, write_shadow, write_shared
from pipelines.ticks import wall_ms

__all__ = [
    "OUTGOING",
    "SCHEMA",
    "TICK",
    "DeadLetter",
    "Fenced",
    "OutboxRow",
    "Outgoing",
    "ShadowRun",
    "ShadowWork",
    "Store",
    "StoredPartition",
    "StoredPatient",
    "Work",
]

MOST_NAMED = 10_000
"""Values of one statement; SQLite takes 32,766."""


TRANSIENT = (OperationalError, InterfaceError)
"""Errors of the server and of the way to it, not of what was asked."""

NOT_CONNECTED = ("connection failed", "connection timeout")
"""How psycopg begins an error of making a connection; a code comes with none of them, not even a refused password."""

MIGRATED = ("3",)
"""Schemas that only lack tables, which are made when the store is opened: 3 had no audit chain."""


class Store:
    """The database of a deployment."""

    def __init__(self, settings: StoreSettings, *, read_only: bool = False, serving: bool = False) -> None:
        """Open it, making the tables the first time. ``serving`` = a service runs on it.

        Raises:
            StoreError: it cannot be opened, another process writes it, or it has another schema version.
            ConfigError: the file of ``store.url_file`` cannot be used.
        """
        self._journal_days = settings.journal_days
        self._pruned_at = 0
        self._lock: IO[bytes] | None = None
        self._engine: sa.Engine | None = None
        self._patience = Patience()
        try:
            if settings.url_file is not None:
                self.name = POSTGRESQL
                self._engine = open_postgresql(
                    read_address(settings.url_file), self._patience, read_only=read_only, serving=serving
                )
            else:
                self.name = settings.path
                path = Path(settings.path)
                if not read_only:
                    self._lock = lock_for_writing(path)
                self._engine = open_sqlite(path, read_only=read_only)
            if not read_only:
                self._make_tables()
        except BaseException:
            self.close()
            raise

    def _make_tables(self) -> None:
        with self._transaction() as connection:
            take_turn(connection, MAKING)
            TABLES.create_all(connection)
            version = connection.scalar(sa.select(meta.c.value).where(meta.c.name == "schema"))
            if version is None:
                connection.execute(meta.insert().values(name="schema", value=str(SCHEMA)))
                append(connection, [("store_made", {"schema": SCHEMA})], wall_ms())
            elif version in MIGRATED:
                connection.execute(meta.update().where(meta.c.name == "schema").values(value=str(SCHEMA)))
                append(connection, [("store_migrated", {"from": version, "schema": SCHEMA})], wall_ms())
            elif version != str(SCHEMA):
                raise StoreError(
                    f"store {self.name}: has schema {version}; expected {SCHEMA}; use the release that wrote it,"
                    " or begin with another store"
                )

    def wait_while(self, gives_up: Silent) -> None:
        """Have ``gives_up`` asked while PostgreSQL says nothing; True makes a ``StoreOutage`` of it."""
        self._patience.gives_up = gives_up

    def load(self, partition: int) -> StoredPartition:
        """Positions of one partition number, and its patients but for those resting: ``patients`` has them too.

        Positions are read first: patients that a worker on its way out still changes then make our own first commit
        fail with ``Fenced``, because it moved the positions too.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._transaction() as connection:
            found = connection.execute(
                sa.select(positions.c.topic, positions.c.next_offset).where(positions.c.partition == partition)
            )
            return StoredPartition(dict(found.all()), _patients(connection, _CHAMPION, partition))

    def patients(self, partition: int, patient_ids: Sequence[str]) -> list[StoredPatient]:
        """Those of these patients that this partition number has."""
        with self._transaction() as connection:
            return _patients(connection, _CHAMPION, partition, patient_ids)

    def shadow_run(self, partition: int) -> ShadowRun | None:
        """The challenger that was stored last in this partition number."""
        columns = [shadow_runs.c[name] for name in ShadowRun._fields]
        with self._transaction() as connection:
            row = connection.execute(sa.select(*columns).where(shadow_runs.c.partition == partition)).first()
        return None if row is None else ShadowRun(*row)

    def shadow_runs(self) -> dict[int, ShadowRun]:
        """The challengers by partition number."""
        with self._transaction() as connection:
            numbers = list(connection.scalars(sa.select(shadow_runs.c.partition)))
        found = {number: self.shadow_run(number) for number in numbers}
        return {number: run for number, run in found.items() if run is not None}

    def shadow_patients(self, partition: int, patient_ids: Sequence[str] | None = None) -> list[StoredPatient]:
        """The challenger's patients of this partition number: those not resting, or those named."""
        with self._transaction() as connection:
            return _patients(connection, _SHADOW, partition, patient_ids)

    def shadow_alerts(self, partition: int, generation: int) -> list[bytes]:
        """What the challenger would have let out, as JSON, in its order."""
        mine = (shadow_alerts.c.partition == partition) & (shadow_alerts.c.generation == generation)
        with self._transaction() as connection:
            return list(connection.scalars(sa.select(shadow_alerts.c.record).where(mine).order_by(shadow_alerts.c.id)))

    def partitions_of(self, patient_ids: Sequence[str]) -> dict[str, int]:
        """Where these patients are stored already."""
        where: dict[str, int] = {}
        columns = sa.select(patients.c.patient_id, patients.c.partition)
        with self._transaction() as connection:
            for some in _pieces(patient_ids):
                where |= dict(connection.execute(columns.where(patients.c.patient_id.in_(some))).all())
        return where

    def commit(self, works: Sequence[Work]) -> None:
        """Write all of it, or nothing.

        Raises:
            Fenced: a partition was moved on by another worker.
            StateError: an alert record of this key is there already, though nobody moved the partition.
            StoreError: the database cannot be written; what was in memory is ahead of it.
        """
        stored_at = wall_ms()
        with self._transaction() as connection:
            for work in sorted(works, key=lambda work: work.partition):  # so that no two workers wait for each other
                move(connection, work)
            for work in works:
                if work.shadow is not None and work.shadow.fresh:
                    copy_champion(connection, work.partition)
                write(connection, work, stored_at)
                write_shadow(connection, work, {**work.read, **work.moved})
            write_shared(connection, works, stored_at)
            if stored_at - self._pruned_at > HOUR:
                self._prune(connection, stored_at - self._journal_days * DAY)
                self._pruned_at = stored_at

    def ask(self) -> None:
        """Ask the database for nothing.

        Raises:
            StoreError: it does not answer.
        """
        with self._transaction() as connection:
            connection.execute(sa.select(1))

    def pending(self, partitions: Iterable[int], limit: int) -> list[OutboxRow]:
        """The oldest records of these partition numbers that are not published yet and not parked: of each topic up to
        ``limit``, so that one that takes nothing holds back no other, and alerts first.
        """
        values: dict[str, Any] = {"mine": list(partitions), "most": limit}
        rows: list[OutboxRow] = []
        with self._transaction() as connection:
            there = set(connection.scalars(_TOPICS_WAITING, values))
            for topic in OUTGOING:
                if topic in there:  # mostly nothing is
                    rows += [
                        OutboxRow(row.id, Outgoing(row.topic, row.key, row.payload, row.timestamp))
                        for row in connection.execute(_WAITING, values | {"only": topic})
                    ]
        return rows

    def park(self, refused: Mapping[int, str]) -> None:
        """The broker will never take these records, and said why: they are kept aside."""
        if refused:
            with self._transaction() as connection:
                for number, error in refused.items():
                    connection.execute(outbox.update().where(outbox.c.id == number).values(refused=error))

    def parked(self, partitions: Iterable[int]) -> int:
        """How many records of these partition numbers are kept aside."""
        mine = ~outbox.c.published & outbox.c.refused.is_not(None) & outbox.c.partition.in_(list(partitions))
        with self._transaction() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(outbox).where(mine)) or 0

    def retry_parked(self, partition: int) -> None:
        """Have the records of a partition number that were kept aside sent once more."""
        mine = ~outbox.c.published & outbox.c.refused.is_not(None) & (outbox.c.partition == partition)
        with self._transaction() as connection:
            connection.execute(outbox.update().where(mine).values(refused=None))

    def mark_published(self, ids: Sequence[int]) -> None:
        """These records are acknowledged by the broker (or are in the file)."""
        if ids:
            with self._transaction() as connection:
                connection.execute(outbox.update().where(outbox.c.id.in_(ids)).values(published=True))

    def newest(self, alert_ids: Sequence[str]) -> list[bytes]:
        """The newest record of each of these alerts as JSON."""
        newest = sa.select(alerts.c.alert_id, sa.func.max(alerts.c.sequence)).group_by(alerts.c.alert_id)
        key = sa.tuple_(alerts.c.alert_id, alerts.c.sequence)
        records: list[bytes] = []
        with self._transaction() as connection:
            for some in _pieces(alert_ids):
                these = newest.where(alerts.c.alert_id.in_(some))
                records += connection.scalars(sa.select(alerts.c.record).where(key.in_(these)))
        return records

    def alert(self, alert_id: str) -> list[bytes]:
        """Every record of one alert as JSON, oldest first; empty = no such alert."""
        query = sa.select(alerts.c.record).where(alerts.c.alert_id == alert_id).order_by(alerts.c.sequence)
        with self._transaction() as connection:
            return list(connection.scalars(query))

    def alerts(self, limit: int) -> list[bytes]:
        """The newest alert records as JSON, newest first."""
        query = sa.select(alerts.c.record).order_by(alerts.c.at.desc(), alerts.c.alert_id, alerts.c.sequence.desc())
        with self._transaction() as connection:
            return list(connection.scalars(query.limit(limit)))

    def model_events(self, partition: int) -> list[ModelEvent]:
        """When models went out and came back in this partition number, in that order."""
        columns = [model_events.c[name] for name in ModelEvent.__struct_fields__]
        query = sa.select(*columns).where(model_events.c.partition == partition).order_by(model_events.c.id)
        with self._transaction() as connection:
            return [ModelEvent(*row) for row in connection.execute(query)]

    def open_alerts_of(self, patient_id: str) -> list[bytes]:
        """The newest record of each alert of a patient that is not resolved, as JSON."""
        mine = sa.select(alerts.c.alert_id).where(alerts.c.patient_id == patient_id)
        over = mine.where(alerts.c.state == "resolved")
        with self._transaction() as connection:
            wanted = list(connection.scalars(mine.where(alerts.c.alert_id.not_in(over)).distinct()))
        return self.newest(wanted)

    def drift(self, partition: int) -> dict[str, tuple[int, int]]:
        """Signal -> since when it has been unlike the reference, and when that was seen last."""
        query = sa.select(drift.c.signal, drift.c.since, drift.c.seen).where(drift.c.partition == partition)
        with self._transaction() as connection:
            return {signal: (since, seen) for signal, since, seen in connection.execute(query)}

    def alerts_since(self, at: str) -> Iterator[bytes]:
        """Every alert record known at ``at`` (RFC 3339) or later as JSON, in the order of that instant."""
        query = sa.select(alerts.c.record).where(alerts.c.at >= at)
        with self._transaction() as connection:
            yield from connection.scalars(query.order_by(alerts.c.at, alerts.c.alert_id, alerts.c.sequence))

    def note_plan(self, digest: str, rules_version: str) -> str:
        """Keep in the audit chain that the service starts with this plan, where it is not the one before. Returns the
        hash of the newest audit record.
        """
        with self._transaction() as connection:
            last = connection.scalar(_PLANS.limit(1))
            detail: Detail = {"digest": digest, "rules_version": rules_version}
            if last is None or json.loads(last) != detail:
                append(connection, [("plan", detail)], wall_ms())
            return connection.scalar(sa.select(audit.c.hash).order_by(audit.c.number.desc()).limit(1)) or ""

    def audit(self) -> list[AuditRecord]:
        """The audit chain, oldest first.

        Raises:
            StoreError: the store was made before there was one, and was not opened by the service since.
        """
        with self._transaction() as connection:
            if not sa.inspect(connection).has_table(audit.name):
                raise StoreError(
                    f"store {self.name}: has no audit chain; expected schema {SCHEMA}; start the service once"
                )
            return list(read(connection))

    def purge(self, keep_ms: int, *, really: bool) -> Purged:
        """Count, and ``really`` delete, what is over and older (``pipelines.store.purging``).

        Raises:
            StateError: a stored patient is of another format.
            StoreError: the database cannot be read or written, or a service runs on it.
        """
        now = wall_ms()
        with self._transaction() as connection:
            if really and self.name == POSTGRESQL and not no_service_runs(connection):
                raise StoreError(
                    f"store {self.name}: a service is connected; expected none while records are deleted; stop every service"
                    " of this store"
                )
            gone = purge(connection, keep_ms, now, really=really)
            if really:
                happened: Happened = "purge"
                append(connection, [(happened, {"days": keep_ms // DAY, **gone._asdict()})], now)
            return gone

    def journal_patients(self) -> list[str]:
        """Whose events are kept."""
        with self._transaction() as connection:
            return list(connection.scalars(sa.select(journal.c.patient_id).distinct().order_by(journal.c.patient_id)))

    def journal(self, patient_id: str) -> bytes:
        """The patient's events and ticks as canonical NDJSON, in the order they were folded."""
        query = sa.select(journal.c.payload).where(journal.c.patient_id == patient_id).order_by(journal.c.id)
        with self._transaction() as connection:
            return b"".join(connection.scalars(query))

    def deadletters(self, reason: str | None = None) -> Iterator[DeadLetter]:
        """Dead letters that were not redriven yet, oldest first."""
        query = sa.select(deadletters).where(~deadletters.c.redriven).order_by(deadletters.c.id)
        if reason is not None:
            query = query.where(deadletters.c.reason == reason)
        with self._transaction() as connection:
            for row in connection.execute(query):
                yield DeadLetter(*(getattr(row, name) for name in DeadLetter._fields))

    def unmapped(self) -> list[Unmapped]:
        """Codes and units that were not known, the most frequent first; none of before a service began to note them."""
        with self._transaction() as connection:
            noted = sa.inspect(connection).has_table(unmapped.name)
            return read_unmapped(connection) if noted else []

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        assert self._engine is not None
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            # Only operational errors are quoted: the others may carry the values of a row.
            said = str(getattr(error, "orig", error)).partition("\n")[0] if isinstance(error, OperationalError) else ""
            kind = StoreOutage if self.name == POSTGRESQL and isinstance(error, TRANSIENT) else StoreError
            mend = "expected a readable and writable database; check its disk, its mode and that it answers"
            if self.name == POSTGRESQL and said.startswith(NOT_CONNECTED):
                mend = (
                    "expected a server that answers and lets this user in; check that it runs, and host, user, password and"
                    " database in store.url_file"
                )
            raise kind(f"store {self.name}: {said or type(error).__name__}; {mend}, then start again") from error

    def _prune(self, connection: sa.Connection, before: int) -> None:
        connection.execute(journal.delete().where(journal.c.stored_at < before))
        connection.execute(outbox.delete().where(outbox.c.published, outbox.c.stored_at < before))


_PLANS = sa.select(audit.c.detail).where(audit.c.event == "plan").order_by(audit.c.number.desc())
_IS_WAITING = (
    ~outbox.c.published & outbox.c.refused.is_(None) & outbox.c.partition.in_(sa.bindparam("mine", expanding=True))
)
_TOPICS_WAITING = sa.select(outbox.c.topic).where(_IS_WAITING).distinct()
_WAITING = (
    sa.select(outbox)
    .where(_IS_WAITING & (outbox.c.topic == sa.bindparam("only")))
    .order_by(outbox.c.id)
    .limit(sa.bindparam("most"))
)
_CHAMPION, _SHADOW = (patients, segments), (shadow_patients, shadow_segments)


def _patients(
    connection: sa.Connection, kept: tuple[sa.Table, sa.Table], partition: int, only: Sequence[str] | None = None
) -> list[StoredPatient]:
    heads = kept[0]
    here = heads.c.partition == partition
    if only is None:
        return _stored(connection, kept, here & ~heads.c.resting)
    return [one for some in _pieces(only) for one in _stored(connection, kept, here & heads.c.patient_id.in_(some))]


def _stored(
    connection: sa.Connection, kept: tuple[sa.Table, sa.Table], where: sa.ColumnElement[bool]
) -> list[StoredPatient]:
    heads, readings = kept
    rows = connection.execute(
        sa.select(heads.c.patient_id, heads.c.head, readings.c.payload)
        .join(readings, readings.c.patient_id == heads.c.patient_id, isouter=True)
        .where(where)
        .order_by(heads.c.patient_id, readings.c.number)
    )
    return [
        StoredPatient(patient_id, head, [row.payload for row in group if row.payload is not None])
        for (patient_id, head), group in itertools.groupby(rows, key=lambda row: (row.patient_id, row.head))
    ]


def _pieces(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """So many at a time as one statement may name; SQLite takes 32,766, PostgreSQL 65,535."""
    for start in range(0, len(values), MOST_NAMED):
        yield values[start : start + MOST_NAMED]
