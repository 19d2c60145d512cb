"""From raw records to events."""

from detector.catalogue.signals import build_catalogue
from detector.clock import DAY, HOUR
from detector.events import Acknowledgement, Encounter, Merged, Observation, TimeMoved
from pipelines.formats import Decoded, Unread
from pipelines.formats.canonical import encode
from pipelines.horizon import Horizon
from pipelines.intake import TakenIn, decoders, take_in
from pipelines.plan_files import CATALOGUE, read_catalogue
from pipelines.settings import Limits, Settings
from pipelines.sources import RawRecord
from pipelines.store import Work
from tests.pipelines.formats.fhir_resources import AT_MS, bundle, fhir, observation, raw

NO_HORIZON = Horizon("stream", 0)


def test_the_limit_of_record_bytes_is_for_feeds_and_not_for_what_a_merged_patient_hands_over() -> None:
    merged = Merged(patient_id="p", from_patient_id="q", available_at=1_000, payload=bytes(2 << 20))
    raw = RawRecord("merges", "itb.merges", 0, 0, 1, 1_000, b"p", encode(merged))
    taken = take_in([raw], Work(0, {}, {}), Limits(), lambda _: set(), {}, NO_HORIZON)

    assert [] == taken.rejected
    assert [merged.payload] == [event.payload for _, event in taken.usable if isinstance(event, Merged)]


def observed(patient_id: str, available_at: int, value: float) -> Observation:
    return Observation(patient_id=patient_id, code="temp", effective_at=0, available_at=available_at, value=value)


def intake(decoded: Decoded, work: Work, *, value: bytes = b"?", elsewhere: frozenset[str] = frozenset()) -> TakenIn:
    """One record on the topic of observations, keyed ``p``, whose decoder says ``decoded`` of anything."""
    raw = RawRecord("observations", "icu.observations", 3, 7, 8, 1_000, b"p", value)
    decode = {"observations": lambda *_, **__: decoded}
    return take_in([raw], work, Limits(), lambda patients: patients & elsewhere, decode, NO_HORIZON)


def reasons_of(work: Work) -> list[str]:
    return [letter.reason for letter in work.deadletters]


def test_the_events_of_one_record_come_in_the_one_order() -> None:
    late, early = observed("p", 2_000, 38), observed("p", 1_000, 37)
    admitted = Encounter(patient_id="p", stay_id="s", event="admitted", at=0, available_at=1_000)
    taken = intake(Decoded((late, early, admitted)), Work(0, {}, {}))

    assert [admitted, early, late] == [event for _, event in taken.usable]


def test_the_usable_parts_are_taken_and_the_record_is_kept_once_for_the_others() -> None:
    work = Work(0, {}, {})
    parts = (Unread("bad_time", "entry[1].effectiveDateTime"), Unread("no_value", "entry[2]"))
    taken = intake(Decoded((observed("p", 1_000, 37), observed("q", 1_000, 38)), parts), work, value=b"whole")

    assert ["p"] == [event.patient_id for _, event in taken.usable]
    assert [("icu.observations", reason) for reason in ("key_mismatch", "bad_time", "no_value")] == taken.rejected
    assert [("key_mismatch", b"whole")] == [(letter.reason, letter.value) for letter in work.deadletters]


def test_a_part_of_a_kind_that_nothing_is_read_from_is_counted_and_its_record_not_kept() -> None:
    work = Work(0, {}, {})
    taken = intake(Decoded((), (Unread("unread_type", "resourceType", refused=False),)), work)

    assert [("icu.observations", "unread_type")] == taken.rejected
    assert [] == work.deadletters


def test_a_record_without_any_part_is_counted() -> None:
    work = Work(0, {}, {})

    assert [("icu.observations", "empty")] == intake(Decoded(()), work).rejected
    assert [] == work.deadletters


def test_what_is_worth_a_remark_is_taken_and_counted() -> None:
    taken = intake(Decoded((observed("p", 1_000, 37),), remarks=("doubled_hour",)), Work(0, {}, {}))

    assert 1 == len(taken.usable)
    assert [("icu.observations", "doubled_hour")] == taken.remarks


def test_a_record_of_a_patient_of_another_partition_is_kept_once_whatever_it_holds() -> None:
    work = Work(0, {}, {})
    taken = intake(Decoded((observed("p", 1, 37), observed("p", 2, 38))), work, elsewhere=frozenset("p"))

    assert [] == taken.usable
    assert [("icu.observations", "partition_mismatch")] * 2 == taken.rejected
    assert ["partition_mismatch"] == reasons_of(work)


