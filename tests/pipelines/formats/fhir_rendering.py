"""Canonical events as the FHIR resources that a hospital would send, for tests that compare the two."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from msgspec.structs import replace

from detector.catalogue.signals import Catalogue
from detector.clock import rfc3339, to_datetime
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from tests.pipelines.formats.fhir_resources import Resource, bundle, concept

DRUGS = {"vasopressor": "Norepinephrine", "benzodiazepine": "Lorazepam", "sedation": "Propofol"}
PUMPS = {"implanted": "active", "explanted": "completed", "interrupted": "stopped"}


def expressible(events: Iterable[PatientEvent]) -> list[PatientEvent]:
    """The events that FHIR can say, without what it cannot, each told when it happened unless FHIR has a time for that."""
    found: list[PatientEvent] = []
    for event in events:
        if isinstance(event, Encounter):
            found.append(replace(event, available_at=event.at, conditions=(), baseline={}, weight_kg=None))
        elif isinstance(event, Context) and event.kind in DRUGS:
            found.append(replace(event, available_at=event.at, detail=None))
        elif isinstance(event, Observation) or (isinstance(event, Pump) and event.event in PUMPS):
            found.append(event)
    return sorted(found, key=lambda event: event.available_at)


def rendered(events: Sequence[PatientEvent], catalogue: Catalogue) -> list[Resource]:
    """One resource for each event, but blood pressures of one moment as one panel."""
    return _rendered(list(enumerate(events)), _admissions(events), catalogue)


def _rendered(
    events: Iterable[tuple[int, PatientEvent]], admissions: dict[str, Encounter], catalogue: Catalogue
) -> list[Resource]:
    resources: list[Resource] = []
    panels: dict[tuple[str, int, int], Resource] = {}
    for number, event in events:
        if isinstance(event, Encounter):
            resources.append(_encounter(event, admissions[event.stay_id]))
        elif isinstance(event, Pump):
            resources.append({
                "resourceType": "DeviceUseStatement", "id": f"u{number}", "status": PUMPS[event.event],
                "subject": _patient(event), "device": {"display": "SynchroMed II"},
                "timingPeriod": {"start" if event.event == "implanted" else "end": rfc3339(event.at)},
                "recordedOn": rfc3339(event.available_at),
            })  # fmt: skip
        elif isinstance(event, Context):
            period = {"start": rfc3339(event.at)} if event.event == "started" else {"end": rfc3339(event.at)}
            effective = (
                {"effectiveDateTime": rfc3339(event.at)} if event.event == "given" else {"effectivePeriod": period}
            )
            resources.append({
                "resourceType": "MedicationAdministration", "id": f"m{number}", "subject": _patient(event),
                "status": "in-progress" if event.event == "started" else "completed",
                "medicationCodeableConcept": {"text": DRUGS[event.kind]}, **effective,
            })  # fmt: skip
        else:
            assert isinstance(event, Observation)
            _observe(event, f"o{number}", catalogue, panels, resources)
    return resources


def in_bundles(events: Sequence[PatientEvent], catalogue: Catalogue) -> list[Resource]:
    """The same as one Bundle for each patient and moment."""
    moments = groupby(enumerate(events), key=lambda one: (one[1].available_at, one[1].patient_id))
    return [bundle(*_rendered(list(together), _admissions(events), catalogue)) for _, together in moments]


def _admissions(events: Iterable[PatientEvent]) -> dict[str, Encounter]:
    return {event.stay_id: event for event in events if isinstance(event, Encounter) and event.event == "admitted"}


def _observe(event: Observation, own_id: str, catalogue: Catalogue, panels: dict, resources: list[Resource]) -> None:
    named = catalogue.resolve_code(event.code)
    assert named is not None
    standard = next((code for code, one in catalogue.codes.items() if one == named and "-" in code), None)
    part: Resource = {
        "code": concept(standard) if standard else concept(event.code, "http://hospital.example"),
        "valueString": event.value_text,
        "valueQuantity": None if event.value is None else _quantity(event.value, event.unit),
        "referenceRange": None if event.reference_high is None else [{"high": _quantity(event.reference_high, event.unit)}],
    }  # fmt: skip
    moment = (event.patient_id, event.effective_at, event.available_at)
    if standard in ("8480-6", "8462-4", "8478-0"):
        if moment not in panels:
            panels[moment] = _whole(event, own_id) | {"code": concept("85354-9"), "component": []}
            resources.append(panels[moment])
        panels[moment]["component"].append(_without_nothing(part))
        return
    site = {"bodySite": {"text": event.site}} if event.site else {}
    resources.append(_without_nothing(_whole(event, own_id) | part | site))


def _whole(event: Observation, own_id: str) -> Resource:
    return {
        "resourceType": "Observation", "id": own_id, "status": event.status, "subject": _patient(event),
        "encounter": {"reference": f"Encounter/{event.stay_id}"}, "effectiveDateTime": rfc3339(event.effective_at),
        "issued": rfc3339(event.available_at), "device": {"display": event.source},
    }  # fmt: skip


def _encounter(event: Encounter, admission: Encounter) -> Resource:
    born = None
    if admission.age_years is not None:
        day = to_datetime(admission.at)
        born = datetime(day.year - int(admission.age_years), 1, 1, tzinfo=UTC).date().isoformat()
    person = {"resourceType": "Patient", "id": "c", "identifier": [{"value": event.patient_id}], "gender": admission.sex,
              "birthDate": born}  # fmt: skip
    period = {"start": rfc3339(admission.at)} | ({"end": rfc3339(event.at)} if event.event == "discharged" else {})
    return {
        "resourceType": "Encounter", "id": event.stay_id, "class": {"code": "IMP"}, "subject": {"reference": "#c"},
        "status": "finished" if event.event == "discharged" else "in-progress", "period": period,
        "location": [{"location": {"display": admission.unit}}], "contained": [_without_nothing(person)],
    }  # fmt: skip


def _quantity(value: float, unit: str | None) -> Resource:
    return _without_nothing({"value": value, "unit": unit})


def _patient(event: Any) -> Resource:
    return {"reference": f"Patient/{event.patient_id}"}


def _without_nothing(parts: Resource) -> Resource:
    return {name: part for name, part in parts.items() if part is not None}
