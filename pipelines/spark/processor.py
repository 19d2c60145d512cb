"""What Spark keeps of each patient and when it calls us: records are held until time has passed them, then folded.

Spark gives the records of one key to one task, and keeps its state; it promises nothing of their order, neither within
a micro-batch nor between topics. So a record waits in the state until the watermark, the newest record time of all
earlier batches, has reached it. A timer then wakes its patient, and what is held is folded in the one order of
DESIGN.md section 5.2. Ticks are timers too: the next minute at which time alone has something to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor

from detector.clock import DAY, NEVER
from detector.events import EARLIEST, LATEST
from pipelines.formats.canonical import KINDS
from pipelines.settings import Settings
from pipelines.sources import RawRecord
from pipelines.spark.one_patient import Ready, Stored, follow, ready

if TYPE_CHECKING:
    from pyspark.sql.streaming.stateful_processor import ExpiredTimerInfo, StatefulProcessorHandle, TimerValues

RANK = {role: rank for rank, role in enumerate(KINDS)}

BASE = -EARLIEST
"""Spark's watermark begins at 1970 and never goes below: our times are moved so that none lies before it."""

DELAY_DAYS = 1 + (LATEST - EARLIEST) // DAY
"""Spark drops, without a word to us, what is later than the watermark's delay. No two times of ours are so far apart."""

SHIFT = BASE + DELAY_DAYS * DAY
"""``moment + SHIFT`` is the event time that Spark is shown; with the delay taken off, its watermark is the newest
``moment + BASE``.
"""

OUT = "role string, key binary, payload binary, timestamp long"
_HELD = "moment long, role string, topic string, partition int, offset long, stamp long, key binary, value binary"


class Held(NamedTuple):
    """A record that waits. ``moment`` is the time it is ordered by, ``stamp`` the broker's."""

    moment: int
    role: str
    topic: str
    partition: int
    offset: int
    stamp: int
    key: bytes | None
    value: bytes | None

    @property
    def order(self) -> tuple[int, int, int, int]:
        return self.moment, RANK[self.role], self.partition, self.offset

    @property
    def raw(self) -> RawRecord:
        return RawRecord(
            self.role, self.topic, self.partition, self.offset, self.offset + 1, self.stamp, self.key, self.value
        )


class PatientProcessor(StatefulProcessor):  # type: ignore[misc]  # pyspark's types are not read
    """Follows the patients of one state partition. ``settings`` are those of config.yaml, as JSON."""

    def __init__(self, settings: str) -> None:
        self._settings = settings

    def init(self, handle: StatefulProcessorHandle) -> None:
        self._handle = handle
        self._head = handle.getValueState("head", "head binary, ticked long")
        self._segments = handle.getListState("segments", "segment binary")
        self._held = handle.getListState("held", _HELD)
        self._armed = handle.getValueState("armed", "at long")

    def handleInputRows(self, key: Any, rows: Iterator[Row], timerValues: TimerValues) -> Iterator[Row]:  # noqa: ARG002, N802, N803 - Spark's names
        """Hold what came; a timer that is due in this very batch rings after it."""
        held = [
            Held(
                row.moment,
                row.role,
                row.topic,
                row.partition,
                row.offset,
                row.stamp,
                _bytes(row.key),
                _bytes(row.value),
            )
            for row in rows
            if row.role
        ]
        if held:
            self._held.appendList([tuple(one) for one in held])
            self._arm(min(one.moment for one in held))
        return iter(())

    def handleExpiredTimer(  # noqa: N802
        self,
        key: Any,
        timerValues: TimerValues,  # noqa: N803
        expiredTimerInfo: ExpiredTimerInfo,  # noqa: N803
    ) -> Iterator[Row]:
        """Fold what time has passed, and let out what it gave."""
        if self._armed_at() == expiredTimerInfo.getExpiryTimeInMs() - BASE:
            self._armed.clear()  # Spark takes a timer away that has rung
        upto = timerValues.getCurrentWatermarkInMs() - BASE
        held = [_held(one) for one in self._held.get()] if self._held.exists() else []
        passed = sorted((one for one in held if one.moment <= upto), key=lambda one: one.order)
        waiting = [one for one in held if one.moment > upto]
        stored = self._stored()
        done = follow(_ready(self._settings), _text(key[0]), stored, [one.raw for one in passed], upto)
        if passed:
            self._held.put([tuple(one) for one in waiting]) if waiting else self._held.clear()
        if done.changes is not None:
            self._head.update((done.changes.head, done.ticked))
            if done.changes.replace:
                self._segments.clear()
            if done.changes.segment is not None:
                self._segments.appendValue((done.changes.segment,))
        self._arm(min([done.due + 1] if done.due < NEVER else [], default=NEVER))
        self._arm(min((one.moment for one in waiting), default=NEVER))
        for one in done.outgoing:
            yield Row(role=one.topic, key=one.key, payload=one.payload, timestamp=one.timestamp)

    def close(self) -> None:
        pass

    def _stored(self) -> Stored | None:
        if not self._head.exists():
            return None
        head, ticked = self._head.get()
        segments = [bytes(one[0]) for one in self._segments.get()] if self._segments.exists() else []
        return Stored(bytes(head), segments, ticked)

    def _armed_at(self) -> int:
        return int(self._armed.get()[0]) if self._armed.exists() else NEVER

    def _arm(self, at: int) -> None:
        """Be woken at an instant, unless something earlier wakes this patient anyway."""
        armed = self._armed_at()
        if at < armed:
            if armed < NEVER:
                self._handle.deleteTimer(armed + BASE)
            self._handle.registerTimer(at + BASE)
            self._armed.update((at,))


@cache  # one plan a worker, read once
def _ready(settings: str) -> Ready:
    return ready(Settings.model_validate_json(settings))


def _held(row: Any) -> Held:
    moment, role, topic, partition, offset, stamp, key, value = row
    return Held(moment, role, topic, partition, offset, stamp, _bytes(key), _bytes(value))


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


def _text(key: Any) -> str:
    return "" if key is None else bytes(key).decode(errors="replace")
