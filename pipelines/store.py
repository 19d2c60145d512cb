"""Everything that outlives a restart, in one database: SQLite, or PostgreSQL where several workers share one.

What one poll changed is one transaction (``Store.commit``). It moves the input positions only from what this worker
read; a worker that lost its partition meanwhile fails there with ``Fenced`` and nothing of that transaction is kept.

SQLite has one writing process (a lock file guards it) and one writing connection: releases before 3.51.3 can corrupt
a file that two connections checkpoint at once. Other processes and threads open the store read-only.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from detector.clock import DAY, HOUR
from detector.errors import ItbwatchError, StateError
from detector.records import AlertRecord, LabelGiven
from detector.snapshot import Changes
from pipelines.errors import StoreError
from pipelines.settings import Store as StoreSettings
from pipelines.settings import read_secret
from pipelines.ticks import wall_ms

SCHEMA = 1
TICK = ":tick"
"""The position row of a partition that holds its last tick. No topic can have this name."""

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER keys count up by themselves in SQLite
_tables = sa.MetaData()


def _table(name: str, *columns: Any) -> sa.Table:
    return sa.Table(name, _tables, *columns)


def _column(name: str, kind: Any, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, **({"nullable": False} | options))


meta = _table("meta", _column("name", sa.Text, primary_key=True), _column("value", sa.Text))
patients = _table(
    "patients",
    _column("patient_id", sa.Text, primary_key=True),
    _column("partition", sa.Integer, index=True),
    _column("head", sa.LargeBinary),
)
segments = _table(
    "segments",
    _column("patient_id", sa.Text, primary_key=True),
    _column("number", sa.Integer, primary_key=True),
    _column("payload", sa.LargeBinary),
)
alerts = _table(
    "alerts",
    _column("alert_id", sa.Text, primary_key=True),
    _column("sequence", sa.Integer, primary_key=True),
    _column("patient_id", sa.Text, index=True),
    _column("syndrome", sa.Text),
    _column("severity", sa.Text),
    _column("state", sa.Text),
    _column("at", sa.Text, index=True),
    _column("record", sa.LargeBinary),
)
outbox = _table(
    "outbox",
    _column("id", _ID, primary_key=True),
    _column("partition", sa.Integer),
    _column("topic", sa.Text),
    _column("key", sa.LargeBinary, nullable=True),
    _column("payload", sa.LargeBinary),
    _column("timestamp", sa.BigInteger),
    _column("published", sa.Boolean, index=True),
    _column("stored_at", sa.BigInteger),
)
positions = _table(
    "positions",
    _column("topic", sa.Text, primary_key=True),
    _column("partition", sa.Integer, primary_key=True),
    _column("next_offset", sa.BigInteger),
)
deadletters = _table(
    "deadletters",
    _column("id", _ID, primary_key=True),
    _column("topic", sa.Text),
    _column("partition", sa.Integer),
    _column("offset", sa.BigInteger),
    _column("reason", sa.Text),
    _column("timestamp", sa.BigInteger, nullable=True),
    _column("key", sa.LargeBinary, nullable=True),
    _column("value", sa.LargeBinary, nullable=True),
    _column("redriven", sa.Boolean),
    _column("stored_at", sa.BigInteger),
)
labels = _table(
    "labels",
    _column("id", _ID, primary_key=True),
    _column("alert_id", sa.Text, index=True),
    _column("action", sa.Text),
    _column("reason", sa.Text),
    _column("by", sa.Text),
    _column("at", sa.Text),
)
journal = _table(
    "journal",
    _column("id", _ID, primary_key=True),
    _column("patient_id", sa.Text, index=True),
    _column("payload", sa.LargeBinary),
    _column("stored_at", sa.BigInteger, index=True),
)
"""What each patient's events were, with the ticks between them, as canonical NDJSON: ``explain`` runs it again."""


class Fenced(ItbwatchError):
    """Another worker has moved this partition on: our picture of it is void."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        super().__init__(f"partition {partition}: another worker has moved it on")


class Outgoing(NamedTuple):
    """One record to publish. ``topic`` is a role (``alerts``, ``merges``, ``deadletters``)."""

    topic: str
    key: bytes | None
    payload: bytes
    timestamp: int


class OutboxRow(NamedTuple):
    """A committed record that is not yet published; rows of one key are published in the order of their ids."""

    id: int
    record: Outgoing


class DeadLetter(NamedTuple):
    """A record that could not be used, as it came."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: str
    timestamp: int | None
    key: bytes | None
    value: bytes | None


