"""A PostgreSQL that goes away and comes back stops nothing, loses nothing, and tells nothing twice."""

import threading
import time
from pathlib import Path

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import TimeMoved
from pipelines.errors import StoreOutage
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward
from pipelines.store import Store
from tests.pipelines.in_process import append, drain, file_settings, serving
from tests.pipelines.test_service import published, replayed

START = 1_900_022_400_000
PLAN = load_plan(Settings())


@pytest.fixture(scope="module")
def ward():
    """Two days of three simulated patients, and the time record that closes their stays."""
    happened = events(random_ward(3, 2, 1), START, 48, 1)
    newest = max(event.available_at for event in happened)
    return [*happened, TimeMoved(at=minute_ceil(newest + 48 * HOUR + MINUTE) + 1)]


@pytest.fixture
def server(new_postgresql):
    return new_postgresql()


@pytest.fixture
def settings(tmp_path, server, url_file):
    def made(**store):
        return file_settings(tmp_path, records=40, store={"url_file": str(url_file(server)), **store})

    return made


def until(said, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_service_outlasts_its_database_and_says_so_meanwhile(settings, server, ward, how):
    chosen = settings()
    third = len(ward) // 3
    with serving(chosen, PLAN) as made:
        running = threading.Thread(target=made.run)
        running.start()
        try:
            for outage, some in enumerate((ward[:third], ward[third : 2 * third])):
                append(chosen, *some)
                stood = made.store.load(0).positions if outage else {}
                until(lambda stood=stood: made.store.load(0).positions != stood)
                server.stop(how)
                append(chosen, *ward[2 * third :] if outage else [])
                until(lambda: made.ready() == ["the store cannot be written"])
                assert running.is_alive()
                server.start()
                until(lambda: made.ready() == [])
            size = Path(chosen.file.path).stat().st_size
            until(lambda: made.store.load(0).positions["events.ndjson"] == size)
        finally:
            made.stop()
            running.join()

    assert len(published(chosen)) > 5
    assert replayed(ward) == published(chosen)


def test_a_database_that_is_away_while_partitions_are_gained_is_waited_for(settings, server, ward):
    chosen = settings()
    append(chosen, *ward)
    with serving(chosen, PLAN) as made:
        server.stop()
        running = threading.Thread(target=made.run)
        running.start()
        try:
            until(lambda: not made._store_up)
            server.start()
            until(lambda: made.ready() == [])
            size = Path(chosen.file.path).stat().st_size
            until(lambda: made.store.load(0).positions.get("events.ndjson") == size)
        finally:
            made.stop()
            running.join()

    assert replayed(ward) == published(chosen)


def test_a_database_that_answers_and_fails_at_every_commit_is_not_back(settings, ward, monkeypatch, caplog):
    chosen = settings(outage_ms=1_500)
    append(chosen, *ward[:300])

    def fails(self, works):
        if works:
            raise StoreOutage("the disk of the server is full")

    with serving(chosen, PLAN) as made:
        monkeypatch.setattr(Store, "commit", fails)
        began = time.monotonic()
        with pytest.raises(StoreOutage, match="full"):
            made.run()

    assert 1.5 <= time.monotonic() - began < 10
    assert 1 == caplog.text.count("store_outage ")


def test_a_database_that_stays_away_ends_the_service_after_its_patience(settings, server, ward):
    chosen = settings(outage_ms=600)
    append(chosen, *ward[:300])
    with serving(chosen, PLAN) as made:
        drain(made)
        server.stop()
        append(chosen, *ward[300:600])
        with pytest.raises(StoreOutage, match="store PostgreSQL: "):
            made.run()
        server.start()

    append(chosen, *ward[600:])
    with serving(chosen, PLAN) as made:
        drain(made)
    assert replayed(ward) == published(chosen)


def test_a_service_that_is_stopped_in_an_outage_leaves_at_once(settings, server, ward):
    chosen = settings()
    with serving(chosen, PLAN) as made:
        append(chosen, *ward[:300])
        drain(made)
        server.stop()
        append(chosen, *ward[300:600])
        threading.Timer(1.0, made.stop).start()
        started = time.monotonic()
        made.run()
        assert time.monotonic() - started < 10
        server.start()

    append(chosen, *ward[600:])
    with serving(chosen, PLAN) as made:
        drain(made)
    assert replayed(ward) == published(chosen)
