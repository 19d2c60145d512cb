"""Whether reading goes on: kafka-python has three times gone silent while its heartbeats went on, without any error
(kafka-python issues 3106 and 3131, and a broker whose fetch stays marked as pending).

A consumer that is not told of new records cannot say that there are any. So where topics end is asked by a client of
its own, in a thread of its own, and a partition whose position stands still while its end lies ahead has stalled.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping

from kafka import KafkaConsumer
from kafka.structs import TopicPartition

log = logging.getLogger(__name__)

ASK_S = 2.0
"""How often the ends are asked, and how long an answer is waited for."""

FRESH_S = 3 * ASK_S
"""An older answer says nothing: while no broker answers, standing still is no stall."""

LONGEST_LOOK_S = 1.0
"""What one look counts for at most: while we were busy elsewhere, nothing could come."""

TRIES = 3


class Ends:
    """Where topics end, asked again and again in a thread. ``connect`` makes a client."""

    def __init__(self, connect: Callable[[], KafkaConsumer]) -> None:
        self._connect = connect
        self._wanted: tuple[TopicPartition, ...] = ()
        self._known: Mapping[TopicPartition, int] = {}
        self._answered_s = float("-inf")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, name="ends", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._answered_s = time.monotonic()
        self._thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._over.set()
        self._thread.join(timeout=ASK_S)

    def want(self, partitions: Collection[TopicPartition]) -> None:
        """Ask about these from now on."""
        self._wanted = tuple(partitions)

    def known(self) -> Mapping[TopicPartition, int]:
        """The next offset of each; empty = nothing was answered lately."""
        return self._known if self.fresh() else {}

    def fresh(self) -> bool:
        """Whether a broker answered lately, or nothing was asked."""
        return time.monotonic() - self._answered_s < FRESH_S

    def _ask_on(self) -> None:
        client: KafkaConsumer | None = None
        told: type[Exception] | None = None
        since_s = time.monotonic()
        while not self._over.wait(ASK_S):
            wanted = self._wanted
            try:
                client = client or self._connect()
                self._known = client.end_offsets(wanted, timeout_ms=int(ASK_S * 1_000)) if wanted else {}
                self._answered_s = since_s = time.monotonic()
                told = None
            except Exception as error:  # noqa: BLE001 - whatever it is: without this thread no stall would be seen
                # One failure in between is no news: kafka-python raises KeyError until it knows who leads a partition.
                if type(error) is not told and time.monotonic() - since_s >= FRESH_S:
                    told = type(error)
                    log.warning("ends_unknown error=%s effect='no stall is seen'", told.__name__)
                if client is not None:
                    client.close(timeout_ms=0)
                client = None
        if client is not None:
            client.close(timeout_ms=0)


class Watchdog:
    """Tells what has stalled. ``stall_s`` is how long a position may stand still."""

    def __init__(self, stall_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stall_s, self._monotonic = stall_s, monotonic
        self._looked_s = monotonic()
        self._still: dict[TopicPartition, tuple[int, float]] = {}
        self._tried: dict[TopicPartition, tuple[int, int]] = {}

    def look(self, positions: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> list[TopicPartition]:
        """What has stalled; it is told once, and again when it has stood still as long once more.

        Args:
            positions: the next offset of everything from which records are wanted now.
            ends: the next offset behind each; what is missing here is not judged.
        """
        now = self._monotonic()
        passed = min(now - self._looked_s, LONGEST_LOOK_S)
        self._looked_s = now
        before, self._still = self._still, {}
        stalled = []
        for where, position in positions.items():
            if position >= ends.get(where, position):
                continue
            stood, for_s = before.get(where, (None, 0.0))
            for_s = for_s + passed if stood == position else 0.0
            if for_s >= self._stall_s:
                stalled.append(where)
                for_s = 0.0
            self._still[where] = position, for_s
        return stalled

    def given_up(self, stalled: Collection[TopicPartition], positions: Mapping[TopicPartition, int]) -> bool:
        """Whether beginning anew has been tried often enough: one of these stands where it stood before each try."""
        for where in stalled:
            position, tries = self._tried.get(where, (positions[where], 0))
            self._tried[where] = positions[where], (tries if positions[where] <= position else 0) + 1
        return any(self._tried[where][1] > TRIES for where in stalled)
