"""The picture of a patient after an instant: the same whatever the order of its records, and every answer up to date."""

from __future__ import annotations

from itertools import permutations

import pytest

from detector import snapshot
from detector.clock import DAY, HOUR, MINUTE
from detector.courses import PATIENT, ZERO
from detector.encoding import encode_head, full
from detector.engine import Ward, run
from detector.events import Acknowledgement, Context, Encounter, Event, Observation, Pump, Ticked
from detector.ledger import Ledger
from detector.patient import Patient
from detector.plan import Plan
from tests.detector.test_properties import state_of

ADMITTED = Encounter(patient_id=PATIENT, stay_id="s", event="admitted", at=ZERO - HOUR, available_at=ZERO - HOUR)
PUMP = Pump(patient_id=PATIENT, event="implanted", at=ZERO - 90 * DAY, available_at=ZERO - HOUR)


def seen(hours: float, code: str, value: float | None, *, told: float | None = None, **fields: object) -> Observation:
    at = ZERO + round(hours * 60) * MINUTE
    known = at if told is None else ZERO + round(told * 60) * MINUTE
    return Observation(
        patient_id=PATIENT, code=code, value=value, effective_at=at, available_at=known, **fields,
    )  # fmt: skip


def note(kind: str, hours: float, *, told: float) -> Context:
    return Context(patient_id=PATIENT, kind=kind, event="started", at=ZERO + round(hours * HOUR),
                   available_at=ZERO + round(told * HOUR))  # fmt: skip


def after(plan: Plan, *events: Event) -> Patient:
    ward = Ward(plan)
    for event in (ADMITTED, PUMP, *events):
        run(plan, ward, [event])
    return ward.patients[PATIENT]


def stale(plan: Plan, patient: Patient) -> set[str]:
    """The answers that would be others if everything were asked again."""
    fresh = snapshot.load(plan, encode_head(patient), [full(patient)])
    return {
        rule for rule, found in patient.found.items() if fresh.found[rule]._replace(until=0) != found._replace(until=0)
    }


def alike(plan: Plan, before: list[Event], *instant: Event) -> Patient:
    """The picture after the records of an instant, which is the same in each order."""
    pictures = [after(plan, *before, *order) for order in permutations(instant)]
    states = [{**state_of(one), "unmatched": ()} for one in pictures]
    for state in states:
        for halfway in ("looked", "verdicts", "acks", "corrected", "episodes", "base", "left"):
            state.pop(halfway)
    assert [states[0]] * len(states) == states
    return pictures[0]


def test_an_id_that_speaks_of_another_signal_now_takes_its_evidence_with_it(plan: Plan) -> None:
    wrong = seen(0, "ck", 60000, observation_id="a")
    patient = after(plan, wrong, seen(0, "ast", 60, told=1, observation_id="a", status="corrected"))

    assert set() == stale(plan, patient)
    assert [0, 1] == [len(patient.series[name]) for name in ("ck", "ast")]


def test_a_correction_to_what_another_id_says_already_takes_its_evidence_with_it(plan: Plan) -> None:
    both = [seen(0, "ck", 60000, observation_id="a"), seen(0, "ck", 90, observation_id="b")]
    patient = after(plan, *both, seen(0, "ck", 90, told=1, observation_id="a", status="corrected"))

    assert set() == stale(plan, patient)
    assert [90.0] == list(patient.series["ck"].value)


def test_a_correction_of_the_site_alone_is_one(plan: Plan) -> None:
    skin = seen(0, "temp", 39.6, site="skin", observation_id="a")
    patient = after(plan, skin, seen(0, "temp", 39.6, told=1, site="core", observation_id="a", status="corrected"))

    assert ["core"] == [meta.site for meta in patient.series["temp"].meta]


@pytest.mark.parametrize("event", ["mri", "refilled"])
def test_what_was_told_ahead_of_time_counts_though_a_pump_event_comes_at_its_very_minute(
    plan: Plan, event: str
) -> None:
    device = Pump(patient_id=PATIENT, event=event, at=ZERO + HOUR, available_at=ZERO + HOUR)
    patient = after(plan, seen(0, "creat", 1.0), note("rrt", 1, told=0), device)

    assert set() == stale(plan, patient)


def test_the_same_reading_twice_in_an_instant_keeps_each_flag_in_either_order(plan: Plan) -> None:
    patient = alike(
        plan, [], seen(0, "plt", 60, told=1, flags=("clumped",)), seen(0, "plt", 60, told=1, status="preliminary"),
        seen(0, "plt", 60, told=1, source="b"),
    )  # fmt: skip

    assert [("clumped",)] == [meta.flags for meta in patient.series["plt"].meta]


