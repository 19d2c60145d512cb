"""MedicationAdministration: treatments that change how signals are read, and baclofen by its two routes.

Intrathecal baclofen says that a pump is there, unless it is the screening ampoule; oral baclofen is a treatment. By
which route it was given is never guessed.
"""

from __future__ import annotations

from typing import Final

from detector.errors import InputError
from detector.events import Context, ContextChange, ContextKind, Pump
from pipelines.formats.fhir import resources
from pipelines.formats.fhir.resources import CodeableConcept, Medication, Quantity
from pipelines.formats.fhir.scope import Scope, names
from pipelines.terms import baclofen_route, drug_kinds, is_baclofen, is_trial, spelt_out

RXNORM: Final = ("http://www.nlm.nih.gov/research/umls/rxnorm", "urn:oid:2.16.840.1.113883.6.88")
NDC: Final = ("http://hl7.org/fhir/sid/ndc", "urn:oid:2.16.840.1.113883.6.69")
ATC: Final = ("http://www.whocc.no/atc", "http://fhir.de/CodeSystem/bfarm/atc", "http://fhir.de/CodeSystem/dimdi/atc")
SNOMED: Final = ("http://snomed.info/sct", "urn:oid:2.16.840.1.113883.6.96")
HL7_ROUTES: Final = ("http://terminology.hl7.org/CodeSystem/v2-0162", "urn:oid:2.16.840.1.113883.12.162")
MILLIGRAMS: Final = {"mg": 1.0, "g": 1_000.0, "ug": 0.001, "mcg": 0.001}
GIVEN: Final = ("in-progress", "completed", "stopped")


def read(scope: Scope, one: resources.MedicationAdministration) -> None:
    """Add what a MedicationAdministration says.

    Raises:
        InputError: nothing of it can be read.
    """
    drug = one.medicationCodeableConcept
    said = list(names(drug))
    if one.medicationReference is not None:
        medication = scope.find(one.medicationReference, Medication)
        drug = medication.code if medication is not None and medication.code is not None else drug
        said += [*names(drug), *([one.medicationReference.display] if one.medicationReference.display else [])]
    rxnorm, ndc, atc = (_codes(drug, systems) for systems in (RXNORM, NDC, ATC))
    kinds = drug_kinds(said, atc)
    baclofen = is_baclofen(said, rxnorm, ndc)
    if not kinds and not baclofen:
        raise InputError("unread_code", "medication: no rule reads it")
    if one.status == "entered-in-error":
        raise InputError("entered_in_error", "status: a treatment cannot be taken back")
    if one.status not in GIVEN:
        raise InputError("unread_status", "status: not given")
    patient_id = scope.patient_id(one.subject)
    stay_id = scope.stay_id(one.context)
    start, end = _when(scope, one)

    def add(kind: ContextKind, event: ContextChange, at: int, dose: float | None = None) -> None:
        scope.events.append(
            Context(patient_id=patient_id, stay_id=stay_id, kind=kind, event=event, at=at, dose=dose,
                    available_at=at if scope.timestamp is None else scope.timestamp, position=scope.position)
        )  # fmt: skip

    for kind in kinds:
        runs = kind.runs and one.effectivePeriod is not None
        if start is not None:
            add(kind.name, "started" if runs else "given", start)
        if runs and end is not None and one.status != "in-progress":
            add(kind.name, "stopped", end)
    if not baclofen:
        return
    dosage = one.dosage
    route = dosage.route if dosage is not None else None
    ways = [spelt_out(one) for one in (*names(route), *_codes(route, HL7_ROUTES))]
    words = [*said, *ways, *([dosage.text] if dosage is not None and dosage.text else [])]
    told = baclofen_route(words, route_codes=_codes(route, SNOMED), rxnorm=rxnorm, ndc=ndc).told
    if is_trial(ndc, words):
        raise InputError("unread_code", "medication: a screening dose says nothing about a pump")
    if told is None:
        raise InputError("unknown_route", "dosage.route: expected an oral or intrathecal route")
    if start is None:
        raise InputError("no_time", "effective: expected when it was given")
    if told == "oral":
        add("oral_baclofen", "given", start, _milligrams(dosage.dose if dosage is not None else None))
    else:
        known = start if scope.timestamp is None else scope.timestamp
        scope.events.append(
            Pump(patient_id=patient_id, event="implanted", at=start, available_at=known, position=scope.position)
        )


def _when(scope: Scope, one: resources.MedicationAdministration) -> tuple[int | None, int | None]:
    period = one.effectivePeriod
    start = one.effectiveDateTime or (period.start if period is not None else None)
    end = period.end if period is not None else None
    if not (start or end):
        raise InputError("no_time", "effective: expected when it was given")
    return scope.period("effective", start, end)


def _codes(concept: CodeableConcept | None, systems: tuple[str, ...]) -> tuple[str, ...]:
    if concept is None:
        return ()
    return tuple(one.code for one in concept.coding if one.code and one.system in systems)


def _milligrams(dose: Quantity | None) -> float | None:
    """A dose in mg; None = not told in a unit of mass."""
    if dose is None or dose.value is None or dose.comparator:
        return None
    factor = MILLIGRAMS.get(dose.code or dose.unit or "")
    return None if factor is None else dose.value * factor