class StoredPatient(NamedTuple):
    patient_id: str
    head: bytes
    segments: list[bytes]


class StoredPartition(NamedTuple):
    """All that is known of a partition number; ``positions`` has next offsets by topic, and ``TICK``."""

    positions: dict[str, int]
    patients: list[StoredPatient]


@dataclass
class Work:
    """What one poll changed in one partition number. ``read`` are the positions it started from."""

    partition: int
    read: Mapping[str, int]
    moved: Mapping[str, int]
    patients: list[tuple[str, Changes]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    alerts: list[AlertRecord] = field(default_factory=list)
    labels: list[LabelGiven] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    deadletters: list[DeadLetter] = field(default_factory=list)
    redriven: list[int] = field(default_factory=list)
    journal: list[tuple[str, bytes]] = field(default_factory=list)


class Store:
    """The database of a deployment."""

    def __init__(self, settings: StoreSettings, *, read_only: bool = False) -> None:
        """Open it, making the tables the first time.

        Raises:
            StoreError: it cannot be opened, another process writes it, or it has another schema version.
            ConfigError: the file of ``store.url_file`` cannot be used.
        """
        self._journal_days = settings.journal_days
        self._pruned_at = 0
        self._lock: IO[bytes] | None = None
        self._engine: sa.Engine | None = None
        try:
            if settings.url_file is not None:
                self.name = "PostgreSQL"
                url = read_secret(settings.url_file, "$.store.url_file").decode()
                self._engine = sa.create_engine(url, pool_pre_ping=True)
            else:
                self.name = settings.path
                self._engine = self._open_sqlite(Path(settings.path), read_only=read_only)
            if not read_only:
                self._make_tables()
        except BaseException:
            self.close()
            raise

    def _make_tables(self) -> None:
        with self._transaction() as connection:
            _tables.create_all(connection)
            version = connection.scalar(sa.select(meta.c.value).where(meta.c.name == "schema"))
            if version is None:
                connection.execute(meta.insert().values(name="schema", value=str(SCHEMA)))
            elif version != str(SCHEMA):
                raise StoreError(
                    f"store {self.name}: has schema {version}; expected {SCHEMA}; use the release that wrote it,"
                    " or begin with another store"
                )

    def load(self, partition: int) -> StoredPartition:
        """Positions and patients of one partition number.

        Positions are read first: patients that a worker on its way out still changes then make our own first commit
        fail with ``Fenced``, because it moved the positions too.

        Raises:
            StoreError: the database cannot be read.
        """
        mine = patients.c.partition == partition
        rows = (
            sa.select(patients.c.patient_id, patients.c.head, segments.c.payload)
            .join(segments, segments.c.patient_id == patients.c.patient_id, isouter=True)
            .where(mine)
            .order_by(patients.c.patient_id, segments.c.number)
        )
        with self._transaction() as connection:
            found = connection.execute(
                sa.select(positions.c.topic, positions.c.next_offset).where(positions.c.partition == partition)
            )
            return StoredPartition(
                dict(found.all()),
                [
                    StoredPatient(patient_id, head, [row.payload for row in group if row.payload is not None])
                    for (patient_id, head), group in itertools.groupby(
                        connection.execute(rows), key=lambda row: (row.patient_id, row.head)
                    )
                ],
            )

    def partitions_of(self, patient_ids: Sequence[str]) -> dict[str, int]:
        """Where these patients are stored already."""
        with self._transaction() as connection:
            found = connection.execute(
                sa.select(patients.c.patient_id, patients.c.partition).where(patients.c.patient_id.in_(patient_ids))
            )
            return dict(found.all())

    def commit(self, works: Sequence[Work]) -> None:
        """Write all of it, or nothing.

        Raises:
            Fenced: a partition was moved on by another worker.
            StateError: an alert record of this key is there already, though nobody moved the partition.
            StoreError: the database cannot be written; what was in memory is ahead of it.
        """
        stored_at = wall_ms()
        with self._transaction() as connection:
            for work in works:
                _move(connection, work)
                _write(connection, work, stored_at)
            if stored_at - self._pruned_at > HOUR:
                self._prune(connection, stored_at - self._journal_days * DAY)
                self._pruned_at = stored_at

    def pending(self, partitions: Iterable[int], limit: int) -> list[OutboxRow]:
        """The oldest records of these partition numbers that are not published yet."""
        mine = outbox.c.partition.in_(list(partitions))
        query = sa.select(outbox).where(~outbox.c.published, mine).order_by(outbox.c.id).limit(limit)
        with self._transaction() as connection:
            return [
                OutboxRow(row.id, Outgoing(row.topic, row.key, row.payload, row.timestamp))
                for row in connection.execute(query)
            ]

    def mark_published(self, ids: Sequence[int]) -> None:
        """These records are acknowledged by the broker (or are in the file)."""
        if ids:
            with self._transaction() as connection:
                connection.execute(outbox.update().where(outbox.c.id.in_(ids)).values(published=True))

    def newest(self, alert_ids: Sequence[str]) -> list[bytes]:
        """The newest record of each of these alerts as JSON."""
        newest = (
            sa.select(alerts.c.alert_id, sa.func.max(alerts.c.sequence))
            .where(alerts.c.alert_id.in_(alert_ids))
            .group_by(alerts.c.alert_id)
        )
        query = sa.select(alerts.c.record).where(sa.tuple_(alerts.c.alert_id, alerts.c.sequence).in_(newest))
        with self._transaction() as connection:
            return list(connection.scalars(query))

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

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        if self._lock is not None:
            self._lock.close()

    def _open_sqlite(self, path: Path, *, read_only: bool) -> sa.Engine:
        try:
            if not read_only:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, stat.S_IRUSR | stat.S_IWUSR)
                os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)
                os.close(descriptor)
                self._lock = Path(f"{path}.lock").open("wb")  # noqa: SIM115 - held as long as the store is open
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            elif not path.exists():
                raise StoreError(f"store {path}: no such file; expected the database of a running or stopped service")
        except BlockingIOError as error:
            raise StoreError(
                f"store {path}: another process writes it; expected one writer; stop that one or set store.path"
            ) from error
        except OSError as error:
            raise StoreError(f"store {path}: cannot be opened ({error.strerror}); expected a writable path") from error
        mode = "ro" if read_only else "rw"
        options = {"pool_size": 1, "max_overflow": 0} if not read_only else {}
        engine = sa.create_engine(f"sqlite:///file:{path.absolute()}?mode={mode}&uri=true", **options)
        if not read_only:
            sa.event.listen(engine, "connect", _durable)
        return engine

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        assert self._engine is not None
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            # Only operational errors are quoted: the others may carry the values of a row.
            said = str(getattr(error, "orig", error)).splitlines()[0] if isinstance(error, OperationalError) else ""
            raise StoreError(
                f"store {self.name}: {said or type(error).__name__}; expected a readable and writable database;"
                " check its disk, its mode and that it answers, then start again"
            ) from error

    def _prune(self, connection: sa.Connection, before: int) -> None:
        connection.execute(journal.delete().where(journal.c.stored_at < before))
        connection.execute(outbox.delete().where(outbox.c.published, outbox.c.stored_at < before))


