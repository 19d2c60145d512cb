"""ADT messages: admission, transfer, discharge, what is cancelled, and merges."""

import pytest

from detector.engine import Ward, run
from detector.events import Encounter, EncounterKind, Observation, TimeMoved
from detector.plan import Plan
from pipelines.formats import Unread
from pipelines.plan_files import plan_from_files
from tests.pipelines.formats.hl7v2_messages import FILED_MS, PID, PV1, adt, hl7v2, message, msh, obx, pv1

decode = hl7v2()
RECORDED_MS = 1_772_348_760_000  # EVN-2 of `adt`
ADMITTED = pv1(f44="20260301080000+0100")
ADMITTED_MS = RECORDED_MS - 360_000


def only(raw: bytes) -> Encounter:
    decoded = decode(raw)

    assert () == decoded.unread
    (event,) = decoded.events
    assert isinstance(event, Encounter)
    return event


def test_an_admission_has_its_stay_ward_bed_age_and_sex() -> None:
    assert Encounter(
        patient_id="p", stay_id="V1", event="admitted", at=ADMITTED_MS, available_at=FILED_MS, unit="ICU", bed="2",
        age_years=56, sex="male",
    ) == only(adt("A01", visit=ADMITTED))  # fmt: skip


@pytest.mark.parametrize(
    ("trigger", "event"),
    [("A01", "admitted"), ("A02", "transferred"), ("A03", "discharged"), ("A08", "transferred"), ("A11", "discharged"),
     ("A12", "transferred"), ("A13", "admitted")],
)  # fmt: skip
def test_each_trigger_is_the_event_it_comes_to(trigger: str, event: EncounterKind) -> None:
    told = only(adt(trigger))

    assert (event, RECORDED_MS, "V1", "ICU") == (told.event, told.at, told.stay_id, told.unit)
    assert told == only(adt(trigger).replace(b"ADT^" + trigger.encode(), b"ADT"))  # EVN-1 says it as well


def test_what_happened_is_told_better_than_when_it_was_recorded() -> None:
    occurred = "EVN|{}|20260301080600+0100||||20260301080500+0100"

    assert RECORDED_MS - 60_000 == only(adt("A02", event=occurred)).at
    assert ADMITTED_MS == only(adt("A13", visit=ADMITTED)).at
    assert RECORDED_MS == only(adt("A11", visit=ADMITTED)).at  # PV1-44 is when it began, not when it was taken back
    assert RECORDED_MS == only(adt("A01", visit=pv1(f44="20260301"))).at  # a day is no instant


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (adt("A01", visit="PV1|1|I|ICU"), "missing_key"),
        (adt("A01", event="EVN|{}"), "no_time"),
        (adt("A01", event="EVN|{}|20260301"), "date_only"),
        (message(msh("ADT^A01"), "EVN|A01|202603010806", PV1), "missing_key"),
        (adt("A40"), "missing_key"),
        (adt("A40", "MRG|1~2"), "missing_key"),
        (adt("A40", "MRG|q^^^HOSP^AN"), "missing_key"),
    ],
)
def test_what_says_too_little_is_refused(raw: bytes, reason: str) -> None:
    decoded = decode(raw)

    assert () == decoded.events
    assert [reason] == [part.reason for part in decoded.unread if part.refused]


def test_an_update_without_a_stay_is_only_counted() -> None:
    assert (Unread("no_stay", "ADT A08", refused=False),) == decode(adt("A08", visit="PV1|1|O")).unread


def test_a_merge_goes_from_the_old_id_to_the_surviving_one() -> None:
    merged = only(adt("A40", "MRG|q^^^HOSP^MR"))

    assert ("q", "p", "merged", RECORDED_MS) == (merged.patient_id, merged.into, merged.event, merged.at)


def test_several_merges_in_a_message_are_told_apart() -> None:
    raw = adt("A40", "MRG|q^^^HOSP^MR", PID.replace("|p^", "|r^"), "MRG|s^^^HOSP^MR")

    assert [("q", "p"), ("s", "r")] == [
        (one.patient_id, one.into) for one in decode(raw).events if isinstance(one, Encounter)
    ]


@pytest.mark.parametrize("end", range(1, 13))
def test_a_merge_that_was_cut_merges_nobody(end: int) -> None:
    whole = adt("A40", "MRG|1234^^^H^MR").rstrip()
    decoded = decode(whole[:-end])

    assert () == decoded.events
    assert [Unread("missing_key", "ADT A40")] == list(decoded.unread)


def test_where_no_identifier_has_a_type_none_is_needed_for_a_merge() -> None:
    merged = only(adt("A40", "MRG|q").replace(PID.encode(), b"PID|1||p"))

    assert ("q", "p") == (merged.patient_id, merged.into)


def test_results_in_an_admission_are_results() -> None:
    stay, result = decode(adt("A01", obx())).events

    assert isinstance(stay, Encounter)
    assert isinstance(result, Observation)
    assert ("V1", 5250.0) == (result.stay_id, result.value)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_from_files()


def stay_after(plan: Plan, *raws: bytes) -> str | None:
    """The open stay of patient p, after these messages reached the core."""
    ward = Ward(plan)
    for raw in raws:
        run(plan, ward, [event for event in decode(raw).events if not isinstance(event, TimeMoved)])
    stay = ward.patients["p"].stay
    return stay.stay_id if stay is not None else None


def at(minute: int, raw: bytes) -> bytes:
    """The same message, recorded and sent so many minutes later."""
    return raw.replace(b"20260301080600", b"2026030109%02d00" % minute).replace(
        b"20260301090100", b"2026030109%02d30" % minute
    )


def test_a_cancelled_discharge_opens_the_stay_again_and_a_cancelled_admission_ends_it(plan: Plan) -> None:
    admitted, discharged = at(1, adt("A01")), at(2, adt("A03"))

    assert None is stay_after(plan, admitted, discharged)
    assert "V1" == stay_after(plan, admitted, discharged, at(3, adt("A13")))
    assert None is stay_after(plan, admitted, at(2, adt("A11")))
    assert "V1" == stay_after(plan, admitted, at(2, adt("A11")), at(3, adt("A01")))


def test_a_cancelled_transfer_brings_the_patient_back_to_the_ward_of_pv1(plan: Plan) -> None:
    ward = Ward(plan)
    moved = pv1(f3="SURG^1^1")
    for raw in (at(1, adt("A01")), at(2, adt("A02", visit=moved)), at(3, adt("A12"))):
        run(plan, ward, [event for event in decode(raw).events if not isinstance(event, TimeMoved)])

    stay = ward.patients["p"].stay
    assert stay is not None
    assert "ICU" == stay.unit
