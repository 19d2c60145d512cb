"""Which technical alerts of the service itself are open, and those that wait to be stored with the next commit.

What is found between two commits (a consumer that stands still, records that are gone) is noted here and let out with
the next work of its partition number, so that no alert leaves that is not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from detector.clock import HOUR
from detector.plan import Plan
from detector.records import AlertRecord
from pipelines.formats.times import parse_time
from pipelines.technical import Subject, opened, resolved, subject
from pipelines.ticks import wall_ms

STALLED, GAP, CUT_IN_TWO, CLOCK = "consumer_stalled", "offset_out_of_range", "partition_mismatch", "clock_off"
OUTBOX = "outbox_stalled"
"""What the service itself is alarmed about, beside its models and drift: the first word of a ``Subject``."""

QUIET_AFTER = 12 * HOUR
"""How long an alert of what happened stays open after the last time: as long as one without a true rule."""


class Kind(NamedTuple):
    """What an alert says, and what to look at. ``happened`` = it has no end that could be seen."""

    headline: str
    checks: tuple[str, ...]
    happened: bool = False


KINDS = {
    STALLED: Kind(
        "{about}: reading stood still while there was more to read; the consumer was made anew",
        ("the log for consumer_recreated", "the brokers, and the network to them"),
    ),
    GAP: Kind(
        "{about}: {detail} are gone from the topic; reading went on at the earliest that is there",
        ("fill the gap from the sending system", "retention of the topic", "whether the topic was made anew"),
        happened=True,
    ),
    CUT_IN_TWO: Kind(
        "{about}: records of a patient came on a second partition number and were refused",
        ("whether partitions were added to a topic", "how the sender chooses its keys"),
        happened=True,
    ),
    OUTBOX: Kind(
        "{about}: records wait to be sent and none leaves",
        ("the topic, its replicas and our right to write to it", "the log for publish_failed"),
    ),
    CLOCK: Kind(
        "{about}: most records lie in the future of our clock, so none is refused for it",
        ("the clock of this machine and its time service", "the clocks of the senders"),
    ),
}


class Noted(NamedTuple):
    """Something that happened, of which there is an alert as soon as it can be stored."""

    about: Subject
    detail: str


class Alarms:
    """The technical alerts of the partition numbers that are ours. ``used`` says whether an alert id is taken."""

    def __init__(self, plan: Plan, used: Callable[[str], bool]) -> None:
        self._plan, self._used = plan, used
        self._open: dict[int, dict[Subject, AlertRecord]] = {}
        self._noted: dict[int, list[Noted]] = {}
        self._due: dict[int, list[Noted]] = {}
        self._newest: dict[tuple[int, Subject], int] = {}

    def gained(self, partition: int, standing: Iterable[AlertRecord]) -> None:
        """``standing`` are the alerts of the partition that are open in the store."""
        self._open[partition] = {subject(one): one for one in standing}

    def lost(self, partition: int) -> list[str]:
        """Forget a partition; returns the ids of the alerts that another worker has now. What was noted and is not stored
        is kept: a partition that is loaded anew lets it out then.
        """
        self._noted[partition] = self._due.pop(partition, []) + self._noted.get(partition, [])
        return [one.alert_id for one in self._open.pop(partition, {}).values()]

    def standing(self) -> dict[Subject, AlertRecord]:
        """Every alert that is open."""
        return {about: one for alarms in self._open.values() for about, one in alarms.items()}

    def of(self, partition: int) -> dict[Subject, AlertRecord]:
        """Those of one partition number."""
        return self._open[partition]

    def note(self, partition: int, kind: str, role: str, detail: str = "") -> None:
        """Something is an alert: ``kind`` is one of the words above, ``role`` that of the topic, or what else it is about."""
        self._noted.setdefault(partition, []).append(Noted((kind, role), detail))

    def due(self, partition: int, at: int | None, over: Collection[Subject] = ()) -> list[AlertRecord]:
        """The records to let out now; each must be given to ``let_out``, and ``stored`` be called when they are kept.

        Args:
            partition: one of ours.
            at: its time, ms UTC; None = it has none yet, and the host's clock is taken.
            over: what is seen to have ended.
        """
        now = wall_ms() if at is None else at
        mine = self._open[partition]
        records: list[AlertRecord] = []
        noted = self._noted.pop(partition, [])
        self._due.setdefault(partition, []).extend(noted)
        for about, detail in noted:
            self._newest[partition, about] = now
            if about not in mine and all(subject(one) != about for one in records):
                records.append(self._begins(partition, about, now, detail))
        for about, one in mine.items():
            newest = self._newest.get((partition, about), parse_time(one.at))
            kind = KINDS.get(about[0])  # models and drift have ends of their own
            if about in over or (kind is not None and kind.happened and now - newest >= QUIET_AFTER):
                records.append(resolved(one, max(now, parse_time(one.at)), "over"))
        return records

    def let_out(self, partition: int, record: AlertRecord) -> None:
        """An alert of the partition leaves, or its end, wherever it began."""
        if record.state != "resolved":
            self._open[partition][subject(record)] = record
            return
        for alarms in self._open.values():
            if alarms.get(subject(record), record).alert_id == record.alert_id:
                alarms.pop(subject(record), None)

    def stored(self, partition: int) -> None:
        """What was due of a partition is kept."""
        self._due.pop(partition, None)

    def _begins(self, partition: int, about: Subject, at: int, detail: str) -> AlertRecord:
        kind = KINDS[about[0]]
        headline = kind.headline.format(about=about[1], detail=detail)
        while True:
            record = opened(self._plan, partition, about, at, because=about[0], headline=headline, checks=kind.checks)
            if not self._used(record.alert_id):
                return record
            at += 1  # the time of a partition may stand still, and an id is made of it
