import itertools
import stat
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from detector.errors import StateError
from detector.records import AlertRecord, Gate, LabelGiven, Provenance
from detector.snapshot import Changes
from pipelines.errors import StoreError
from pipelines.settings import Store as StoreSettings
from pipelines.store import TICK, DeadLetter, Fenced, Outgoing, Store, StoredPatient, Work
from pipelines.store.audit import first_broken
from pipelines.store.spellings import Spelling


@pytest.fixture
def settings(store_options):
    return StoreSettings(**store_options)


@pytest.fixture
def sqlite(tmp_path):
    return StoreSettings(path=str(tmp_path / "store.sqlite"))


@pytest.fixture
def store(settings):
    store = Store(settings)
    yield store
    store.close()


def alert(alert_id="a", sequence=1):
    return AlertRecord(
        alert_id=alert_id, sequence=sequence, patient_id="p", stay_id=None, syndrome="itb_withdrawal",
        severity="warning", state="opened", previous_severity=None, reason="r", at="2026-01-01T00:00:00.000Z",
        onset_at=None, headline="h", evidence=(), missing=(), against=(), differentials=(), checks=(), score=None,
        gate=Gate("present", "none"), provenance=Provenance("d", "v", {}, ()),
    )  # fmt: skip


def work(read, moved, partition=0, **what):
    return Work(partition, read, {TICK: 0} | moved, **what)


def test_what_was_committed_is_loaded(store):
    store.commit(
        [work({}, {"t": 5}, patients=[("p", Changes(b"h1", b"s1", False)), ("q", Changes(b"q", None, False))])]
    )
    store.commit([work({"t": 5, TICK: 0}, {"t": 9, TICK: 60_000}, patients=[("p", Changes(b"h2", b"s2", False))])])
    loaded = store.load(0)

    assert {"t": 9, TICK: 60_000} == loaded.positions
    assert [StoredPatient("p", b"h2", [b"s1", b"s2"]), StoredPatient("q", b"q", [])] == loaded.patients
    assert ({}, []) == tuple(store.load(1))
    assert {"p": 0} == store.partitions_of(["p", "nobody"])


def test_replaced_segments_are_gone(store):
    store.commit([work({}, {}, patients=[("p", Changes(b"1", b"s1", False)), ("q", Changes(b"2", b"s", False))])])
    store.commit([work({TICK: 0}, {}, patients=[("p", Changes(b"3", b"s2", True))])])

    assert [StoredPatient("p", b"3", [b"s2"]), StoredPatient("q", b"2", [b"s"])] == store.load(0).patients


def test_a_partition_number_is_loaded_without_those_that_rest_until_they_are_asked_for_or_wake(store):
    both = [("p", Changes(b"1", b"s1", False)), ("q", Changes(b"2", b"s", False))]
    store.commit([work({}, {}, patients=both, resting={"q"})])

    assert ["p"] == [one.patient_id for one in store.load(0).patients]
    assert [StoredPatient("q", b"2", [b"s"])] == store.patients(0, ["q"])

    store.commit([work({TICK: 0}, {}, patients=[("q", Changes(b"3", None, False))])])

    assert ["p", "q"] == [one.patient_id for one in store.load(0).patients]


def test_as_many_patients_alerts_and_letters_may_be_named_as_one_poll_brings(store):
    many = [f"p{number}" for number in range(70_000)]
    store.commit([work({}, {}, patients=[("p69999", Changes(b"1", None, False))], redriven=list(range(70_000)))])

    assert {"p69999": 0} == store.partitions_of(many)
    assert [StoredPatient("p69999", b"1", [])] == store.patients(0, many)
    assert [] == store.newest(many)


def test_single_patients_of_a_partition_number_are_read_by_name(store):
    store.commit([work({}, {}, patients=[("p", Changes(b"1", b"s1", False)), ("q", Changes(b"2", None, False))])])

    assert [StoredPatient("q", b"2", [])] == store.patients(0, ["q", "nobody"])
    assert [] == store.patients(1, ["q"])
    assert [] == store.patients(0, [])


