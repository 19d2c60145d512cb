"""One NDJSON file, followed as it grows. A line is a record, its position the byte it starts at.

A last line without its newline is still being written and waits. A file that shrank is read again from its start; a
file that was replaced is read to its end first, its unfinished last line included. A file that was replaced while nobody
followed it is known by what stands before the stored position, and is read from its start.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import SourceError
from pipelines.sources import Owner, RawRecord

LOOK_AGAIN_S = 0.05  # how soon a file at its end is looked at again: unseen by a person, 20 stat calls a second
PIECE = 1 << 16
REDRIVEN = b'{"type":"redriven",'
TAIL = 256  # bytes before a position by which a file is known again: a line of ours has its time in it
MARK = ":tail"  # stored beside the position: a digest of those bytes
LARGEST_ID = 1 << 63  # ids are 64-bit integers; whoever writes another one is not `redrive`

LONGEST_WRAPPER = 64  # bytes of a redriven line besides its record

log = logging.getLogger(__name__)


class FileSource:
    """Partition number 0 of a topic that has the file's name."""

    def __init__(self, path: Path, owner: Owner, record_bytes: int) -> None:
        self._path = path
        self._owner = owner
        self._kept = record_bytes * 4 // 3 + LONGEST_WRAPPER  # of a line: a redriven one carries its record as base64
        self._topic = path.name
        self._file: BinaryIO | None = None
        self._offset = 0  # where the line being read starts
        self._line = bytearray()  # of a line too long only the start is kept
        self._length = 0
        self._tail = b""  # what was read last
        self._mark = 0  # of the bytes before the end of the last record returned
        self._expected: int | None = None  # the mark stored with the position to resume at
        self._gained = False

    def poll(self, max_records: int, timeout_ms: int) -> list[RawRecord]:
        if not self._gained:
            self.seek(0, self._owner.gained(0))
            self._gained = True
        deadline = time.monotonic() + timeout_ms / 1_000
        try:
            while not (records := self._read(max_records)) and (left := deadline - time.monotonic()) > 0:
                time.sleep(min(LOOK_AGAIN_S, left))
        except OSError as error:
            raise SourceError(f"{self._path}: cannot be read ({error.strerror}); expected an NDJSON file") from error
        return records

    def marks(self, partition: int) -> Mapping[str, int]:  # noqa: ARG002 - there is one
        return {MARK: self._mark}

    def idle(self, partition: int) -> bool:  # noqa: ARG002 - there is one
        return self._file is None or os.fstat(self._file.fileno()).st_size <= self._file.tell()

    def lag(self) -> Mapping[tuple[str, int], int]:
        return {}

    def up(self) -> bool:
        return self._file is not None

    def seek(self, partition: int, positions: Mapping[str, int]) -> None:  # noqa: ARG002 - there is one
        self._close_file()
        self._start(positions.get(self._topic, 0))
        self._expected = positions.get(MARK)

    def done(self, partition: int, positions: Mapping[str, int]) -> None:
        pass

    def close(self) -> None:
        self._close_file()
        if self._gained:
            self._owner.lost(0)

    def _read(self, max_records: int) -> list[RawRecord]:
        """The finished lines up to ``max_records``; a file that is not there yet has none."""
        file = self._file or self._open()
        if file is None:
            return []
        records: list[RawRecord] = []
        while len(records) < max_records:
            piece = file.readline(PIECE)
            if not piece:
                if records or not self._was_replaced(file):
                    break
                if self._length:
                    records.append(self._record())
                self._close_file()
                self._start(0)
                if (next_file := self._open()) is None:
                    break
                file = next_file
                continue
            self._length += len(piece)
            self._tail = (self._tail + piece)[-TAIL:]
            if len(self._line) <= self._kept:
                self._line += piece
            if piece.endswith(b"\n"):
                if self._line.isspace():
                    self._start(self._offset + self._length)
                else:
                    records.append(self._record())
        return records

    def _record(self) -> RawRecord:
        """The line just finished as a record; the next one starts behind it."""
        offset, next_offset = self._offset, self._offset + self._length
        cut = len(self._line) < self._length
        whole_bytes = self._length if cut else None
        line = bytes(self._line).rstrip(b"\r\n")
        self._start(next_offset)
        self._mark = _digest(self._tail)
        redriven = None
        if line.startswith(REDRIVEN) and not cut:
            redriven, line = _unwrapped(line)
        return RawRecord(None, self._topic, 0, offset, next_offset, None, None, line, redriven, whole_bytes)

    def _start(self, offset: int) -> None:
        self._offset, self._length = offset, 0
        self._line.clear()

    def _open(self) -> BinaryIO | None:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return None
        self._tail = b""
        if self._offset:
            # A stored position ends a line. Where none ends, or another one, the file is not the one we read from.
            file.seek(max(0, self._offset - TAIL))
            self._tail = file.read(min(TAIL, self._offset))
            known = self._expected is None or self._expected == _digest(self._tail)
            if not known or not self._tail.endswith(b"\n") or file.tell() != self._offset:
                log.warning("file_changed topic=%s offset=%d resumed=0", self._topic, self._offset)
                self._owner.gap(self._topic, 0, self._offset, 0)
                self._start(0)
                self._tail = b""
                file.seek(0)
        self._expected = None
        self._file = file
        return file

    def _was_replaced(self, file: BinaryIO) -> bool:
        mine = os.fstat(file.fileno())
        if mine.st_size < file.tell():
            log.warning("file_truncated topic=%s offset=%d", self._topic, self._offset)
            self._start(0)
            return True
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # between the two steps of a rotation
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _digest(tail: bytes) -> int:
    """A number of 63 bits, so that it can be stored like a position."""
    return int.from_bytes(hashlib.blake2b(tail, digest_size=8).digest()) >> 1


def wrapped(dead_letter: int, value: bytes) -> bytes:
    """A dead letter as a line that carries its original bytes, whatever they are, and its id."""
    return REDRIVEN + b'"id":%d,"value":"%s"}\n' % (dead_letter, base64.b64encode(value))


def _unwrapped(line: bytes) -> tuple[int | None, bytes]:
    try:
        letter = json.loads(line)
        if type(letter["id"]) is not int or not 0 < letter["id"] < LARGEST_ID:
            return None, line
        return letter["id"], base64.b64decode(letter["value"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, line  # looks like ours and is not: decoding will refuse it
