import socket
import time
from contextlib import closing

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import TopicPartition

from detector.errors import ConfigError
from pipelines.canary.course import patient_id
from pipelines.errors import SourceError
from pipelines.formats.canonical import KINDS
from pipelines.settings import Kafka
from pipelines.sources.headers import REDRIVEN, TRIP
from pipelines.sources.kafka import KafkaSource
from tests.pipelines.sources.on_kafka import WAIT_S, Owner, read, send, until, values


def test_the_topics_of_a_partition_are_merged_by_timestamp_then_topic_then_offset(inputs, open_source):
    kafka = inputs()
    send(
        kafka,
        ("observations", 3, b"third"), ("observations", 5, b"sixth"), ("observations", 5, b"seventh"),
        ("encounters", 1, b"first"), ("encounters", 5, b"fourth"), ("pumps", 5, b"fifth"), ("context", 2, b"second"),
        ("acknowledgements", 6, b"eighth"),
    )  # fmt: skip
    records = read(open_source(kafka, Owner(), merge_idle_ms=300), 8)

    assert [b"first", b"second", b"third", b"fourth", b"fifth", b"sixth", b"seventh", b"eighth"] == values(records)
    first = records[0]

    assert ("encounters", 0, 1, 1, b"k") == (first.role, first.offset, first.next_offset, first.timestamp, first.key)


def test_a_record_waits_for_a_topic_that_has_nothing(inputs, open_source):
    kafka = inputs()
    source = open_source(kafka, owner := Owner(), merge_idle_ms=1_500)
    until(lambda: owner.owned, source)
    send(kafka, ("observations", 9, b"later"))

    assert [] == source.poll(100, 500)

    send(kafka, ("encounters", 1, b"sooner"))

    assert [b"sooner", b"later"] == values(read(source, 2))


def test_many_records_keep_their_order_whatever_the_size_of_a_poll(inputs, open_source):
    kafka = inputs(2)
    wanted = {0: [], 1: []}
    records = []
    for n in range(3_000):
        role = ("observations", "observations", "context", "pumps")[n % 4]
        records.append((role, n, b"%d" % n, n % 2))
        wanted[n % 2].append(b"%d" % n)
    send(kafka, *records)
    taken = read(open_source(kafka, Owner(), merge_idle_ms=500), 3_000, most=170)

    for partition in (0, 1):
        assert wanted[partition] == [record.value for record in taken if record.partition == partition]


def test_a_topic_that_was_paused_in_the_middle_of_what_was_fetched_goes_on(inputs, open_source, monkeypatch):
    monkeypatch.setattr("pipelines.sources.kafka.BUFFERED", 40)
    kafka = inputs()
    send(kafka, *(("observations", n, b"%d" % n) for n in range(1_000)), ("context", 2_000, b"last"))
    source = open_source(kafka, owner := Owner(), merge_idle_ms=100)

    assert [b"%d" % n for n in range(1_000)] + [b"last"] == values(read(source, 1_001, most=30))
    assert not {"stalled", "recreated"} & {what for what, *_ in owner.told}


def test_reading_begins_at_the_stored_positions_and_at_the_earliest_without_one(inputs, open_source):
    kafka = inputs()
    send(kafka, *(("observations", n, b"o%d" % n) for n in range(5)), ("pumps", 9, b"p"))
    owner = Owner({0: {kafka.topics.observations: 3}})

    assert [b"o3", b"o4", b"p"] == values(read(open_source(kafka, owner, merge_idle_ms=300), 3))
    assert {0} == owner.owned


def test_seek_forgets_what_is_buffered(inputs, open_source):
    kafka = inputs()
    send(kafka, *(("observations", n, b"%d" % n) for n in range(5)))
    source = open_source(kafka, Owner())

    assert [b"0", b"1"] == values(read(source, 2, most=2))

    source.seek(0, {kafka.topics.observations: 1})

    assert [b"1", b"2", b"3", b"4"] == values(read(source, 4))


def test_an_offset_that_is_gone_is_told_and_reading_resumes_at_the_earliest(inputs, open_source):
    kafka = inputs()
    send(kafka, *(("observations", n, b"%d" % n) for n in range(5)))
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.delete_records({TopicPartition(kafka.topics.observations, 0): 3})
    owner = Owner({0: {kafka.topics.observations: 1}})

    assert [b"3", b"4"] == values(read(open_source(kafka, owner), 2))
    assert ("gap", kafka.topics.observations, 0, 1, 3) in owner.told


def test_idle_and_lag_say_how_far_behind_we_are(inputs, open_source):
    kafka = inputs()
    send(kafka, *(("observations", n, b"%d" % n) for n in range(5)))
    source = open_source(kafka, Owner())
    read(source, 2, most=2)

    assert 3 == source.lag()[kafka.topics.observations, 0]
    assert not source.idle(0)

    read(source, 3)

    assert 0 == source.lag()[kafka.topics.observations, 0]
    assert source.idle(0)
    assert source.up()


