"""The watchdog by a clock of its own, and on real stalls of a real consumer."""

import time
from contextlib import closing

import pytest
from kafka import KafkaProducer
from kafka.structs import TopicPartition

from pipelines.errors import NoProgress
from pipelines.formats.canonical import KINDS
from pipelines.settings import Kafka, Topics
from pipelines.sources.kafka import KafkaSource
from pipelines.sources.watchdog import TRIES, Ends, Watchdog
from tests.kafka.broker import create_topics
from tests.pipelines.sources.on_kafka import Owner, read, send, until, values

LAB = TopicPartition("labs", 0)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def watch():
    """Look once a second, so many times; returns how often the topic had stalled."""
    clock = Clock()
    watchdog = Watchdog(4, clock)

    def looks(count, position, end, step=1.0):
        stalled = 0
        for _ in range(count):
            clock.now += step
            stalled += len(watchdog.look({LAB: position}, {} if end is None else {LAB: end}))
        return stalled

    looks.watchdog = watchdog
    return looks


def test_a_position_that_stands_still_before_the_end_has_stalled(watch):
    assert 0 == watch(4, 7, 8)
    assert 1 == watch(1, 7, 8)


def test_a_stall_is_told_again_only_after_as_long_once_more(watch):
    assert 2 == watch(9, 7, 8)


def test_a_position_at_the_end_never_stalls(watch):
    assert 0 == watch(50, 8, 8)


def test_a_position_that_moves_never_stalls(watch):
    assert 0 == sum(watch(3, position, 100) for position in range(20))


def test_what_waited_before_it_moved_does_not_count(watch):
    assert 0 == watch(4, 7, 9) + watch(4, 8, 9)


def test_whatever_stops_the_asking_it_is_asked_again():
    class Broken:
        def end_offsets(self, *_, **__):
            raise AttributeError("a mistake of the client library")

        def close(self, **_):
            pass

    class Whole(Broken):
        def end_offsets(self, wanted, **_):
            return dict.fromkeys(wanted, 8)

    clients = [Broken(), Whole()]
    ends = Ends(lambda: clients.pop(0))
    ends.want([LAB])
    ends.start()
    deadline = time.monotonic() + 20
    while not ends.known() and time.monotonic() < deadline:
        time.sleep(0.05)
    ends.close()

    assert {LAB: 8} == ends.known()


