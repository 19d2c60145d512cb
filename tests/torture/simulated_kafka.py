"""Topics, a consumer group and a producer in memory: what ``KafkaSource`` asks of kafka-python, without a network.

The group lets members come and go at any moment. A member hears of it late, as one does that stood still: until then it
goes on reading, and writing, what another has by now.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from kafka.structs import TopicPartition

from pipelines.formats.canonical import KINDS
from pipelines.outbox import Told
from pipelines.settings import Settings
from pipelines.sources import Owner
from pipelines.sources.kafka import KafkaSource
from pipelines.store import OutboxRow
from tests.torture.courses import PARTITIONS, Logged


class Log:
    """The input topics, by topic and partition number, and the alert topic by itself."""

    def __init__(self, topics: Mapping[str, str], records: Sequence[Logged]) -> None:
        names = [TopicPartition(topics[role], number) for role in KINDS for number in range(PARTITIONS)]
        self.records: dict[TopicPartition, list[Any]] = {name: [] for name in names}
        self.alerts: list[bytes] = []
        self.dead: list[bytes] = []
        for one in records:
            where = TopicPartition(topics[one.role], one.partition)
            self.records[where].append(SimpleNamespace(
                topic=where.topic, partition=where.partition, offset=len(self.records[where]), timestamp=one.timestamp,
                key=one.key, value=one.value, headers=[],
            ))  # fmt: skip

    def ends(self) -> dict[TopicPartition, int]:
        return {where: len(records) for where, records in self.records.items()}


class Group:
    """Who has which partition numbers. Every change is a new generation."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.members: list[object] = []
        self.generation = 0
        self._shares: dict[int, list[int]] = {}

    def join(self, member: object) -> None:
        self.members.append(member)
        self.rebalance()

    def leave(self, member: object) -> None:
        self.members.remove(member)
        self.rebalance()

    def rebalance(self, without: object = None) -> None:
        """Share the numbers out anew; to none but others, where a member has not been heard of for too long."""
        self.generation += 1
        self._shares = {}
        takers = [one for one in self.members if one is not without]
        for number in range(PARTITIONS if takers else 0):
            self._shares.setdefault(id(self._rng.choice(takers)), []).append(number)

    def share_of(self, member: object) -> list[int]:
        return self._shares.get(id(member), [])


class Consumer:
    """The part of ``kafka.KafkaConsumer`` that ``KafkaSource`` uses. ``deaf`` is for how many polls it does not hear of a
    new generation and goes on as if nothing was, ``slow`` how often a fetch of a partition brings nothing yet.
    """

    def __init__(self, log: Log, group: Group, rng: random.Random, *, slow: float) -> None:
        self._log, self._group, self._rng = log, group, rng
        self.deaf, self.slow = 0, slow
        self._generation = 0
        self._numbers: list[int] = []
        self._subscription = SimpleNamespace(assignment={})
        self._coordinator = SimpleNamespace(request_rejoin=lambda: None, need_rejoin=lambda: False)
        self._fetcher = SimpleNamespace(_next_partition_records=None)
        self._committed: dict[TopicPartition, Any] = {}

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        self._topics, self._listener = list(topics), listener
        self._group.join(self)

    def poll(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        if self.deaf > 0:
            self.deaf -= 1
        elif self._generation != self._group.generation:
            self._hear()
        fetched = {}
        for where, state in self._subscription.assignment.items():
            if state.paused or state.position is None or self._rng.random() < self.slow:
                continue
            state.highwater = len(self._log.records[where])
            here = state.position.offset
            found = self._log.records[where][here : here + min(max_records, self._rng.randint(1, 6))]
            if found:
                state.position = SimpleNamespace(offset=here + len(found))
                fetched[where] = found
        return fetched

    def _hear(self) -> None:
        """The eager protocol: everything is given back, then the new share is taken, in this poll or in a later one."""
        if self._numbers:
            self._listener.on_partitions_revoked(list(self._subscription.assignment))
            self._numbers, self._subscription.assignment = [], {}
            if self._rng.random() < 0.5:
                return
        self._generation = self._group.generation
        self._numbers = self._group.share_of(self)
        mine = [TopicPartition(topic, number) for number in self._numbers for topic in self._topics]
        self._subscription.assignment = {
            one: SimpleNamespace(position=None, highwater=None, paused=False) for one in mine
        }
        self._listener.on_partitions_assigned(mine)

    def assignment(self) -> set[TopicPartition]:
        return set(self._subscription.assignment)

    def seek(self, where: TopicPartition, offset: int) -> None:
        state = self._subscription.assignment.get(where)
        if state is not None:
            state.position = SimpleNamespace(offset=offset)

    def seek_to_beginning(self, where: TopicPartition) -> None:
        self.seek(where, 0)

    def pause(self, where: TopicPartition) -> None:
        self._subscription.assignment[where].paused = True

    def resume(self, where: TopicPartition) -> None:
        if where in self._subscription.assignment:
            self._subscription.assignment[where].paused = False

    def commit_async(self, offsets: Mapping[TopicPartition, Any]) -> None:
        self._committed |= offsets

    def metrics(self) -> dict[str, dict[str, int]]:
        return {"consumer-metrics": {"connection-count": 1}}

    def close(self, **_options: object) -> None:
        self._group.leave(self)


class Source(KafkaSource):
    """``KafkaSource`` as it is, on a consumer of ours; nobody watches for stalls, because nothing here stalls."""

    def __init__(self, settings: Settings, owner: Owner, consumer: Consumer) -> None:
        self._owner = owner
        self._merge_idle_ms = 0
        self._role = {getattr(settings.kafka.topics, role): role for role in KINDS}
        self._buffers: dict[int, dict[str, deque[Any]]] = {}
        self._polled_ms = 0.0
        self._news: list[tuple[bool, frozenset[int]]] = []
        self._up = True
        self._consumer = consumer
        self._subscribe()

    def _watch(self) -> None:
        pass

    def up(self) -> bool:
        return True

    def lag(self) -> Mapping[tuple[str, int], int]:
        return {}

    def close(self) -> None:
        self._leave()


class Publisher:
    """Appends to the topics. ``fails`` is how often a send fails, half of them after the record has arrived; a key of
    which a record failed sends nothing more in this call, as the port asks.
    """

    def __init__(self, log: Log, rng: random.Random, *, fails: float) -> None:
        self._log, self._rng, self.fails = log, rng, fails

    def publish(self, rows: Sequence[OutboxRow]) -> Told:
        told = Told([], {})
        held: set[bytes | None] = set()
        for row in rows:
            topic, key = row.record.topic, row.record.key
            if topic == "alerts" and key in held:
                continue
            failed = self._rng.random() < self.fails
            if not failed or self._rng.random() < 0.5:
                {"alerts": self._log.alerts, "deadletters": self._log.dead}[topic].append(row.record.payload)
            if failed:
                held.add(key)
            else:
                told.arrived.append(row.id)
        return told

    def begin_again(self) -> None:
        pass

    def close(self) -> None:
        pass
