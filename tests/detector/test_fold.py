"""What pump, treatment and encounter events add to the picture, beyond what rules ask of it."""

from collections import Counter

import pytest
from msgspec.structs import replace

from detector import snapshot
from detector.catalogue.strict import Problems
from detector.clock import DAY
from detector.courses import PATIENT, STAY, ZERO, Bed, instant, read_course
from detector.engine import run
from detector.events import Context, Encounter, Observation, PatientEvent, Pump, Ticked
from detector.facts import MOST_ALIKE
from detector.fold import Fold
from detector.ledger import Ledger
from detector.patient import MOST_LOOKS
from detector.plan import Plan


def bed_after(plan: Plan, given: list[str], at: str, *more: PatientEvent, **patient: object) -> Bed:
    problems = Problems("")
    events = read_course(plan.catalogue, patient, [("", line) for line in given], "$", problems)
    assert problems.lines == []
    bed = Bed(plan, sorted([*events, *more], key=lambda event: event.available_at))
    bed.until(instant(at))
    return bed


def ignored(bed: Bed) -> Counter[tuple[str, ...]]:
    return Counter({key[1:]: n for key, n in bed.ledger.counts.items() if key[0] == "events_ignored_total"})


def encounter(event: str, at: str, stay: str = STAY, **fields: object) -> Encounter:
    return Encounter(patient_id=PATIENT, stay_id=stay, event=event, at=instant(at), available_at=instant(at), **fields)  # type: ignore[arg-type]


def test_the_same_pump_or_treatment_event_again_changes_nothing(plan: Plan) -> None:
    twice = ["0:00 temp 37", *["0:00 pump mri"] * 2, *["0:00 context fall noted"] * 2]

    assert {("pump", "duplicate"): 1, ("context", "duplicate"): 1} == ignored(bed_after(plan, twice, "0:00"))


def test_a_device_that_repeats_itself_cannot_grow_a_patient(plan: Plan) -> None:
    given = ["0:00 temp 37", *(f"0:{m:02d} pump interrogated" for m in range(60)), *(f"1:{m:02d} pump interrogated" for m in range(60))]  # fmt: skip
    patient = bed_after(plan, given, "2:00").ward.patients[PATIENT]

    assert MOST_ALIKE == sum(fact.event == "interrogated" for fact in patient.pump)
    assert 1 == sum(fact.event == "implanted" for fact in patient.pump)


def test_pump_and_treatment_events_open_no_stay_and_are_kept_for_the_next(plan: Plan) -> None:
    given = ["0:00 temp 37", "1:00 stay discharged", "2:00 context spasticity noted"]
    bed = bed_after(plan, given, "2:00", encounter("admitted", "3:00", "next"))
    assert bed.ward.patients[PATIENT].stay is None

    bed.until(instant("3:00"))
    assert "true" == bed.truth("W-03")


