import json
import os
import time
from contextlib import closing

import pytest
from kafka import KafkaConsumer
from kafka.errors import NotLeaderForPartitionError, UnknownTopicOrPartitionError
from kafka.structs import TopicPartition

from pipelines import kafka_clients
from pipelines.errors import SourceError
from pipelines.outbox import FilePublisher, KafkaPublisher, _first_of_each_key
from pipelines.settings import File, Kafka, Topics
from pipelines.store import OutboxRow, Outgoing
from tests.kafka.broker import create_topics


def rows(*keys, topic="alerts"):
    return [OutboxRow(n, Outgoing(topic, key, b'{"n":%d}' % n, 1_000 + n)) for n, key in enumerate(keys)]


def test_records_of_one_key_never_travel_together():
    wave, rest = _first_of_each_key(rows(b"a", b"b", b"a", None, None, b"b", b"a"))

    assert [0, 1, 3, 4] == [row.id for row in wave]
    assert [2, 5, 6] == [row.id for row in rest]


def test_files_get_a_line_each_and_only_their_owner_may_read_them(tmp_path):
    publisher = FilePublisher(File(alerts=str(tmp_path / "alerts"), deadletters=str(tmp_path / "dead")))

    assert [0, 1] == publisher.publish(rows(b"a", b"a")).arrived
    assert [0] == publisher.publish(rows(None, topic="deadletters")).arrived
    publisher.close()

    assert [0, 1] == [json.loads(line)["n"] for line in (tmp_path / "alerts").read_text().splitlines()]
    assert 0o600 == (tmp_path / "dead").stat().st_mode & 0o777


@pytest.mark.parametrize("before", [b"", b'{"type":"alert","n":8}\n'])
@pytest.mark.parametrize("cut", [b"{", b'{"type":"' + 200_000 * b"x", b"MSH|^~"])
def test_a_line_that_was_cut_short_is_taken_back_when_its_record_is_sent_again(tmp_path, before, cut):
    path = tmp_path / "alerts"
    path.write_bytes(before + cut)
    publisher = FilePublisher(File(alerts=str(path)))
    publisher.publish(rows(b"a"))
    publisher.close()

    assert before + b'{"n":0}\n' == path.read_bytes()


def test_what_is_not_ours_is_ended_and_never_taken_back(tmp_path):
    path = tmp_path / "alerts"
    path.write_bytes(b"notes of somebody")
    publisher = FilePublisher(File(alerts=str(path)))
    publisher.publish(rows(b"a"))
    publisher.close()

    assert b'notes of somebody\n{"n":0}\n' == path.read_bytes()


@pytest.mark.parametrize("gone", ["moved", "deleted", "another in its place", "link turned", "emptied"])
def test_a_file_that_is_rotated_while_it_is_written_loses_no_line(tmp_path, gone):
    path, old = tmp_path / "alerts", tmp_path / "alerts.1"
    if gone == "link turned":
        path.symlink_to(old)
    publisher = FilePublisher(File(alerts=str(path)))
    publisher.publish(rows(b"a"))
    match gone:
        case "moved":
            path.rename(old)
        case "deleted":
            path.unlink()
        case "another in its place":
            path.rename(old)
            path.write_bytes(b'{"type":"alert","n":8}\n')
        case "link turned":
            path.unlink()
            path.symlink_to(tmp_path / "alerts.2")
        case _:  # logrotate's copytruncate
            old.write_bytes(path.read_bytes())
            os.truncate(path, 0)
    publisher.publish(rows(b"a", b"a"))
    publisher.close()

    assert b'{"n":0}\n{"n":1}\n' == path.read_bytes()[-16:]
    assert (gone == "deleted" and not old.exists()) or b'{"n":0}\n' == old.read_bytes()


def test_a_file_that_is_deleted_while_it_is_written_is_written_again(tmp_path, monkeypatch):
    path = tmp_path / "alerts"
    publisher = FilePublisher(File(alerts=str(path)))
    written = os.fsync

    def deleted(descriptor):
        written(descriptor)
        monkeypatch.undo()
        path.unlink()

    monkeypatch.setattr(os, "fsync", deleted)
    publisher.publish(rows(b"a"))
    publisher.close()

    assert b'{"n":0}\n' == path.read_bytes()


def test_a_full_disk_is_told_by_the_name_of_the_file_and_closing_raises_nothing():
    publisher = FilePublisher(File(alerts="/dev/full"))
    with pytest.raises(SourceError, match="/dev/full cannot be written"):
        publisher.publish(rows(b"a"))
    publisher.close()


def test_standard_output_is_a_file_too(capfdbinary):
    publisher = FilePublisher(File())
    publisher.publish(rows(b"a"))
    publisher.close()

    assert b'{"n":0}\n' == capfdbinary.readouterr().out


def test_a_file_that_cannot_be_written_ends_the_service(tmp_path):
    publisher = FilePublisher(File(alerts=str(tmp_path / "no" / "alerts")))
    with pytest.raises(SourceError, match="cannot be written"):
        publisher.publish(rows(b"a"))


