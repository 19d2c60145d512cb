"""The life of an alert, told by events: opened, raised, lowered, reminded, answered, resolved."""

from __future__ import annotations

import msgspec
import pytest

from detector.alerts import LIVING, QUIET, RESOLVED, TABLE, Stimulus
from detector.clock import HOUR, MINUTE, rfc3339
from detector.engine import Ward, run
from detector.events import Acknowledgement, Context, Encounter, Event, Observation, Pump, Ticked
from detector.plan import Plan
from detector.records import AlertRecord, Batch

T = 1_700_000_040_000 - 1_700_000_040_000 % MINUTE


class Patient:
    """One gated adult in a ward of one; ``at`` is hours after admission."""

    def __init__(self, plan: Plan, *, pump: bool = True) -> None:
        self.plan, self.ward, self.records = plan, Ward(plan), list[AlertRecord]()
        self.labels: list[object] = []
        self.tell(
            Encounter(patient_id="p", stay_id="s", event="admitted", at=T, available_at=T, age_years=40.0, unit="MICU")
        )
        if pump:
            self.tell(Pump(patient_id="p", event="implanted", at=T - 100 * HOUR, available_at=T))

    def tell(self, *events: Event) -> list[AlertRecord]:
        batch: Batch = run(self.plan, self.ward, list(events))
        self.records += batch.records
        self.labels += batch.labels
        return batch.records

    def reads(self, at: float, code: str, value: float | None, **more: object) -> list[AlertRecord]:
        t = T + round(at * 60) * MINUTE
        return self.tell(Observation(patient_id="p", stay_id="s", code=code, value=value, effective_at=t,
                                     available_at=more.pop("filed", t), **more))  # type: ignore[arg-type]  # fmt: skip

    def notes(self, at: float, kind: str, event: str = "noted") -> list[AlertRecord]:
        t = T + round(at * 60) * MINUTE
        return self.tell(Context(patient_id="p", kind=kind, event=event, at=t, available_at=t))  # type: ignore[arg-type]

    def answers(self, at: float, action: str, **more: object) -> list[AlertRecord]:
        t = T + round(at * 60) * MINUTE
        alert_id = str(more.pop("alert_id", self.records[-1].alert_id if self.records else "none"))
        return self.tell(Acknowledgement(patient_id="p", alert_id=alert_id, action=action, reason="other", by="rn",
                                         at=t, available_at=t, **more))  # type: ignore[arg-type]  # fmt: skip

    def until(self, at: float) -> list[AlertRecord]:
        return self.tell(Ticked(T + round(at * 60) * MINUTE))

    def told(self) -> list[tuple[float, str, str]]:
        def hours(record: AlertRecord) -> float:
            from datetime import datetime

            return round((datetime.fromisoformat(record.at).timestamp() * 1000 - T) / HOUR, 2)

        return [(hours(r), r.state, r.severity) for r in self.records]


@pytest.fixture
def patient(plan: Plan) -> Patient:
    return Patient(plan)


def hot_with_tone(patient: Patient, at: float = 0.0) -> None:
    patient.notes(at, "spasticity")
    patient.reads(at, "temp", 40.0)


def test_every_state_that_lives_can_be_resolved_and_nothing_leaves_resolved() -> None:
    assert all(TABLE[(state, Stimulus.CLEARS)] == RESOLVED for state in LIVING)
    assert not [key for key in TABLE if key[0] == RESOLVED]
    assert [key for key in TABLE if key[0] == QUIET] == [(QUIET, Stimulus.OPENS)]


def test_an_alert_opens_rises_and_names_the_rules(patient: Patient) -> None:
    hot_with_tone(patient)

    assert [(0.0, "opened", "watch"), (0.0, "raised", "warning")] == patient.told()
    assert patient.records[0].reason == "W-03"
    assert patient.records[1].reason.startswith("R-06")
    assert patient.records[1].previous_severity == "watch"
    assert {patient.records[0].alert_id} == {r.alert_id for r in patient.records}
    assert [1, 2] == [r.sequence for r in patient.records]


def test_an_unanswered_alert_reminds_after_12_h(patient: Patient) -> None:
    hot_with_tone(patient)
    for hour in range(1, 14):
        patient.reads(hour, "temp", 40.0)

    assert (12.0, "reminded", "warning") in patient.told()


