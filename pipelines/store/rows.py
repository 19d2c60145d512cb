"""What goes into the database and comes out of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from detector.errors import ItbwatchError
from detector.records import AlertRecord, LabelGiven
from detector.snapshot import Changes
from pipelines.outages import ModelEvent
from pipelines.store.audit import Detail, Happened
from pipelines.store.spellings import Spelling
from pipelines.ticks import wall_ms

OUTGOING = ("alerts", "merges", "deadletters", "fhir", "hl7v2")
"""The roles of the topics that the service writes, the most urgent first."""


class Fenced(ItbwatchError):
    """Another worker has moved this partition on: our picture of it is void."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        super().__init__(f"partition {partition}: another worker has moved it on")


class Outgoing(NamedTuple):
    """One record to publish. ``topic`` is a role, one of ``OUTGOING``."""

    topic: str
    key: bytes | None
    payload: bytes
    timestamp: int


class OutboxRow(NamedTuple):
    """A committed record that is not yet published; rows of one key are published in the order of their ids."""

    id: int
    record: Outgoing


class DeadLetter(NamedTuple):
    """A record that could not be used, as it came. ``whole_bytes`` None = ``value`` is all of it, else how long it was."""

    id: int
    topic: str
    partition: int
    offset: int
    reason: str
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    whole_bytes: int | None = None


class StoredPatient(NamedTuple):
    patient_id: str
    head: bytes
    segments: list[bytes]


class StoredPartition(NamedTuple):
    """A partition number and its patients but for those resting; ``positions`` has next offsets by topic, and ``TICK``."""

    positions: dict[str, int]
    patients: list[StoredPatient]


class ShadowRun(NamedTuple):
    """A challenger against a champion in one partition number. ``generation`` (ms UTC of the host) tells runs apart;
    ``since`` is the tick from which on it decided; ``positions`` are those at which its patients stand.
    """

    generation: int
    since: int
    champion: str
    challenger: str
    positions: str = ""

    @classmethod
    def made(cls, since: int, champion: str, challenger: str) -> ShadowRun:
        return cls(wall_ms(), since, champion, challenger)

    def stands_at(self, positions: Mapping[str, int], now: ShadowRun) -> bool:
        """Whether it is the same comparison as ``now``, and nothing was committed without it."""
        same = (self.champion, self.challenger) == (now.champion, now.challenger)
        return same and self.positions == written(positions)


def written(positions: Mapping[str, int]) -> str:
    """Positions as one text."""
    return json.dumps(dict(sorted(positions.items())))


class ShadowWork(NamedTuple):
    """What one poll changed for the challenger; ``fresh`` = the champion's patients as they were are copied first."""

    of: ShadowRun
    fresh: bool
    patients: list[tuple[str, Changes]]
    resting: set[str]
    alerts: list[AlertRecord]


@dataclass
class Work:
    """What one poll changed in one partition number. ``read`` are the positions it started from; of the ``patients``
    nothing is due for those ``resting``.
    """

    partition: int
    read: Mapping[str, int]
    moved: Mapping[str, int]
    patients: list[tuple[str, Changes]] = field(default_factory=list)
    resting: set[str] = field(default_factory=set)
    alerts: list[AlertRecord] = field(default_factory=list)
    labels: list[LabelGiven] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    deadletters: list[DeadLetter] = field(default_factory=list)
    unmapped: Counter[Spelling] = field(default_factory=Counter)
    redriven: list[int] = field(default_factory=list)
    journal: list[tuple[str, bytes]] = field(default_factory=list)
    model_events: list[ModelEvent] = field(default_factory=list)
    audit: list[tuple[Happened, Detail]] = field(default_factory=list)
    shadow: ShadowWork | None = None
    drift: Mapping[str, tuple[int, int]] | None = None
