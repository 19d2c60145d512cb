"""Canaries through a service on a real broker: what they tell, and what they leave alone."""

import time
from contextlib import closing, contextmanager
from functools import partial

import pytest
from kafka.errors import TopicAuthorizationFailedError

from detector.events import Observation
from pipelines.canary.trips import Canaries, KafkaClients
from pipelines.formats.canonical import KINDS, encode
from pipelines.metrics import Metrics
from pipelines.outbox import KafkaPublisher, Told
from pipelines.plan_files import load_plan
from pipelines.running import connect
from pipelines.service import Service
from pipelines.settings import Settings
from pipelines.sources.kafka import KafkaSource
from pipelines.store import Store
from pipelines.web.board import Board
from tests.pipelines.live import counted

WAIT_S = 60
EVERY_S = 0.2
BEGAN = 1_900_022_400_000  # a whole hour, years from now


@pytest.fixture(scope="module")
def plan():
    return load_plan(Settings())


class Flying:
    """A service with canaries, stepped by hand."""

    def __init__(self, settings, service, store, metrics, board, canaries):
        self.settings, self.service, self.store, self.metrics = settings, service, store, metrics
        self.board, self.canaries = board, canaries

    def series(self):
        lines = (line for line in self.metrics.text().decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def came_back(self):
        """When the oldest of the newest trips began, seconds; 0 = none came back."""
        return self.series()["itbwatch_canary_timestamp_seconds"]

    def until(self, holds):
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline, "waited in vain"
            self.service.step()


@pytest.fixture
def flying(kafka, topics, topic_prefix, tmp_path, plan):
    @contextmanager
    def flying(partitions=1):
        names = topics(**dict.fromkeys([*KINDS, "alerts", "deadletters"], partitions))
        settings = Settings.model_validate({
            "kafka": {"bootstrap_servers": [kafka.bootstrap], "topics": names, "group_id": topic_prefix + "group"},
            "store": {"path": str(tmp_path / "store.sqlite")}, "time": "stream", "poll": {"timeout_ms": 100},
        })  # fmt: skip
        canaries = Canaries(partial(KafkaClients, settings.kafka), EVERY_S)
        with closing(Store(settings.store)) as store, closing(canaries):
            metrics, board = Metrics(plan, settings), Board(b"k" * 32)
            service = Service(
                settings, plan, {}, store, KafkaPublisher(settings.kafka), metrics, board, partial(connect, settings),
                canaries=canaries,
            )  # fmt: skip
            canaries.start()
            try:
                yield Flying(settings, service, store, metrics, board, canaries)
            finally:
                service._publisher.close()
                service._source.close()

    return flying


def test_a_broker_that_refuses_every_trip_is_told_of_once(caplog):
    class Refusing:
        tries = 0
        sent = False

        def send(self, _partition, _trip):
            if self.sent:  # what became of a record is known at the next trip only
                Refusing.tries += 1
                raise TopicAuthorizationFailedError("icu.pumps")
            self.sent = True

        def heard(self):
            return []

        def close(self):
            pass

    with closing(Canaries(Refusing, 0.01)) as canaries:
        canaries.own([0])
        canaries.start()
        deadline = time.monotonic() + WAIT_S
        while Refusing.tries < 3 and time.monotonic() < deadline:
            time.sleep(0.05)

    assert Refusing.tries >= 3
    assert 1 == sum("canary_grounded error=TopicAuthorizationFailedError" in line for line in caplog.messages)
    assert canaries.oldest_ms() is None


def test_a_canary_of_every_owned_partition_comes_back_again_and_again(flying):
    with flying(partitions=3) as site:
        began = time.time()

        assert 0 == site.came_back()

        site.until(lambda: site.came_back() >= began)
        first = site.came_back()
        site.until(lambda: site.came_back() > first + 1)

        assert {0, 1, 2} == site.canaries._came.keys()
        assert site.came_back() <= time.time()


def test_the_time_stands_still_when_the_service_does_and_goes_on_with_it(flying):
    with flying() as site:
        site.until(site.came_back)
        at = site.canaries.oldest_ms()
        time.sleep(5 * EVERY_S)  # the thread goes on; one trip more may have been on its last leg
        stood = site.canaries.oldest_ms()

        assert stood <= at + 3 * EVERY_S * 1_000

        site.until(lambda: site.canaries.oldest_ms() > stood)


def nothing_heard(_self):
    time.sleep(0.05)
    return []


STAGES = {
    "sending": (KafkaClients, "send", lambda *_: None),
    "reading": (KafkaSource, "poll", lambda *_: []),
    "deciding": (Service, "_fly", lambda *_: []),
    "storing": (Store, "commit", lambda *_: None),
    "the outbox": (Store, "pending", lambda *_: []),
    "publishing": (KafkaPublisher, "publish", lambda *_: Told([], {})),
    "coming back": (KafkaClients, "heard", nothing_heard),
}
"""What a canary passes, in this order, and how it does nothing any more."""


@pytest.mark.parametrize("stage", STAGES)
def test_whatever_stage_is_cut_the_time_stands_still_until_it_is_mended(flying, stage, monkeypatch, record_property):
    def step_for(seconds):
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            site.service.step()
            time.sleep(0.01)

    with flying() as site:
        site.until(site.came_back)
        cut = time.time()
        monkeypatch.setattr(*STAGES[stage])
        step_for(1)
        stood = site.canaries.oldest_ms()
        step_for(1)

        assert stood == site.canaries.oldest_ms()
        assert stood / 1_000 < cut + 1, "what was behind the cut may still arrive"
        record_property(
            "told", f"{stage} cut: the newest trip that came back began {stood / 1_000 - cut:+.2f} s from then"
        )

        monkeypatch.undo()
        site.until(lambda: site.canaries.oldest_ms() > stood)


def test_a_partition_that_is_ours_but_gives_nothing_back_holds_the_time_back(flying):
    with flying(partitions=2) as site:
        site.until(site.came_back)
        site.service._source._buffers.pop(1)  # it is read, and nothing of it is ever taken
        stood = {}

        def only_the_other_moves():
            stood.setdefault(1, site.canaries._came[1])
            return site.canaries._came[0] > stood[1] + 2_000

        site.until(only_the_other_moves)

        assert site.canaries.oldest_ms() <= stood[1] + 3 * EVERY_S * 1_000


def test_canaries_are_no_patients_no_alerts_and_no_counts_and_move_no_time(flying):
    with flying() as site:
        site.until(site.came_back)
        series = site.series()
        positions = site.store.load(0).positions
        silent = ("observations_total", "alerts_total", "rejected_total", "dead_letters_total", "stays_monitored")

        assert [0] * len(silent) == [counted(series, name) for name in silent]
        assert 0 == series["itbwatch_last_record_timestamp_seconds"]
        assert ([], []) == (list(site.store.alerts(10)), site.store.load(0).patients)
        assert [] == list(site.board.alerts())
        assert positions[site.settings.kafka.topics.observations] > 0


def test_what_a_patient_s_records_are_is_the_same_between_canaries(flying):
    with flying() as site:
        site.until(site.came_back)
        warm = Observation(
            patient_id="p", code="temp", value=41.1, unit="Cel", effective_at=BEGAN, available_at=BEGAN, stay_id="s"
        )
        with closing(KafkaClients(site.settings.kafka)) as clients:
            topic = site.settings.kafka.topics.observations
            clients._sender.send(topic, encode(warm), b"p", partition=0, timestamp_ms=BEGAN).get(WAIT_S)
        site.until(lambda: list(site.store.alerts(10)))
        stood = site.came_back()
        site.until(lambda: site.came_back() > stood)

        assert 1 == counted(site.series(), "observations_total")
        assert BEGAN / 1_000 == site.series()["itbwatch_last_record_timestamp_seconds"]
        assert {"p"} == {one.patient_id for _, one in site.board.alerts()}
