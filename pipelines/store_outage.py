"""A database that does not answer: seen, told, and waited for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipelines.errors import StoreError, StoreOutage
from pipelines.ports import Metrics
from pipelines.store import Store

log = logging.getLogger(__name__)

TOLD_S = 8.0
"""A server that has said nothing for so long counts as down: within 10 s it is to be seen in the metrics."""

CUT_S = 35.0
"""Then it never will. Longer than it lets anyone wait for a row itself (``lock_timeout``), which is no silence of its own."""

SHORTEST_CUT_S = 10.0
STOPS_S = 1.0
"""Who is to stop waits no longer than this."""


class Outages:
    """One after the other, each from the first error until a whole round went well: a database that answers, and then
    fails at the next commit again, is not back. ``stopping`` = nobody waits any more; ``up`` = the store can be written.
    """

    ask_again_s = 0.5

    def __init__(self, store: Store, metrics: Metrics, longest_ms: int, stopping: Callable[[], bool]) -> None:
        self._store, self._metrics, self._stopping = store, metrics, stopping
        self._longest_s = longest_ms / 1_000
        self._since_s = 0.0
        self._failed = False
        self.up = True
        store.wait_while(self.silent)

    def outlast(self, error: StoreError, began_s: float, again: Callable[[], None]) -> None:
        """Return when the database answers and ``again`` (what was in memory is loaded anew) went well, or when we are to
        stop. ``began_s`` is the monotonic time at which the round began that failed.

        Raises:
            StoreOutage: it has not been well for so long as is waited.
            StoreError: it is no outage.
        """
        self._down(began_s)
        if not isinstance(error, StoreOutage):
            raise error
        if self._failed:
            self._wait(error)
        else:
            log.error("store_outage error=%s", error)
            self._failed = True
            self._give_up_late(error)
        while not self._stopping():
            try:
                self._store.ask()
                again()
            except StoreOutage as outage:
                self._wait(outage)
            else:
                return

    def over(self) -> None:
        """A round went well."""
        if not self.up:
            log.warning("store_is_back after_s=%.1f", time.monotonic() - self._since_s)
        self.up, self._failed = True, False

    def silent(self, for_s: float) -> bool:
        """The database has said nothing for so long; returns whether to give the connection up."""
        if for_s >= TOLD_S and self.up:
            log.error("store_silent for_s=%.0f", for_s)
            self._down(time.monotonic() - for_s)
        cut_s = STOPS_S if self._stopping() else max(SHORTEST_CUT_S, min(CUT_S, self._longest_s))
        return for_s >= cut_s

    def _down(self, began_s: float) -> None:
        if self.up:
            self._since_s = began_s
        self.up = False
        self._metrics.store_up(False)

    def _wait(self, outage: StoreOutage) -> None:
        self._give_up_late(outage)
        time.sleep(self.ask_again_s)

    def _give_up_late(self, outage: StoreOutage) -> None:
        if time.monotonic() - self._since_s >= self._longest_s:
            raise outage
