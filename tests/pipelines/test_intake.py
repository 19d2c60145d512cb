"""From raw records to events."""

import pytest

from detector.catalogue.signals import build_catalogue
from detector.clean import Refused, clean, name_of
from detector.clock import DAY, HOUR
from detector.errors import ConfigError
from detector.events import Acknowledgement, Encounter, Merged, Observation, TimeMoved
from pipelines.formats import Decoded, Unread
from pipelines.formats.canonical import encode
from pipelines.horizon import Horizon
from pipelines.intake import TakenIn, decoders, take_in
from pipelines.plan_files import CATALOGUE, load_plan, read_catalogue
from pipelines.settings import Limits, Settings
from pipelines.sources import RawRecord
from pipelines.store import Work
from tests.pipelines.formats.fhir_resources import AT_MS, bundle, concept, fhir, observation, raw
from tests.pipelines.formats.hl7v2_messages import obx, oru

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


# -- one code, two feeds -----------------------------------------------------------------------------------------------


def two_feeds(**formats: str) -> Settings:
    """LAB1 is a creatine kinase, but among the encounters' results creatinine in umol/L; LAB2 only there."""
    maps = {"encounters": {"LAB1": {"signal": "creat", "unit": "umol/L"}, "LAB2": {"signal": "ast"}}}
    kafka = {"code_maps": maps, "formats": formats}
    return Settings.model_validate({"code_map": {"LAB1": {"signal": "ck"}}, "kafka": kafka})


def readings(settings: Settings, role: str | None, value: bytes) -> list[tuple[str, float] | str]:
    """What the core makes of one record on a topic: signal and value, or why there is none."""
    catalogue = load_plan(settings).catalogue
    record = RawRecord(role, f"icu.{role}", 0, 0, 1, 1_900_000_000_000, b"p", value)
    taken = take_in(
        [record], Work(0, {}, {}), settings.limits, lambda _: set(), decoders(settings, catalogue), NO_HORIZON
    )
    assert [] == taken.rejected
    found: list[tuple[str, float] | str] = []
    for _, event in taken.usable:
        assert isinstance(event, Observation)
        named = name_of(catalogue, event)
        made = clean(catalogue, named, event, None) if named is not None else Refused("unknown_code", None)
        found.append(made.reason if isinstance(made, Refused) else (made[0], made[1].value))
    return found


@pytest.mark.parametrize("role", ["observations", "encounters"])
def test_a_code_means_what_its_topic_says_before_what_all_topics_say(role: str) -> None:
    there = role == "encounters"
    settings = two_feeds(encounters="hl7v2", observations="hl7v2")
    message = oru(obx(f3="LAB1^x^L", f5="100", f6=""), obx(f3="LAB2^x^L", f5="100", f6="U/L"))

    assert [("creat", 1.13) if there else ("ck", 100), ("ast", 100) if there else "unknown_code"] == readings(
        settings, role, message
    )


def test_canonical_records_have_codes_of_their_topic_too() -> None:
    def told(code: str) -> bytes:
        return encode(Observation(patient_id="p", code=code, effective_at=0, available_at=0, value=100))

    settings = Settings.model_validate({
        "code_map": {"LAB1": {"signal": "ck"}},
        "kafka": {"code_maps": {"observations": {"LAB1": {"signal": "creat", "unit": "umol/L"}}}},
    })  # fmt: skip
    assert [("creat", 1.13)] == readings(settings, "observations", told("LAB1"))
    assert [("ast", 100)] == readings(settings, "observations", told("ast"))


@pytest.mark.parametrize(("codes_of", "expected"), [("encounters", ("creat", 1.13)), ("observations", ("ck", 100)), (None, ("ck", 100))])  # fmt: skip
@pytest.mark.parametrize("form", ["canonical", "hl7v2", "fhir"])
def test_a_file_speaks_the_codes_of_the_topic_it_is_said_to(form: str, codes_of: str | None, expected: tuple) -> None:
    file = {"source": "file", "file": {"format": form, "codes_of": codes_of}}
    feeds = two_feeds()
    kafka = {"code_maps": feeds.kafka.code_maps.model_dump()}
    settings = Settings.model_validate({"code_map": {"LAB1": {"signal": "ck"}}, "kafka": kafka} | file)
    line = {
        "canonical": encode(Observation(patient_id="p", code="LAB1", effective_at=0, available_at=0, value=100)),
        "hl7v2": oru(obx(f3="LAB1^x^L", f5="100", f6="")),
        "fhir": raw(observation(concept("LAB1", "urn:site"), {"value": 100})),
    }[form]

    assert [expected] == readings(settings, None, line)


def test_mistakes_in_codes_of_a_topic_are_named_where_they_stand() -> None:
    maps = {
        "observations": {"X1": {"signal": "cck"}},
        "context": {"2157-6": {"signal": "creat"}, "plt": {"signal": "plt"}},
    }
    wrong = Settings.model_validate({"kafka": {"code_maps": maps}})
    with pytest.raises(ConfigError) as caught:
        load_plan(wrong)
    assert "config.yaml $.kafka.code_maps.observations.X1.signal: 'cck' is not a signal" in str(caught.value)

    del maps["observations"]
    with pytest.raises(ConfigError) as caught:
        load_plan(Settings.model_validate({"kafka": {"code_maps": maps}}))
    (line,) = caught.value.problems
    assert line.startswith("config.yaml $.kafka.code_maps.context.2157-6: names 'ck' in the catalogue already")
    assert load_plan(two_feeds()).digest != load_plan(Settings(code_map=two_feeds().code_map)).digest
