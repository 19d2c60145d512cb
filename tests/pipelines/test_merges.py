"""Two patient ids that turn out to be one, wherever the cut of a batch falls and in whatever order the merges come."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from detector import snapshot
from detector.clock import DAY, MINUTE
from detector.courses import ZERO
from detector.engine import Ward
from detector.events import Acknowledgement, Encounter, Event, Observation, Pump, Ticked
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord
from detector.scoring import NoScorer
from pipelines.merges import run_with_merges
from pipelines.plan_files import load_plan
from pipelines.settings import Settings

PLAN: Plan = load_plan(Settings())


def at(hours: float) -> int:
    return ZERO + round(hours * 60) * MINUTE


def encounter(who: str, event: str, hours: float, available: float | None = None, **fields: object) -> Encounter:
    return Encounter(
        patient_id=who, stay_id=f"stay-{who}", event=event, at=at(hours),
        available_at=at(hours if available is None else available), **fields,
    )  # fmt: skip


def merged(who: str, into: str, hours: float) -> Encounter:
    return encounter(who, "merged", hours, into=into)


def seen(who: str, hours: float, code: str, value: float, **fields: object) -> Observation:
    return Observation(
        patient_id=who, stay_id=f"stay-{who}", code=code, value=value, effective_at=at(hours), available_at=at(hours),
        **fields,
    )  # fmt: skip


def pump(who: str) -> Pump:
    return Pump(patient_id=who, event="implanted", at=ZERO - 300 * DAY, available_at=ZERO)


def told(events: Sequence[Event], cuts: Sequence[int] = ()) -> tuple[Ward, list[AlertRecord]]:
    """The records of the events, cut into batches; between batches everything is stored and loaded again."""
    ward, records, kept = Ward(PLAN), list[AlertRecord](), dict[str, list[bytes]]()
    edges = [0, *cuts, len(events)]
    for start, end in itertools.pairwise(edges):
        batch, _ = run_with_merges(PLAN, ward, events[start:end], NoScorer(), Ledger())
        records += batch.records
        if cuts:
            again = Ward(PLAN, ward.ticked_at)
            for patient_id, patient in ward.patients.items():
                changes = snapshot.changes(patient)
                segments = kept[patient_id] = ([] if changes.replace else kept.get(patient_id, [])) + (
                    [changes.segment] if changes.segment else []
                )
                again.adopt(snapshot.load(PLAN, changes.head, segments))
            ward = again
    return ward, records


def outline(records: Sequence[AlertRecord]) -> list[tuple[str, str, str, str]]:
    return [(one.patient_id, one.severity, one.state, one.alert_id[:6]) for one in records]


def open_alerts(ward: Ward) -> list[tuple[str, str]]:
    return sorted((patient_id, episode.severity.word) for patient_id, episode in ward.open_alerts())


COURSE: list[Event] = [
    pump("a"), encounter("a", "admitted", 0), encounter("b", "admitted", 0), seen("a", 0.2, "ck", 6000),
    merged("a", "b", 1), seen("b", 1, "temp", 39.6), seen("b", 2, "ck", 9000), Ticked(at(6)),
]  # fmt: skip


@pytest.mark.parametrize("cut", range(1, len(COURSE)))
def test_a_merge_in_one_batch_gives_what_it_gives_event_by_event(cut: int) -> None:
    whole = told(COURSE)[1]

    assert outline(whole) == outline(told(COURSE, [cut])[1])
    assert outline(whole) == outline(told(COURSE, range(1, len(COURSE)))[1])
    assert ("b", "critical", "raised", whole[0].alert_id[:6]) in outline(whole)


def test_a_merge_told_after_the_one_that_followed_it_reaches_the_last_id() -> None:
    before = [pump("a"), encounter("a", "admitted", 0), encounter("b", "admitted", 0), encounter("c", "admitted", 0),
              seen("a", 0.2, "ck", 6000)]  # fmt: skip
    first, second = merged("a", "b", 1), merged("b", "c", 1.5)
    hot = [seen("c", 2, "temp", 39.6), seen("c", 2.5, "temp", 39.6)]
    in_order = told([*before, first, second, *hot])
    late = told([*before, second, first, *hot])

    assert [("c", "critical")] == open_alerts(in_order[0]) == open_alerts(late[0])
    assert {record.alert_id for record in in_order[1]} == {record.alert_id for record in late[1]}
    assert ["stay-c"] == [stay.stay_id for stay in late[0].stays()]


def test_a_result_for_an_id_that_was_merged_away_reaches_the_surviving_one() -> None:
    before = [pump("b"), encounter("a", "admitted", 0), encounter("b", "admitted", 0)]
    ward, records = told(
        [*before, merged("a", "b", 1), seen("a", 1, "temp", 41.6, site="core"), seen("a", 2, "ck", 9000)]
    )

    assert ("b", "critical", "opened") in {(one.patient_id, one.severity, one.state) for one in records}
    assert {"a": 0, "b": 2} == {who: sum(map(len, patient.series.values())) for who, patient in ward.patients.items()}


@pytest.mark.parametrize("apart", [0, 1 / 30])
def test_merged_away_and_back_the_alert_lives_on(apart: float) -> None:
    ward, records = told([
        pump("a"), encounter("a", "admitted", 0), seen("a", 0.2, "ck", 6000), merged("a", "b", 1),
        merged("b", "a", 1 + apart), seen("a", 2, "temp", 39.6),
    ])  # fmt: skip

    assert [("a", "critical")] == open_alerts(ward)
    assert 1 == len({record.alert_id for record in records})


def test_a_ring_of_merges_comes_to_an_end_and_loses_no_reading() -> None:
    ring = [merged("a", "b", 1), merged("b", "c", 1.1), merged("c", "a", 1.2)]
    ward, _ = told(
        [pump("a"), encounter("a", "admitted", 0), seen("a", 0.2, "ck", 6000), *ring, seen("b", 2, "ck", 9000)]
    )

    assert {"a": 2, "b": 0, "c": 0} == {
        who: sum(map(len, patient.series.values())) for who, patient in ward.patients.items()
    }
    assert [("a", "warning")] == open_alerts(ward)


def test_an_id_that_is_used_again_after_its_merge_is_a_patient_again() -> None:
    ward, records = told([
        encounter("a", "admitted", 0), merged("a", "b", 1),
        Encounter(patient_id="a", stay_id="new", event="admitted", at=at(1), available_at=at(1)),
        Observation(patient_id="a", stay_id="new", code="temp", value=41.6, site="core", effective_at=at(1), available_at=at(1)),
    ])  # fmt: skip

    assert [("a", "critical"), ("a", "info")] == open_alerts(ward)
    assert {"hyperpyrexia", "pump_status_query"} == {record.syndrome for record in records}


def test_what_is_known_of_the_other_stay_and_its_suspect_values_moves_too() -> None:
    child = encounter("a", "admitted", 0, age_years=3.0, weight_kg=14.0, unit="PICU")
    ward, records = told([child, seen("a", 0.5, "temp", 101.0), seen("b", 0.6, "hr", 120), merged("a", "b", 1),
                          Ticked(at(40))])  # fmt: skip

    stay = ward.patients["b"].stay
    assert stay is not None
    assert ("stay-b", 3.0, 14.0, "PICU") == (stay.stay_id, stay.age_years, stay.weight_kg, stay.unit)
    assert [("a", "opened"), ("b", "resolved")] == [(one.patient_id, one.state) for one in records]
    assert records[-1].at > "2026-03-03T12"  # 24 h after the value, and 12 h clear


def test_a_merge_into_itself_is_counted_and_changes_nothing() -> None:
    ward, _ = told([pump("a"), encounter("a", "admitted", 0), seen("a", 0.2, "ck", 6000), merged("a", "a", 1)])

    assert [("a", "warning")] == open_alerts(ward)


@pytest.mark.parametrize("status", ["corrected", "entered-in-error"])
@pytest.mark.parametrize("under", ["a", "b"])
def test_a_repair_of_a_moved_reading_holds_under_either_id(under: str, status: str) -> None:
    told_first = seen("a", 0.2, "ck", 9000, observation_id="X")
    value = 120.0 if status == "corrected" else None
    repair = Observation(patient_id=under, code="ck", value=value, status=status, observation_id="X",
                         effective_at=at(0.2), available_at=at(2))  # fmt: skip
    events = [
        pump("a"),
        encounter("a", "admitted", 0),
        encounter("b", "admitted", 0),
        told_first,
        merged("a", "b", 1),
        repair,
    ]

    for cuts in ([], range(1, len(events))):
        ward, _ = told(events, cuts)
        assert ([120.0] if value is not None else []) == list(ward.patients["b"].series["ck"].value)


@pytest.mark.parametrize("status", ["corrected", "entered-in-error"])
def test_a_merge_brings_back_nothing_that_was_repaired_under_the_surviving_id(status: str) -> None:
    value = 120.0 if status == "corrected" else None
    both = [seen(who, 0.2, "ck", 9000, observation_id="X") for who in ("a", "b")]
    repair = Observation(patient_id="b", code="ck", value=value, status=status, observation_id="X",
                         effective_at=at(0.2), available_at=at(0.5))  # fmt: skip
    events = [
        encounter("a", "admitted", 0),
        encounter("b", "admitted", 0),
        *both,
        repair,
        merged("a", "b", 1),
        seen("b", 2, "hr", 80),
    ]

    for cuts in ([], range(1, len(events))):
        ward, _ = told(events, cuts)
        assert ([120.0] if value is not None else []) == list(ward.patients["b"].series["ck"].value)


def answered(who: str, alert_id: str, hours: float, action: str = "confirm") -> Acknowledgement:
    return Acknowledgement(
        patient_id=who, alert_id=alert_id, action=action, reason="other", by="me", at=at(hours),
        available_at=at(hours),
    )  # fmt: skip


@pytest.mark.parametrize("who", ["a", "b", "c"])
@pytest.mark.parametrize("late", [False, True])
def test_an_answer_reaches_its_alert_wherever_the_alert_lives_now(who: str, late: bool) -> None:
    merges = [merged("a", "b", 1), merged("b", "c", 1.5)]
    before = [pump("a"), *(encounter(each, "admitted", 0) for each in "abc"), seen("a", 0.2, "ck", 6000)]
    alert_id = told(before)[1][0].alert_id
    events = [*before, *(merges[::-1] if late else merges), answered(who, alert_id, 2), answered(who, alert_id, 2)]

    for cuts in ([], range(1, len(events))):
        ward, records = told(events, cuts)
        assert [("c", "acknowledged", alert_id)] == [
            (one.patient_id, one.state, one.alert_id) for one in records if one.state == "acknowledged"
        ]
        assert [("c", "confirm")] == [(patient_id, episode.label) for patient_id, episode in ward.open_alerts()]


@pytest.mark.parametrize("first", ["merge", "answer"])
def test_an_answer_of_the_very_instant_of_a_merge_counts_whichever_came_first(first: str) -> None:
    before = [pump("a"), encounter("a", "admitted", 0), encounter("b", "admitted", 0), seen("a", 0.2, "ck", 6000)]
    both: list[Event] = [merged("a", "b", 1), answered("a", told(before)[1][0].alert_id, 1)]
    ward, _ = told([*before, *(both if first == "merge" else both[::-1])])

    assert [("b", "acknowledged", "confirm")] == [
        (patient_id, episode.state, episode.label) for patient_id, episode in ward.open_alerts()
    ]


def test_an_answer_for_an_id_that_was_merged_away_and_had_no_such_alert_is_counted() -> None:
    ward, ledger = Ward(PLAN), Ledger()
    answer = answered("a", "x", 2)
    run_with_merges(PLAN, ward, [encounter("a", "admitted", 0), merged("a", "b", 1), answer], NoScorer(), ledger)

    assert 1 == ledger.counts["events_ignored_total", "acknowledgement", "no_such_alert"]