def _durable(connection: Any, _record: object) -> None:
    """A commit that returned is on the disk; readers never block the writer."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _move(connection: sa.Connection, work: Work) -> None:
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
    "insert into patients (patient_id, partition, head) values (:patient_id, :partition, :head)"
    " on conflict (patient_id) do update set partition = excluded.partition, head = excluded.head"
)
_ADD_SEGMENT = sa.text(
    "insert into segments (patient_id, number, payload)"
    " select :patient_id, coalesce(max(number), 0) + 1, :payload from segments where patient_id = :patient_id"
)


def _write(connection: sa.Connection, work: Work, stored_at: int) -> None:
    forgotten = [*work.gone, *(patient_id for patient_id, changes in work.patients if changes.replace)]
    _execute(
        connection, segments.delete().where(segments.c.patient_id == sa.bindparam("id")), [{"id": i} for i in forgotten]
    )
    _execute(
        connection, patients.delete().where(patients.c.patient_id == sa.bindparam("id")), [{"id": i} for i in work.gone]
    )
    _execute(connection, _SAVE_HEAD, (
        {"patient_id": patient_id, "partition": work.partition, "head": changes.head}
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


def _execute(connection: sa.Connection, statement: sa.Executable, rows: Iterable[dict[str, Any]]) -> None:
    if many := list(rows):
        connection.execute(statement, many)
