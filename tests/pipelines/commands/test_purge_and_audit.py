"""``itbwatch purge`` and ``itbwatch audit verify`` on the store of a service that ran."""

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from detector.clock import DAY, HOUR
from detector.events import Acknowledgement, Encounter, Observation, Pump, TimeMoved
from pipelines.commands import audit, purge
from pipelines.errors import StoreError
from pipelines.plan_files import load_plan
from pipelines.running import running
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.store import DeadLetter, Store, Work
from pipelines.store.audit import first_broken
from pipelines.store.postgresql import no_service_runs
from tests.pipelines.in_process import alert_lines, append, drain

START = 1_900_022_400_000
PLAN = load_plan(Settings())
ON_SQLITE = pytest.mark.parametrize("store_options", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("store_options", ["postgresql"], indirect=True)
TABLES = "patients", "segments", "alerts", "deadletters"


def stay(patient_id, begin, pump=False, over=True):
    """A fever and a CK of 9000, over after five hours. Without a pump it is hyperpyrexia, with one withdrawal."""

    def seen(hours, code, value):
        at = begin + hours * HOUR
        return Observation(
            patient_id=patient_id, stay_id=f"{patient_id}-1", code=code, value=value, effective_at=at, available_at=at
        )

    def came(event, hours):
        at = begin + hours * HOUR
        return Encounter(patient_id=patient_id, stay_id=f"{patient_id}-1", event=event, at=at, available_at=at)

    events = [came("admitted", 0), seen(1, "temp", 41.8), seen(2, "temp", 41.9), seen(2, "ck", 9000)]
    if pump:
        events.insert(0, Pump(patient_id=patient_id, event="implanted", at=begin - 300 * DAY, available_at=begin))
    return [*events, came("discharged", 5)] if over else events


@pytest.fixture
def config(tmp_path: Path, store_options: dict[str, str]) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({
        "source": "file", "time": "stream", "store": {**store_options, "retention_days": 30},
        "file": {"path": str(tmp_path / "events.ndjson"), "alerts": str(tmp_path / "alerts.ndjson"),
                 "deadletters": str(tmp_path / "dead.ndjson")},
        "poll": {"timeout_ms": 1}, "http": {"port": 0},
    }))  # fmt: skip
    (tmp_path / "events.ndjson").touch()
    return path


def run(config, *lines):
    """The service on these lines more, until they are read."""
    settings = load_settings(config)
    append(settings, *lines)
    with running(settings, PLAN) as (service, _):
        drain(service)
        service._publisher.close()
        service._source.close()
    return settings


@pytest.fixture
def ran(config: Path) -> Path:
    """Two who left long ago, one of them with a pump, one who left lately and one who is there."""
    at = START + 100 * DAY
    run(config, *stay("gone", START), *stay("pumped", START, pump=True), b"no json", TimeMoved(at=START + 20 * DAY),
        *stay("late", at - 10 * DAY), *stay("here", at - DAY, over=False), TimeMoved(at=at))  # fmt: skip
    return config


def call(command, config, *words):
    return CliRunner().invoke(command, [*words, "--config", str(config)])


def do(config, *statements, read_only=False):
    """Ask the database itself; what each statement gave."""
    with closing(Store(load_settings(config).store, read_only=read_only)) as store, store._transaction() as connection:
        found = [connection.exec_driver_sql(statement) for statement in statements]
        return [[tuple(row) for row in one] if one.returns_rows else [] for one in found]


def rows(config):
    return dict(
        zip(
            TABLES, do(config, *(f"select * from {name} order by 1, 2" for name in TABLES), read_only=True), strict=True
        )
    )


def ids(rows):
    return {row[0] for row in rows["patients"]}


def test_without_yes_it_counts_and_changes_nothing(ran):
    before = rows(ran)
    done = call(purge.command, ran)

    assert "1 patients 3 ended alerts 0 dead letters 1 patients are kept" in " ".join(done.stdout.split())
    assert "nothing was changed" in done.stdout
    assert before == rows(ran)


def test_what_is_over_and_old_goes_and_nobody_with_a_pump_or_a_stay(ran):
    before = rows(ran)
    done = call(purge.command, ran, "--yes")
    after = rows(ran)

    assert 0 == done.exit_code, done.output
    assert {"gone", "pumped", "late", "here"} == ids(before)
    assert {"pumped", "late", "here"} == ids(after)
    assert {"gone", "pumped"} <= {row[2] for row in before["alerts"]}
    assert {"late", "here"} == {row[2] for row in after["alerts"]}
    assert 1 == len(after["deadletters"])  # stored today


def test_a_dead_letter_goes_by_when_it_was_stored(ran):
    do(ran, f"update deadletters set stored_at = stored_at - {31 * DAY}")
    call(purge.command, ran, "--yes")

    assert [] == rows(ran)["deadletters"]


