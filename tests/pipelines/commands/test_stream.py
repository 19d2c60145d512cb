"""The commands as processes on a real broker: publish, stream, kill, ack, redrive."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from contextlib import closing, contextmanager

import pytest
from kafka import KafkaConsumer, KafkaProducer

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward, run
from detector.events import Observation, Ticked
from pipelines.formats.canonical import KINDS, encode
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward
from pipelines.store import Store

START = 1_900_022_400_000
WAIT_S = 60


def itbwatch(*words):
    return [sys.executable, "-m", "pipelines", *map(str, words)]


def finished(*words):
    return subprocess.run(itbwatch(*words), capture_output=True, text=True, check=False)


@pytest.fixture
def config(kafka, topic_prefix, tmp_path):
    """A config.yaml with topics of its own; JSON is YAML."""
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({
        "kafka": {
            "bootstrap_servers": [kafka.bootstrap],
            "topics": {role: topic_prefix + role for role in (*KINDS, "alerts", "deadletters")},
            "group_id": topic_prefix + "group",
            "group_instance_id": "one",
            "session_timeout_ms": 6_000,
            "heartbeat_interval_ms": 1_000,
        },
        "time": "stream",
        "merge_idle_ms": 500,
        "poll": {"max_records": 100},
        "store": {"path": str(tmp_path / "store.sqlite")},
        "http": {"port": 0},
    }))  # fmt: skip
    return path


@pytest.fixture(scope="module")
def ward():
    return events(random_ward(6, 2, 1), START, 48, 1)


def publish(config, happened, folder):
    file = folder / "ward.ndjson"
    file.write_bytes(b"".join(encode(event) + b"\n" for event in happened))
    done = finished("publish", file, "--config", config, "--partitions", 2)

    assert 0 == done.returncode, done.stderr
    return done.stdout


@contextmanager
def streaming(config, log):
    with log.open("a") as errors:
        process = subprocess.Popen(itbwatch("stream", "--config", config), stderr=errors)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(holds):
    deadline = time.monotonic() + WAIT_S
    while not (answer := holds()) and time.monotonic() < deadline:
        time.sleep(0.2)

    assert answer
    return answer


def page(log):
    """The address that the last process told."""
    return until(lambda: re.findall(r"at (http://\S+/)", log.read_text()))[-1]


def scrape(url, path="metrics"):
    with urllib.request.urlopen(url + path, timeout=5) as answer:
        return answer.read().decode()


def caught_up(url, records):
    """Every record was read, and nothing lags."""
    lags = [
        float(value) for value in re.findall(r"^itbwatch_consumer_lag_records\{.*\} (\S+)$", scrape(url), re.MULTILINE)
    ]
    return len(lags) == records and not any(lags)


def read_topic(kafka, topic):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=3_000
    )
    with closing(consumer):
        return list(consumer)


def without_position(record):
    return record | {"provenance": record["provenance"] | {"position": None}}


def replayed(happened):
    plan = load_plan(Settings())
    scorer = open_scorer(Settings(), plan)
    records = {}
    for patient_id in {event.patient_id for event in happened}:
        mine = [event for event in happened if event.patient_id == patient_id]
        end = minute_ceil(mine[-1].available_at + 48 * HOUR + MINUTE)
        for record in run(plan, Ward(plan), [*mine, Ticked(end)], scorer).records:
            records[record.alert_id, record.sequence] = without_position(json.loads(record.to_json()))
    return records


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again_the_topic_has_the_records_of_a_replay(
    kafka, config, ward, topic_prefix, tmp_path
):
    log = tmp_path / "stream.log"
    publish(config, ward, tmp_path)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"poll": {"max_records": 10}}))  # or it is soon done
    for after in (0, 0.2, 0.4):
        with streaming(config, log) as process:
            url = page(log)
            until(lambda url=url: "itbwatch_store_commit_seconds_count 0.0" not in scrape(url))
            time.sleep(after)
            assert not caught_up(url, 12)
            process.send_signal(signal.SIGKILL)
            process.wait()
            log.write_text("")
    with streaming(config, log) as process:
        url = page(log)
        until(lambda: caught_up(url, 12))

        assert "ready" in scrape(url, "readyz")

        started = time.monotonic()
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(10)
        assert time.monotonic() - started < 10

    got = read_topic(kafka, topic_prefix + "alerts")
    records = {}
    for one in got:
        record = json.loads(one.value)
        assert one.key.decode() == record["patient_id"]
        records.setdefault((record["alert_id"], record["sequence"]), without_position(record))
    expected = replayed(ward)

    assert expected == records
    assert len(expected) >= 10
    assert "Traceback" not in log.read_text()


def test_what_publish_sends_is_in_order_and_ends_with_a_time_record_on_every_partition(
    kafka, config, ward, topic_prefix, tmp_path
):
    said = publish(config, ward, tmp_path)

    assert f"published {len(ward)} events" in said

    for role in ("encounters", "observations"):
        by_partition = {}
        for record in read_topic(kafka, topic_prefix + role):
            by_partition.setdefault(record.partition, []).append(record)

        assert {0, 1} == by_partition.keys()
        for records in by_partition.values():
            *sent, last = [json.loads(record.value) for record in records]

            assert "time" == last["type"]
            assert all(one["type"] == role.removesuffix("s") for one in sent)
            assert [record.timestamp for record in records] == sorted(record.timestamp for record in records)
            assert {record.key.decode() for record in records[:-1]} == {one["patient_id"] for one in sent}


@pytest.mark.slow
def test_bad_records_become_dead_letters_and_answers_and_redriven_records_come_back(
    kafka, config, ward, topic_prefix, tmp_path
):
    log = tmp_path / "stream.log"
    publish(config, ward, tmp_path)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        topic = topic_prefix + "observations"
        for key, value in (
            (b"p", b"\xff"),
            (b"Jane-Doe", None),
            (b"other", encode(ward[-1])),
            (None, encode(ward[-1])),
        ):
            producer.send(topic, value, key, partition=0, timestamp_ms=START)
        producer.flush()
    with streaming(config, log) as process:
        url = page(log)
        until(lambda: caught_up(url, 12))
        metrics = scrape(url)
        for reason, count in {"encoding": 1, "tombstone": 1, "key_mismatch": 2}.items():
            assert f'itbwatch_dead_letters_total{{reason="{reason}"}} {count}.0' in metrics

        alert = json.loads(read_topic(kafka, topic_prefix + "alerts")[0].value)
        words = ("--action", "acknowledge", "--reason", "other", "--by", "me", "--config", config)
        done = finished("ack", alert["alert_id"], *words)

        assert 0 == done.returncode, done.stderr
        assert "was resolved at" in done.stderr  # time has been moved past the close of every stay

        done = finished("redrive", "--config", config)

        assert 0 == done.returncode, done.stderr
        assert "3 dead letters sent" in done.stdout

        until(lambda: 'dead_letters_total{reason="key_mismatch"} 4.0' in scrape(url))
        process.send_signal(signal.SIGINT)

        assert 0 == process.wait(10)

    letters = [json.loads(record.value) for record in read_topic(kafka, topic_prefix + "deadletters")]

    assert Counter(encoding=2, tombstone=1, key_mismatch=4) == Counter(one["reason"] for one in letters)
    assert 1 == len(read_topic(kafka, topic_prefix + "acknowledgements"))
    for secret in ("Jane-Doe", ward[-1].patient_id):
        assert secret not in log.read_text()
        assert secret not in metrics


@pytest.mark.slow
def test_an_outage_of_the_broker_shows_and_is_survived(new_broker, config, ward, tmp_path):
    def stored():
        settings = Settings.model_validate_json(config.read_text()).store
        with closing(Store(settings, read_only=True)) as store:
            return sum(store.journal(patient).count(b'"type":"observation"') for patient in patients)

    patients = {event.patient_id for event in ward}
    wanted = sum(isinstance(event, Observation) for event in ward)
    broker = new_broker()
    config.write_text(re.sub(r"127\.0\.0\.1:\d+", broker.bootstrap, config.read_text()))
    log = tmp_path / "stream.log"
    publish(config, ward[:200], tmp_path)
    with streaming(config, log) as process:
        url = page(log)
        until(lambda: caught_up(url, 12))

        assert "itbwatch_kafka_up 1.0" in scrape(url)

        broker.stop()
        until(lambda: "itbwatch_kafka_up 0.0" in scrape(url))
        broker.start()
        until(lambda: "itbwatch_kafka_up 1.0" in scrape(url))
        publish(config, ward[200:], tmp_path)
        until(lambda: stored() == wanted)
        process.send_signal(signal.SIGTERM)

        assert 0 == process.wait(10)


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("sorce: file", 2, "did you mean 'source'?"),
        ("code_map: {X1: {signal: cck}}", 2, "config.yaml $.code_map.X1"),
        ("source: file\nstore: {path: /no/such/folder/x}", 74, "cannot be opened"),
    ],
)
def test_a_stream_that_cannot_start_says_why_in_a_line_and_exits_with_its_code(tmp_path, text, code, said):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    done = finished("stream", "--config", config)

    assert code == done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert 1 == len(done.stderr.splitlines())


@pytest.mark.parametrize("words", [("check",), ("stream",), ("explain", "a"), ("replay", "no.csv", "--out", "out")])
def test_mistakes_of_settings_codes_and_rules_are_told_in_one_go(tmp_path, words):
    config = tmp_path / "site.yaml"
    config.write_text("sorce: file\ncode_map: {X1: {signal: cck}}\noverlay: none.yaml\n")
    done = finished(*words, "--config", config)

    assert 2 == done.returncode
    for said in ("$.sorce", "$.code_map.X1", "none.yaml"):
        assert said in done.stderr


@pytest.mark.parametrize("name", ["stream", "publish", "ack", "redrive"])
def test_help_teaches(name):
    done = finished(name, "--help")

    assert 0 == done.returncode
    assert "itbwatch " + name in done.stdout
