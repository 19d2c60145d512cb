"""Which version of an observation is the reading: with ids, without, told twice, withdrawn, late."""

from __future__ import annotations

from itertools import count, permutations

import msgspec
import pytest

from detector import snapshot
from detector.clock import DAY, HOUR, MINUTE
from detector.courses import PATIENT, ZERO
from detector.engine import Ward, run
from detector.events import Encounter, Observation
from detector.plan import Plan

ADMITTED = Encounter(patient_id=PATIENT, stay_id="s", event="admitted", at=ZERO - 9 * DAY, available_at=ZERO - 9 * DAY)


def ck(value: float | None, *, told: int, status: str = "final", **fields: object) -> Observation:
    return Observation(
        patient_id=PATIENT, code="ck", value=value, effective_at=ZERO, available_at=ZERO + told * MINUTE,
        status=status, **fields,
    )  # fmt: skip


def values(plan: Plan, *events: Observation) -> list[float]:
    """What is kept of the CK, the same after a restart behind any of the events."""
    kept = []
    for restart in (None, *range(len(events))):
        ward = Ward(plan)
        run(plan, ward, [ADMITTED])
        segments: list[bytes] = []
        for number, event in zip(count(), events, strict=False):
            run(plan, ward, [event])
            patient = ward.patients[PATIENT]
            changes = snapshot.changes(patient)
            segments = ([] if changes.replace else segments) + ([changes.segment] if changes.segment else [])
            if number == restart:
                ward = Ward(plan)
                ward.adopt(snapshot.load(plan, changes.head, segments))
        series = ward.patients[PATIENT].series.get("ck")
        kept.append(list(series.value) if series is not None else [])
    assert all(one == kept[0] for one in kept)
    return kept[0]


def test_the_original_told_again_after_its_correction_stays_out(plan: Plan) -> None:
    original, corrected = ck(6000, told=1), ck(200, told=10, status="corrected")

    assert [200.0] == values(plan, original, corrected)
    assert [200.0] == values(plan, original, corrected, original)


def test_the_original_told_again_after_its_withdrawal_stays_out(plan: Plan) -> None:
    original, withdrawn = ck(6000, told=1), ck(None, told=10, status="entered-in-error")

    assert [] == values(plan, original, withdrawn, original)


def test_an_older_correction_told_again_does_not_undo_a_newer_one(plan: Plan) -> None:
    first, second = ck(200, told=10, status="corrected"), ck(300, told=20, status="corrected")

    assert [300.0] == values(plan, ck(6000, told=1), first, second, first)


def test_a_correction_back_to_the_original_is_one(plan: Plan) -> None:
    back = ck(6000, told=20, status="corrected")

    assert [6000.0] == values(plan, ck(6000, told=1), ck(200, told=10, status="corrected"), back)


def test_another_value_of_the_same_instant_is_another_reading(plan: Plan) -> None:
    assert [200.0, 500.0] == values(
        plan, ck(6000, told=1), ck(200, told=10, status="corrected"), ck(500, told=20, site="arterial")
    )


@pytest.mark.parametrize("first", ["ab", "ba"])
@pytest.mark.parametrize("gone", "ab")
def test_of_two_ids_that_say_the_same_the_other_stays_when_one_is_withdrawn(plan: Plan, first: str, gone: str) -> None:
    told = [ck(6000, told=number, observation_id=identity) for number, identity in enumerate(first)]
    other = "b" if gone == "a" else "a"
    withdrawn = ck(None, told=20, status="entered-in-error", observation_id=gone)

    assert [6000.0] == values(plan, *told, withdrawn)
    assert [] == values(plan, *told, withdrawn, ck(None, told=30, status="entered-in-error", observation_id=other))


def test_a_reading_corrected_without_its_id_can_be_withdrawn_by_it(plan: Plan) -> None:
    told = [ck(6000, told=1, observation_id="a"), ck(7000, told=10, status="corrected")]

    assert [7000.0] == values(plan, *told)
    assert [] == values(plan, *told, ck(None, told=20, status="entered-in-error", observation_id="a"))


def test_a_reading_withdrawn_without_its_id_stays_out_when_it_is_told_again(plan: Plan) -> None:
    told = ck(6000, told=1, observation_id="a")

    assert [] == values(plan, told, ck(None, told=10, status="cancelled"), told)