def test_after_a_purge_nothing_is_read_again_and_the_next_stay_of_a_pump_patient_is_judged_with_it(ran):
    settings = load_settings(ran)
    call(purge.command, ran, "--yes")
    before = len(alert_lines(settings))
    run(ran)

    assert before == len(alert_lines(settings))

    run(ran, *stay("pumped", START + 101 * DAY), TimeMoved(at=START + 102 * DAY))

    assert {("pumped", "itb_withdrawal")} <= {
        (one["patient_id"], one["syndrome"]) for one in alert_lines(settings)[before:]
    }


def test_it_names_nobody(ran):
    for words in ((), ("--yes",)):
        told = re.findall(r"\w+", call(purge.command, ran, *words).output)

        assert not {"gone", "pumped", "late", "here"} & set(told)


def test_a_running_service_keeps_it_out(ran):
    before = rows(ran)
    with running(load_settings(ran), PLAN) as (service, _):
        service.step()
        assert 0 == call(purge.command, ran).exit_code
        refused = call(purge.command, ran, "--yes").exception
        service._publisher.close()
        service._source.close()

    assert isinstance(refused, StoreError)
    assert "expected" in str(refused)
    assert before == rows(ran)
    assert 0 == call(purge.command, ran, "--yes").exit_code
    assert before != rows(ran)


@ON_POSTGRESQL
def test_a_service_that_starts_waits_for_a_purge_to_end(config):
    settings = load_settings(config)
    with closing(Store(settings.store)) as purging, ThreadPoolExecutor(1) as other:
        with purging._transaction() as connection:
            assert no_service_runs(connection)
            starting = other.submit(Store, settings.store, serving=True)
            with pytest.raises(FutureTimeout):
                starting.result(0.5)
        with closing(starting.result(20)), purging._transaction() as connection:
            assert not no_service_runs(connection)


def chain(config):
    with closing(Store(load_settings(config).store, read_only=True)) as store:
        return store.audit()


def test_the_chain_tells_the_plan_answers_redriven_records_and_purges(ran):
    alert = alert_lines(load_settings(ran))[0]
    answer = Acknowledgement(patient_id=alert["patient_id"], alert_id=alert["alert_id"], action="confirm",
                             reason="pump_fault_found", by="Dr. Example", at=START, available_at=START)  # fmt: skip
    run(ran, answer)
    run(ran)
    with closing(Store(load_settings(ran).store)) as store:
        store.commit([Work(9, {}, {"t": 1}, redriven=[1],
                           deadletters=[DeadLetter(0, "t", 9, 0, "json", None, None, b"")])])  # fmt: skip
    call(purge.command, ran, "--yes")
    told = [(one.event, json.loads(one.detail)) for one in chain(ran)]

    assert ["store_made", "plan", "acknowledgement", "redriven", "purge"] == [event for event, _ in told]
    assert ("Dr. Example", alert["alert_id"]) == (told[2][1]["by"], told[2][1]["alert_id"])
    assert (0, 30) == (told[4][1]["patients"], told[4][1]["days"])  # who was answered for just now is not old


def test_a_whole_chain_is_told_with_its_newest_hash_which_a_later_one_still_has(ran):
    done = call(audit.command, ran, "verify")
    newest = chain(ran)[-1].hash
    call(purge.command, ran, "--yes")

    assert f"2 records, unbroken; newest {newest}\n" == done.stdout
    assert 0 == call(audit.command, ran, "verify", "--newest", newest).exit_code


BREAKS = {
    "update audit set detail = replace(detail, 'schema', 'other') where number = 1": "record 1 is not what was written",
    "update audit set at = at + 1 where number = 2": "record 2 is not what was written",
    "update audit set previous = hash where number = 2": "record 2 does not follow record 1",
    "delete from audit where number = 1": "record 1 is missing: record 2 follows",
    "delete from audit": "record 1 is missing: the chain is empty",
}


@ON_SQLITE
@pytest.mark.parametrize("statement", BREAKS)
def test_the_first_broken_link_is_named(ran, statement):
    with closing(sqlite3.connect(load_settings(ran).store.path)) as database, database:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
        for word in ("update", "delete"):
            database.execute(f"drop trigger audit_no_{word}")
        database.execute(statement)
    done = call(audit.command, ran, "verify")

    assert BREAKS[statement] in str(done.exception)


@ON_SQLITE
def test_an_end_that_was_cut_off_is_told_by_the_hash_that_was_noted(ran):
    newest = chain(ran)[-1].hash
    with closing(sqlite3.connect(load_settings(ran).store.path)) as database, database:
        database.execute("drop trigger audit_no_delete")
        database.execute("delete from audit where number = 2")

    assert first_broken(chain(ran)) is None
    assert "not in the chain" in str(call(audit.command, ran, "verify", "--newest", newest).exception)


@ON_SQLITE
def test_a_store_of_schema_3_is_taken_over_with_all_it_holds(ran):
    path = load_settings(ran).store.path
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("drop table audit")
        database.execute("update meta set value = '3' where name = 'schema'")
    before = rows(ran)

    assert "start the service once" in str(call(audit.command, ran, "verify").exception)

    run(ran)

    assert before == rows(ran)
    assert ["store_migrated", "plan"] == [one.event for one in chain(ran)]
    assert first_broken(chain(ran)) is None
