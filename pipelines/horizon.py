"""Records from the future, in ``wall`` time: one of them must not carry its patient, or everybody, out of the present.

Time never goes back (DESIGN.md section 4.1), so a record that moved it a year ahead would make everything that comes
after it late. In ``stream`` time the records are the only clock there is, and none of them is judged here
(docs/decisions/014).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Literal

from pipelines.ticks import NO_TIME, wall_ms

REMEMBERED = 1_000  # records: one device with a wrong clock is not most of a hospital
LEFT_AT = 100  # records that the time a partition was left at counts for, so that the first one is judged already


class Horizon:
    """The latest time that a record can have: the host's clock, and as much as clocks may differ.

    Most records lie beyond it: then it is our clock that is wrong, and none of them is refused.
    """

    def __init__(
        self,
        mode: Literal["wall", "stream"],
        allowed_ms: int,
        wall: Callable[[], int] = wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._judges = mode == "wall"
        self._allowed_ms = allowed_ms
        self._wall = wall
        self._monotonic = monotonic
        self._began, self._began_s = wall(), monotonic()
        self._ahead = self._seen = 0

    @property
    def clock_is_off(self) -> bool:
        """Whether most of the records seen last lie beyond the horizon."""
        return 2 * self._ahead > self._seen

    def resume(self, ticked: int) -> None:
        """A partition was gained whose stored state has seen the tick ``ticked``, or ``NO_TIME``."""
        if ticked != NO_TIME:
            self.see([ticked] * LEFT_AT)

    def see(self, times: Iterable[int]) -> None:
        """Take note of the times of records, before any of them is judged."""
        for at in times:
            if self._seen >= REMEMBERED:  # forget by halves: a clock may go wrong, and may be put right
                self._ahead, self._seen = self._ahead // 2, self._seen // 2
            self._ahead, self._seen = self._ahead + self.is_ahead(at), self._seen + 1

    def is_ahead(self, at: int) -> bool:
        """Whether a time lies beyond the horizon."""
        return self._judges and at > self._now() + self._allowed_ms

    def refuses(self, at: int) -> bool:
        """Whether nothing of this time is taken: it lies beyond the horizon, and most records do not."""
        return self.is_ahead(at) and not self.clock_is_off

    def _now(self) -> int:
        # The later of two: a host clock that is set back, or a monotonic one that slept with the machine, refuses nothing.
        return max(self._wall(), self._began + int((self._monotonic() - self._began_s) * 1_000))
