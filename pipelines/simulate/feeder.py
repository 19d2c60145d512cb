"""Plays a ward in fast time: a thread that appends each event to a file when its simulated moment has come."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from detector.clock import SECOND
from detector.events import PatientEvent
from pipelines.formats.canonical import encode

WAKE_S = 0.05  # how often the file grows; below what a person sees


class Feeder:
    """Appends events, given in the one order, from entering its ``with`` block on. ``speed`` = simulated seconds a second.

    ``now`` is the simulated instant in ms, ``written`` the number of events out, ``over`` whether that was all.
    """

    def __init__(self, path: Path, events: Sequence[PatientEvent], speed: float) -> None:
        self._path = path
        self._events = events
        self._speed = speed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self.now = events[0].available_at
        self.written = 0

    @property
    def over(self) -> bool:
        return self.written == len(self._events)

    def __enter__(self) -> Self:
        self._path.touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        begun, first = time.monotonic(), self.now
        with self._path.open("ab") as file:
            while not self.over and not self._stopping.wait(WAKE_S):
                now = first + int((time.monotonic() - begun) * self._speed * SECOND)
                start = self.written
                end = start
                while end < len(self._events) and self._events[end].available_at <= now:
                    end += 1
                file.writelines(encode(event) + b"\n" for event in self._events[start:end])
                file.flush()
                self.now, self.written = min(now, self._events[-1].available_at), end
