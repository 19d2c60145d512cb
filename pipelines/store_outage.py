"""Waiting for a database that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipelines.errors import StoreOutage
from pipelines.store import Store

log = logging.getLogger(__name__)


class Outages:
    """One after the other, each from the first error until a whole round went well: a database that answers, and then
    fails at the next commit again, is not back. ``stopping`` = nobody waits any more.
    """

    ask_again_s = 0.5

    def __init__(self, store: Store, longest_ms: int, stopping: Callable[[], bool]) -> None:
        self._store, self._longest_s, self._stopping = store, longest_ms / 1_000, stopping
        self._since_s: float | None = None

    def outlast(self, outage: StoreOutage, began_s: float, again: Callable[[], None]) -> None:
        """Return when the database answers and ``again`` (what was in memory is loaded anew) went well, or when we are to
        stop. ``began_s`` is the monotonic time at which the round began that failed.

        Raises:
            StoreOutage: it has not been well for so long as is waited.
        """
        if self._since_s is None:
            log.error("store_outage error=%s", outage)
            self._since_s = began_s
        else:
            self._wait(outage)
        while not self._stopping():
            try:
                self._store.ask()
                again()
            except StoreOutage as error:
                self._wait(error)
            else:
                return

    def over(self) -> None:
        """A round went well."""
        if self._since_s is not None:
            log.warning("store_is_back after_s=%.1f", time.monotonic() - self._since_s)
            self._since_s = None

    def _wait(self, outage: StoreOutage) -> None:
        if self._since_s is None or time.monotonic() - self._since_s >= self._longest_s:
            raise outage
        time.sleep(self.ask_again_s)
