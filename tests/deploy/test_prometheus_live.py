"""A real Prometheus on a real service with a real broker and database: every panel and every rule has data, in health only
the heartbeat is heard, and each alert fires under its own fault and ends with it.
"""

import json
import signal
import socket
import threading
import time
import uuid
from contextlib import closing, contextmanager
from functools import partial

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from deploy.grafana.panels import CLINICAL, OPERATIONS
from detector.clock import HOUR, MINUTE
from pipelines.drift import Known, Reference, write_reference
from tests.deploy.feed import feeding
from tests.deploy.names import recorded, rules
from tests.deploy.server import Prometheus
from tests.kafka.broker import TOPIC_CONFIG, Broker, create_topics
from tests.pipelines.live import Site, done
from tests.postgresql.cluster import Cluster
from tests.supervisor_socket import heard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # kafka-python's producer, which is the feed's here, leaves sockets behind when the broker is killed
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

HEARTBEAT = "ItbwatchWatchdog"
CHOSEN = {"$unit": ".*", "$__rate_interval": "5s", "$__range": "5s"}
LAST = ("ItbwatchModelQuarantined", "ItbwatchInputDrift", "ItbwatchStaysSilent")
PARTITIONS = 2
BACKLOG = 10_000
ALERTS = "site.alerts"
OLD = b'{"type":"observation","patient_id":"calm-1","code":"hr","value":70,"effective_at":"2020-01-01T00:00:00Z"}'


class Ward:
    """What a fault may lay its hands on."""

    def __init__(self, broker, database, site, feed, stream, server, notified):
        self.broker, self.database, self.site, self.feed = broker, database, site, feed
        self.stream, self.server, self.notified = stream, server, notified

    @property
    def target(self):
        return self.stream.url().removeprefix("http://").rstrip("/")


@contextmanager
def notified():
    """What comes to systemd's socket since it was last asked."""
    address = f"@itbwatch-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end, pytest.MonkeyPatch.context() as patch:
        end.bind("\0" + address[1:])
        end.setblocking(False)
        patch.setenv("NOTIFY_SOCKET", address)

        yield partial(heard, end)


@pytest.fixture(scope="module")
def ward(_kafka_jars, _postgresql_programs, promtool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with Broker() as broker, Cluster() as database:
        (folder / "store.url").touch(0o600)
        (folder / "store.url").write_text(database.address(database.database()) + "\n")
        site = Site(
            broker.bootstrap, "site.", folder, time="wall", merge_idle_ms=0, wards=["MICU", "SICU"],
            store={"url_file": str(folder / "store.url")}, poll={"max_records": 100},
        )  # fmt: skip
        create_topics(broker.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), PARTITIONS))
        with feeding(broker.bootstrap, "site.") as feed, notified() as said, site.streaming() as stream:
            stream.wait(lambda: len(stream.lags()) == PARTITIONS * 6 and max(stream.lags()) < 50)
            with Prometheus(folder, stream.url().removeprefix("http://").rstrip("/")) as server:
                made = Ward(broker, database, site, feed, stream, server, said)
                server.wait(lambda: server.query("itbwatch:canary_age_seconds < 6"))
                time.sleep(5)  # the longest window of a rate
                yield made


def test_in_health_only_the_heartbeat_is_heard(ward):
    assert {HEARTBEAT} == ward.server.firing()


def test_systemd_hears_that_the_service_is_ready_and_then_of_every_canary(ward):
    first, *more = ward.notified()

    assert "READY=1" == first
    assert len(more) > 2
    assert {"WATCHDOG=1"} == set(more)


@pytest.mark.parametrize(
    "expression",
    [expression for row in (*CLINICAL, *OPERATIONS) for panel in row.panels for expression, _ in panel.queries],
)
def test_every_query_of_a_panel_has_data(ward, expression):
    for variable, chosen in CHOSEN.items():
        expression = expression.replace(variable, chosen)

    assert ward.server.query(expression)