@pytest.mark.parametrize(
    "late",
    [
        work({}, {"t": 5}),
        work({"t": 3, TICK: 0}, {"t": 5}),
        work({"t": 5, TICK: 7}, {TICK: 8}),
        work({"t": 5}, {}),
    ],
    ids=["never read it", "older offset", "a tick alone", "no tick read"],
)
def test_a_worker_that_lost_its_partition_is_fenced_and_nothing_of_it_is_kept(store, late):
    store.commit([work({}, {"t": 5}, patients=[("p", Changes(b"mine", b"s", False))])])
    late.patients = [("p", Changes(b"late", b"s", False))]
    late.alerts = [alert()]
    with pytest.raises(Fenced):
        store.commit([work({}, {}, partition=1), late])

    assert {"t": 5, TICK: 0} == store.load(0).positions
    assert [b"mine"] == [one.head for one in store.load(0).patients]
    assert {} == store.load(1).positions
    assert [] == store.alerts(10)


def test_an_alert_record_has_its_key_once(store):
    store.commit([work({}, {}, alerts=[alert()])])
    with pytest.raises(StateError):
        store.commit([work({TICK: 0}, {TICK: 1}, alerts=[alert()])])

    assert [alert().to_json()] == store.alert("a")
    assert {TICK: 0} == store.load(0).positions


def test_alerts_are_found_by_id_newest_last_and_in_a_list_newest_first(store):
    records = [alert("a", 1), alert("a", 2), alert("b", 1)]
    store.commit([work({}, {}, alerts=records)])

    assert [one.to_json() for one in records[:2]] == store.alert("a")
    assert [] == store.alert("none")
    assert [records[1].to_json()] == store.newest(["a"])
    assert 2 == len(store.alerts(2))


def test_the_outbox_gives_what_is_not_published_in_order_and_of_our_partitions(store):
    out = [Outgoing("alerts", b"k", bytes([n]), n) for n in range(3)]
    store.commit([work({}, {}, outgoing=out), work({}, {}, partition=1, outgoing=[Outgoing("alerts", None, b"x", 1)])])
    rows = store.pending([0], 10)

    assert out == [row.record for row in rows]
    assert 4 == len(store.pending([0, 1], 10))

    store.mark_published([rows[0].id, rows[2].id])

    assert [out[1]] == [row.record for row in store.pending([0], 10)]


def test_dead_letters_keep_their_bytes_until_they_are_redriven(store):
    letters = [DeadLetter(0, "t", 0, n, reason, 5, None, b"\xff\x00") for n, reason in enumerate(("json", "encoding"))]
    store.commit([work({}, {}, deadletters=letters)])
    stored = list(store.deadletters())

    assert [("json", b"\xff\x00"), ("encoding", b"\xff\x00")] == [(one.reason, one.value) for one in stored]
    assert 1 == len(list(store.deadletters("encoding")))

    store.commit([work({TICK: 0}, {}, redriven=[stored[0].id])])

    assert [stored[1]] == list(store.deadletters())


def test_the_journal_is_a_patients_events_in_order(store):
    store.commit([work({}, {}, journal=[("p", b"1\n"), ("q", b"x\n")])])
    store.commit(
        [work({TICK: 0}, {}, journal=[("p", b"2\n3\n")], labels=[LabelGiven("a", "confirm", "other", "b", "t")])]
    )

    assert b"1\n2\n3\n" == store.journal("p")
    assert b"" == store.journal("nobody")


def test_the_journal_and_what_was_published_have_an_end(settings, monkeypatch):
    import pipelines.store as module

    day = 86_400_000
    times = itertools.chain([0, 0], itertools.repeat(15 * day))
    monkeypatch.setattr(module, "wall_ms", lambda: next(times))
    store = Store(settings)
    store.commit([work({}, {}, journal=[("p", b"old\n")], outgoing=[Outgoing("alerts", None, b"x", 0)])])
    store.mark_published([row.id for row in store.pending([0], 1)])
    store.commit([work({TICK: 0}, {}, journal=[("p", b"new\n")])])
    store.close()

    with closing(Store(settings, read_only=True)) as reader:
        assert b"new\n" == reader.journal("p")


def test_only_the_owner_can_read_the_files(sqlite):
    with closing(Store(sqlite)) as store:
        store.commit([work({}, {})])
        for name in (sqlite.path, sqlite.path + "-wal"):
            assert 0o600 == stat.S_IMODE(Path(name).stat().st_mode)