class Answers:
    """A client that raises each of these in turn, None = it answers; the last for ever."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.asked = 0

    def end_offsets(self, wanted, **_):
        self.asked += 1
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error
        return dict.fromkeys(wanted, 8)

    def close(self, **_):
        pass


@pytest.mark.parametrize(("errors", "warned"), [((KeyError(), None), 0), ((KeyError(),), 1)])
def test_only_ends_that_stay_unknown_are_worth_a_warning(errors, warned, monkeypatch, caplog):
    monkeypatch.setattr("pipelines.sources.watchdog.ASK_S", 0.05)
    monkeypatch.setattr("pipelines.sources.watchdog.FRESH_S", 0.25)
    client = Answers(*errors)
    ends = Ends(lambda: client)
    ends.want([LAB])
    ends.start()
    deadline = time.monotonic() + 20
    while client.asked < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    ends.close()

    assert client.asked >= 20
    assert warned == sum("ends_unknown error=KeyError" in one for one in caplog.messages)


def test_while_nobody_knows_the_end_nothing_stalls(watch):
    assert 0 == watch(4, 7, 8) + watch(50, 7, None) + watch(4, 7, 8)


def test_time_spent_elsewhere_does_not_count_as_standing_still(watch):
    assert 0 == watch(4, 7, 8, step=60.0)


def test_it_gives_up_when_nothing_moved_between_so_many_tries(watch):
    tries = [watch.watchdog.given_up([LAB], {LAB: 7}) for _ in range(TRIES + 1)]

    assert [False] * TRIES + [True] == tries


def test_progress_between_two_stalls_counts_from_the_beginning(watch):
    assert not any(watch.watchdog.given_up([LAB], {LAB: position}) for position in range(50))


# -- a real consumer -----------------------------------------------------------------------------------------------------


def wedge(client):
    """What kafka-python 3.0 does to itself: every node is marked as fetched from, and the mark is never cleared."""
    fetcher = client._fetcher
    fetcher._nodes_with_pending_fetch_requests.update(node.node_id for node in client._client.cluster.brokers())
    fetcher._clear_pending_fetch_request = lambda *_: None


def test_a_consumer_that_went_silent_is_made_anew_and_reads_on(inputs, open_source):
    kafka = inputs().model_copy(update={"stall_ms": 2_000})
    source = open_source(kafka, owner := Owner())
    send(kafka, ("observations", 1, b"before"))

    assert [b"before"] == values(read(source, 1))

    owner.positions[0] = {kafka.topics.observations: 1}
    wedge(source._consumer)
    source.poll(1, 600)  # a fetch that was on its way comes in
    send(kafka, ("observations", 2, b"after"))
    until(lambda: source.lag().get((kafka.topics.observations, 0)) == 1, source)

    assert [b"after"] == values(read(source, 1))
    begun_anew = [("lost", 0), ("recreated", None), ("gained", 0)]

    assert [("stalled", kafka.topics.observations, 0), *begun_anew] == owner.told[1:5]


def test_standing_still_whatever_is_tried_ends_with_the_place_where_it_stands(inputs, monkeypatch):
    kafka = inputs().model_copy(update={"stall_ms": 1_000})
    send(kafka, ("pumps", 1, b"never read"))
    subscribe = KafkaSource._subscribe

    def wedged(source):
        source._consumer._fetcher._create_fetch_requests = dict
        subscribe(source)

    monkeypatch.setattr(KafkaSource, "_subscribe", wedged)
    source = KafkaSource(kafka, owner := Owner(), record_bytes=1 << 20, merge_idle_ms=0)
    with closing(source), pytest.raises(NoProgress, match=r"pumps', partition 0: nothing comes from offset 0"):
        read(source, 1)

    assert TRIES == owner.told.count(("recreated", None))


def test_the_marker_at_the_end_of_a_transaction_is_no_stall(inputs, open_source):
    kafka = inputs().model_copy(update={"stall_ms": 1_000})
    source = open_source(kafka, owner := Owner())
    until(lambda: owner.owned, source)
    options = {"transactional_id": kafka.group_id, "bootstrap_servers": kafka.bootstrap_servers}
    with closing(KafkaProducer(**options)) as producer:
        producer.init_transactions()
        for value in (b"committed", b"aborted"):
            producer.begin_transaction()
            producer.send(kafka.topics.observations, value, b"k", partition=0).get(timeout=20)
            (producer.commit_transaction if value == b"committed" else producer.abort_transaction)()

    assert [b"committed"] == values(read(source, 1))

    for _ in range(50):
        assert [] == source.poll(100, 100)
    assert {"gained", "lost"} >= {what for what, *_ in owner.told}
    assert source.idle(0)
    assert 0 == source.lag()[kafka.topics.observations, 0]


# The library leaves the socket of a connection that was still being made when its client is closed to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_that_stands_still_with_its_connections_open_is_seen_within_ten_seconds(new_broker, open_source):
    broker = new_broker()
    create_topics(broker.bootstrap, dict.fromkeys([*KINDS, "alerts", "deadletters"], 1))
    names = Topics(**{role: role for role in (*KINDS, "alerts", "deadletters")})
    source = open_source(Kafka(bootstrap_servers=[broker.bootstrap], topics=names), Owner())
    until(lambda: source.idle(0), source)
    assert source.up()

    broker.pause()
    try:
        stood_s = time.monotonic()
        until(lambda: not source.up(), source)
        assert time.monotonic() - stood_s < 10
    finally:
        broker.resume()
    until(source.up, source)