@pytest.mark.parametrize("name", sorted(recorded()))
def test_every_recording_rule_has_data(ward, name):
    assert ward.server.query(name)


# -- faults --------------------------------------------------------------------------------------------------------------


@contextmanager
def a_hot_patient(ward, value=41.5, site="rectal"):
    """Somebody with a pump: at once critical from a rectal probe, a warning from one reading of an unknown site."""
    patient = f"hot-{time.monotonic_ns()}"
    ward.feed.admit(patient, unit="MICU", ago=HOUR)
    ward.feed.temperature(patient, value, site=site)
    try:
        yield patient
    finally:
        ward.feed.discharge(patient)


@contextmanager
def a_warm_patient(ward):
    with a_hot_patient(ward, 41.2, None):
        yield


@contextmanager
def more_alerts_than_anybody_can_look_at(ward):
    patients = [f"many-{number}" for number in range(5)]
    for patient in patients:
        ward.feed.admit(patient, unit="MICU", ago=HOUR)
        ward.feed.temperature(patient, 41.5, site="rectal")
    try:
        yield
    finally:
        for patient in patients:
            ward.feed.discharge(patient)


@contextmanager
def a_worker_that_stands_still(ward):
    ward.stream.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        ward.stream.process.send_signal(signal.SIGCONT)


@contextmanager
def a_target_that_nobody_finds(ward):
    ward.server.scrape()
    try:
        yield
    finally:
        ward.server.scrape(ward.target)


@contextmanager
def a_database_that_is_away(ward):
    ward.database.stop()
    try:
        yield
    finally:
        ward.database.start()


@contextmanager
def a_broker_that_is_away(ward):
    ward.feed.flowing.clear()
    ward.broker.kill()
    try:
        yield
    finally:
        ward.broker.start()
        ward.feed.flowing.set()


@contextmanager
def a_broker_that_hangs(ward):
    ward.feed.flowing.clear()
    ward.broker.pause()
    try:
        yield
    finally:
        ward.broker.resume()
        ward.feed.flowing.set()


@contextmanager
def a_feed_that_stops(ward):
    ward.feed.flowing.clear()
    try:
        yield
    finally:
        ward.feed.flowing.set()


@contextmanager
def more_than_can_be_read(ward):
    """More comes than a worker can read, however fast it is; it is of 2020, and too late to be used."""
    over = threading.Event()

    def flood():
        while not over.is_set():
            if max(ward.stream.lags(), default=0) < BACKLOG:
                for _ in range(BACKLOG):
                    ward.feed.send("observations", "calm-1", OLD, int(time.time() * 1_000))
            over.wait(0.1)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def a_record_that_is_none(ward):
    ward.feed.send("observations", "calm-1", b"\xff", int(time.time() * 1_000))
    yield


@contextmanager
def an_alert_that_the_broker_refuses(ward):
    def largest(size):
        config = ConfigResource(
            ConfigResourceType.TOPIC, ALERTS, configs={**TOPIC_CONFIG, "max.message.bytes": str(size)}
        )
        with closing(KafkaAdminClient(bootstrap_servers=ward.broker.bootstrap)) as admin:
            admin.alter_configs([config])

    largest(100)
    try:
        with a_hot_patient(ward):
            yield
    finally:
        largest(1 << 20)


@contextmanager
def a_topic_of_alerts_that_was_deleted(ward):
    """The broker answers, and everything else goes in and out."""
    with closing(KafkaAdminClient(bootstrap_servers=ward.broker.bootstrap)) as admin:
        admin.delete_topics([ALERTS])
    try:
        yield
    finally:
        create_topics(ward.broker.bootstrap, {ALERTS: PARTITIONS})


