import pickle
from collections.abc import Sequence

import polars as pl
import pytest
from msgspec.structs import replace

from detector.clock import DAY, HOUR
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, Dataset, declare_pumps


def dataset(observations: Sequence[tuple[str, int]], others: Sequence[PatientEvent] = ()) -> Dataset:
    """Observations as (patient, available_at), in file order."""
    rows = [
        {"patient_id": patient, "code": "hr", "value": 80.0, "effective_at": at, "available_at": at, "status": "final", "file": 0, "row": row}
        for row, (patient, at) in enumerate(observations)
    ]  # fmt: skip
    placed = [((event.available_at, RANK[type(event)], 1, row), event) for row, event in enumerate(others)]
    return Dataset(("observations.parquet",), pl.DataFrame(rows, schema=OBSERVATION_COLUMNS), placed)


def admitted(patient: str, at: int) -> Encounter:
    return Encounter(patient_id=patient, stay_id=f"{patient}-1", event="admitted", at=at, available_at=at)


def given(patient: str, at: int) -> Context:
    return Context(patient_id=patient, kind="sedation", event="given", at=at, available_at=at)


def implanted(patient: str, at: int) -> Pump:
    return Pump(patient_id=patient, event="implanted", at=at, available_at=at)


def test_one_instant_is_ordered_by_topic_and_then_by_file_order() -> None:
    mixed = dataset([("a", 5), ("b", 5), ("a", 3)], [given("a", 5), implanted("b", 5), admitted("a", 5)])

    kinds = [(type(event), event.patient_id) for event in mixed.in_order()]

    assert [
        (Observation, "a"),
        (Encounter, "a"),
        (Pump, "b"),
        (Context, "a"),
        (Observation, "a"),
        (Observation, "b"),
    ] == kinds


def test_by_patient_gives_the_one_order_of_each_patient() -> None:
    mixed = dataset([("b", 9), ("a", 4), ("b", 2), ("a", 4)], [admitted("b", 3), admitted("c", 1)])

    grouped = dict(mixed.by_patient())

    assert ["a", "b", "c"] == list(grouped)
    for patient, events in grouped.items():
        assert [event for event in mixed.in_order() if event.patient_id == patient] == events


def test_the_position_of_an_observation_is_its_file_and_row() -> None:
    assert [("observations.parquet", 0, 1), ("observations.parquet", 0, 0)] == [
        event.position for event in dataset([("a", 9), ("a", 4)]).in_order()
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_shares_hold_whole_patients_and_every_event_once(count: int) -> None:
    whole = dataset([(f"p{n % 7}", n) for n in range(40)], [admitted(f"p{n}", n) for n in range(9)])

    shares = [pickle.loads(pickle.dumps(share)) for share in whole.shares(count)]

    assert list(whole.by_patient()) == [one for share in shares for one in share.by_patient()]


def test_pumps_for_all_are_implanted_a_year_before_admission_and_known_from_the_first_event() -> None:
    ward = dataset([("a", 2 * HOUR)], [admitted("a", HOUR)])

    declare_pumps(ward, "all")

    assert [event for event in ward.in_order() if isinstance(event, Pump)] == [
        Pump(patient_id="a", event="implanted", at=HOUR - 365 * DAY, available_at=HOUR)
    ]


def test_pumps_for_none_are_declared_absent() -> None:
    ward = dataset([("a", 5), ("b", 6)])

    declare_pumps(ward, "none")

    assert [("a", "absent", 5), ("b", "absent", 6)] == [
        (event.patient_id, event.event, event.at) for event in ward.in_order() if isinstance(event, Pump)
    ]


def test_patients_whose_pump_is_known_are_left_as_they_are() -> None:
    ward = dataset([("a", 5), ("b", 6)], [implanted("a", 7)])

    declare_pumps(ward, {"a"})

    assert {("a", "implanted"), ("b", "absent")} == {
        (event.patient_id, event.event) for event in ward.in_order() if isinstance(event, Pump)
    }


def test_a_data_set_is_synthetic_when_an_observation_says_so() -> None:
    real, made = dataset([("a", 5)]), dataset([("a", 5)])
    seen = replace(next(e for e in real.in_order() if isinstance(e, Observation)), source="synthetic")
    made.others.append(((5, 3, 0, 0), seen))

    assert (False, True) == (real.synthetic, made.synthetic)
