"""The port that records come in by, and its two adapters: Kafka topics, or one NDJSON file.

A partition number is the unit of ownership: the records of one patient, of every topic, have one partition number. The
source tells the ``Owner`` which numbers it gained and lost; the owner answers with the stored positions, so that what
is read next is decided by our store and never by the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from detector.events import Position


class RawRecord(NamedTuple):
    """One record as it came. ``role`` is the kind of topic (a key of ``formats.canonical.KINDS``); None = any event.

    ``next_offset`` is where reading resumes once this record is done with. ``timestamp`` (ms) and ``key`` None = the
    source has none. ``redriven`` is the id of the dead letter that this record was. ``whole_bytes`` is how long a record
    was of which only the beginning was read; None = ``value`` is all of it. ``trip`` is that of a canary, which is no
    patient's record: it comes as soon as it is the next of its topic, whatever its timestamp.
    """

    role: str | None
    topic: str
    partition: int
    offset: int
    next_offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    redriven: int | None = None
    whole_bytes: int | None = None
    trip: int | None = None

    @property
    def position(self) -> Position:
        return Position(self.topic, self.partition, self.offset)


class Owner(Protocol):
    """What a source tells, always from inside ``poll`` and in its thread."""

    def gained(self, partition: int) -> Mapping[str, int]:
        """We own this partition number now; answers with the next offset of each topic that has one stored. What it raises
        goes through ``poll``, and the next ``poll`` tells it again.
        """

    def lost(self, partition: int) -> None:
        """It is no longer ours: nothing of it may be written any more."""

    def gap(self, topic: str, partition: int, wanted: int, earliest: int | None) -> None:
        """Offset ``wanted`` is no longer there (retention, or a topic made anew); reading resumes at ``earliest``, the
        first that is. None = that is not known yet.
        """

    def stalled(self, topic: str, partition: int) -> None:
        """Nothing comes from there though there is more; the source begins anew, and loses and gains partitions."""

    def recreated(self) -> None:
        """The source has begun anew."""


class Source(Protocol):
    """Records of all owned partition numbers, each number in the one order of DESIGN.md section 5.2."""

    def poll(self, max_records: int, timeout_ms: int) -> list[RawRecord]:
        """Wait up to ``timeout_ms`` for records and return at most ``max_records`` of them; empty = nothing came.

        Raises:
            SourceError: the source cannot be read.
            NoProgress: it stands still, however often it begins anew.
        """

    def marks(self, partition: int) -> Mapping[str, int]:
        """What is stored beside the positions of all that was returned, and handed back with them. Names begin with a
        colon, as no topic's does.
        """

    def idle(self, partition: int) -> bool:
        """Whether everything of this partition number that is there has been returned."""

    def lag(self) -> Mapping[tuple[str, int], int]:
        """Records behind the end, by (topic, partition), where that is known."""

    def up(self) -> bool:
        """Whether the source answers."""

    def seek(self, partition: int, positions: Mapping[str, int]) -> None:
        """Forget what is buffered and read on from these offsets (the earliest where a topic has none)."""

    def done(self, partition: int, positions: Mapping[str, int]) -> None:
        """These next offsets are committed in our store; a hint for tools that show lag."""

    def close(self) -> None:
        """Give everything back, within seconds."""
