"""A PostgreSQL that goes away and comes back stops nothing, loses nothing, and tells nothing twice."""

import os
import signal
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import TimeMoved
from pipelines import store_outage
from pipelines.errors import StoreError, StoreOutage
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward
from pipelines.store import Store
from tests.pipelines.in_process import Unheard, append, drain, file_settings, serving
from tests.pipelines.test_service import published, replayed

START = 1_900_022_400_000
PLAN = load_plan(Settings())
CONNECT_S = 5.0  # how long a connection is tried


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
            until(lambda: "the store cannot be written" in made.ready())
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


@pytest.fixture
def impatient(monkeypatch):
    """What takes seconds with a site takes tenths here."""
    assert store_outage.TOLD_S + 1 < 10, "a stall is seen in the metrics within 10 s"
    monkeypatch.setattr(store_outage, "TOLD_S", 0.4)
    monkeypatch.setattr(store_outage, "SHORTEST_CUT_S", 1.0)


class Told(Unheard):
    """Metrics of which one is heard."""

    def __init__(self, told):
        self.store_up = told.append


@contextmanager
def running(made):
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield
    finally:
        made.stop()
        thread.join()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_hangs_while_it_is_connected_is_seen_and_waited_for(settings, server, ward, caplog):
    chosen = settings()
    told = []
    half = len(ward) // 2
    with serving(chosen, PLAN, metrics=Told(told)) as made:
        append(chosen, *ward[:half])
        with running(made):
            until(lambda: made.store.load(0).positions)
            server.pause()
            append(chosen, *ward[half:])
            until(lambda: made.ready() == ["the store cannot be written"])
            assert told[-1] is False
            server.resume()
            until(lambda: made.ready() == [])
            size = Path(chosen.file.path).stat().st_size
            until(lambda: made.store.load(0).positions["events.ndjson"] == size)

    assert replayed(ward) == published(chosen)
    assert "store_silent for_s=0" in caplog.text
    assert "store_is_back after_s=" in caplog.text
    assert "store_outage error=" not in caplog.text, "it was waited for on the same connection"


@pytest.mark.usefixtures("impatient")
def test_a_server_that_hangs_for_ever_ends_the_service_after_its_patience(settings, server, ward):
    chosen = settings(outage_ms=1_200)
    append(chosen, *ward[:300])
    with serving(chosen, PLAN) as made:
        drain(made)
        append(chosen, *ward[300:])
        server.pause()
        began = time.monotonic()
        with pytest.raises(
            StoreOutage, match=r"connection timeout.*expected a server that answers and lets this user in"
        ):
            made.run()
        assert 1.2 < time.monotonic() - began < 1.2 + CONNECT_S + 3
        server.resume()

    with serving(chosen, PLAN) as made:
        drain(made)
    assert replayed(ward) == published(chosen)


@pytest.mark.usefixtures("impatient")
def test_a_connection_whose_server_process_hangs_is_given_up_for_another(settings, server, ward, caplog, monkeypatch):
    monkeypatch.setattr(store_outage, "CUT_S", 1.0)
    chosen = settings()
    half = len(ward) // 2
    with serving(chosen, PLAN) as made, server.connect() as other:
        append(chosen, *ward[:half])
        drain(made)
        ours = other.execute("select pid from pg_stat_activity where datname like 'itbwatch%'").fetchall()
        for (pid,) in ours:
            os.kill(pid, signal.SIGSTOP)
        try:
            append(chosen, *ward[half:])
            with running(made):
                size = Path(chosen.file.path).stat().st_size
                until(lambda: "store_is_back" in caplog.text)
                until(lambda: made.store.load(0).positions["events.ndjson"] == size)
        finally:
            for (pid,) in ours:
                os.kill(pid, signal.SIGCONT)

    assert "store_silent for_s=0" in caplog.text
    assert replayed(ward) == published(chosen)


@pytest.mark.usefixtures("impatient")
def test_a_service_that_is_stopped_while_its_server_hangs_leaves_within_its_promise(settings, server, ward):
    chosen = settings()
    with serving(chosen, PLAN) as made:
        append(chosen, *ward[:300])
        drain(made)
        append(chosen, *ward[300:])
        server.pause()
        threading.Timer(1.0, made.stop).start()
        started = time.monotonic()
        made.run()
        server.resume()

    assert time.monotonic() - started < 1 + 9, "10 s are promised"


def test_a_server_that_goes_silent_in_a_transaction_makes_an_outage_of_it(settings, server):
    with closing(Store(settings().store)) as store:
        store.wait_while(lambda for_s: for_s > 0.5)
        with pytest.raises(StoreOutage, match="the server has said nothing for 1 s"), store._transaction() as ours:  # noqa: PT012 - it goes silent within
            ours.exec_driver_sql("select 1")
            ours.exec_driver_sql("select pg_sleep(20)")

        store.ask()


def test_a_refused_password_is_told_as_what_it_is(settings, server):
    chosen = settings()
    address = Path(chosen.store.url_file)
    address.write_text(address.read_text().replace(server.password, "not-it"))

    with pytest.raises(StoreError) as refused:
        Store(chosen.store)

    assert "password authentication failed" in str(refused.value)
    assert "check that it runs, and host, user, password and database in store.url_file" in str(refused.value)
    assert "disk" not in str(refused.value)
    assert "not-it" not in str(refused.value)
    assert "\n" not in str(refused.value)


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