def test_one_process_writes_a_file(sqlite):
    with closing(Store(sqlite)), pytest.raises(StoreError, match="another process writes it"):
        Store(sqlite)


def test_workers_that_start_and_tell_at_once_wait_for_each_other(postgresql, url_file):
    settings = StoreSettings(url_file=str(url_file(postgresql)))
    together = threading.Barrier(4, timeout=60)

    def worker(partition):
        together.wait()
        with closing(Store(settings)) as store:
            for number in range(10):
                read = {"t": number} if number else {}
                told = [("acknowledgement", {"by": str(partition), "reason": str(number)})]
                store.commit([Work(partition, read, {"t": number + 1}, audit=told)])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(worker, range(4)))

    with closing(Store(settings, read_only=True)) as reader:
        chain = reader.audit()
        assert first_broken(chain) is None
        assert 1 + 4 * 10 == len(chain)
        assert [{"t": 10}] * 4 == [reader.load(partition).positions for partition in range(4)]


def test_a_reader_reads_and_writes_nothing(store, settings):
    store.commit([work({}, {}, alerts=[alert()])])
    with closing(Store(settings, read_only=True)) as reader:
        assert 1 == len(reader.alert("a"))
        with pytest.raises(StoreError, match="expected a readable and writable database"):
            reader.commit([work({TICK: 0}, {})])


def test_a_store_of_another_schema_is_refused(settings):
    with closing(Store(settings)) as store, store._transaction() as connection:
        connection.exec_driver_sql("update meta set value = '999'")
    with pytest.raises(StoreError, match="schema 999; expected 4"):
        Store(settings)


@pytest.mark.parametrize("content", [b"this is no database, and long enough to be read as one" * 40])
def test_a_file_that_is_no_database_is_refused(sqlite, content):
    Path(sqlite.path).write_bytes(content)
    with pytest.raises(StoreError, match="expected a readable and writable database"):
        Store(sqlite)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StoreError, match="cannot be opened"):
        Store(StoreSettings(path=str(tmp_path / "no" / "store.sqlite")))
    with pytest.raises(StoreError, match="no such file"):
        Store(StoreSettings(path=str(tmp_path / "none.sqlite")), read_only=True)


def test_a_commit_that_returned_survives_a_kill(settings):
    script = (
        "import json, os, signal, sys\n"
        "from pipelines.settings import Store as S; from pipelines.store import Store, Work, TICK\n"
        "store = Store(S(**json.loads(sys.argv[1])))\n"
        "store.commit([Work(0, {}, {TICK: 1, 't': 2})])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, settings.model_dump_json()], check=False)

    with closing(Store(settings, read_only=True)) as reader:
        assert {TICK: 1, "t": 2} == reader.load(0).positions


def test_a_parked_record_waits_for_a_retry_and_is_counted(store):
    store.commit([work({}, {}, outgoing=[Outgoing("merges", b"p", b"1", 0), Outgoing("merges", b"p", b"2", 0)])])
    first, second = store.pending([0], 10)
    store.park({first.id: "MessageSizeTooLargeError"})

    assert [second] == store.pending([0], 10)
    assert (1, 0) == (store.parked([0]), store.parked([1]))

    store.retry_parked(0)

    assert [first, second] == store.pending([0], 10)
    assert 0 == store.parked([0])


def test_a_topic_that_takes_nothing_leaves_room_for_the_others(store):
    letters = [Outgoing("deadletters", None, b"%d" % n, 0) for n in range(5)]
    store.commit([work({}, {}, outgoing=[*letters, Outgoing("alerts", b"p", b"alert", 0)])])

    assert [b"alert", b"0", b"1"] == [row.record.payload for row in store.pending([0], 2)]


def test_a_text_from_outside_that_holds_a_nul_is_kept_and_stops_nothing(store):
    spelling = Spelling("t", "unknown_code", "", "CK\0", "U\0L")
    label = LabelGiven("a", "dismiss", "artefact\0", "nurse\0", "2026-01-01T00:00:00.000Z")

    for poll in range(2):
        read = {TICK: poll} if poll else {}
        store.commit([Work(0, read, {TICK: poll + 1}, unmapped=Counter({spelling: 1}), labels=[label])])

    assert [(spelling._replace(code="CK␀", unit="U␀L"), 2)] == [(one.spelling, one.results) for one in store.unmapped()]
