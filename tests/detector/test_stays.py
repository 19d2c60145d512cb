"""Encounter events count by when they say something happened, however late, often or together they are told."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import msgspec
import pytest

from detector.clock import DAY, HOUR, MINUTE
from detector.courses import PATIENT, ZERO
from detector.engine import Ward, run
from detector.events import Acknowledgement, Encounter, Event, Observation, Pump, Ticked
from detector.ledger import Ledger
from detector.patient import Patient
from detector.plan import Plan
from detector.scoring import FeatureRow, Scores
from pipelines.plan_files import load_plan
from pipelines.settings import Settings

PUMP = Pump(patient_id=PATIENT, event="implanted", at=ZERO - 300 * DAY, available_at=ZERO)


def told(event: str, at: float, stay: str = "s", *, available: float | None = None, **fields: object) -> Encounter:
    return Encounter(
        patient_id=PATIENT, stay_id=stay, event=event, at=ZERO + int(at * HOUR),
        available_at=ZERO + int((at if available is None else available) * HOUR), **fields,
    )  # fmt: skip


def seen(at: float, code: str, value: float, stay: str | None = None, *, site: str | None = None) -> Observation:
    when = ZERO + int(at * HOUR)
    return Observation(
        patient_id=PATIENT, stay_id=stay, code=code, value=value, effective_at=when, available_at=when, site=site
    )


def after(plan: Plan, *events: Event) -> tuple[Patient, list[tuple[str, str]]]:
    ward = Ward(plan)
    records = []
    for event in events:
        records += run(plan, ward, [event]).records
    return ward.patients[PATIENT], [(record.severity, record.state) for record in records]


def test_a_late_discharge_of_an_older_stay_does_not_end_one_that_has_no_name_yet(plan: Plan) -> None:
    patient, records = after(
        plan, PUMP, seen(0, "ck", 9000), seen(0.1, "temp", 39.6), told("discharged", -72, "old", available=1)
    )

    assert patient.stay is not None
    assert "resolved" not in {state for _, state in records}


def test_a_late_transfer_of_an_older_stay_does_not_rename_this_one(plan: Plan) -> None:
    old = told("transferred", -72, "old", available=1, unit="WARD")
    patient, _ = after(plan, seen(0, "temp", 37), old)

    assert patient.stay is not None
    assert (None, None) == (patient.stay.stay_id, patient.stay.unit)


def test_a_discharge_told_again_after_it_was_taken_back_does_not_end_the_stay(plan: Plan) -> None:
    discharged = told("discharged", 1)
    again = told("admitted", 0, available=2)

    assert after(plan, told("admitted", 0), discharged, again)[0].stay is not None
    assert after(plan, told("admitted", 0), discharged, again, discharged)[0].stay is not None
    assert after(plan, told("admitted", 0), discharged, again, told("discharged", 3))[0].stay is None


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_several_descriptions_the_newest_holds_in_whatever_order_they_come(
    plan: Plan, order: tuple[int, ...]
) -> None:
    moves = [
        told("transferred", 1, available=5, unit="A", weight_kg=60.0),
        told("transferred", 2, available=5, unit="B", age_years=40.0),
        told("transferred", 3, available=5, weight_kg=70.0),
    ]
    patient, _ = after(plan, told("admitted", 0, unit="0"), *(moves[k] for k in order), moves[0])

    assert patient.stay is not None
    assert ("B", 70.0, 40.0) == (patient.stay.unit, patient.stay.weight_kg, patient.stay.age_years)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_admissions_of_one_instant_the_same_stay_is_open_in_either_order(
    plan: Plan, order: tuple[int, int]
) -> None:
    both = [told("admitted", 1, "s1"), told("admitted", 1, "s2")]

    patient, _ = after(plan, *(both[k] for k in order))

    assert patient.stay is not None
    assert "s2" == patient.stay.stay_id


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"baseline": {"creat": 1e308}}, "implausible_baseline"), ({"baseline": {"creat": 0.0}}, "implausible_baseline"),
     ({"weight_kg": -5.0}, "implausible_weight"), ({"age_years": -1.0}, "implausible_age")],
)  # fmt: skip
def test_what_cannot_be_is_counted_and_not_calculated_with(plan: Plan, fields: dict[str, object], reason: str) -> None:
    ward, ledger = Ward(plan), Ledger()
    run(plan, ward, [told("admitted", 0, **fields), seen(1, "creat", 1.0), seen(2, "uop", 50)], ledger=ledger)

    assert 1 == ledger.counts["events_ignored_total", "encounter", reason]


def test_a_reading_of_the_very_instant_in_which_silence_ended_the_stay_is_heard_at_once(plan: Plan) -> None:
    """The backlog after an outage: everything that comes late between two ticks is decided at the tick."""
    closes = ZERO + 48 * HOUR
    backlog = Observation(patient_id=PATIENT, code="temp", value=41.6, site="core", effective_at=closes - 2 * MINUTE,
                          available_at=closes - 10_000)  # fmt: skip
    patient, records = after(plan, PUMP, seen(0, "ck", 9000), Ticked(closes), backlog)

    assert patient.stay is not None
    assert ("critical", "opened") == records[-1]


def test_the_question_for_a_pump_is_asked_once_though_the_stay_gets_its_name_later(plan: Plan) -> None:
    hot = [seen(h, "temp", 41.6, site="core") for h in (0, 1)]
    _, records = after(
        plan, *hot, told("admitted", 0, "named", available=2), Ticked(ZERO + 30 * HOUR), seen(31, "temp", 41.6, site="core"),
        Ticked(ZERO + 33 * HOUR),
    )  # fmt: skip

    assert 1 == records.count(("info", "opened"))


def each_order(plan: Plan, *events: Event, before: tuple[Event, ...] = ()) -> list[tuple[object, ...]]:
    """What is open after the events of one instant, in each order in which they can come."""
    stays = []
    for order in permutations(events):
        patient, _ = after(plan, *before, *order)
        stay = patient.stay
        open_ = (None,) if stay is None else (stay.stay_id, stay.began_at, stay.newest_at, stay.unit)
        stays.append((*open_, sorted(patient.closed.items()), patient.score_due))
    return stays


def test_a_discharge_and_a_reading_of_another_stay_in_one_instant_end_alike_in_either_order(plan: Plan) -> None:
    before = (told("admitted", 0, "a"), seen(1, "temp", 37, "a"))

    ends = each_order(plan, told("discharged", 2, "a"), seen(2, "temp", 37, "b"), before=before)

    assert ["b", "b"] == [end[0] for end in ends]
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    "events",
    [
        [seen(2, "temp", 37, "b"), seen(1.9, "hr", 90, "c"), seen(2, "sbp", 120)],
        [told("discharged", 1.5, "a", available=2), told("admitted", 1.6, "a", available=2)],
        [told("admitted", 1.9, "b", available=2), told("discharged", 2, "b"), told("discharged", 1.5, "a", available=2)],
        [told("discharged", 2, "a"), PUMP, seen(2, "temp", 37)],
        [told("transferred", 1.9, "b", available=2, unit="X"), told("admitted", 1.8, "b", available=2, unit="Y")],
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", [(), (told("admitted", 0, "a"), seen(1, "temp", 37, "a"))])
def test_what_is_said_of_stays_in_one_instant_ends_alike_in_every_order(
    plan: Plan, before: tuple[Event, ...], events: list[Event]
) -> None:
    at_once = [msgspec.structs.replace(event, available_at=ZERO + 2 * HOUR) for event in events]  # type: ignore[type-var]

    ends = each_order(plan, *at_once, before=before)

    assert [ends[0]] * len(ends) == ends


def test_a_minute_in_which_the_stay_falls_silent_may_still_speak(plan: Plan) -> None:
    """A record that keeps no stay open is no reason to close it before the others of its instant came."""
    closes = ZERO + 48 * HOUR
    unknown = Acknowledgement(
        patient_id=PATIENT,
        alert_id="none",
        action="acknowledge",
        reason="other",
        by="x",
        at=closes,
        available_at=closes,
    )
    ill = (PUMP, seen(0, "ck", 9000))
    both = [unknown, seen(48, "temp", 37)]
    alive = [[e.resolved for e in after(plan, *ill, *order)[0].episodes.values()] for order in (both, both[::-1])]

    assert [[False], [False]] == alive
    assert after(plan, *ill, unknown, Ticked(closes))[0].stay is None


class Rows:
    """Notes the instants of the rows it is given."""

    def __init__(self) -> None:
        self.at: list[int] = []

    def score(self, rows: Sequence[FeatureRow]) -> Sequence[Scores]:
        self.at += [row.at for row in rows]
        return [{}] * len(rows)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_stay_that_changes_in_the_minute_of_a_row_leaves_the_row_its_minute(order: tuple[int, ...]) -> None:
    with_models, rows = load_plan(Settings()), Rows()
    moves = [told("discharged", 1, "a"), told("admitted", 1, "b"), seen(1, "hr", 90)]
    events = [PUMP, told("admitted", 0, "a"), seen(0, "temp", 37), *(moves[k] for k in order), Ticked(ZERO + 3 * HOUR)]

    run(with_models, Ward(with_models), events, rows)

    assert [ZERO + HOUR] == rows.at
