"""A real Prometheus on a real service with a real broker and database: every panel and every rule has data, in health only
the heartbeat is heard, and each alert fires under its own fault and ends with it.
"""

import signal
import time
from contextlib import contextmanager

import pytest
from kafka import KafkaAdminClient

from deploy.grafana.panels import CLINICAL, OPERATIONS
from detector.clock import HOUR, MINUTE
from tests.deploy.feed import feeding
from tests.deploy.names import recorded, rules
from tests.deploy.server import Prometheus
from tests.kafka.broker import Broker, create_topics
from tests.pipelines.live import Site
from tests.postgresql.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HEARTBEAT = "ItbwatchWatchdog"
CHOSEN = {"$unit": ".*", "$__rate_interval": "10s", "$__range": "60s"}
PARTITIONS = 2


class Ward:
    """What a fault may lay its hands on."""

    def __init__(self, broker, database, site, feed, stream, server):
        self.broker, self.database, self.site, self.feed = broker, database, site, feed
        self.stream, self.server = stream, server

    @property
    def target(self):
        return self.stream.url().removeprefix("http://").rstrip("/")


@pytest.fixture(scope="module")
def ward(_kafka_jars, _postgresql_programs, promtool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    with Broker() as broker, Cluster() as database:
        (folder / "store.url").touch(0o600)
        (folder / "store.url").write_text(database.address(database.database()) + "\n")
        site = Site(
            broker.bootstrap, "site.", folder, time="wall", merge_idle_ms=0, wards=["MICU", "SICU"],
            store={"url_file": str(folder / "store.url")},
        )  # fmt: skip
        create_topics(broker.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), PARTITIONS))
        with feeding(broker.bootstrap, "site.") as feed, site.streaming() as stream:
            stream.wait(lambda: len(stream.lags()) == PARTITIONS * 6 and max(stream.lags()) < 50)
            with Prometheus(folder, stream.url().removeprefix("http://").rstrip("/")) as server:
                made = Ward(broker, database, site, feed, stream, server)
                server.wait(lambda: server.query("itbwatch:canary_age_seconds < 6"))
                time.sleep(12)  # the longest window of a rate
                yield made


def test_in_health_only_the_heartbeat_is_heard(ward):
    assert {HEARTBEAT} == ward.server.firing()


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
    yield patient
    ward.feed.discharge(patient)


@contextmanager
def a_warm_patient(ward):
    with a_hot_patient(ward, 41.2, None):
        yield


@contextmanager
def a_patient_of_whom_nothing_comes(ward):
    ward.feed.admit("gone", unit="SICU", ago=3 * HOUR)
    yield
    ward.feed.discharge("gone")


@contextmanager
def more_alerts_than_anybody_can_look_at(ward):
    patients = [f"many-{number}" for number in range(5)]
    for patient in patients:
        ward.feed.admit(patient, unit="MICU", ago=HOUR)
        ward.feed.temperature(patient, 41.5, site="rectal")
    yield
    for patient in patients:
        ward.feed.discharge(patient)


@contextmanager
def a_worker_that_stands_still(ward):
    ward.stream.process.send_signal(signal.SIGSTOP)
    yield
    ward.stream.process.send_signal(signal.SIGCONT)


@contextmanager
def a_job_that_was_removed(ward):
    ward.server.scrape()
    yield
    ward.server.scrape(ward.target)


@contextmanager
def a_database_that_is_away(ward):
    ward.database.stop()
    yield
    ward.database.start()


@contextmanager
def a_broker_that_is_away(ward):
    ward.feed.flowing.clear()
    ward.broker.kill()
    yield
    ward.broker.start()
    ward.feed.flowing.set()


@contextmanager
def a_broker_that_hangs(ward):
    ward.feed.flowing.clear()
    ward.broker.pause()
    yield
    ward.broker.resume()
    ward.feed.flowing.set()


@contextmanager
def a_feed_that_stops(ward):
    ward.feed.flowing.clear()
    yield
    ward.feed.flowing.set()


@contextmanager
def more_than_can_be_read(ward):
    for _ in range(60_000):
        ward.feed.send("observations", "calm-1", b'{"type":"observation","patient_id":"calm-1","code":"hr","value":70,'
                       b'"effective_at":"2020-01-01T00:00:00Z"}', int(time.time() * 1_000))  # fmt: skip
    yield


@contextmanager
def a_record_that_is_none(ward):
    ward.feed.send("observations", "calm-1", b"\xff", int(time.time() * 1_000))
    yield


FAULTS = {
    "ItbwatchCriticalAlert": a_hot_patient,
    "ItbwatchCriticalUnanswered": a_hot_patient,
    "ItbwatchWarningAlert": a_warm_patient,
    "ItbwatchStaysSilent": a_patient_of_whom_nothing_comes,
    "ItbwatchAlertBurden": more_alerts_than_anybody_can_look_at,
    "ItbwatchDown": a_worker_that_stands_still,
    "ItbwatchAbsent": a_job_that_was_removed,
    "ItbwatchStoreDown": a_database_that_is_away,
    "ItbwatchCanaryStopped": a_broker_that_hangs,
    "ItbwatchKafkaDown": a_broker_that_is_away,
    "ItbwatchFeedSilent": a_feed_that_stops,
    "ItbwatchLag": more_than_can_be_read,
    "ItbwatchDeadLetters": a_record_that_is_none,
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_alert_fires_under_its_fault_and_ends_with_it(ward, name):
    ward.server.wait(lambda: name not in ward.server.firing(), 120)
    with FAULTS[name](ward):
        ward.server.wait(lambda: name in ward.server.firing())
    ward.server.wait(lambda: name not in ward.server.firing(), 120)
