"""What the store holds to be sent is given to the publisher, and watched: a topic of which nothing leaves is told.

Of alerts it is also mended: the publisher is made anew, and when that has not helped the process ends, so that its
supervisor is told. A topic of dead letters or an export that takes nothing holds back nobody who is watched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

from pipelines.errors import NoProgress, StoreError
from pipelines.outbox import Publisher
from pipelines.ports import Metrics
from pipelines.sources.watchdog import TRIES
from pipelines.store import OutboxRow, Store

log = logging.getLogger(__name__)

AT_ONCE = 1_000  # rows
ALERTS = "alerts"


class Publishing:
    """``stall_s`` is how long nothing of a topic may leave; ``answers`` says whether there is a broker at all: while there is
    none, nothing is made anew. ``parked`` = how many records the broker refused for good.
    """

    def __init__(
        self, store: Store, publisher: Publisher, metrics: Metrics, stall_s: float, answers: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._store, self._publisher, self._metrics = store, publisher, metrics
        self._stall_s, self._answers, self._monotonic = stall_s, answers, monotonic
        self._since: dict[str, float] = {}
        self._tries, self._tried_s = 0, 0.0
        self.stalled: frozenset[str] = frozenset()
        """The topics, by role, of which nothing leaves."""
        self.parked = 0
        metrics.outbox(self.waiting_s)

    def publish(self, partitions: Iterable[int]) -> frozenset[str]:
        """Send what waits and mark it; what does not leave now waits for the next call. Returns the topics (roles) that have
        stalled since the last call.

        Raises:
            NoProgress: no alert leaves, and a new publisher did not help.
            SourceError: the files cannot be written.
            StoreError: the store cannot be read or written.
        """
        partitions = list(partitions)
        while rows := self._store.pending(partitions, AT_ONCE):
            self._wait_for({row.record.topic for row in rows})
            told = self._publisher.publish(rows)
            self._store.mark_published(told.arrived)
            if told.refused:
                self._park(rows, told.refused, partitions)
            gone = {*told.arrived, *told.refused}
            for topic in {row.record.topic for row in rows if row.id in gone}:
                self._since.pop(topic, None)
            if len(gone) < len(rows) or len(rows) < AT_ONCE:
                break
        else:
            self._wait_for(set())
        return self._watch()

    def count_parked(self, partitions: Iterable[int]) -> None:
        """How many of these partition numbers are kept aside; in an outage that is told by the next commit."""
        with suppress(StoreError):
            self.parked = self._store.parked(partitions)

    def waiting_s(self, topic: str) -> float:
        """For how long records of a topic (its role) have waited without one that left. For any thread."""
        since = self._since.get(topic)
        return 0.0 if since is None else max(0.0, self._monotonic() - since)

    def _wait_for(self, topics: set[str]) -> None:
        now = self._monotonic()
        self._since = {topic: self._since.get(topic, now) for topic in topics}

    def _watch(self) -> frozenset[str]:
        before, self.stalled = self.stalled, frozenset(t for t in self._since if self.waiting_s(t) >= self._stall_s)
        for topic in sorted(self.stalled - before):
            log.error("outbox_stalled topic=%s", topic)
        for topic in sorted(before - self.stalled):
            log.warning("outbox_goes_on topic=%s", topic)
        now = self._monotonic()
        if ALERTS not in self.stalled:
            self._tries, self._tried_s = 0, now - self._stall_s
        elif not self._answers():
            self._tried_s = now
        elif now - self._tried_s >= self._stall_s:
            self._begin_again()
        return self.stalled - before

    def _begin_again(self) -> None:
        if self._tries >= TRIES:
            raise NoProgress(
                f"alerts: none has left for {self.waiting_s(ALERTS):.0f} s though a broker answers, and {TRIES} new producers"
                " did not help; expected a topic that takes them; look at kafka.topics.alerts, its replicas and its rights"
            )
        self._tries, self._tried_s = self._tries + 1, self._monotonic()
        self._publisher.begin_again()
        log.error("publisher_made_anew tries=%d", self._tries)

    def _park(self, rows: Sequence[OutboxRow], refused: Mapping[int, str], partitions: Iterable[int]) -> None:
        """Keep aside what the broker will never take, so that it holds nothing else back."""
        self._store.park(refused)
        self.count_parked(partitions)
        for row in rows:
            if row.id in refused:
                topic, size = row.record.topic, len(row.record.payload)
                log.error("publish_refused topic=%s row=%d bytes=%d error=%s", topic, row.id, size, refused[row.id])
                self._metrics.publish_refused(topic)