def test_records_that_only_move_time_are_read_in_a_topic_of_any_format() -> None:
    taken = intake(Decoded(()), Work(0, {}, {}), value=encode(TimeMoved(at=5_000)))

    assert [5_000] == [event.at for _, event in taken.usable if isinstance(event, TimeMoved)]


def test_an_answer_is_taken_from_a_file_of_any_format_and_from_no_topic_but_its_own() -> None:
    answer = Acknowledgement(
        patient_id="p", alert_id="a", action="confirm", reason="other", by="b", at=1, available_at=1
    )
    line = RawRecord(None, "events.ndjson", 0, 0, 9, None, None, encode(answer))
    from_file = take_in(
        [line], Work(0, {}, {}), Limits(), lambda _: set(), {None: lambda *_, **__: Decoded(())}, NO_HORIZON
    )

    assert [answer.alert_id] == [e.alert_id for _, e in from_file.usable if isinstance(e, Acknowledgement)]
    assert [("icu.observations", "wrong_topic")] == intake(Decoded(()), Work(0, {}, {}), value=encode(answer)).rejected


def test_a_stamp_from_the_future_moves_no_time_and_its_record_is_taken() -> None:
    horizon = Horizon("wall", HOUR, wall=lambda: DAY, monotonic=lambda: 0.0)
    horizon.resume(DAY)
    raws = [
        RawRecord("observations", "icu.observations", 0, number, number + 1, stamp, b"p", encode(observed("p", at, 37)))
        for number, (stamp, at) in enumerate([(DAY, DAY), (3 * DAY, DAY), (DAY, 3 * DAY)])
    ]
    work = Work(0, {}, {})
    taken = take_in(raws, work, Limits(), lambda _: set(), {}, horizon)

    assert [(DAY, DAY), (None, DAY)] == [(raw.timestamp, event.available_at) for raw, event in taken.usable]
    assert [("icu.observations", "stamp_ahead")] == taken.remarks
    assert ["future"] == reasons_of(work)


def test_a_handover_is_taken_whatever_its_time() -> None:
    horizon = Horizon("wall", HOUR, wall=lambda: DAY, monotonic=lambda: 0.0)
    horizon.resume(DAY)
    merged = Merged(patient_id="p", from_patient_id="q", available_at=3 * DAY, payload=b"")
    raw = RawRecord("merges", "itb.merges", 0, 0, 1, DAY, b"p", encode(merged))

    assert 1 == len(take_in([raw], Work(0, {}, {}), Limits(), lambda _: set(), {}, horizon).usable)


def test_a_bundle_of_two_patients_gives_the_events_of_its_key_and_is_kept_for_the_other() -> None:
    work = Work(0, {}, {})
    value = raw(
        bundle(observation(), observation(id="o2", subject={"reference": "Patient/q"}), {"resourceType": "Basic"})
    )
    record = RawRecord("observations", "icu.observations", 3, 7, 8, 1_900_000_000_000, b"p", value)
    taken = take_in([record], work, Limits(), lambda _: set(), {"observations": fhir()}, NO_HORIZON)

    assert ["o1"] == [event.observation_id for _, event in taken.usable if isinstance(event, Observation)]
    assert ["key_mismatch", "unread_type"] == [reason for _, reason in taken.rejected]
    assert [("key_mismatch", value)] == [(letter.reason, letter.value) for letter in work.deadletters]


def test_the_settings_say_which_topic_or_file_is_read_by_which_decoder() -> None:
    catalogue = build_catalogue(read_catalogue(CATALOGUE)[0], "signals.yaml")
    kafka = Settings.model_validate({"kafka": {"formats": {"observations": "fhir"}}, "timezone": "Europe/Berlin"})
    file = Settings.model_validate({"source": "file", "file": {"format": "fhir"}})
    local = raw(observation(effectiveDateTime="2026-03-01T08:05:00"))

    assert {"observations"} == set(decoders(kafka, catalogue))
    assert {None} == set(decoders(file, catalogue))
    assert {} == decoders(Settings(), catalogue)
    (event,) = decoders(kafka, catalogue)["observations"](local).events
    assert isinstance(event, Observation)
    assert AT_MS == event.effective_at