FAULTS = {
    "ItbwatchCriticalAlert": a_hot_patient,
    "ItbwatchCriticalUnanswered": a_hot_patient,
    "ItbwatchWarningAlert": a_warm_patient,
    "ItbwatchAlertBurden": more_alerts_than_anybody_can_look_at,
    "ItbwatchDown": a_worker_that_stands_still,
    "ItbwatchAbsent": a_target_that_nobody_finds,
    "ItbwatchStoreDown": a_database_that_is_away,
    "ItbwatchCanaryStopped": a_broker_that_hangs,
    "ItbwatchKafkaDown": a_broker_that_is_away,
    "ItbwatchFeedSilent": a_feed_that_stops,
    "ItbwatchLag": more_than_can_be_read,
    "ItbwatchDeadLetters": a_record_that_is_none,
    "ItbwatchPublishRefused": an_alert_that_the_broker_refuses,
    "ItbwatchPublishWaiting": a_topic_of_alerts_that_was_deleted,
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_alert_fires_under_its_fault_and_ends_with_it(ward, name):
    ward.server.wait(lambda: name not in ward.server.firing(), 120)
    with FAULTS[name](ward):
        ward.server.wait(lambda: name in ward.server.firing())
    ward.server.wait(lambda: name not in ward.server.firing(), 120)


def test_a_service_without_canaries_feeds_no_watchdog_though_it_lives(ward):
    with a_broker_that_hangs(ward):
        ward.server.wait(lambda: "ItbwatchCanaryStopped" in ward.server.firing())
        ward.notified()
        time.sleep(3)

        assert [] == ward.notified()
        assert "alive" in ward.stream.get("healthz")
    ward.server.wait(lambda: "ItbwatchCanaryStopped" not in ward.server.firing())
    ward.server.wait(lambda: "WATCHDOG=1" in ward.notified())


def test_an_answer_ends_what_says_that_there_was_none_and_not_the_alert(ward):
    with a_hot_patient(ward) as patient:
        ward.server.wait(lambda: "ItbwatchCriticalUnanswered" in ward.server.firing())
        [alert] = [one for one in ward.site.stored() if one["patient_id"] == patient and one["state"] == "opened"]
        done(
            "ack",
            alert["alert_id"],
            "--action",
            "acknowledge",
            "--reason",
            "other",
            "--by",
            "n",
            "--config",
            ward.site.config,
        )
        ward.server.wait(lambda: "ItbwatchCriticalUnanswered" not in ward.server.firing())

        assert "ItbwatchCriticalAlert" in ward.server.firing()


def test_a_patient_cut_in_two_is_an_alert_of_the_service_about_itself(ward):
    """It stands for 12 h, so this comes late."""
    for partition in range(PARTITIONS):
        ward.feed.send("observations", "calm-1", OLD, int(time.time() * 1_000), partition=partition)

    ward.server.wait(lambda: "ItbwatchTechnicalAlert" in ward.server.firing())


@pytest.fixture(scope="module")
def configured_anew(ward):
    """The service starts with another configuration, and time goes on by what is told of others, as far as a record is
    believed (90 min): that cannot be taken back, so what needs it comes last.
    """
    ward.stream.stop()
    folder = ward.site.folder
    hot = Known((40, 41, 42, 43), (0, 0, 0, 0, 1, 0), 100, 44)
    write_reference(folder / "drift.json", Reference(1, (), {"temp": hot}))
    other = ward.site.another("other")
    said = json.loads(other.config.read_text())
    said |= {"models": {"most_seconds": 0.0001}, "drift": {"reference": str(folder / "drift.json"), "patients": 10}}
    other.config.write_text(json.dumps(said))
    with other.streaming() as stream:
        ward.server.scrape(stream.url().removeprefix("http://").rstrip("/"))
        ward.server.wait(lambda: ward.server.query("itbwatch:canary_age_seconds < 6"))
        ward.feed.time_moves(85 * MINUTE)
        yield ward


@pytest.mark.parametrize("name", LAST)
def test_what_needs_an_hour_to_pass_fires_too(configured_anew, name):
    configured_anew.server.wait(lambda: name in configured_anew.server.firing())


def test_no_alert_is_left_that_was_not_seen_to_fire():
    assert {rule["alert"] for rule in rules("alerts.yml")} == {*FAULTS, *LAST, HEARTBEAT, "ItbwatchTechnicalAlert"}