def test_an_acknowledged_alert_is_silent_for_12_h_and_then_asks_again(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.answers(1, "acknowledge")
    for hour in range(2, 15):
        patient.reads(hour, "temp", 40.0)

    told = [step for step in patient.told() if step[1] in ("acknowledged", "reminded")]
    assert [(1.0, "acknowledged", "warning"), (13.0, "reminded", "warning")] == told


def test_a_snooze_lasts_its_own_time(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.answers(1, "snooze", until=T + 3 * HOUR)
    patient.until(4)

    told = [step for step in patient.told() if step[1] in ("snoozed", "reminded")]
    assert [(1.0, "snoozed", "warning"), (3.0, "reminded", "warning")] == told


def test_a_snooze_lasts_12_h_at_most(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.answers(1, "snooze", until=T + 20 * HOUR)
    for hour in range(2, 15):
        patient.reads(hour, "temp", 40.0)

    told = [step for step in patient.told() if step[1] in ("snoozed", "reminded")]
    assert [(1.0, "snoozed", "warning"), (13.0, "reminded", "warning")] == told


def test_a_higher_severity_breaks_the_silence(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.answers(1, "acknowledge")
    patient.reads(2, "ck", 9000.0, unit="U/L")

    assert (2.0, "raised", "critical") in patient.told()


def test_at_critical_a_new_critical_rule_breaks_the_silence(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.reads(1, "ck", 9000.0, unit="U/L")
    patient.answers(2, "acknowledge")
    before = len(patient.records)
    patient.notes(3, "seizure")

    assert ("raised", "critical") in [(r.state, r.severity) for r in patient.records[before:]]
    assert "C-14" in patient.records[-1].reason


def test_confirm_and_dismiss_store_the_label_and_resolve_nothing(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.answers(1, "dismiss")

    assert len(patient.labels) == 1
    assert [alert.state for _, alert in patient.ward.open_alerts()] == ["acknowledged"]


def test_an_answer_to_an_unknown_alert_changes_nothing(patient: Patient) -> None:
    hot_with_tone(patient)

    assert patient.answers(1, "acknowledge", alert_id="0" * 32) == []


def test_a_known_lower_verdict_lowers_one_step_after_6_h_and_resolves_after_12_h(patient: Patient) -> None:
    patient.notes(0, "spasticity")
    patient.reads(0, "temp", 40.0)
    for half in range(1, 80):
        patient.reads(half / 2, "temp", 37.0)
        patient.reads(half / 2, "hr", 70.0)

    told = patient.told()
    lowered = next(at for at, state, severity in told if (state, severity) == ("lowered", "watch"))
    resolved = next(at for at, state, _ in told if state == "resolved")
    assert 2 <= lowered - 6 <= 4.1
    assert 24 <= resolved <= 24.5  # tone is noted for 12 h, then 12 h with no rule true


def test_what_rises_again_before_6_h_of_a_lower_verdict_begins_them_anew(patient: Patient) -> None:
    patient.notes(0, "spasticity")
    for half in range(80):
        patient.reads(half / 2, "temp", 40.0 if half in (0, 14) else 37.0)
        patient.reads(half / 2, "hr", 70.0)

    lowered = next(at for at, state, severity in patient.told() if (state, severity) == ("lowered", "watch"))
    assert 12 + 6 == lowered  # the second fever is a warning until the 12 h of the tone are over


def test_a_rule_that_is_true_again_begins_the_12_h_until_the_end_anew(patient: Patient) -> None:
    patient.notes(0, "spasticity")
    patient.reads(0, "temp", 40.0)
    for half in range(1, 120):
        if half == 40:
            patient.notes(20, "spasticity")  # 8 h after the first note ran out
        patient.reads(half / 2, "temp", 37.0)
        patient.reads(half / 2, "hr", 70.0)

    resolved = next(at for at, state, _ in patient.told() if state == "resolved")
    assert 20 + 12 + 12 <= resolved <= 20 + 12 + 12.5


def test_unknown_time_does_not_resolve(patient: Patient) -> None:
    patient.reads(0, "hr", 130.0)
    patient.reads(0, "temp", 39.6)
    patient.until(40)

    assert "resolved" not in [state for _, state, _ in patient.told()]


def test_a_correction_that_leaves_no_rule_true_amends_and_resolves_at_once(patient: Patient) -> None:
    patient.reads(0, "ck", 8000.0, unit="U/L", observation_id="lab1")
    patient.reads(1, "ck", 80.0, unit="U/L", observation_id="lab1", status="corrected")

    assert [(0.0, "opened", "warning"), (1.0, "amended", "warning"), (1.0, "resolved", "warning")] == patient.told()
    assert [r.reason for r in patient.records[1:]] == ["evidence_corrected", "evidence_corrected"]


def test_a_correction_to_a_value_that_cannot_be_used_takes_the_old_one_out(patient: Patient) -> None:
    patient.reads(0, "temp", 41.6, site="core", observation_id="t1")
    patient.reads(1, "temp", 3.7, site="core", observation_id="t1", status="corrected")
    patient.reads(2, "temp", 41.6, site="core", observation_id="t1")  # the first version once more

    assert [(0.0, "opened", "critical"), (1.0, "amended", "critical"), (1.0, "resolved", "critical")] == patient.told()


def test_a_late_reading_that_moves_the_onset_amends_once(patient: Patient) -> None:
    patient.reads(5, "ck", 8000.0, unit="U/L", filed=T + 5 * HOUR)
    patient.reads(1, "ck", 7000.0, unit="U/L", filed=T + 6 * HOUR)

    assert ["opened", "amended"] == [r.state for r in patient.records]
    assert patient.records[1].onset_at is not None
    assert patient.records[1].onset_at <= str(patient.records[0].onset_at)


def test_discharge_ends_the_episode(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.tell(Encounter(patient_id="p", stay_id="s", event="discharged", at=T + HOUR, available_at=T + HOUR))

    assert patient.told()[-1] == (1.0, "resolved", "warning")
    assert patient.records[-1].reason == "discharged"


def test_a_silent_stay_is_closed_after_48_h(patient: Patient) -> None:
    hot_with_tone(patient)
    patient.until(60)

    assert (48.0, "resolved", "warning") in patient.told()


def test_without_a_known_pump_one_question_is_asked_once_a_stay(plan: Plan) -> None:
    patient = Patient(plan, pump=False)
    hot_with_tone(patient)
    for hour in range(1, 40):
        patient.reads(hour, "temp", 40.0 if hour % 20 < 4 else 37.0)

    asked = [r for r in patient.records if r.syndrome == "pump_status_query" and r.state == "opened"]
    assert [("info", rfc3339(T))] == [(r.severity, r.at) for r in asked]


def test_a_pump_registered_later_is_judged_at_once_on_the_windows_that_reach_back(plan: Plan) -> None:
    patient = Patient(plan, pump=False)
    hot_with_tone(patient)
    patient.tell(Pump(patient_id="p", event="implanted", at=T - HOUR, available_at=T + HOUR))

    opened = [r for r in patient.records if r.syndrome == "itb_withdrawal"]
    assert [("opened", "warning", rfc3339(T + HOUR))] == [(r.state, r.severity, r.at) for r in opened]


def test_a_value_that_looks_like_fahrenheit_opens_one_data_quality_note(patient: Patient) -> None:
    patient.reads(0, "temp", 98.6, unit="Cel")
    patient.reads(1, "temp", 99.1, unit="Cel")

    assert [("data_quality", "info", "opened")] == [
        (r.syndrome, r.severity, r.state) for r in patient.records if r.state == "opened"
    ]


def test_a_merge_moves_history_and_open_alerts_with_their_ids(plan: Plan) -> None:
    patient = Patient(plan)
    hot_with_tone(patient)
    merged = Encounter(patient_id="p", stay_id="s", event="merged", at=T + HOUR, available_at=T + HOUR, into="q")
    batch = run(plan, patient.ward, [merged])
    assert [out.into for out in batch.merges] == ["q"]
    from detector.events import Merged

    moved = Merged(patient_id="q", from_patient_id="p", available_at=T + HOUR, payload=batch.merges[0].payload)
    run(plan, patient.ward, [moved])

    assert [("q", patient.records[0].alert_id)] == [(who, a.alert_id) for who, a in patient.ward.open_alerts()]
    surviving = patient.ward.patients["q"]
    assert len(surviving.series["temp"]) == 1
    assert [fact.event for fact in surviving.pump] == ["implanted"]


def test_an_unreadable_merge_is_rejected_and_loses_no_neighbour(plan: Plan) -> None:
    from detector.events import Merged

    patient = Patient(plan)
    batch = run(plan, patient.ward, [Merged(patient_id="p", from_patient_id="q", available_at=T, payload=b"\xc1")])
    hot_with_tone(patient)

    assert [("bad_merge", True)] == [(r.reason, r.quarantined) for r in batch.rejected]
    assert patient.told()[-1] == (0.0, "raised", "warning")


def test_a_merge_told_twice_is_taken_once_and_a_merge_in_one_batch_equals_one_event_by_event(plan: Plan) -> None:
    from detector.events import Merged

    def merged(one: Patient) -> Merged:
        out = Encounter(patient_id="p", stay_id="other", event="merged", at=T + HOUR, available_at=T + HOUR, into="q")
        hot = Observation(patient_id="p", code="temp", value=40.0, effective_at=T, available_at=T)
        note = Context(patient_id="p", kind="spasticity", event="noted", at=T, available_at=T)
        batch = run(plan, one.ward, [note, hot, out])
        one.records += batch.records
        return Merged(patient_id="q", from_patient_id="p", available_at=T + HOUR, payload=batch.merges[0].payload)

    patient = Patient(plan)
    told = merged(patient)
    again = run(plan, patient.ward, [told, told]).records

    assert ["warning"] == [alert.severity.word for who, alert in patient.ward.open_alerts() if who == "q"]
    assert [] == [record for record in again if record.state == "resolved"]
    keys = [(record.alert_id, record.sequence) for record in (*patient.records, *again)]
    assert len(keys) == len(set(keys))


def test_an_answer_told_again_later_does_nothing(plan: Plan) -> None:
    patient = Patient(plan)
    patient.reads(0, "ck", 6000)
    answer = Acknowledgement(patient_id="p", alert_id=patient.records[-1].alert_id, action="acknowledge", reason="other",
                             by="rn", at=T + HOUR, available_at=T + HOUR)  # fmt: skip
    patient.tell(answer)
    patient.until(14)
    before = len(patient.records)

    assert [] == patient.tell(msgspec.structs.replace(answer, available_at=T + 15 * HOUR))
    assert ["reminded"] == [record.state for record in patient.records[before - 1 :]]


def test_the_second_record_of_one_decision_follows_the_first(plan: Plan) -> None:
    """Raised and answered in one instant: the answer is to the alert as it is then."""
    patient = Patient(plan)
    patient.reads(0, "ck", 6000)
    alert_id = patient.records[-1].alert_id
    hot = Observation(
        patient_id="p", code="temp", value=41.6, site="core", effective_at=T + HOUR, available_at=T + HOUR
    )
    answer = Acknowledgement(patient_id="p", alert_id=alert_id, action="acknowledge", reason="other", by="rn",
                             at=T + HOUR, available_at=T + HOUR)  # fmt: skip
    patient.tell(hot, answer)

    assert [("warning", "raised"), ("critical", "acknowledged")] == [
        (record.previous_severity, record.state) for record in patient.records[-2:]
    ]


@pytest.mark.parametrize("order", [("confirm", "snooze"), ("snooze", "confirm")])
def test_two_answers_of_one_instant_leave_the_same_state_and_the_label(plan: Plan, order: tuple[str, str]) -> None:
    patient = Patient(plan)
    patient.reads(0, "ck", 6000)
    alert_id = patient.records[-1].alert_id
    for action in order:
        patient.answers(1, action, alert_id=alert_id)

    assert "snoozed" == patient.records[-1].state
    assert ["confirm"] == [label.action for label in patient.labels]  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_answers_of_one_instant_the_same_holds_in_either_order(plan: Plan, first: int) -> None:
    patient = Patient(plan)
    alert_id = patient.reads(0, "ck", 9000)[0].alert_id
    at = T + HOUR
    both = [
        Acknowledgement(patient_id="p", alert_id=alert_id, action="snooze", reason="other", by="me", at=at,
                        available_at=at, until=until)
        for until in (None, at + 2 * HOUR)
    ]  # fmt: skip
    patient.tell(both[first], both[1 - first])

    assert at + 2 * HOUR == patient.ward.patients["p"].episodes["itb_withdrawal"].silent_until
