"""What is told of the service's work: counts of what was stored, and gauges of how things stand."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipelines.decided import Decided
from pipelines.ports import Board, Metrics
from pipelines.settings import Settings
from pipelines.ticks import wall_ms

REFRESH_S = 1.0  # how often the gauges are set


class Telling:
    """Tells metrics and board. ``counted`` is called after the commit only: nothing is told that was not kept."""

    def __init__(self, settings: Settings, metrics: Metrics, board: Board) -> None:
        self._wall = settings.time == "wall"
        self._metrics = metrics
        self._board = board
        self._refreshed_s = float("-inf")

    def counted(self, one: Decided) -> None:
        """Count what was stored of a partition, and show its alerts."""
        self._metrics.batch(one.batch, one.ledger)
        self._metrics.shadow(one.shadow.records)
        self._board.take(one.batch.records)
        for topic, reason in one.rejected:
            self._metrics.rejected(topic, reason)
        for topic, remark in one.remarks:
            self._metrics.remarked(topic, remark)
        for letter in one.work.deadletters:
            self._metrics.dead_letter(letter.reason)
        if self._wall:
            self._latency(one)

    def newest(self, stored: Sequence[Decided]) -> None:
        """The time of the newest record."""
        stamps = [one.newest for one in stored if one.newest is not None]
        if stamps:
            self._metrics.last_record(max(stamps) / 1_000)

    def due(self) -> bool:
        """Whether the gauges are to be set again; the next second begins with the answer."""
        now = time.monotonic()
        if now - self._refreshed_s < REFRESH_S:
            return False
        self._refreshed_s = now
        return True

    def _latency(self, one: Decided) -> None:
        now = wall_ms()
        for record in one.batch.records:
            stamps = [one.came[where].timestamp for where in record.provenance.position if where in one.came]
            appended = next((stamp for stamp in stamps if stamp is not None), None)
            if appended is not None:
                self._metrics.detection_latency(max(0, now - appended) / 1_000)
