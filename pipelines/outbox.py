"""What was committed leaves here: to Kafka, or to files. It leaves at least once, and in order for each key.

A record is marked as published only when the broker has acknowledged it, or the file has it. Whatever is not marked is
sent again; a reader that drops sequences not above one already seen sees each alert record once, in order. To keep that
true through failures, no record is sent while an earlier one of its key is unacknowledged.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipelines.errors import SourceError
from pipelines.kafka_clients import producer
from pipelines.settings import File, Kafka
from pipelines.store import OutboxRow

log = logging.getLogger(__name__)

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
PUBLISH_S = 5.0  # how long one poll may wait for acknowledgements; what is left waits in the store for the next one


class Publisher(Protocol):
    """Where committed records go."""

    def publish(self, rows: Sequence[OutboxRow]) -> list[int]:
        """Send them; return the ids of those that have arrived. Waits seconds at most.

        Raises:
            SourceError: the files cannot be written.
        """

    def close(self) -> None: ...


class KafkaPublisher:
    """An idempotent producer, made when there is first something to say."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._producer: KafkaProducer | None = None
        self._sent: dict[int, object] = {}

    def publish(self, rows: Sequence[OutboxRow]) -> list[int]:
        deadline = time.monotonic() + PUBLISH_S
        arrived: list[int] = []
        waiting = list(rows)
        try:
            while waiting and time.monotonic() < deadline:
                wave, waiting = _first_of_each_key(waiting)
                futures = [(row, self._send(row)) for row in wave]
                for row, future in futures:
                    future.get(timeout=max(0.01, deadline - time.monotonic()))
                    arrived.append(row.id)
                    self._sent.pop(row.id, None)
        except KafkaError as error:
            log.warning("publish_failed error=%s waiting=%d", type(error).__name__, len(rows) - len(arrived))
            # A future that failed will not succeed any more, and one that only takes long is waited for again.
            self._sent = {i: future for i, future in self._sent.items() if not future.is_done}  # type: ignore[attr-defined]
        return arrived

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close(timeout=1)

    def _send(self, row: OutboxRow):  # type: ignore[no-untyped-def]  # noqa: ANN202 - kafka-python ships no types
        if row.id not in self._sent:
            if self._producer is None:
                self._producer = producer(self._kafka, max_block_ms=int(PUBLISH_S * 1_000))
            topic = getattr(self._kafka.topics, row.record.topic)
            record = row.record
            self._sent[row.id] = self._producer.send(
                topic, key=record.key, value=record.payload, timestamp_ms=record.timestamp
            )
        return self._sent[row.id]


class FilePublisher:
    """Alert records and dead letters as lines of two files; ``-`` is standard output."""

    def __init__(self, file: File) -> None:
        self._paths = {"alerts": file.alerts, "deadletters": file.deadletters}
        self._open: dict[str, BinaryIO] = {}

    def publish(self, rows: Sequence[OutboxRow]) -> list[int]:
        try:
            for row in rows:
                self._file(row.record.topic).write(row.record.payload + b"\n")
            for file in self._open.values():
                file.flush()
        except OSError as error:
            raise SourceError(f"file.alerts, file.deadletters: cannot be written ({error.strerror})") from error
        return [row.id for row in rows]

    def close(self) -> None:
        for file in self._open.values():
            if file is not sys.stdout.buffer:
                file.close()

    def _file(self, role: str) -> BinaryIO:
        if role not in self._open:
            path = self._paths[role]
            self._open[role] = sys.stdout.buffer if path == "-" else os.fdopen(os.open(path, _APPEND, 0o600), "ab")
        return self._open[role]


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
