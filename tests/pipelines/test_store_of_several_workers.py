"""Workers that share a PostgreSQL: none waits for another in a circle, or for one that stands still."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.errors import StoreError
from pipelines.settings import Store as StoreSettings
from pipelines.store import TICK, Fenced, Store, Work
from pipelines.store.audit import first_broken
from pipelines.store.spellings import Spelling
from pipelines.store.writing import move


@pytest.fixture
def settings(postgresql, url_file):
    return StoreSettings(url_file=str(url_file(postgresql)))


def test_workers_that_count_the_same_spellings_and_audit_at_once_never_deadlock(settings):
    polls = 60
    spelling = Spelling("icu.observations", "unknown_code", "", "9999-1", "")
    counted = {"unmapped": Counter({spelling: 1})}
    audited = {"audit": [("acknowledgement", {"action": "snooze"})]}
    both = threading.Barrier(2, timeout=20)

    def worker(first, second):
        with closing(Store(settings)) as store:
            for poll in range(polls):
                read = {TICK: poll} if poll else {}
                both.wait()
                store.commit([Work(first[0], read, {TICK: poll + 1}, **first[1]),
                              Work(second[0], read, {TICK: poll + 1}, **second[1])])  # fmt: skip

    with ThreadPoolExecutor(2) as workers:
        each = [workers.submit(worker, (0, audited), (1, counted)), workers.submit(worker, (3, counted), (2, audited))]
        for one in each:
            one.result()

    with closing(Store(settings, read_only=True)) as store:
        assert [2 * polls] == [one.results for one in store.unmapped()]
        chain = store.audit()
        assert 2 * polls == sum(one.event == "acknowledgement" for one in chain)
        assert first_broken(chain) is None


def test_two_that_hold_the_same_partitions_are_told_apart_and_never_deadlock(settings):
    both = threading.Barrier(2, timeout=20)

    def worker(order):
        won = 0
        with closing(Store(settings)) as store:
            for _ in range(40):
                both.wait()
                stands = store.load(0).positions.get(TICK, 0)
                both.wait()
                read = {TICK: stands} if stands else {}
                try:
                    store.commit([Work(partition, read, {TICK: stands + 1}) for partition in order])
                    won += 1
                except Fenced:
                    pass
        return won

    with ThreadPoolExecutor(2) as workers:
        assert 40 == sum(workers.map(worker, [(0, 1), (1, 0)]))


def test_a_worker_that_stands_still_in_a_transaction_lets_go_of_its_rows(settings):
    with closing(Store(settings)) as store, store._transaction() as connection:
        assert "15s" == connection.exec_driver_sql("show idle_in_transaction_session_timeout").scalar()
        assert "30s" == connection.exec_driver_sql("show lock_timeout").scalar()
        store_url = store._engine.url

    impatient = "-c idle_in_transaction_session_timeout=300ms"
    address = store_url.update_query_dict({"options": impatient})  # what it says itself goes before our own patience
    Path(settings.url_file).write_text(address.render_as_string(hide_password=False))

    with closing(Store(settings)) as still, closing(Store(settings)) as heir:
        with heir._transaction() as connection:
            assert "30s" == connection.exec_driver_sql("show lock_timeout").scalar(), "what it leaves open is ours"
        heir.commit([Work(0, {}, {TICK: 1})])
        with pytest.raises(StoreError, match="expected a readable and writable database"), still._transaction() as its:  # noqa: PT012 - it stands still within
            move(its, Work(0, {TICK: 1}, {TICK: 2}))
            heir.commit([Work(0, {TICK: 1}, {TICK: 3})])
            time.sleep(0.1)
            move(its, Work(0, {TICK: 2}, {TICK: 4}))

        assert {TICK: 3} == heir.load(0).positions
        with pytest.raises(Fenced):
            still.commit([Work(0, {TICK: 1}, {TICK: 2})])
