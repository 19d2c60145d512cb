"""The parts of FHIR R4 and R4B resources that are read, as they are written (https://hl7.org/fhir/R4/resourcelist.html).

Whatever a resource holds besides, extensions included, is left out by the decoder and never looked at. R4 and R4B write
these parts alike.
"""
# ruff: noqa: N815 - names are FHIR's

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct


class Coding(Struct, frozen=True, gc=False):
    system: str | None = None
    code: str | None = None
    display: str | None = None


class CodeableConcept(Struct, frozen=True):
    coding: tuple[Coding, ...] = ()
    text: str | None = None


class Quantity(Struct, frozen=True, gc=False):
    value: float | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Identifier(Struct, frozen=True, gc=False):
    value: str | None = None


class Reference(Struct, frozen=True):
    reference: str | None = None
    identifier: Identifier | None = None
    display: str | None = None


class Period(Struct, frozen=True, gc=False):
    start: str | None = None
    end: str | None = None


class ReferenceRange(Struct, frozen=True):
    high: Quantity | None = None
    type: CodeableConcept | None = None
    appliesTo: tuple[CodeableConcept, ...] = ()
    age: Raw = Raw()


class Resource(Struct, frozen=True, kw_only=True):
    id: str | None = None
    identifier: tuple[Identifier, ...] = ()
    contained: tuple[Raw, ...] = ()
    modifierExtension: tuple[Raw, ...] = ()


class Valued(Resource, frozen=True, kw_only=True):
    """What an Observation and a component of it have in common (a component is no resource, and leaves those parts empty).

    ``Raw`` values are no results here, but they are said.
    """

    code: CodeableConcept
    valueQuantity: Quantity | None = None
    valueInteger: float | None = None
    valueString: str | None = None
    valueCodeableConcept: CodeableConcept | None = None
    valueBoolean: bool | None = None
    valueRange: Raw = Raw()
    valueRatio: Raw = Raw()
    valueSampledData: Raw = Raw()
    valueTime: Raw = Raw()
    valueDateTime: Raw = Raw()
    valuePeriod: Raw = Raw()
    dataAbsentReason: CodeableConcept | None = None
    referenceRange: tuple[ReferenceRange, ...] = ()


class Observation(Valued, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/observation.html`` defines."""

    status: str
    subject: Reference | None = None
    focus: tuple[Reference, ...] = ()
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectiveInstant: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    bodySite: CodeableConcept | None = None
    device: Reference | None = None
    hasMember: tuple[Reference, ...] = ()
    component: tuple[Raw, ...] = ()


class DiagnosticReport(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/diagnosticreport.html`` defines; read for what its results leave out."""

    subject: Reference | None = None
    encounter: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    issued: str | None = None
    result: tuple[Reference, ...] = ()


class Place(Struct, frozen=True):
    location: Reference | None = None
    period: Period | None = None
    physicalType: CodeableConcept | None = None


class Encounter(Resource, frozen=True, kw_only=True, rename={"class_": "class"}):
    """What ``https://hl7.org/fhir/R4/encounter.html`` defines."""

    status: str
    class_: Coding
    subject: Reference | None = None
    period: Period | None = None
    location: tuple[Place, ...] = ()


class Patient(Resource, frozen=True, kw_only=True):
    """https://hl7.org/fhir/R4/patient.html; read for the age and sex of an Encounter in the same Bundle."""

    gender: str | None = None
    birthDate: str | None = None


class DeviceName(Struct, frozen=True):
    name: str | None = None


class Device(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/device.html`` defines."""

    status: str | None = None
    patient: Reference | None = None
    type: CodeableConcept | None = None
    deviceName: tuple[DeviceName, ...] = ()
    modelNumber: str | None = None
    manufacturer: str | None = None


class DeviceUseStatement(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/deviceusestatement.html`` defines."""

    status: str
    subject: Reference | None = None
    device: Reference | None = None
    timingPeriod: Period | None = None
    timingDateTime: str | None = None
    recordedOn: str | None = None


class Procedure(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/procedure.html`` defines."""

    status: str
    code: CodeableConcept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    performedDateTime: str | None = None
    performedPeriod: Period | None = None


class Medication(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/medication.html`` defines."""

    code: CodeableConcept | None = None


class Dosage(Struct, frozen=True):
    text: str | None = None
    route: CodeableConcept | None = None
    dose: Quantity | None = None


class MedicationAdministration(Resource, frozen=True, kw_only=True):
    """What ``https://hl7.org/fhir/R4/medicationadministration.html`` defines."""

    status: str
    medicationCodeableConcept: CodeableConcept | None = None
    medicationReference: Reference | None = None
    subject: Reference | None = None
    context: Reference | None = None
    effectiveDateTime: str | None = None
    effectivePeriod: Period | None = None
    dosage: Dosage | None = None


class Request(Struct, frozen=True):
    method: str | None = None


class Entry(Struct, frozen=True):
    fullUrl: str | None = None
    resource: Raw = Raw()
    request: Request | None = None


class Bundle(Struct, frozen=True):
    """https://hl7.org/fhir/R4/bundle.html; ``entry`` is read one by one, so that a bad one costs no neighbour."""

    entry: tuple[Raw, ...] = ()


class Kind(Struct, frozen=True):
    """What every resource says of itself; ``meta.lastUpdated`` is its server's, not when the record had it."""

    resourceType: str
    id: str | None = None


KIND = msgspec.json.Decoder(Kind)
DECODERS: dict[str, msgspec.json.Decoder[Resource]] = {
    kind.__name__: msgspec.json.Decoder(kind)
    for kind in (
        Observation, DiagnosticReport, Encounter, Patient, Device, DeviceUseStatement, Procedure, Medication, MedicationAdministration,
    )
}  # fmt: skip
BUNDLE = msgspec.json.Decoder(Bundle)
ENTRY = msgspec.json.Decoder(Entry)
REPORT = msgspec.json.Decoder(DiagnosticReport)
COMPONENT = msgspec.json.Decoder(Valued)
