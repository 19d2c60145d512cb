"""Writing into our own input, as ``ack`` and ``redrive`` do: the topics, or the file that the service follows."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka import KafkaProducer
from kafka.errors import KafkaError

from pipelines.errors import SourceError
from pipelines.kafka_clients import producer
from pipelines.settings import Settings
from pipelines.sources.file import wrapped
from pipelines.sources.headers import REDRIVEN
from pipelines.store import DeadLetter

ANSWER_S = 15
FINISHED_S = 2.0  # how long another writer may take to finish its line


class EventWriter:
    """Sends records; every one has arrived when its ``with`` block ends.

    Raises:
        SourceError: the broker or the file does not take them.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: KafkaProducer | None = None
        self._sent: list[object] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is None:
            return
        try:
            for future in self._sent:
                future.get(timeout=ANSWER_S)  # type: ignore[attr-defined]  # kafka-python ships no types
        except KafkaError as failed:
            raise SourceError(f"kafka: a record was not taken ({type(failed).__name__}); try again") from failed
        finally:
            self._producer.close(timeout=1)

    def send(self, role: str, value: bytes, *, key: bytes, timestamp: int) -> None:
        """One record for the topic of ``role``."""
        if self._settings.source == "file":
            self._append(value + b"\n")
        else:
            self._produce(getattr(self._settings.kafka.topics, role), value=value, key=key, timestamp_ms=timestamp)

    def redrive(self, letter: DeadLetter) -> None:
        """A dead letter with its original bytes, to where it came from; the service marks it when it has it."""
        assert letter.value is not None
        if self._settings.source == "file":
            self._append(wrapped(letter.id, letter.value))
        else:
            self._produce(
                letter.topic, value=letter.value, key=letter.key, partition=letter.partition,
                timestamp_ms=letter.timestamp, headers=[(REDRIVEN, str(letter.id).encode())],
            )  # fmt: skip

    def _produce(self, topic: str, **record: object) -> None:
        try:
            if self._producer is None:
                self._producer = producer(self._settings.kafka)
            self._sent.append(self._producer.send(topic, **record))
        except KafkaError as error:
            raise SourceError(f"kafka: a record was not taken ({type(error).__name__}); try again") from error

    def _append(self, line: bytes) -> None:
        path = Path(self._settings.file.path)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
            try:
                _wait_for_a_finished_line(path, descriptor)
                before = os.fstat(descriptor).st_size
                if (taken := os.write(descriptor, line)) < len(line):  # a full disk takes what fits, and says nothing
                    if os.fstat(descriptor).st_size == before + taken:  # nobody has written behind it
                        os.ftruncate(descriptor, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise SourceError(
                f"{path}: cannot be written ({error.strerror}); expected the file of file.path"
            ) from error


def _wait_for_a_finished_line(path: Path, descriptor: int) -> None:
    """Whoever writes the file may be in the middle of a line: ours must not be glued to it.

    Raises:
        SourceError: the line stays unfinished.
    """
    until = time.monotonic() + FINISHED_S
    while size := os.fstat(descriptor).st_size:
        if os.pread(descriptor, 1, size - 1) == b"\n":
            return
        if time.monotonic() > until:
            raise SourceError(
                f"{path}: its last line is not finished; expected a newline at its end; try again when its writer is done"
            )
        time.sleep(FINISHED_S / 20)
