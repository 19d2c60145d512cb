"""A source on a real broker, stepped by hand: its owner, and what puts records in and takes them out."""

import time
from contextlib import closing

from kafka import KafkaProducer

WAIT_S = 20


class Owner:
    """Remembers what it was told; answers with positions by partition number."""

    def __init__(self, positions=None):
        self.positions = positions or {}
        self.told = []

    def gained(self, partition):
        self.told.append(("gained", partition))
        return self.positions.get(partition, {})

    def lost(self, partition):
        self.told.append(("lost", partition))

    @property
    def owned(self):
        mine = set()
        for what, partition, *_ in self.told:
            {"gained": mine.add, "lost": mine.discard}.get(what, lambda _: None)(partition)
        return mine

    def gap(self, topic, partition, wanted, earliest):
        self.told.append(("gap", topic, partition, wanted, earliest))

    def stalled(self, topic, partition):
        self.told.append(("stalled", topic, partition))

    def recreated(self):
        self.told.append(("recreated", None))


def send(kafka, *records):
    """(role, timestamp, value[, partition[, headers]]), one after the other."""
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)) as producer:
        for role, timestamp, value, *more in records:
            partition, headers = (*more, *(0, None)[len(more) :])
            producer.send(
                getattr(kafka.topics, role), value, b"k", partition=partition, timestamp_ms=timestamp, headers=headers
            )
        producer.flush(timeout=WAIT_S)


def read(source, count, most=100):
    records = []
    deadline = time.monotonic() + WAIT_S
    while len(records) < count and time.monotonic() < deadline:
        records += source.poll(most, 200)
    return records


def until(holds, *sources):
    """Poll the sources in turn until something holds."""
    deadline = time.monotonic() + WAIT_S
    while not holds() and time.monotonic() < deadline:
        for source in sources:
            source.poll(100, 100)

    assert holds()


def values(records):
    return [record.value for record in records]
