"""The loop on a real file, a real store and the real detector; the sources and the wire have tests of their own."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE, minute_ceil, rfc3339
from detector.engine import Ward, run
from detector.events import Acknowledgement, Encounter, Observation, Pump, Ticked, TimeMoved
from pipelines import fencing
from pipelines.alarms import STALLED
from pipelines.errors import NoProgress, StoreError
from pipelines.formats.canonical import decode_journal, encode
from pipelines.outbox import FilePublisher, Told
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward
from pipelines.store import TICK, Store, Work
from pipelines.ticks import wall_ms
from pipelines.writing import EventWriter
from tests.pipelines.in_process import append, drain, file_settings, serving, without_position

START = 1_900_022_400_000
PLAN = load_plan(Settings())


class Counted:
    """What the service told metrics and board, as lists."""

    def __init__(self):
        self.calls = defaultdict(list)

    def __getattr__(self, name):
        return lambda *values: self.calls[name].append(values)


@pytest.fixture(scope="module")
def ward():
    """Two days of three simulated patients, and the time record that closes their stays."""
    happened = events(random_ward(3, 2, 1), START, 48, 1)
    newest = max(event.available_at for event in happened)
    return [*happened, TimeMoved(at=minute_ceil(newest + 48 * HOUR + MINUTE) + 1)]


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def service(settings, told=None, plan=PLAN):
    told = told or Counted()
    return serving(settings, plan, metrics=told, board=told)


def published(settings):
    """Alert records as a reader sees them that drops sequences not above one already seen."""
    seen = {}
    records = []
    with Path(settings.file.alerts).open() as file:
        for line in file:
            record = json.loads(line)
            if record["sequence"] > seen.get(record["alert_id"], 0):
                seen[record["alert_id"]] = record["sequence"]
                records.append(without_position(record))
    return sorted(records, key=lambda one: (one["alert_id"], one["sequence"]))


def replayed(ward):
    """The records of every patient folded alone, without any service."""
    by_patient = defaultdict(list)
    for event in ward[:-1]:
        by_patient[event.patient_id].append(event)
    records = []
    for mine in by_patient.values():
        end = minute_ceil(max(event.available_at for event in mine) + 48 * HOUR + MINUTE)
        records += run(PLAN, Ward(PLAN), [*mine, Ticked(end)]).records
    plain = [without_position(json.loads(record.to_json())) for record in records]
    return sorted(plain, key=lambda one: (one["alert_id"], one["sequence"]))


def test_the_service_gives_the_records_of_a_replay(settings, ward):
    append(settings, *ward)
    with service(settings) as made:
        drain(made)

        assert [] == made.ready()

    expected = replayed(ward)

    assert expected == published(settings)
    assert len(expected) >= 10


DAYS = 24 * HOUR


def back_again(patient_id="P-1"):
    """Discharged, away for three weeks, back with a fever: only the first stay told of the pump."""
    who = {"patient_id": patient_id}

    def seen(hours, code, value, stay):
        at = START + int(hours * HOUR)
        return Observation(**who, stay_id=stay, code=code, value=value, effective_at=at, available_at=at)

    def stay(event, hours, stay_id):
        at = START + int(hours * HOUR)
        return Encounter(**who, stay_id=stay_id, event=event, at=at, available_at=at)

    first = [
        Pump(**who, event="implanted", at=START - 300 * DAYS, available_at=START),
        stay("admitted", 0, "S-1"), seen(1, "temp", 37.0, "S-1"), stay("discharged", 5, "S-1"),
        TimeMoved(at=START + 15 * DAYS),
    ]  # fmt: skip
    later = 21 * 24
    second = [stay("admitted", later, "S-2"), *(seen(later + h, "temp", 40.2, "S-2") for h in (1, 2)),
              seen(later + 2, "ck", 9000, "S-2"), TimeMoved(at=START + 24 * DAYS)]  # fmt: skip
    return first, second


@pytest.mark.parametrize("restarted", [False, True])
def test_a_patient_long_discharged_rests_in_the_store_and_comes_back_with_its_pump(settings, restarted):
    first, second = back_again()
    append(settings, *first)
    with service(settings) as made:
        drain(made)
        assert [] == list(made._owned[0].ward.patients)
        assert [] == made.store.load(0).patients
        assert ["P-1"] == [one.patient_id for one in made.store.patients(0, ["P-1"])]
        if not restarted:
            append(settings, *second)
            drain(made)
    if restarted:
        with service(settings) as made:
            drain(made)
            assert [] == list(made._owned[0].ward.patients)
            append(settings, *second)
            drain(made)

    assert {"itb_withdrawal"} == {record["syndrome"] for record in published(settings)}
    assert replayed([*first[:-1], *second]) == published(settings)


def test_whoever_is_merged_into_a_resting_patient_finds_its_pump(settings):
    first, second = back_again()
    named_otherwise = [event if isinstance(event, TimeMoved) else replace(event, patient_id="P-2") for event in second]
    merged = Encounter(patient_id="P-2", stay_id="S-2", event="merged", into="P-1",
                       at=START + 21 * DAYS + 3 * HOUR, available_at=START + 21 * DAYS + 3 * HOUR)  # fmt: skip
    append(settings, *first)
    with service(settings) as made:
        drain(made)
        append(settings, *named_otherwise[:-1], merged, second[-1])
        drain(made)

    told = published(settings)
    assert [("P-1", "itb_withdrawal")] == sorted(
        {(record["patient_id"], record["syndrome"]) for record in told if record["severity"] == "critical"}
    )


class Killed(BaseException):
    pass


@pytest.mark.parametrize("where", ["before the commit", "after the commit", "while publishing"])
def test_killed_anywhere_and_started_again_it_gives_the_same_records(settings, ward, monkeypatch, where):
    append(settings, *ward)
    countdown = [2]

    def maybe_die(before, original, after):
        def call(self, *values):
            countdown[0] -= 1
            if countdown[0] == 0 and before:
                raise Killed
            answer = original(self, *values)
            if countdown[0] == 0 and after:
                raise Killed
            return answer

        return call

    target, before = {
        "before the commit": ((Store, "commit"), True),
        "after the commit": ((Store, "commit"), False),
        "while publishing": ((FilePublisher, "publish"), False),
    }[where]
    deaths = 0
    original = getattr(*target)
    monkeypatch.setattr(*target, maybe_die(before, original, not before))
    finished = False
    while not finished:
        countdown[0] = 2
        try:
            with service(settings) as made:
                drain(made)
                finished = True
        except Killed:
            deaths += 1

    assert replayed(ward) == published(settings)
    assert deaths >= 2


def test_what_one_batch_is_makes_no_difference(settings, ward, tmp_path):
    append(settings, *ward)
    one_by_one = settings.model_copy(update={"poll": settings.poll.model_copy(update={"max_records": 7})})
    with service(one_by_one) as made:
        drain(made)

    assert replayed(ward) == published(settings)


def observed(**changes):
    return Observation(**({
        "patient_id": "p", "stay_id": "s", "code": "temp", "value": 37.0, "unit": "Cel",
        "effective_at": START, "available_at": START,
    } | changes))  # fmt: skip


def test_a_record_that_cannot_be_used_is_a_dead_letter_and_the_next_one_is_taken(settings, caplog):
    told = Counted()
    bad = b'{"patient_id":"Jane-Doe","type":"obs"}'
    append(settings, observed(), bad, b"\xff\xfe", observed(effective_at=START + 1, available_at=START + 1))
    with service(settings, told) as made:
        drain(made)
        letters = list(made.store.deadletters())

        assert [("unknown_type", bad), ("encoding", b"\xff\xfe")] == [(one.reason, one.value) for one in letters]
        assert 2 == len(made.store.journal("p").splitlines()) - made.store.journal("p").count(b'"tick"')

    assert [("events.ndjson", "unknown_type"), ("events.ndjson", "encoding")] == told.calls["rejected"]
    assert [("unknown_type",), ("encoding",)] == told.calls["dead_letter"]
    with Path(settings.file.deadletters).open() as file:
        assert ["unknown_type", "encoding"] == [json.loads(line)["reason"] for line in file]
    assert "Jane" not in caplog.text


class Picky(FilePublisher):
    """A broker that will never take a dead letter, and takes everything else."""

    def publish(self, rows):
        good = [row for row in rows if row.record.topic != "deadletters"]
        refused = {row.id: "MessageSizeTooLargeError" for row in rows if row.record.topic == "deadletters"}
        return Told(super().publish(good).arrived, refused)


def test_a_record_that_the_broker_never_takes_is_parked_told_and_counted_and_the_alerts_go_out(settings, ward, caplog):
    told = Counted()
    append(settings, b'{"patient_id":"Jane-Doe"}', *ward)
    with service(settings, told) as made:
        made._publishing._publisher = Picky(settings.file)
        drain(made)

        assert ["the broker refused 1 records for good"] == made.ready()
        assert [] == made.store.pending([0], 10)

    assert [("deadletters",)] == told.calls["publish_refused"]
    assert "publish_refused topic=deadletters" in caplog.text
    assert "Jane" not in caplog.text
    assert replayed(ward) == published(settings)

    with service(settings) as made:  # a restart tries again
        drain(made)

        assert [] == made.ready()
    assert 1 == len(Path(settings.file.deadletters).read_text().splitlines())


class Shut(FilePublisher):
    """Takes no alerts until it is opened."""

    is_open = False

    def publish(self, rows):
        return super().publish([row for row in rows if self.is_open or row.record.topic != "alerts"])


def test_alerts_that_do_not_leave_are_told_by_an_alarm_which_leaves_with_them(settings, ward):
    told = Counted()
    append(settings, *ward[:-1])
    with service(settings, told) as made:
        sink = made._publishing._publisher = Shut(settings.file)
        drain(made)
        assert not Path(settings.file.alerts).exists()
        made._publishing._stall_s = 0.0
        made.step()  # it is seen
        made.step()  # and stored
        assert "no record of alerts leaves" in made.ready()
        assert [("outbox_stalled", "alerts")] == list(made._alarms.standing())
        (waiting_s,) = told.calls["outbox"][0]
        assert waiting_s("alerts") > 0.0

        made._publishing._stall_s = 10.0
        sink.is_open = True
        append(settings, ward[-1])
        drain(made)
        made.step()
        assert [] == made.ready()
        assert [] == list(made._alarms.standing())

    about = [(one["state"], one["headline"]) for one in json_lines(settings) if one["syndrome"] == "technical"]
    assert [("opened", "alerts: records wait to be sent and none leaves")] == about[:1]
    assert ["opened", "resolved"] == [state for state, _ in about]
    assert replayed(ward) == [one for one in published(settings) if one["syndrome"] != "technical"]


def test_alerts_that_never_leave_end_the_service(settings, ward):
    append(settings, *ward)
    with service(settings) as made:
        made._publishing._publisher = Shut(settings.file)
        made._publishing._stall_s = 0.0
        made._publishing._answers = lambda: True
        with pytest.raises(NoProgress, match="though a broker answers, and 3 new producers did not help"):
            made.run()


def json_lines(settings):
    return [json.loads(line) for line in Path(settings.file.alerts).read_bytes().splitlines()]


def test_a_record_without_a_broker_has_the_time_of_its_event(settings):
    told = Counted()
    append(settings, observed(effective_at=START, available_at=START + 5_000), b"not json")
    with service(settings, told) as made:
        drain(made)

    assert [((START + 5_000) / 1_000,)] == told.calls["last_record"]


def test_a_quarantined_observation_is_kept_and_can_be_redriven(settings):
    append(settings, observed(unit="furlong"))
    with service(settings) as made:
        drain(made)
        (letter,) = made.store.deadletters()

    assert ("unknown_unit", encode(observed(unit="furlong"))) == (letter.reason, letter.value)

    with EventWriter(settings) as writer:
        writer.redrive(letter)
    with service(settings) as made:
        drain(made)
        (again,) = made.store.deadletters()

    assert letter.id < again.id
    assert letter.value == again.value


def test_the_journal_runs_again_to_the_same_records(settings, ward):
    append(settings, *ward)
    with service(settings) as made:
        drain(made)
        again = []
        for patient_id in {event.patient_id for event in ward[:-1]}:
            lines = made.store.journal(patient_id).splitlines()
            again += run(PLAN, Ward(PLAN), [*map(decode_journal, lines), Ticked(ward[-1].at)]).records

    expected = sorted((json.loads(one.to_json()) for one in again), key=lambda one: (one["alert_id"], one["sequence"]))

    assert [without_position(one) for one in expected] == published(settings)


def test_a_merge_hands_history_over_within_the_file(settings):
    append(
        settings,
        Encounter(patient_id="old", stay_id="s", event="admitted", at=START, available_at=START),
        Pump(patient_id="old", event="implanted", at=START, available_at=START),
        observed(patient_id="old", value=41.9, code="temp"),
        Encounter(
            patient_id="old", stay_id="s", event="merged", into="new", at=START + HOUR, available_at=START + HOUR
        ),
        observed(patient_id="new", effective_at=START + 2 * HOUR, available_at=START + 2 * HOUR),
    )
    with service(settings) as made:
        drain(made)

        assert b'"type":"merge"' in made.store.journal("new")
        assert {"old", "new"} == {one.patient_id for one in made.store.patients(0, ["old", "new"])}


def test_an_acknowledgement_comes_in_by_the_same_file(settings, ward):
    alerted = next(one for one in replayed(ward) if one["state"] == "opened")
    upto = next(n for n, event in enumerate(ward) if rfc3339(event.available_at) > alerted["at"])
    append(settings, *ward[:upto])
    with service(settings) as made:
        drain(made)
        answer = Acknowledgement(
            patient_id=alerted["patient_id"], alert_id=alerted["alert_id"], action="acknowledge", reason="other", by="me",
            at=ward[upto].available_at, available_at=ward[upto].available_at,
        )  # fmt: skip
        append(settings, answer)
        drain(made)
        newest = json.loads(made.store.alert(alerted["alert_id"])[-1])

    assert "acknowledged" == newest["state"]


def test_another_worker_on_our_partition_makes_us_load_it_anew(settings, ward):
    append(settings, *ward)
    with service(settings) as made:
        made.step()
        stored = made.store.load(0).positions
        made.store.commit([Work(0, stored, {TICK: stored[TICK] + 60_000})])
        drain(made)

        assert stored[TICK] < made.store.load(0).positions[TICK]

    assert replayed(ward) == published(settings)


@pytest.fixture
def overtaken(monkeypatch):
    """Another worker is first, so many times."""

    def made(times):
        original = Store.commit

        def commit(self, works):
            nonlocal times
            times -= 1
            if times >= 0 and works:
                stored = self.load(0).positions
                original(self, [Work(0, stored, {TICK: stored.get(TICK, 0) + 1})])
            original(self, works)

        monkeypatch.setattr(Store, "commit", commit)

    return made


def test_two_that_both_own_a_partition_for_a_moment_refuse_each_other_often_and_go_on(
    settings, ward, overtaken, caplog
):
    append(settings, *ward)
    overtaken(20)
    with service(settings) as made:
        drain(made)

    assert 20 == caplog.text.count("partition_fenced partition=0 for_s=")
    assert replayed(ward) == published(settings)


def test_refused_for_longer_than_two_sessions_it_gives_up(settings, ward, overtaken, monkeypatch):
    monkeypatch.setattr(fencing, "SESSIONS", 0.02)  # of 45 s
    append(settings, *ward)
    overtaken(1_000_000)
    with service(settings) as made, pytest.raises(NoProgress, match=r"again and again for \d+ s; expected one owner"):
        drain(made)


def test_an_alarm_that_was_refused_with_its_commit_is_told_with_the_next_one(settings, ward, overtaken):
    append(settings, *ward[:300])
    with service(settings) as made:
        made.step()
        made._alarms.note(0, STALLED, "file")
        overtaken(1)
        drain(made)

    told = [one for one in map(json.loads, Path(settings.file.alerts).read_bytes().splitlines()) if STALLED in str(one)]
    assert ["opened"] == [one["state"] for one in told][:1]


def test_a_store_that_cannot_be_written_ends_the_service_and_loses_nothing(settings, ward, monkeypatch):
    append(settings, *ward)
    told = Counted()

    def full(self, works):
        raise StoreError("store: database or disk is full")

    with service(settings, told) as made:
        made.step()
        monkeypatch.setattr(Store, "commit", full)
        with pytest.raises(StoreError):
            made.run()

        assert "the store cannot be written" in made.ready()
    assert (False,) in told.calls["store_up"]

    monkeypatch.undo()
    with service(settings) as made:
        drain(made)

    assert replayed(ward) == published(settings)


def test_stop_ends_the_run_after_the_present_batch(settings, ward):
    append(settings, *ward)
    with service(settings) as made:
        made._metrics.refresh = lambda *_: made.stop()
        made.run()

        assert "stopping" in made.ready()
        assert 0 < made.store.load(0).positions["events.ndjson"] < Path(settings.file.path).stat().st_size


def test_it_is_not_ready_before_its_state_is_loaded(settings):
    with service(settings) as made:
        assert "no partition is assigned" in made.ready()

        append(settings, observed())
        drain(made)

        assert [] == made.ready()


def live(settings):
    return settings.model_copy(update={"time": "wall"})


def temperatures(ages_ms, ahead=None):
    """Readings of one patient, so long ago each; the one in the place of None is from a year that is not yet."""
    now = wall_ms() // MINUTE * MINUTE
    return [
        Observation(patient_id="P-1", stay_id="S-1", code="temp", value=38.0, unit="Cel", effective_at=at, available_at=at)
        for at in (now - age if age is not None else now + ahead for age in ages_ms)
    ]  # fmt: skip


@pytest.mark.parametrize("ahead", [2 * HOUR, 70 * 365 * DAYS])
def test_a_record_from_the_future_is_kept_aside_and_what_comes_after_it_is_not_late(settings, ahead):
    settings = live(settings)
    append(settings, *temperatures([3 * HOUR, 2 * HOUR, None, HOUR, 0], ahead), TimeMoved(at=wall_ms() + ahead))
    with service(settings) as made:
        drain(made)
        reasons = [letter.reason for letter in made.store.deadletters()]
        (patient,) = made._owned[0].ward.patients.values()

        assert ["future", "future"] == reasons

        ledgers = [ledger for _, ledger in made._metrics.calls["batch"]]

        assert 4 == sum(ledger.counts["observations_total", "temp", "accepted"] for ledger in ledgers)
        assert patient.now <= wall_ms()
        assert made._ticks.ticked(0) <= wall_ms()


def test_after_a_restart_the_first_record_is_judged_too(settings):
    settings = live(settings)
    append(settings, *temperatures([HOUR]))
    with service(settings) as made:
        drain(made)
    append(settings, *temperatures([None], DAYS))
    with service(settings) as made:
        drain(made)

        assert ["future"] == [letter.reason for letter in made.store.deadletters()]


def test_most_records_from_the_future_mean_that_it_is_our_clock_and_none_is_refused(settings, ward):
    append(settings, *ward)
    with service(live(settings)) as made:
        drain(made)

        assert [] == list(made.store.deadletters())
        assert len(ward) == len(made._metrics.calls["remarked"])
    told = published(settings)

    assert replayed(ward) == [one for one in told if one["syndrome"] != "technical"]
    assert ["clock_off"] == [one["reason"] for one in told if one["syndrome"] == "technical"]


def test_a_record_of_which_a_part_was_refused_is_redriven_and_changes_nothing_but_what_was_mended(settings):
    fever = {"resourceType": "Observation", "id": "o1", "status": "final", "subject": {"reference": "Patient/P-1"},
             "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]}, "effectiveDateTime": rfc3339(START),
             "valueQuantity": {"value": 42.5, "unit": "Cel"}}  # fmt: skip
    odd = fever | {"id": "o2", "valueQuantity": {"value": 42.0, "unit": "blue"}}
    whole = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": fever}, {"resource": odd}]}
    read = settings.model_copy(update={"file": settings.file.model_copy(update={"format": "fhir"})})
    append(read, json.dumps(whole).encode())
    told = Counted()
    with service(read, told) as made:
        drain(made)
        letters = list(made.store.deadletters())
    before = published(read)

    assert ["unknown_unit"] == [letter.reason for letter in letters]
    assert json.loads(letters[0].value) == whole
    assert before
    with EventWriter(read) as writer:
        writer.redrive(letters[0])
    with service(read, told) as made:
        drain(made)

        assert ["unknown_unit"] == [letter.reason for letter in made.store.deadletters()], "the old letter is done with"
    assert before == published(read)
    assert [("unknown_unit",)] * 2 == told.calls["dead_letter"]