def test_alerts_arrive_in_kafka_with_key_and_time_in_the_order_of_each_key(kafka, topics, topic_prefix):
    names = topics(alerts=3, deadletters=1)
    settings = Kafka(bootstrap_servers=[kafka.bootstrap], topics=Topics(**names), group_id=topic_prefix)
    publisher = KafkaPublisher(settings)
    sent = rows(*(b"%d" % (n % 5) for n in range(40)))

    assert [row.id for row in sent] == sorted(publisher.publish(sent).arrived)
    publisher.close()

    consumer = KafkaConsumer(
        names["alerts"], bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3_000
    )
    got = list(consumer)
    consumer.close()

    assert 40 == len(got)
    for key in {record.key for record in got}:
        mine = [record.timestamp for record in got if record.key == key]
        assert mine == sorted(mine)
        assert [row.record.timestamp for row in sent if row.record.key == key] == mine


def test_a_record_that_the_broker_never_takes_is_refused_and_every_other_key_goes_on(kafka, topics, topic_prefix):
    names = topics(alerts=1, deadletters=1)
    settings = Kafka(bootstrap_servers=[kafka.bootstrap], topics=Topics(**names), group_id=topic_prefix)
    publisher = KafkaPublisher(settings)
    noise = os.urandom(2 << 20)  # no compression makes it small
    sent = rows(b"a", b"b", b"a", b"c")
    too_large = OutboxRow(9, Outgoing("alerts", b"b", noise, 1_000))
    told = publisher.publish([too_large, *sent, OutboxRow(10, Outgoing("deadletters", None, noise, 1_000))])
    later = publisher.publish(rows(b"b"))
    publisher.close()

    assert [0] == later.arrived
    assert [0, 1, 2, 3] == sorted(told.arrived)
    assert {9: "MessageSizeTooLargeError", 10: "MessageSizeTooLargeError"} == told.refused


def test_the_handover_of_a_dense_patient_arrives_whole(kafka, topic_prefix):
    settings = Kafka(
        bootstrap_servers=[kafka.bootstrap], topics=Topics(merges=topic_prefix + "merges"), group_id=topic_prefix
    )
    kafka_clients.create_topics(settings, [settings.topics.merges], 1)
    publisher = KafkaPublisher(settings)
    handover = os.urandom(6 << 20).hex().encode()  # 12 MiB, half of it after compression

    assert [1] == publisher.publish([OutboxRow(1, Outgoing("merges", b"p", handover, 1_000))]).arrived
    publisher.close()

    with closing(kafka_clients.consumer(settings, fetch_bytes=kafka_clients.MERGE_BYTES)) as consumer:
        here = TopicPartition(settings.topics.merges, 0)
        consumer.assign([here])
        consumer.seek(here, 0)
        until, got = time.monotonic() + 30, {}
        while not got and time.monotonic() < until:
            got = consumer.poll(timeout_ms=500)

    assert [handover] == [record.value for record in got[here]]


class _Future:
    def __init__(self, exception):
        self.exception = exception
        self.is_done = True

    def get(self, timeout):
        if self.exception:
            raise self.exception


class _Producer:
    """Fails the payloads it was told to."""

    def __init__(self, fails):
        self.fails = fails
        self.sent = []

    def close(self, timeout):
        pass

    def send(self, topic, *, key, value, timestamp_ms):
        self.sent.append((topic, key, value))
        return _Future(self.fails.get((topic, key)))


@pytest.fixture
def publisher_that_fails():
    def make(fails):
        publisher = KafkaPublisher(Kafka())
        publisher._producer = _Producer(fails)
        return publisher

    return make


def test_a_failure_that_may_pass_holds_back_its_own_key_only(publisher_that_fails):
    publisher = publisher_that_fails({("itb.alerts", b"b"): NotLeaderForPartitionError()})
    told = publisher.publish(rows(b"a", b"b", b"c", b"b", b"a"))

    assert ([0, 2, 4], {}) == told
    assert 1 == sum(key == b"b" for _, key, _ in publisher._producer.sent)


def test_a_topic_that_is_not_there_is_asked_for_once_and_holds_back_no_other(publisher_that_fails):
    missing = {("itb.deadletters", key): UnknownTopicOrPartitionError() for key in (b"a", b"b", None)}
    publisher = publisher_that_fails(missing)
    letters = [row._replace(id=row.id + 10) for row in rows(b"a", b"b", None, topic="deadletters")]
    told = publisher.publish([*rows(b"a", b"b", b"b"), *letters])

    assert ([0, 1, 2], {}) == told
    assert 1 == sum(topic == "itb.deadletters" for topic, _, _ in publisher._producer.sent)


def test_while_the_broker_is_silent_nothing_arrives_and_the_wait_is_bounded(new_broker, monkeypatch):
    monkeypatch.setattr("pipelines.outbox.PUBLISH_S", 1.0)
    broker = new_broker()
    create_topics(broker.bootstrap, {"itb.alerts": 1})
    publisher = KafkaPublisher(Kafka(bootstrap_servers=[broker.bootstrap], delivery_timeout_ms=60_000))

    assert [0] == publisher.publish(rows(b"a")).arrived

    broker.pause()
    started = time.monotonic()
    later = [row._replace(id=row.id + 10) for row in rows(b"a", b"a", b"b")]

    assert [] == publisher.publish(later).arrived
    assert time.monotonic() - started < 5

    broker.resume()
    arrived = []
    while len(arrived) < 3 and time.monotonic() - started < 60:
        arrived += publisher.publish([row for row in later if row.id not in arrived]).arrived
    publisher.close()

    assert {10, 11, 12} == set(arrived)