def test_a_stay_ends_with_its_discharge_and_its_alerts_with_it(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 context spasticity noted", "1:00 stay discharged"], "2:00")

    assert [("opened", "itb_withdrawal"), ("resolved", "discharged")] == [
        (record.state, record.syndrome if record.state == "opened" else record.reason) for record in bed.records
    ]


def test_a_late_result_of_a_closed_stay_does_not_open_it_again(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 temp 37", "1:00 stay discharged", "0:50 ck 9000 arrives=2:00"], "2:00")

    assert bed.ward.patients[PATIENT].stay is None
    assert {"discharged": 1} == {key[1]: n for key, n in bed.ledger.counts.items() if key[0] == "stays_closed_total"}


def test_what_is_said_of_another_or_a_closed_stay_is_counted_and_not_believed(plan: Plan) -> None:
    told = [
        encounter("transferred", "0:10", "other", unit="SICU"),
        encounter("discharged", "0:20", "other"),
        encounter("admitted", "0:20", "other"),
        encounter("discharged", "1:00"),
        encounter("admitted", "1:00"),
    ]
    bed = bed_after(plan, ["0:00 temp 37"], "2:00", *told)

    assert {("encounter", "no_such_stay"): 2, ("encounter", "stay_closed"): 2} == ignored(bed)
    assert bed.ward.patients[PATIENT].stay is None


def test_a_discharge_that_is_taken_back_opens_the_stay_again(plan: Plan) -> None:
    told = [encounter("admitted", "0:00"), encounter("discharged", "1:00"), encounter("admitted", "1:10")]
    bed = bed_after(plan, ["1:20 temp 41.6 site=core"], "1:20", *told)

    assert ["critical"] == [alert.severity.word for _, alert in bed.ward.open_alerts()]


def test_an_older_stay_told_late_does_not_end_the_one_that_is_watched(plan: Plan) -> None:
    late = Encounter(
        patient_id=PATIENT, stay_id="old", event="admitted", at=instant("0:00") - 9 * DAY, available_at=instant("0:10")
    )
    bed = bed_after(plan, ["0:00 temp 37", "0:20 temp 41.6 site=core"], "0:20", encounter("admitted", "0:00"), late)
    stay = bed.ward.patients[PATIENT].stay

    assert stay is not None
    assert STAY == stay.stay_id
    assert ["critical"] == [alert.severity.word for _, alert in bed.ward.open_alerts()]


def test_a_fact_filed_again_later_is_the_same_fact(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 temp 37"], "0:00")
    refilled = Pump(patient_id=PATIENT, event="refilled", at=instant("0:10"), available_at=instant("0:20"))
    noted = Context(
        patient_id=PATIENT, kind="spasticity", event="noted", at=instant("0:10"), available_at=instant("0:20")
    )
    again = [replace(one, available_at=instant("1:20")) for one in (refilled, noted)]
    ledger = Ledger()
    run(plan, bed.ward, [refilled, noted, *again], ledger=ledger)
    patient = bed.ward.patients[PATIENT]

    assert ["refilled"] == [fact.event for fact in patient.pump if fact.event != "implanted"]
    assert ["spasticity"] == [fact.kind for fact in patient.context]
    assert (1, 1) == tuple(ledger.counts["events_ignored_total", kind, "duplicate"] for kind in ("pump", "context"))


def test_stopped_and_started_at_one_instant_is_a_change_of_rate(plan: Plan) -> None:
    given = ["0:00 temp 37", "0:00 context vasopressor started", "1:00 context vasopressor stopped", "1:00 context vasopressor started"]  # fmt: skip
    patient = bed_after(plan, given, "2:00").ward.patients[PATIENT]

    assert {"vasopressor"} == set(patient.running)


def test_notes_cannot_push_out_the_start_of_a_treatment(plan: Plan) -> None:
    notes = [f"{1 + m // 60}:{m % 60:02d} context vasopressor noted" for m in range(70)]
    patient = bed_after(plan, ["0:00 temp 37", "0:00 context vasopressor started", *notes], "3:00").ward.patients[
        PATIENT
    ]

    assert {"vasopressor"} == set(patient.running)


def test_a_clock_that_goes_wrong_late_in_a_stay_is_still_noticed(plan: Plan) -> None:
    normal = [f"{m // 60}:{m % 60:02d} temp 37" for m in range(200)]
    bed = bed_after(plan, normal, "3:20")
    ahead = [
        Observation(patient_id=PATIENT, code="temp", site="core", value=41.6, available_at=instant("4:00") + m * 60_000,
                    effective_at=instant("6:00") + m * 60_000)
        for m in range(60)
    ]  # fmt: skip
    bed.records += run(plan, bed.ward, ahead).records

    assert {"technical", "itb_withdrawal"} <= {record.syndrome for record in bed.records}


@pytest.mark.parametrize("ahead", [200, 0], ids=["charted ahead", "on time"])
def test_readings_told_again_say_nothing_more_of_our_clock(plan: Plan, ahead: int) -> None:
    def pulse(minute: int, told: int, ahead: int) -> Observation:
        at = instant("0:00") + minute * 60_000
        told_at = instant("0:00") + told * 60_000
        return Observation(
            patient_id=PATIENT, code="hr", value=80, available_at=told_at, effective_at=at + ahead * 60_000
        )

    known = [pulse(minute, minute, 200 if minute % 2 else 0) for minute in range(30)]
    once = bed_after(plan, [], "0:00")
    run(plan, once.ward, known)
    again = bed_after(plan, [], "0:00")
    repeated = [pulse(minute, 29 + minute, ahead) for minute in range(1 if ahead else 0, 30, 2)]
    run(plan, again.ward, [*known, *repeated])

    assert once.ward.patients[PATIENT].ahead == again.ward.patients[PATIENT].ahead


@pytest.mark.parametrize(
    ("ahead", "seen", "off"), [(8, 16, False), (9, 16, True), (15, 15, False), (16, 16, True), (16, 32, False)]
)
def test_more_than_half_of_16_or_more_readings_must_lie_ahead_before_it_is_our_clock(
    ahead: int, seen: int, off: bool
) -> None:
    assert off == Fold.clock_is_off((ahead, seen))


def test_what_is_known_of_clocks_is_bounded(plan: Plan) -> None:
    bed = bed_after(plan, [f"{m // 60}:{m % 60:02d} temp 37" for m in range(300)], "5:00")

    assert MOST_LOOKS == len(bed.ward.patients[PATIENT].looks_before.on_time)


def test_the_alert_of_a_clock_that_is_off_is_resolved_when_records_look_right_again(plan: Plan) -> None:
    def pulse(minute: int, ahead: int) -> Observation:
        at = instant("0:00") + minute * 60_000
        return Observation(patient_id=PATIENT, code="hr", value=80, available_at=at, effective_at=at + ahead * 60_000)

    bed = bed_after(plan, ["0:00 temp 37"], "0:00")
    bed.records += run(plan, bed.ward, [pulse(minute, 200) for minute in range(1, 40)]).records

    assert [("technical", "opened")] == [(one.syndrome, one.state) for one in bed.records]

    right = [
        event for minute in range(40, 800) for event in (pulse(minute, 0), Ticked(instant("0:00") + minute * 60_000))
    ]
    bed.records += run(plan, bed.ward, right).records

    assert ["opened", "lowered", "resolved"] == [one.state for one in bed.records]


def test_a_measurement_charted_ahead_and_told_again_is_one_reading(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 context spasticity noted", "0:00 temp 37"], "0:00")
    twice = [
        Observation(
            patient_id=PATIENT, code="temp", value=39.2, effective_at=instant("1:10"), available_at=instant(told)
        )
        for told in ("0:10", "0:45")
    ]
    bed.records += run(plan, bed.ward, twice).records

    assert {"watch"} == {record.severity for record in bed.records}


@pytest.mark.parametrize("reason", ["ambiguous_correction", "needs_weight"])
def test_an_observation_that_can_be_used_later_in_its_instant_is_counted_and_listed_once(
    plan: Plan, reason: str
) -> None:
    at = instant("1:00")
    told = {"patient_id": PATIENT, "effective_at": at, "available_at": at}
    early = Observation(code="temp", value=38.4, status="corrected", **told)
    later: PatientEvent = Observation(code="temp", value=36.6, **told)
    if reason == "needs_weight":
        early = Observation(code="uop", value=0.4, unit="mL/kg/h", **told)
        later = encounter("transferred", "1:00", weight_kg=70.0)
    bed = bed_after(plan, ["0:00 temp 37"], "0:00")
    ledger = Ledger()
    rejected = run(plan, bed.ward, [early, later], None, ledger).rejected

    assert [reason] == [one.reason for one in rejected]
    assert 1 + isinstance(later, Observation) == sum(
        n for key, n in ledger.counts.items() if key[0] == "observations_total"
    )
    assert 1 == ledger.counts["observations_total", early.code, reason]
    assert (38.4 if reason != "needs_weight" else 28.0) == bed.ward.patients[PATIENT].series[early.code].value[-1]


def test_of_two_readings_of_one_instant_the_withdrawn_one_stays_out_after_a_restart(plan: Plan) -> None:
    def temp(site: str, identity: str, status: str = "final") -> Observation:
        later = instant("0:10") if status == "final" else instant("0:20")
        return Observation(patient_id=PATIENT, code="temp", site=site, value=41.5, observation_id=identity, status=status,
                           effective_at=instant("0:10"), available_at=later)  # type: ignore[arg-type]  # fmt: skip

    bed = bed_after(plan, ["0:00 temp 37"], "0:00")
    run(plan, bed.ward, [temp("core", "A"), temp("axillary", "B"), temp("core", "A", "entered-in-error")])
    live = bed.ward.patients[PATIENT]
    changes = snapshot.changes(live)
    loaded = snapshot.load(plan, changes.head, [changes.segment] if changes.segment else [])

    assert live.series["temp"] == loaded.series["temp"]
    assert ["axillary"] == [meta.site for meta in live.series["temp"].meta if meta.site != "unknown"]


def test_a_new_admission_without_a_discharge_changes_the_stay_and_lets_the_alert_go_on(plan: Plan) -> None:
    given = ["0:00 context spasticity noted", "2:01 temp 37"]
    bed = bed_after(plan, given, "2:01", encounter("admitted", "2:00", "next"))
    stay = bed.ward.patients[PATIENT].stay

    assert stay is not None
    assert "next" == stay.stay_id
    assert [("opened", STAY)] == [(record.state, record.stay_id) for record in bed.records]


def test_a_stay_closed_by_silence_goes_on_with_its_next_observation(plan: Plan) -> None:
    told = [encounter("admitted", "0:00")]
    bed = bed_after(plan, ["0:00 temp 37", "60:00 context spasticity noted", "60:01 temp 40"], "60:01", *told)
    stay = bed.ward.patients[PATIENT].stay

    assert stay is not None
    assert STAY == stay.stay_id
    assert "warning" in [record.severity for record in bed.records]


def test_a_transfer_changes_what_it_says_and_keeps_the_rest(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 temp 37"], "1:00", encounter("transferred", "1:00", unit="SICU"), age_years=24, weight_kg=70)  # fmt: skip
    stay = bed.ward.patients[PATIENT].stay

    assert stay is not None
    assert ("SICU", 24, 70) == (stay.unit, stay.age_years, stay.weight_kg)


def test_treatments_run_from_started_to_stopped_and_not_before_their_time(plan: Plan) -> None:
    given = ["0:00 temp 37", "1:00 context sedation started arrives=0:00", "2:00 context sedation stopped"]

    for at, running in (("0:30", set()), ("1:00", {"sedation"}), ("2:00", set())):
        assert running == set(bed_after(plan, given, at).ward.patients[PATIENT].running)


@pytest.mark.parametrize("stay_id", [None, "next"])
def test_an_observation_of_no_or_another_stay_opens_one(plan: Plan, stay_id: str | None) -> None:
    late = Observation(patient_id=PATIENT, code="temp", value=39.9, effective_at=ZERO, available_at=instant("3:00"), stay_id=stay_id)  # fmt: skip
    fresh = Observation(patient_id=PATIENT, code="temp", value=37, effective_at=instant("4:00"), available_at=instant("4:00"), stay_id=stay_id)  # fmt: skip
    given = ["0:00 hr 80", "1:00 stay discharged"]

    assert (stay_id is None) == (bed_after(plan, given, "3:00", late).ward.patients[PATIENT].stay is None)
    assert bed_after(plan, given, "4:00", late, fresh).ward.patients[PATIENT].stay is not None


def test_readings_of_a_discharged_patient_are_forgotten_and_the_pump_is_not(plan: Plan) -> None:
    bed = bed_after(plan, ["0:00 temp 37", "1:00 ck 90"], "1:00", encounter("discharged", "2:00"))
    bed.until(instant("2:00") + 9 * DAY)
    patient = bed.ward.patients[PATIENT]

    assert [] == [name for name, series in patient.series.items() if len(series) or series.older]
    assert ["implanted"] == [fact.event for fact in patient.pump]


def test_a_baseline_of_no_known_signal_is_counted_and_left_out(plan: Plan) -> None:
    told = encounter("admitted", "0:00", baseline={"sbp": 100.0, "shoe_size": 43.0})
    bed = bed_after(plan, ["0:00 temp 37"], "0:00", told)
    stay = bed.ward.patients[PATIENT].stay

    assert stay is not None
    assert "shoe_size" not in stay.baseline
    assert 1 == ignored(bed)["encounter", "unknown_baseline"]
