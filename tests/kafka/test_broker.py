"""The broker that other tests stand on is a real one, and survives what they will do to it."""

import itertools
from collections.abc import Callable

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.structs import TopicPartition

from tests.kafka.broker import Broker, create_topics


def produce(bootstrap: str, topic: str, values: list[bytes], timestamp_ms: int | None = None) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
    try:
        for value in values:
            producer.send(topic, value, partition=0, timestamp_ms=timestamp_ms).get(timeout=30)
    finally:
        producer.close()


def consume(bootstrap: str, topic: str, count: int) -> list[tuple[int, int, bytes]]:
    """Read `count` records of partition 0 as (offset, timestamp, value), or fewer when none comes for 20 s."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, consumer_timeout_ms=20_000)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        return [(record.offset, record.timestamp, record.value) for record in itertools.islice(consumer, count)]
    finally:
        consumer.close()


def test_what_is_produced_is_consumed_in_order(kafka: Broker, topics: Callable[..., dict[str, str]]) -> None:
    topic = topics(observations=1)["observations"]
    values = [b"%d" % number for number in range(100)]
    produce(kafka.bootstrap, topic, values)

    assert values == [value for _, _, value in consume(kafka.bootstrap, topic, 100)]


@pytest.mark.parametrize(
    "timestamp_ms", [0, 946_684_800_000, 4_102_444_800_000], ids=["epoch", "year-2000", "year-2100"]
)
def test_a_record_keeps_the_timestamp_of_its_producer_however_old_or_far_ahead(
    kafka: Broker, topics: Callable[..., dict[str, str]], timestamp_ms: int
) -> None:
    topic = topics(observations=1)["observations"]
    produce(kafka.bootstrap, topic, [b"x"], timestamp_ms)

    assert [(0, timestamp_ms, b"x")] == consume(kafka.bootstrap, topic, 1)


def test_a_topic_has_the_partitions_asked_for(kafka: Broker, topics: Callable[..., dict[str, str]]) -> None:
    names = topics(observations=4, pumps=2)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        described = admin.describe_topics(list(names.values()))
    finally:
        admin.close()

    assert {names["observations"]: 4, names["pumps"]: 2} == {
        topic["name"]: len(topic["partitions"]) for topic in described
    }


def test_acknowledged_records_survive_a_kill_and_the_address_stays(new_broker: Callable[..., Broker]) -> None:
    broker = new_broker()
    address = broker.bootstrap
    create_topics(address, {"observations": 1})
    produce(address, "observations", [b"before"])

    broker.kill()
    broker.start()
    produce(address, "observations", [b"after"])

    assert address == broker.bootstrap
    assert [b"before", b"after"] == [value for _, _, value in consume(address, "observations", 2)]


def test_a_paused_broker_answers_nobody_and_a_resumed_one_goes_on(new_broker: Callable[..., Broker]) -> None:
    broker = new_broker()
    create_topics(broker.bootstrap, {"observations": 1})

    broker.pause()
    with pytest.raises(TimeoutError):
        broker.wait_until_ready(within_s=3)
    broker.resume()
    broker.wait_until_ready(within_s=20)
    produce(broker.bootstrap, "observations", [b"x"])

    assert [b"x"] == [value for _, _, value in consume(broker.bootstrap, "observations", 1)]
