"""Encounter: a snapshot of a stay, told again whenever it changes; it becomes admission, transfers and discharge.

An admission told again changes nothing. What a finished Encounter says of its beginning is no news, so it is told for
when it happened and cannot open a closed stay again.
"""

from __future__ import annotations

from datetime import UTC, date
from typing import Final, Literal, get_args

from detector.clock import to_datetime
from detector.errors import InputError
from detector.events import Encounter, EncounterKind
from pipelines.formats.fhir import resources
from pipelines.formats.fhir.resources import Patient, Place
from pipelines.formats.fhir.scope import Scope

CLASSES: Final = ("IMP", "ACUTE", "NONAC", "OBSENC", "EMER")
"""HL7 v3 ActCode: inpatient, acute, non-acute, observation and emergency encounters. Others are no stays."""

HERE: Final = ("arrived", "triaged", "in-progress", "onleave")
Sex = Literal["female", "male", "other", "unknown"]
SEXES: Final[dict[str, Sex]] = {word: word for word in get_args(Sex)}
BED: Final = "bd"


def read(scope: Scope, one: resources.Encounter) -> None:
    """Add what an Encounter says.

    Raises:
        InputError: nothing of it can be read.
    """
    if one.status == "entered-in-error":
        raise InputError("entered_in_error", "status: a stay cannot be taken back")
    if one.class_.code not in CLASSES:
        raise InputError("unread_class", "class: no stay")
    if one.status not in (*HERE, "finished"):
        raise InputError("unread_status", "status: nothing happened")
    patient_id = scope.patient_id(one.subject)
    stay_id = one.id or next((each.value for each in one.identifier if each.value), None)
    if not stay_id:
        raise InputError("missing_key", "id: expected an id or identifier")
    period = one.period
    if period is None or not period.start or (one.status == "finished" and not period.end):
        raise InputError("no_time", "period: expected a start, and an end of what is finished")
    finished = one.status == "finished"
    patient = scope.find(one.subject, Patient)

    def add(kind: EncounterKind, at: int, place: Place | None, *, known: bool) -> None:
        told = at if known or scope.timestamp is None else scope.timestamp
        unit, bed = _where(place)
        described = {} if kind == "discharged" else {"age_years": age_years(patient, at), "sex": sex(patient)}
        scope.events.append(
            Encounter(patient_id=patient_id, stay_id=stay_id, event=kind, at=at, available_at=told, unit=unit, bed=bed,
                      position=scope.position, **described)  # type: ignore[arg-type]
        )  # fmt: skip

    timed = [(scope.instant("location.period", place.period.start), place) for place in one.location
             if place.period is not None and place.period.start]  # fmt: skip
    timed.sort(key=lambda each: each[0])
    start = scope.instant("period.start", period.start)
    first = next((place for at, place in timed if at <= start), one.location[0] if len(one.location) == 1 else None)
    end = scope.instant("period.end", period.end) if finished and period.end else None
    if end is not None and end < start:
        raise InputError("bad_time", "period: expected an end not before the start")
    add("admitted", start, first, known=finished)
    for at, place in timed:
        if place is not first:
            add("transferred", at, place, known=finished)
    if end is not None:
        add("discharged", end, None, known=False)


def _where(place: Place | None) -> tuple[str | None, str | None]:
    """Ward and bed of a location; None = not told."""
    if place is None or place.location is None:
        return None, None
    name = place.location.display or Scope.stay_id(place.location)
    is_bed = place.physicalType is not None and any(each.code == BED for each in place.physicalType.coding)
    return (None, name) if is_bed else (name, None)


def sex(patient: Patient | None) -> Sex | None:
    """The sex of a patient in our words; None = not told."""
    return SEXES.get(patient.gender or "") if patient is not None else None


def age_years(patient: Patient | None, at: int) -> float | None:
    """Whole years at an instant; None = no full date of birth is known."""
    try:
        born = date.fromisoformat(patient.birthDate) if patient is not None and patient.birthDate else None
    except ValueError:
        return None
    if born is None:
        return None
    day = to_datetime(at).astimezone(UTC).date()
    years = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return float(years) if years >= 0 else None
