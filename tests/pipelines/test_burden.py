import pytest

from detector.clock import DAY, HOUR
from detector.events import Context, Encounter, EncounterKind, Observation, Pump, PumpKind
from pipelines.burden import Exposure, exposures, open_gate


def encounter(event: EncounterKind, at: int, unit: str | None = None) -> Encounter:
    return Encounter(patient_id="p", stay_id="s", event=event, at=at, available_at=at, unit=unit)


def pump(event: PumpKind, at: int) -> Pump:
    return Pump(patient_id="p", event=event, at=at, available_at=at)


def seen(at: int, stay_id: str | None = "s") -> Observation:
    return Observation(patient_id="p", stay_id=stay_id, code="hr", value=80, effective_at=at, available_at=at)


def test_a_stay_lasts_from_admission_to_discharge() -> None:
    [stay] = exposures([encounter("admitted", 0, "MICU"), seen(HOUR), encounter("discharged", 2 * DAY), seen(3 * DAY)])

    assert Exposure("s", "MICU", 0, 2 * DAY, discharged=True, patient_id="p") == stay
    assert (2.0, 0.0) == (stay.days, stay.gated_days)


def test_without_admission_a_stay_lasts_from_its_first_to_its_newest_observation() -> None:
    [stay] = exposures([seen(DAY), seen(4 * DAY)])

    assert pytest.approx(3.0) == stay.days


def test_the_gate_stands_open_from_the_day_a_pump_is_known() -> None:
    [stay] = exposures([encounter("admitted", 0), pump("implanted", DAY), encounter("discharged", 3 * DAY)])

    assert 2.0 == stay.gated_days


def test_the_gate_stays_open_ten_days_after_an_explant_and_no_longer() -> None:
    events = [pump("implanted", 0), pump("explanted", DAY), seen(40 * DAY)]

    assert [(0, 11 * DAY)] == open_gate(events)


def test_an_absent_pump_closes_the_gate_at_once() -> None:
    assert [(0, DAY)] == open_gate([pump("implanted", 0), pump("absent", DAY), seen(2 * DAY)])


def test_oral_baclofen_stopped_opens_it_for_seven_days() -> None:
    stopped = Context(patient_id="p", kind="oral_baclofen", event="stopped", at=DAY, available_at=DAY)

    assert [(DAY, 8 * DAY)] == open_gate([stopped, seen(20 * DAY)])
