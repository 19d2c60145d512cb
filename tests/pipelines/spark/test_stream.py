"""The stream on Spark, with a real broker: the records of a replay, whether it was killed on the way or not."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer

from detector.clock import DAY
from detector.events import TimeMoved
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, decode, encode
from tests.pipelines.live import Site, by_key, done, finished, itbwatch, replayed

PARTITIONS = 2
ROLE = {kind: role for role, kind in KINDS.items()}
WAIT_S = 400  # two starts of Spark on a busy machine


@pytest.fixture(scope="module")
def ward(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "ward"
    done("simulate", "--beds", 4, "--days", 2, "--published-case", "--out", folder)
    return folder / "ward.ndjson"


@pytest.fixture(scope="module")
def events(ward):
    """Its events in the one order."""
    found = [decode(line) for line in ward.read_bytes().splitlines()]
    return sorted(found, key=lambda event: (event.available_at, RANK[type(event)]))


@pytest.fixture(scope="module")
def expected(ward, tmp_path_factory):
    records = replayed(tmp_path_factory.mktemp("replay") / "out", ward)

    assert len(records) > 20
    return records


@pytest.fixture
def site(kafka, topics, topic_prefix, tmp_path, spark_jars) -> Site:
    topics(**dict.fromkeys((*KINDS, "alerts", "deadletters"), PARTITIONS))
    spark = {
        "jars": str(spark_jars), "checkpoint": str(tmp_path / "checkpoint"), "trigger_ms": 0,
        "options": {"spark.driver.memory": "1g", "spark.sql.shuffle.partitions": "2"},
    }  # fmt: skip
    return Site(kafka.bootstrap, topic_prefix, tmp_path, spark=spark)


def send(site: Site, events: Sequence[object], until: int | None = None) -> None:
    """Write events as their hospital would; ``until`` also moves time on, on every partition."""
    with closing(KafkaProducer(bootstrap_servers=site.bootstrap, acks="all")) as out:
        for event in events:
            out.send(
                site.prefix + ROLE[type(event)], encode(event), event.patient_id.encode(),
                timestamp_ms=event.available_at,
            )  # fmt: skip
        for partition in range(PARTITIONS if until else 0):
            value = encode(TimeMoved(at=until))
            out.send(site.prefix + "observations", value, partition=partition, timestamp_ms=until)
        out.flush()


class OnSpark:
    """One run of ``stream --engine spark``: Python, Java and Spark's workers in a process group of their own."""

    def __init__(self, process: subprocess.Popen[bytes], site: Site) -> None:
        self._process, self._site = process, site

    def wait(self, least: int) -> None:
        """Until so many records are published."""
        deadline = time.monotonic() + WAIT_S
        while (count := len(by_key(self._site.published()))) < least:
            assert self._process.poll() is None, self._site.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"{count} of {least} records; {self._site.log.read_text()[-3000:]}"
            time.sleep(1)

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()

        assert 0 == self._process.wait(60), self._site.log.read_text()[-3000:]


@contextmanager
def streaming(site: Site, master: str) -> Iterator[OnSpark]:
    config = json.loads(site.config.read_text())
    config["spark"]["master"] = master
    site.config.write_text(json.dumps(config))
    with site.log.open("a") as errors:
        words = itbwatch("stream", "--engine", "spark", "--config", site.config)
        process = subprocess.Popen(words, stderr=errors, start_new_session=True)
    try:
        yield OnSpark(process, site)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_killed_on_two_executors_and_started_again_from_its_checkpoint_it_gives_the_records_of_a_replay(
    site, events, expected
):
    half, most = len(events) // 2, len(events) * 3 // 4
    until = events[-1].available_at + 3 * DAY
    send(site, events[:half])
    with streaming(site, "local-cluster[2,1,1024]") as stream:
        stream.wait(1)
        send(site, events[half:most])
        stream.kill()
    before = by_key(site.published())

    assert len(before) < len(expected), "it was over before it was killed"
    assert before == {key: expected.get(key) for key in before}

    send(site, [*events[most:], *events[most - 50 : most]], until)  # some of them twice: that changes nothing
    with streaming(site, "local[2]") as stream:
        stream.wait(len(expected))
        stream.stop()
    published = site.published()

    assert expected == by_key(published)
    for alert_id in {alert_id for alert_id, _ in expected}:
        seen = [record["sequence"] for record in published if record["alert_id"] == alert_id]
        new = [sequence for n, sequence in enumerate(seen) if sequence > max(seen[:n], default=0)]

        assert list(range(1, max(seen) + 1)) == new, "a reader that drops repeats sees each record once, in order"


@pytest.mark.parametrize(
    ("config", "code", "said"),
    [
        ({"source": "file"}, 2, "$.source: 'file'; expected kafka with --engine spark"),
        ({"kafka": {"security": {"protocol": "ssl"}}}, 2, "'ssl'; expected plaintext with --engine spark"),
        ({"spark": {"master": "local[1]"}}, 2, "Spark has no source of Kafka records; expected spark-sql-kafka-0-10"),
    ],
)
def test_what_spark_cannot_do_is_told_in_one_line(spark, tmp_path, config, code, said):
    config.setdefault("spark", {})["checkpoint"] = str(tmp_path / "checkpoint")
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    process = finished("stream", "--engine", "spark", "--config", tmp_path / "config.yaml")

    assert code == process.returncode
    assert said in process.stderr.splitlines()[-1]
    assert "Traceback" not in process.stderr
