"""What was committed leaves here: to Kafka, or to files. It leaves at least once, and in order for each key.

A record is marked as published only when the broker has acknowledged it, or the file has it. Whatever is not marked is
sent again; a reader that drops sequences not above one already seen sees each alert record once, in order. To keep that
true through failures, no record is sent while an earlier one of its topic and key is unacknowledged.

A record that the broker will never take (it is too large for its topic) would hold back its key for ever. It is
reported as refused, its row is parked, and the key goes on; the others never wait for it.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kafka import KafkaProducer
from kafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownTopicOrPartitionError,
)

from pipelines.errors import SourceError
from pipelines.kafka_clients import producer
from pipelines.settings import Exports, File, Kafka
from pipelines.store import OUTGOING, OutboxRow

log = logging.getLogger(__name__)

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
NO_EXPORTS = Exports()
_OURS = (b'{"type":"', b'{"resourceType":"', b"MSH|")  # how our lines begin: nothing else is ever taken back
_PIECE = 1 << 16
_STDOUT = 1
PUBLISH_S = 5.0  # how long one poll may wait for acknowledgements; what is left waits in the store for the next one
NEVER_TAKEN = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, InvalidRecordError)
"""What a broker says of the record itself: sending the same bytes again cannot end otherwise."""
TOPIC_IS_SILENT = (KafkaTimeoutError, UnknownTopicOrPartitionError)
"""Nothing can be sent to this topic now, whatever the key."""


class Told(NamedTuple):
    """What became of rows: those that have ``arrived``, and those ``refused`` for good with the name of the error."""

    arrived: list[int]
    refused: dict[int, str]


class Publisher(Protocol):
    """Where committed records go."""

    def publish(self, rows: Sequence[OutboxRow]) -> Told:
        """Send them and say what became of them; the others wait for the next call. Takes seconds at most.

        Raises:
            SourceError: the files cannot be written.
        """

    def begin_again(self) -> None:
        """Give up what is on its way, and connect anew with the next call: nothing has left for long."""

    def close(self) -> None: ...


class KafkaPublisher:
    """An idempotent producer, made when there is first something to say, and anew when a record has broken it.

    An error that is no outage (too large, not allowed) leaves an idempotent producer of kafka-python unusable, and all
    that was on its way fails with the same error. So what failed in company is sent again alone, to tell who it was.
    """

    def __init__(self, kafka: Kafka, exports: Exports = NO_EXPORTS) -> None:
        self._kafka = kafka
        self._topics = kafka.topics.model_dump() | exports.model_dump()
        self._producer: KafkaProducer | None = None
        self._sent: dict[int, Any] = {}  # what only takes long, by row id: it is waited for again

    def publish(self, rows: Sequence[OutboxRow]) -> Told:
        deadline = time.monotonic() + PUBLISH_S
        told = Told(_switched_off(rows, self._topics), {})
        rows = [row for row in rows if self._topics[row.record.topic] is not None]
        errors: set[str] = set()
        for topic in OUTGOING:  # one after the other: a topic that takes nothing must not break another's records
            errors |= self._publish([row for row in rows if row.record.topic == topic], deadline, told)
        if errors:
            left = len(rows) - len(told.arrived) - len(told.refused)
            log.warning("publish_failed error=%s waiting=%d", ",".join(sorted(errors)), left)
        return told

    def begin_again(self) -> None:
        self.close()
        self._sent.clear()

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(timeout=1)
            self._producer = None

    def _publish(self, rows: Sequence[OutboxRow], deadline: float, told: Told) -> set[str]:
        """Send the rows of one topic in waves. Returns the names of the errors that may pass."""
        errors: set[str] = set()
        waiting = list(rows)
        while waiting and time.monotonic() < deadline:
            wave, waiting = _first_of_each_key(waiting)
            failed = self._send_all(wave, deadline, told)
            if not _unbroken(failed):
                failed |= self._send_alone([row for row in wave if row.id in failed], deadline, told)
                failed = {number: error for number, error in failed.items() if not _settled(number, told)}
            errors |= {type(error).__name__ for error in failed.values()}
            if any(isinstance(error, TOPIC_IS_SILENT) or not error.retriable for error in failed.values()):
                break
            held = {row.record.key for row in wave if row.id in failed and row.record.key is not None}
            waiting = [row for row in waiting if row.record.key not in held]
        return errors

    def _send_all(self, wave: Sequence[OutboxRow], deadline: float, told: Told) -> dict[int, KafkaError]:
        """Send rows together and wait for them. Returns the errors of those that have not arrived, by row id."""
        failed: dict[int, KafkaError] = {}
        futures: list[tuple[OutboxRow, Any]] = []
        for row in wave:
            try:
                future = self._send(row)
            except KafkaError as error:
                failed[row.id] = error
                break  # the topic is not known, or the buffer is full: the next one would wait as long
            futures.append((row, future))
            if future.is_done and isinstance(future.exception, TOPIC_IS_SILENT):
                break
        for row, future in futures:
            try:
                future.get(timeout=max(0.01, deadline - time.monotonic()))
                told.arrived.append(row.id)
            except KafkaError as error:
                failed[row.id] = error
            if future.is_done:
                self._sent.pop(row.id, None)
        if not _unbroken(failed):
            self.begin_again()
        return failed

    def _send_alone(self, suspects: Sequence[OutboxRow], deadline: float, told: Told) -> dict[int, KafkaError]:
        """Send rows one by one, the largest first, and refuse those that the broker will not take."""
        failed: dict[int, KafkaError] = {}
        for row in sorted(suspects, key=lambda one: len(one.record.payload), reverse=True):
            if time.monotonic() >= deadline:
                break
            error = self._send_all([row], deadline, told).get(row.id)
            if isinstance(error, NEVER_TAKEN):
                told.refused[row.id] = type(error).__name__
            elif error is not None:
                failed[row.id] = error
                if not error.retriable:
                    break  # not this record but its topic
        return failed

    def _send(self, row: OutboxRow) -> Any:
        if row.id not in self._sent:
            if self._producer is None:
                self._producer = producer(self._kafka, max_block_ms=int(PUBLISH_S * 1_000))
            record = row.record
            topic = self._topics[record.topic]
            self._sent[row.id] = self._producer.send(
                topic, key=record.key, value=record.payload, timestamp_ms=record.timestamp
            )
        return self._sent[row.id]


def _unbroken(failed: Mapping[int, KafkaError]) -> bool:
    """Whether the producer can go on after these errors: outages pass by themselves."""
    return all(error.retriable or isinstance(error, TOPIC_IS_SILENT) for error in failed.values())


def _settled(number: int, told: Told) -> bool:
    return number in told.refused or number in told.arrived


class FilePublisher:
    """Alert records and dead letters as lines of two files, exports of more; ``-`` is standard output.

    A line that a full disk or a crash cut short is taken back when the file is opened: its record is sent again. A file
    that is moved away or deleted, as logs are rotated, is left, and another one begun under its name.
    """

    def __init__(self, file: File, exports: Exports = NO_EXPORTS) -> None:
        self._names = {"alerts": "file.alerts", "deadletters": "file.deadletters"}
        self._paths: dict[str, str | None] = {
            "alerts": file.alerts,
            "deadletters": file.deadletters,
        } | exports.model_dump()
        self._open: dict[str, int] = {}

    def publish(self, rows: Sequence[OutboxRow]) -> Told:
        _switched_off(rows, self._paths)
        lines: dict[str, bytearray] = {}
        for row in rows:
            lines.setdefault(row.record.topic, bytearray()).extend(row.record.payload + b"\n")
        for role, written in lines.items():
            path = self._paths[role]
            if path is None:
                continue
            try:
                self._write(role, path, written)
            except OSError as error:
                raise SourceError(
                    f"{self._names.get(role, f'exports.{role}')}: {path} cannot be written ({error.strerror});"
                    " expected a file in a folder that is there and writable; mend it or its path in config.yaml"
                ) from error
        return Told([row.id for row in rows], {})

    def begin_again(self) -> None:
        pass

    def close(self) -> None:
        for descriptor in self._open.values():
            if descriptor != _STDOUT:
                os.close(descriptor)
        self._open.clear()

    def _write(self, role: str, path: str, lines: bytearray) -> None:
        while True:
            descriptor = self._descriptor(role, path)
            with memoryview(lines) as left:
                done = 0
                while done < len(left):
                    done += os.write(descriptor, left[done:])
            if _is_regular(descriptor):
                os.fsync(descriptor)  # the store will take it for published, and the store survives a power cut
                if path != "-" and not os.fstat(descriptor).st_nlink:
                    continue  # it was deleted just now, and the lines with it
            return

    def _descriptor(self, role: str, path: str) -> int:
        """The open file, opened anew when another one, or none, has its name by now: logs are rotated."""
        if path != "-" and role in self._open and not _is_still(path, self._open[role]):
            log.info("file_opened_anew file=%s", path)
            os.close(self._open.pop(role))
        if role not in self._open:
            self._open[role] = _standard_output() if path == "-" else _open_to_append(path)
        return self._open[role]


def _standard_output() -> int:
    if sys.stdout is None:  # it was closed before we began: its number may be another file's by now
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return _STDOUT


def _open_to_append(path: str) -> int:
    """The file, made if need be, without what follows its last whole line.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, _APPEND, 0o600)
    if not _is_regular(descriptor):
        return descriptor
    size = end = os.fstat(descriptor).st_size
    unfinished = b""
    with open(path, "rb") as file:  # noqa: PTH123 - like the descriptor beside it
        while end and b"\n" not in unfinished:
            start = max(0, end - _PIECE)
            file.seek(start)
            unfinished = file.read(end - start) + unfinished
            end = start
    unfinished = unfinished.rpartition(b"\n")[2]
    if any(begins.startswith(unfinished[: len(begins)]) for begins in _OURS if unfinished):
        log.warning("line_taken_back file=%s bytes=%d", path, len(unfinished))
        os.ftruncate(descriptor, size - len(unfinished))
    elif unfinished:
        os.write(descriptor, b"\n")
    return descriptor


def _is_still(path: str, descriptor: int) -> bool:
    """Whether the name still leads to the open file."""
    try:
        named = os.stat(path)  # noqa: PTH116 - like the descriptor beside it
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def _is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def _switched_off(rows: Sequence[OutboxRow], places: Mapping[str, str | None]) -> list[int]:
    """The ids of rows of an export that ``exports`` does not name any more: they go nowhere."""
    off = [row.id for row in rows if places[row.record.topic] is None]
    if off:
        log.warning("export_off records=%d effect='they were written for an export that is off now'", len(off))
    return off


def _first_of_each_key(rows: Sequence[OutboxRow]) -> tuple[list[OutboxRow], list[OutboxRow]]:
    """Split rows into the first of every key, which may be sent together, and the rest in order."""
    keys: set[bytes] = set()
    first: list[OutboxRow] = []
    rest: list[OutboxRow] = []
    for row in rows:
        key = row.record.key
        (rest if key in keys else first).append(row)
        if key is not None:
            keys.add(key)
    return first, rest
