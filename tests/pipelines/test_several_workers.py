"""Two services of one group on a real Kafka and a real PostgreSQL: partitions change hands, and a worker that stood still
beyond its session wakes up as a zombie. The records are those of a replay.
"""

import signal
from contextlib import ExitStack, closing

import pytest
from kafka import KafkaProducer

from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode
from pipelines.simulate import events, random_ward
from tests.kafka.broker import create_topics
from tests.pipelines.live import Site, by_key, replayed

START = 1_900_022_400_000
PARTITIONS = 4
PARTS = 5
ROLES = dict(zip(RANK, KINDS, strict=False))


@pytest.fixture(scope="module")
def parts():
    """Two days of a simulated ward, one after the other."""
    course = events(random_ward(16, 4, 5), START, 48, 5)
    return [course[part * len(course) // PARTS : (part + 1) * len(course) // PARTS] for part in range(PARTS)]


@pytest.fixture
def write(tmp_path):
    """Events as a file."""

    def written(some, name):
        file = tmp_path / name
        file.write_bytes(b"".join(encode(event) + b"\n" for event in some))
        return file

    return written


@pytest.fixture
def site(kafka, postgresql, url_file, topic_prefix, tmp_path):
    store = {"url_file": str(url_file(postgresql))}
    site = Site(kafka.bootstrap, topic_prefix, tmp_path, store=store, poll={"max_records": 100})
    create_topics(kafka.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), PARTITIONS))
    return site


@pytest.fixture
def send(site):
    """Append events to the topics; `publish` would end the stays after them."""
    with closing(KafkaProducer(bootstrap_servers=site.bootstrap)) as producer:

        def sent(some):
            for event in some:
                key, at = event.patient_id.encode(), event.available_at
                producer.send(site.prefix + ROLES[type(event)], encode(event), key, timestamp_ms=at)
            producer.flush()

        yield sent


def owned(stream):
    return len(stream.lags()) / len(KINDS)


def caught_up(*streams):
    """Whether all partitions are owned, and read to their end."""
    lags = [lag for stream in streams for lag in stream.lags()]
    return len(lags) == PARTITIONS * len(KINDS) and not any(lags)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_partitions_change_hands_and_a_zombie_is_refused(site, parts, send, write, tmp_path):
    expected = replayed(tmp_path / "replay", write([event for part in parts for event in part], "all.ndjson"))
    send(parts[0])
    with ExitStack() as running:
        one = running.enter_context(site.streaming())
        one.wait(lambda: caught_up(one))
        two = running.enter_context(site.another("two").streaming())
        two.wait(lambda: owned(two) and caught_up(one, two))
        assert 0 < owned(one) < PARTITIONS, "both have some"

        send(parts[1])
        one.wait(lambda: any(one.lags()))
        one.process.send_signal(signal.SIGSTOP)  # it holds records that it has read and not committed
        send(parts[2])
        two.wait(lambda: caught_up(two))
        stored = len(site.stored())

        one.process.send_signal(signal.SIGCONT)
        one.wait(lambda: caught_up(one, two) and owned(one))
        assert "partition_fenced" in site.log.read_text(), "it tried to go on where it had stood still"
        assert stored == len(site.stored()), "what it held was told already"

        send(parts[3])
        one.wait(lambda: caught_up(one, two))
        two.stop()
        site.publish(write(parts[4], "last.ndjson"))
        one.wait(lambda: caught_up(one))
        one.stop()

    stored, published = site.stored(), site.published()
    assert len(expected) > 20
    assert expected == by_key(stored)
    assert len(expected) == len(stored)
    assert expected == by_key(published)