def test_ids_and_statuses_that_say_the_same_in_one_instant_end_alike_in_every_order(plan: Plan) -> None:
    alike(
        plan, [], seen(0, "sbp", 132, told=1, observation_id="a"), seen(0, "sbp", 132, told=1, observation_id="b"),
        seen(0, "sbp", 132, told=1, observation_id="a", status="corrected"), seen(0, "sbp", 132, told=1),
    )  # fmt: skip


def test_an_id_withdrawn_in_the_instant_in_which_it_changes_its_signal_ends_alike_in_either_order(plan: Plan) -> None:
    before: list[Event] = [seen(0, "ck", 900, observation_id="a")]
    alike(
        plan, before, seen(1, "creat", 2.0, observation_id="a"),
        seen(1, "creat", None, observation_id="a", status="entered-in-error"),
    )  # fmt: skip


def test_a_weight_told_in_the_instant_of_what_needs_it_counts_in_either_order(plan: Plan) -> None:
    weighed = Encounter(
        patient_id=PATIENT, stay_id="s", event="transferred", at=ZERO, available_at=ZERO, weight_kg=80.0
    )
    patient = alike(plan, [], weighed, seen(0, "uop", 0.5, unit="mL/kg/h"))

    assert [40.0] == list(patient.series["uop"].value)


def test_the_hour_that_ends_in_an_instant_ends_before_its_records(plan: Plan) -> None:
    """A reading as old as an hour that is summarised in this very instant, and the one it replaces."""
    before: list[Event] = [seen(0.2, "hr", 80, observation_id="a")]
    moved = seen(25, "inr", 2.0, observation_id="a")
    alike(plan, before, moved, note("fall", 25, told=25))


def test_a_correction_does_not_put_a_reading_among_hours_that_are_summarised(plan: Plan) -> None:
    steady = [seen(hour, "hr", 80) for hour in range(40)]
    ward, ledger = Ward(plan), Ledger()
    late = seen(1.5, "hr", 150, told=40, observation_id="a", status="corrected")
    run(plan, ward, [ADMITTED, *steady, seen(39, "hr", 140, observation_id="a"), late], ledger=ledger)
    run(plan, ward, [seen(41, "hr", 80)])
    series = ward.patients[PATIENT].series["hr"]

    assert sorted(series.older) == series.older
    assert 1 == ledger.counts["late_observations_total", "hr"]
    assert 140.0 not in series.value


def test_a_clock_that_looks_wrong_is_counted_alike_in_either_order(plan: Plan) -> None:
    before: list[Event] = [seen(0, "hr", 60 + k) for k in range(31)]
    alike(plan, before, seen(9, "sbp", 100, told=1), seen(1, "sbp", 101), seen(1, "sbp", 102))


def test_an_answer_without_a_stay_is_counted(plan: Plan) -> None:
    ward, ledger = Ward(plan), Ledger()
    answer = Acknowledgement(
        patient_id=PATIENT, alert_id="x", action="confirm", reason="other", by="me", at=ZERO, available_at=ZERO
    )
    run(plan, ward, [PUMP, answer], ledger=ledger)

    assert 1 == ledger.counts["events_ignored_total", "acknowledgement", "no_such_alert"]


@pytest.mark.parametrize("points", [[], [seen(0.1, "gcs", 13)]], ids=["known to the answers", "come since"])
def test_a_patient_loaded_again_writes_the_very_same_reminder(plan: Plan, points: list[Event]) -> None:
    """The points of a differential are part of the record, though no event came since the patient was loaded, and are
    those of its last answers: a GCS of 13 after 15 is points and changes no answer.
    """
    live = Ward(plan)
    told = [note("dopamine_blocker", 0, told=0), seen(0, "ck", 9000), seen(0, "temp", 39.9), seen(0, "hr", 140),
            seen(0, "gcs", 15)]  # fmt: skip
    alert_id = run(plan, live, [ADMITTED, PUMP, *told]).records[0].alert_id
    snooze = Acknowledgement(
        patient_id=PATIENT, alert_id=alert_id, action="snooze", reason="other", by="me", at=ZERO + MINUTE,
        available_at=ZERO + MINUTE, until=ZERO + 10 * MINUTE,
    )  # fmt: skip
    run(plan, live, [snooze, *points])
    patient = live.patients[PATIENT]
    again = Ward(plan, live.ticked_at)
    again.adopt(snapshot.load(plan, encode_head(patient), [full(patient)]))
    later = [Ticked(ZERO + 15 * MINUTE)]
    records = [[(r.state, r.differentials) for r in run(plan, ward, later).records] for ward in (live, again)]

    assert ["reminded"] == [state for state, _ in records[0]]
    assert records[0] == records[1]
