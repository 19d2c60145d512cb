"""Waiting for a database that does not answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from pipelines.errors import StoreOutage
from pipelines.store import Store

log = logging.getLogger(__name__)

ASK_AGAIN_S = 0.5


def outlast(store: Store, outage: StoreOutage, longest_ms: int, stopping: Callable[[], bool]) -> None:
    """Return when the database answers again, or when we are to stop.

    Raises:
        StoreOutage: it does not for ``longest_ms``.
    """
    log.error("store_outage error=%s", outage)
    started = time.monotonic()
    while not stopping():
        try:
            store.ask()
        except StoreOutage:
            if (time.monotonic() - started) * 1_000 >= longest_ms:
                raise
            time.sleep(ASK_AGAIN_S)
            continue
        log.warning("store_is_back after_s=%.1f", time.monotonic() - started)
        return