def test_partitions_move_to_a_second_member_and_back(inputs, open_source):
    kafka = inputs(2)
    first, second = Owner(), Owner()
    one = open_source(kafka, first)
    until(lambda: {0, 1} == first.owned, one)

    two = KafkaSource(kafka, second, record_bytes=1 << 20, merge_idle_ms=0)
    until(lambda: len(first.owned) == len(second.owned) == 1, one, two)

    assert {0, 1} == first.owned | second.owned

    two.close()

    assert set() == second.owned

    until(lambda: {0, 1} == first.owned, one)


def test_a_rebalance_for_new_partitions_that_outlasts_a_poll_is_not_forgotten(inputs, open_source):
    """kafka-python 3.0.12 forgets it, and then owns nothing and sends no heartbeats, for ever."""
    kafka, owner = inputs(), Owner()
    source = open_source(kafka, owner)
    until(lambda: {0} == owner.owned, source)
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)) as admin:
        admin.create_partitions({getattr(kafka.topics, role): 2 for role in KINDS})
    source._consumer._client.cluster.request_update()  # it asks by itself every five minutes

    deadline = time.monotonic() + WAIT_S
    while {0, 1} != owner.owned and time.monotonic() < deadline:
        source.poll(100, 0)  # as while there are records: no answer of the broker comes within it
        time.sleep(0.01)

    assert {0, 1} == owner.owned


def test_a_canary_is_taken_before_whatever_its_timestamp_says_and_holds_nothing_back(inputs, open_source):
    kafka, late = inputs(), 9_000_000_000_000
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)) as producer:
        for role, key, stamp, trip in (
            ("observations", b"p", 2, None), ("observations", patient_id(0).encode(), late, b"7"),
            ("observations", b"p", 4, None), ("pumps", patient_id(0).encode(), late, b"7"), ("pumps", b"p", 3, None),
            ("pumps", b"p", 5, b"7"), ("context", patient_id(0).encode(), 6, b"x"),
        ):  # fmt: skip
            headers = [] if trip is None else [(TRIP, trip)]
            topic = getattr(kafka.topics, role)
            producer.send(topic, b"x", key, partition=0, timestamp_ms=stamp, headers=headers).get(WAIT_S)

    records = read(open_source(kafka, Owner(), merge_idle_ms=500), 7)

    assert [2, 3, 4, 5, 6] == [record.timestamp for record in records if record.trip is None]
    assert [7, 7] == [record.trip for record in records if record.trip is not None]
    assert 7 == len(records)


def test_a_redriven_record_names_its_dead_letter(inputs, open_source):
    kafka = inputs()
    send(kafka, ("observations", 1, b"x", 0, [(REDRIVEN, b"42")]), ("observations", 2, b"y", 0, [(REDRIVEN, b"?")]))

    assert [42, None] == [record.redriven for record in read(open_source(kafka, Owner()), 2)]


@pytest.mark.parametrize("number", [b"9" * 19, b"9" * 5_000, b"-1", b"\xd9\xa1", b""])
def test_a_number_that_no_dead_letter_has_names_none(inputs, open_source, number):
    kafka = inputs()
    send(kafka, ("observations", 1, b"x", 0, [(REDRIVEN, number)]))

    assert [None] == [record.redriven for record in read(open_source(kafka, Owner()), 1)]


def test_a_stamp_that_is_no_instant_counts_as_none_and_holds_nothing_back(inputs, open_source):
    kafka = inputs()
    send(
        kafka, ("pumps", 1 << 62, b"first"), ("pumps", 3, b"third"), ("observations", 2, b"second"),
        ("observations", 4, b"fourth"),
    )  # fmt: skip
    records = read(open_source(kafka, Owner(), merge_idle_ms=500), 4)

    assert [b"first", b"second", b"third", b"fourth"] == values(records)
    assert [None, 2, 3, 4] == [record.timestamp for record in records]


def test_a_tombstone_comes_through(inputs, open_source):
    kafka = inputs()
    send(kafka, ("observations", 1, None))

    assert [None] == values(read(open_source(kafka, Owner()), 1))


def test_unequal_partition_counts_name_the_two_topics(inputs):
    kafka = inputs(2, pumps=3)
    with pytest.raises(ConfigError, match=r"encounters' and '.*pumps' have 2 and 3 partitions"):
        KafkaSource(kafka, Owner(), record_bytes=1 << 20, merge_idle_ms=0)


def test_a_missing_topic_is_named(inputs):
    kafka = inputs()
    named = kafka.topics.model_copy(update={"context": kafka.topics.context + "x"})
    with pytest.raises(ConfigError, match=r"contextx' does not exist.*did you mean"):
        KafkaSource(kafka.model_copy(update={"topics": named}), Owner(), record_bytes=1 << 20, merge_idle_ms=0)


def test_a_broker_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("pipelines.kafka_clients.BOOTSTRAP_MS", 1_000)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SourceError, match=rf"{server} does not answer within 1 s"):
            KafkaSource(Kafka(bootstrap_servers=[server]), Owner(), record_bytes=1 << 20, merge_idle_ms=0)
