"""Time: the only place that reads a clock for the detector, and the only one that makes ``Ticked`` events.

Ticks stand on whole minutes and tick m comes after every record of the partition that was available by m, so before a
record of time t the minute before t may be ticked, and nothing later.

``stream``: the time of a partition is the newest ``available_at`` it carried; its own records alone move it.
``wall``: it is the newest record timestamp that any partition carried, plus what the monotonic clock has counted since.
A step of the host's clock is not followed. A partition with a backlog takes its time from its records alone, as if
``stream``, so that the detector never runs ahead of readings that are there but not read yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Literal

from detector.clock import last_tick_before, minute_floor
from detector.events import Ticked

NO_TIME = -(1 << 62)
"""Earlier than any record: a partition that has carried none."""


def wall_ms() -> int:
    """The host's clock in ms UTC, for stamps on what we store and for measured delays; it never reaches the detector."""
    return time.time_ns() // 1_000_000


class Ticks:
    """The time of each owned partition number."""

    def __init__(self, mode: Literal["wall", "stream"], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._mode = mode
        self._monotonic = monotonic
        self._ticked: dict[int, int] = {}
        self._newest = NO_TIME
        self._newest_seen_s = 0.0

    def resume(self, partition: int, ticked: int) -> None:
        """A partition was gained; ``ticked`` is the last tick that its stored state has seen, or ``NO_TIME``."""
        self._ticked[partition] = ticked
        self._see(ticked)

    def ticked(self, partition: int) -> int:
        """The last tick given to this partition."""
        return self._ticked.get(partition, NO_TIME)

    def before(self, partition: int, timestamp: int | None, available_at: int) -> Iterator[Ticked]:
        """The tick due before a record, if any: ``timestamp`` is the broker's, None = it has none."""
        at = available_at if self._mode == "stream" or timestamp is None else timestamp
        self._see(at)
        yield from self._advance(partition, last_tick_before(at))

    def after(self, partition: int, *, caught_up: bool) -> Iterator[Ticked]:
        """The tick due once a partition's records are done with: in ``wall`` time only, and only when caught up."""
        if self._mode == "wall" and caught_up and self._newest != NO_TIME:
            now = self._newest + int((self._monotonic() - self._newest_seen_s) * 1_000)
            yield from self._advance(partition, minute_floor(now))

    def _see(self, at: int) -> None:
        if at > self._newest:
            self._newest, self._newest_seen_s = at, self._monotonic()

    def _advance(self, partition: int, tick: int) -> Iterator[Ticked]:
        if tick > self.ticked(partition):
            self._ticked[partition] = tick
            yield Ticked(tick)
