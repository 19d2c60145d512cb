"""Kafka topics as one ordered stream per partition number.

The topics of a partition number are merged by record timestamp, then topic rank, then offset. A record is taken when
every other topic has one buffered, or has been read to its end and the record has waited ``merge_idle_ms`` for it.
Only time spent polling counts as waiting, because nothing arrives while we do something else.

Rebalances reach us on the client's own thread, in the middle of a poll. They are only noted there, with the new
partitions paused; positions are loaded and set in the caller's thread afterwards.

The records of a canary have no place in that order: each is taken as soon as it is the next of its topic.

A consumer that stands still is closed and made anew: all partition numbers are lost and gained again (``watchdog``).
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice

from kafka import ConsumerRebalanceListener
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata, TopicPartition

from detector.events import LATEST
from pipelines.errors import NoProgress, SourceError
from pipelines.formats.canonical import KINDS
from pipelines.kafka_clients import MERGE_BYTES, consumer, end_reader, equal_partition_counts
from pipelines.settings import Kafka
from pipelines.sources import Owner, RawRecord, headers
from pipelines.sources.watchdog import FRESH_S, TRIES, Ends, Watchdog

log = logging.getLogger(__name__)

RANK = {role: rank for rank, role in enumerate(KINDS)}
BUFFERED = 10_000  # records per topic and partition before it is paused: 5 MB of observations
CLOSE_MS = 3_000
EARLIEST_MS = 5_000
WATCH_S = 0.5
JOIN_MS = 100  # kafka-python 3.0.12 throws away what it has joined between two polls, and joins again: for ever, if none waits

Waiting = tuple[float, ConsumerRecord]
"""A record, and the polling time (ms) at which it arrived."""


class KafkaSource(ConsumerRebalanceListener):  # type: ignore[misc]
    """All input topics of the settings, as a member of the consumer group."""

    def __init__(self, kafka: Kafka, owner: Owner, *, record_bytes: int, merge_idle_ms: int) -> None:
        """Connect and check the topics.

        Raises:
            SourceError: no broker answers.
            ConfigError: a topic is missing, or two have unequal partition counts.
        """
        self._owner = owner
        self._merge_idle_ms = merge_idle_ms
        self._role = {getattr(kafka.topics, role): role for role in RANK}
        self._buffers: dict[int, dict[str, deque[Waiting]]] = {}
        self._polled_ms = 0.0
        self._watched_s = float("-inf")
        self._news: list[tuple[bool, frozenset[int]]] = []
        self._up = True
        self._fetched_s = float("-inf")
        self._connect = partial(consumer, kafka, fetch_bytes=max(record_bytes, MERGE_BYTES))
        self._watchdog = Watchdog(kafka.stall_ms / 1_000)
        self._consumer = self._connect()
        try:
            equal_partition_counts({t: len(self._consumer.partitions_for_topic(t) or ()) for t in self._role})
            self._subscribe()
        except BaseException:
            self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
            raise
        self._ends = Ends(partial(end_reader, kafka))
        self._ends.start()

    def poll(self, max_records: int, timeout_ms: int) -> list[RawRecord]:
        taken = self._take(max_records)
        if taken:
            timeout_ms = 0  # still poll: it keeps us in the group and the buffers full
        elif self._merge_idle_ms and any(map(self._holds_records, self._buffers)):
            timeout_ms = min(timeout_ms, self._merge_idle_ms)
        before = dict(self._buffers)
        self._fill(timeout_ms)
        self._watch()
        # What was taken from a number that was lost and gained again meanwhile is read again from the stored position.
        taken = [raw for raw in taken if self._buffers.get(raw.partition) is before[raw.partition]]
        return taken or self._take(max_records)

    def marks(self, partition: int) -> Mapping[str, int]:  # noqa: ARG002 - an offset says it all
        return {}

    def idle(self, partition: int) -> bool:
        buffers = self._buffers.get(partition, {})
        return all(not buffer and self._at_end(topic, partition) for topic, buffer in buffers.items())

    def lag(self) -> Mapping[tuple[str, int], int]:
        behind = {}
        ends = self._ends.known()  # a consumer that has stalled does not hear of more
        for partition, buffers in self._buffers.items():
            for topic, buffer in buffers.items():
                here, end = self._position_and_end(TopicPartition(topic, partition))
                asked = ends.get(TopicPartition(topic, partition))
                known = [one for one in (end, asked) if one is not None]
                if here is not None and known:
                    behind[topic, partition] = max(0, max(known) - (buffer[0][1].offset if buffer else here))
        return behind

    def up(self) -> bool:
        # A broker that stands still keeps its connections for kafka.request_timeout_ms.
        return self._up and (self._ends.fresh() or time.monotonic() - self._fetched_s < FRESH_S)

    def seek(self, partition: int, positions: Mapping[str, int]) -> None:
        self._buffers[partition] = {topic: deque() for topic in self._role}
        for topic in self._role:
            where = TopicPartition(topic, partition)
            if topic in positions:
                self._consumer.seek(where, positions[topic])
            else:
                self._consumer.seek_to_beginning(where)
            self._consumer.resume(where)

    def done(self, partition: int, positions: Mapping[str, int]) -> None:
        self._consumer.commit_async(
            {TopicPartition(topic, partition): OffsetAndMetadata(offset) for topic, offset in positions.items()}
        )

    def close(self) -> None:
        self._ends.close()
        self._leave()

    def _leave(self) -> None:
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
        self._news.clear()
        for partition in list(self._buffers):
            self._lose(partition)

    def _subscribe(self) -> None:
        self._consumer.subscribe(list(self._role), listener=self)

    # -- standing still ----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        now = time.monotonic()
        if now - self._watched_s < WATCH_S:
            return
        self._watched_s = now
        positions = self._wanted()
        self._ends.want(positions)
        stalled = self._watchdog.look(positions, self._ends.known())
        if not stalled:
            return
        for where in stalled:
            self._owner.stalled(where.topic, where.partition)
        if self._watchdog.given_up(stalled, positions):
            where = stalled[0]
            raise NoProgress(
                f"topic {where.topic!r}, partition {where.partition}: nothing comes from offset {positions[where]} though"
                f" there is more, and {TRIES} new consumers did not help; expected records; look at the brokers"
            )
        self._leave()
        self._consumer = self._connect()
        self._subscribe()
        self._owner.recreated()

    def _wanted(self) -> dict[TopicPartition, int]:
        """The next offset of everything from which we want records now; -1 = not known yet."""
        wanted = {}
        for partition, buffers in self._buffers.items():
            for topic in buffers:
                where = TopicPartition(topic, partition)
                state = self._consumer._subscription.assignment.get(where)  # noqa: SLF001 - as in _position_and_end
                if state is not None and not state.paused:
                    wanted[where] = -1 if state.position is None else state.position.offset
        return wanted

    # -- rebalances: called on the client's thread -----------------------------------------------------------------

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        # A rejoin for new metadata that outlasts a poll is forgotten by kafka-python 3.0.12: it would own nothing, without
        # heartbeats, for ever. What is asked for is remembered until it is done.
        self._consumer._coordinator.request_rejoin()  # noqa: SLF001
        self._news.append((False, frozenset(one.partition for one in revoked)))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        topics = Counter(one.partition for one in assigned)
        for one in assigned:
            self._consumer.seek(one, 0)  # a placeholder that spares a look-up of Kafka's own offsets
            self._consumer.pause(one)
        # A number comes with all of its topics, or the group's leader did not know them all yet and will assign again.
        self._news.append((True, frozenset(number for number, count in topics.items() if count == len(self._role))))

    # -- filling and taking ----------------------------------------------------------------------------------------

    def _fill(self, timeout_ms: int) -> None:
        """Poll once into the buffers, and act on what the poll brought besides records."""
        started = time.monotonic()
        self._unpark()
        if self._consumer._coordinator.need_rejoin():  # noqa: SLF001
            timeout_ms = max(timeout_ms, JOIN_MS)
        try:
            fetched = self._consumer.poll(timeout_ms=timeout_ms, max_records=BUFFERED)
            # An outage raises nothing: polls are empty and the client has no connection.
            if fetched:
                self._fetched_s = time.monotonic()
            self._up = bool(fetched) or self._consumer.metrics()["consumer-metrics"]["connection-count"] > 0
        except OffsetOutOfRangeError as error:
            fetched = {}
            for where, offset in error.args[0].items():
                self._owner.gap(where.topic, where.partition, offset, self._earliest(where))
                self._consumer.seek_to_beginning(where)
        except KafkaError as error:
            if not error.retriable:
                raise SourceError(f"kafka: reading failed ({type(error).__name__}: {error.description})") from error
            log.warning("kafka_poll_failed error=%s", type(error).__name__)
            self._up, fetched = False, {}
        self._polled_ms += (time.monotonic() - started) * 1_000
        before = dict(self._buffers)
        self._settle()
        for where, records in fetched.items():
            buffers = self._buffers.get(where.partition)
            # One that was gained just now is read anew, from where it stands in the store.
            if buffers is not None and buffers is before.get(where.partition):
                buffer = buffers[where.topic]
                buffer.extend((self._polled_ms, record) for record in records)
                if len(buffer) >= BUFFERED:
                    self._consumer.pause(where)

    def _unpark(self) -> None:
        """Make room for what was left of a topic when it was paused, now that it goes on.

        kafka-python 3.0.12 puts that aside, fetches nothing of the topic meanwhile, and takes it up again only where nothing
        else is in line: an answer of another topic that is used up, or was empty, stays in line for ever.
        """
        fetcher = self._consumer._fetcher  # noqa: SLF001
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001

    def _earliest(self, where: TopicPartition) -> int | None:
        try:
            offset: int = self._consumer.beginning_offsets([where], timeout_ms=EARLIEST_MS)[where]
        except KafkaError:
            return None
        return offset

    def _settle(self) -> None:
        while self._news:
            gained, partitions = self._news[0]
            for partition in sorted(partitions):
                if partition in self._buffers:
                    self._lose(partition)
                if gained and self._is_assigned(partition):  # the group may have taken it back within the same poll
                    positions = self._owner.gained(partition)
                    try:
                        self.seek(partition, positions)
                    except ValueError:  # or just now: kafka-python says so of what is not assigned
                        self._lose(partition)
            self._news.pop(0)  # only now: what the owner could not load is told again

    def _is_assigned(self, partition: int) -> bool:
        assigned = self._consumer.assignment()
        return all(TopicPartition(topic, partition) in assigned for topic in self._role)

    def _lose(self, partition: int) -> None:
        del self._buffers[partition]
        self._owner.lost(partition)

    def _take(self, max_records: int) -> list[RawRecord]:
        """Up to ``max_records``, shared fairly between partition numbers, each in its order."""
        taken: list[RawRecord] = []
        owned = [partition for partition in self._buffers if self._holds_records(partition)]
        for count, partition in enumerate(owned):
            share = -(-(max_records - len(taken)) // (len(owned) - count))
            taken += islice(self._merged(partition), share)
        return taken

    def _merged(self, partition: int) -> Iterator[RawRecord]:
        buffers = self._buffers[partition]
        while True:
            waiting = [(buffer[0], topic) for topic, buffer in buffers.items() if buffer]
            if not waiting:
                return
            if canary := next((topic for (_, record), topic in waiting if headers.trip(record) is not None), None):
                yield self._next(partition, canary)  # it has no place among records, and must hold none of them back
                continue
            (arrived, _), topic = min(waiting, key=lambda one: (_stamp(one[0][1]), RANK[self._role[one[1]]]))
            empty = [name for name, buffer in buffers.items() if not buffer]
            if empty and self._polled_ms - arrived < self._merge_idle_ms:
                return
            if not all(self._at_end(name, partition) for name in empty):
                return
            yield self._next(partition, topic)

    def _next(self, partition: int, topic: str) -> RawRecord:
        """Take the next record of a topic."""
        buffer = self._buffers[partition][topic]
        _, record = buffer.popleft()
        if len(buffer) == BUFFERED // 2:
            self._consumer.resume(TopicPartition(topic, partition))
        stamp = _stamp(record)
        return RawRecord(
            role=self._role[record.topic],
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            next_offset=record.offset + 1,
            timestamp=stamp if stamp >= 0 else None,
            key=record.key,
            value=record.value,
            redriven=headers.redriven(record),
            trip=headers.trip(record),
        )

    def _holds_records(self, partition: int) -> bool:
        return any(self._buffers[partition].values())

    def _at_end(self, topic: str, partition: int) -> bool:
        here, end = self._position_and_end(TopicPartition(topic, partition))
        return here is not None and end is not None and here >= end

    def _position_and_end(self, where: TopicPartition) -> tuple[int | None, int | None]:
        """Where we read and where the topic ends. None = not known yet. Never asks the broker."""
        # position() would wait for the broker, and the merge asks for every record.
        state = self._consumer._subscription.assignment.get(where)  # noqa: SLF001
        position = state.position if state is not None else None
        return (position.offset if position is not None else None), (state.highwater if state is not None else None)


def _stamp(record: ConsumerRecord) -> int:
    """The broker's timestamp, ms. -1 = none: whoever may write can stamp a record with any 64-bit number, and one that
    is no instant would hold its topic back for ever in the merge and could not be written as a time.
    """
    stamp: int = record.timestamp
    return stamp if 0 <= stamp < LATEST else -1