@pytest.mark.parametrize("status", ["entered-in-error", "corrected"])
@pytest.mark.parametrize("identity", [None, "a"])
def test_what_is_known_to_be_wrong_goes_as_long_as_it_is_kept(plan: Plan, status: str, identity: str | None) -> None:
    """The late limit keeps new values out; it must not protect an old one that was taken back."""
    late = 80 * 60  # minutes; the late limit of laboratory values is 72 h
    told = ck(6000, told=1, observation_id=identity)
    mended = ck(200 if status == "corrected" else None, told=late, status=status, observation_id=identity)

    assert ([200.0] if status == "corrected" else []) == values(plan, told, mended)
    assert [6000.0] == values(plan, told, ck(200, told=late))
    assert late * MINUTE > 72 * HOUR


@pytest.mark.parametrize("status", ["corrected", "entered-in-error"])
def test_a_repair_filed_in_the_instant_of_its_original_works_in_either_order(plan: Plan, status: str) -> None:
    original, repair = ck(6000, told=5), ck(200 if status == "corrected" else None, told=5, status=status)

    assert values(plan, original, repair) == values(plan, repair, original)
    assert [6000.0] == values(plan, ck(200, told=4, status="corrected"), original)  # an instant earlier: ambiguous


@pytest.mark.parametrize("id_first", [True, False])
def test_a_result_that_came_with_and_without_an_id_is_known_by_its_id(plan: Plan, id_first: bool) -> None:
    routes = [ck(9000, told=1, observation_id="X"), ck(9000, told=1)]
    corrected = ck(120, told=10, status="corrected", observation_id="X")

    assert [120.0] == values(plan, *(routes if id_first else routes[::-1]), corrected)


def test_an_older_correction_without_an_id_does_not_undo_a_newer_one_with_it(plan: Plan) -> None:
    told = [ck(9000, told=1, observation_id="X"), ck(600, told=20, status="corrected", observation_id="X")]

    assert [600.0] == values(plan, *told, ck(500, told=10, status="corrected"))
    assert [500.0] == values(plan, *told, ck(500, told=30, status="corrected"))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("status", ["corrected", "entered-in-error"])
def test_what_an_id_said_before_its_repair_stays_out_without_the_id_too(
    plan: Plan, status: str, order: tuple[int, ...]
) -> None:
    repaired = [45.0] if status == "corrected" else []
    told = [ck(50, told=1), ck(50, told=1, observation_id="a"),
            ck(45 if repaired else None, told=1, observation_id="a", status=status)]  # fmt: skip

    assert repaired == values(plan, *(told[k] for k in order), *(told[k] for k in order))


@pytest.mark.parametrize("first", [0, 1])
def test_equal_values_charted_for_two_times_stand_in_one_order(plan: Plan, first: int) -> None:
    both = [ck(50, told=0), msgspec.structs.replace(ck(50, told=0), effective_at=ZERO + HOUR, observation_id="a")]
    ward = Ward(plan)
    run(plan, ward, [ADMITTED, both[first], both[1 - first]])

    assert [ZERO, ZERO + HOUR] == list(ward.patients[PATIENT].series["ck"].effective)


@pytest.mark.parametrize("order", list(permutations(range(2))))
@pytest.mark.parametrize("restart", [True, False])
def test_what_one_id_leaves_and_another_says_in_one_instant_ends_alike_in_either_order(
    plan: Plan, order: tuple[int, ...], restart: bool
) -> None:
    """The reading counts from when it was first known, keeps its flags, and no mark keeps it out."""
    first = ck(6000, told=1, observation_id="a", flags=("hemolyzed",))
    instant = [ck(200, told=10, observation_id="a"), ck(6000, told=10, observation_id="b")]
    ward = Ward(plan)
    run(plan, ward, [ADMITTED, first, instant[order[0]]])
    if restart:
        changes = snapshot.changes(ward.patients[PATIENT])
        assert changes.segment is not None
        ward = Ward(plan)
        ward.adopt(snapshot.load(plan, changes.head, [changes.segment]))
    run(plan, ward, [instant[order[1]]])
    patient = ward.patients[PATIENT]
    series = patient.series["ck"]

    assert [(200.0, "a"), (6000.0, "b")] == list(zip(series.value, series.ids, strict=True))
    assert ZERO + MINUTE == series.available[1]
    assert ("hemolyzed",) == series.meta[1].flags
    assert {"a", "b"} == set(patient.versions)
