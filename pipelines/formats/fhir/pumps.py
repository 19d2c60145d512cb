"""Device, DeviceUseStatement and Procedure: what says that a pump is there, and what was done to it.

A record that an implanted pump is in use says so for the moment at which it is told, whatever day it was implanted on:
``implanted`` registers a pump and is never taken for an interruption. Removals need a time of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from detector.errors import InputError
from detector.events import Context, ContextChange, ContextKind, Pump, PumpKind
from pipelines.formats.codes import SNOMED, SYSTEMS
from pipelines.formats.fhir import resources
from pipelines.formats.fhir.resources import CodeableConcept, Reference
from pipelines.formats.fhir.scope import Scope, names
from pipelines.terms import is_pump_device, pump_events, treatment

CPT: Final = "CPT"
INTERRUPTED: Final = ("stopped", "on-hold")
"""Statuses of a use that was halted, for good or for now (http://hl7.org/fhir/R4/valueset-device-statement-status.html)."""

_SYSTEMS: Final = {"http://www.ama-assn.org/go/cpt": CPT, "urn:oid:2.16.840.1.113883.6.12": CPT} | {
    name: SNOMED for name, system in SYSTEMS.items() if system == SNOMED
}


def read_device(scope: Scope, one: resources.Device) -> None:
    """Add that a pump is there.

    Raises:
        InputError: nothing of it can be read.
    """
    if not is_pump_device(_texts(one)):
        raise InputError("unread_code", "type: no intrathecal pump")
    if one.status == "entered-in-error":
        raise InputError("entered_in_error", "status: a pump cannot be taken back")
    if one.status not in (None, "active"):
        raise InputError("unread_status", "status: not in use")
    if one.patient is None:
        raise InputError("other_subject", "patient: a device of nobody")
    patient_id = scope.patient_id(one.patient)
    if scope.timestamp is None:
        raise InputError("no_time", "a Device says of no time; expected one with the record, or a DeviceUseStatement")
    _add(scope, patient_id, "implanted", scope.timestamp, scope.timestamp)


def read_use(scope: Scope, one: resources.DeviceUseStatement) -> None:
    """Add that a pump is in use, was taken out or was stopped.

    Raises:
        InputError: nothing of it can be read.
    """
    if not is_pump_device(_named(scope, one.device)):
        raise InputError("unread_code", "device: no intrathecal pump")
    if one.status == "entered-in-error":
        raise InputError("entered_in_error", "status: a pump cannot be taken back")
    patient_id = scope.patient_id(one.subject)
    told = _told(scope, one)
    period = one.timingPeriod
    if one.status == "active":
        at = _instant(scope, one.timingDateTime or (period.start if period is not None else None), told)
        _add(scope, patient_id, "implanted", at, told)
        return
    end = one.timingDateTime or (period.end if period is not None else None)
    if one.status == "completed":
        if not end:
            raise InputError("no_time", "timing: expected the end of the use")
        _add(scope, patient_id, "explanted", scope.instant("timing", end), told)
    elif one.status in INTERRUPTED:
        # the pump may be off and still there: the gate must stay open. Without an end it is off by the time this is told
        _add(scope, patient_id, "interrupted", _instant(scope, end, told), told)
    else:
        raise InputError("unread_status", "status: nothing happened")


def read_procedure(scope: Scope, one: resources.Procedure) -> None:
    """Add what was done to a pump, or which treatment a procedure is.

    Raises:
        InputError: nothing of it can be read.
    """
    events = [event for system, code in _known(one.code) for event in pump_events(system, code)]
    kind = next((found for system, code in _known(one.code) if (found := treatment(system, code)) is not None), None)
    if not events and kind is None:
        raise InputError("unread_code", "code: no rule reads it")
    if one.status == "entered-in-error":
        raise InputError("entered_in_error", "status: a procedure cannot be taken back")
    if one.status not in ("completed", "in-progress", "stopped"):
        raise InputError("unread_status", "status: nothing happened")
    patient_id = scope.patient_id(one.subject)
    period = one.performedPeriod
    start = one.performedDateTime or (period.start if period is not None else None)
    end = one.performedDateTime or (period.end if period is not None else None)
    began, ended = scope.period("performed", start, end)
    if began is None and ended is None:
        raise InputError("no_time", "performed: expected when it was done")
    if kind is not None:
        stay_id = scope.stay_id(one.encounter)
        running = one.performedDateTime is None and began is not None
        if running and began is not None:
            _add_context(scope, patient_id, stay_id, kind, "started", began)
        if ended is not None:
            _add_context(scope, patient_id, stay_id, kind, "stopped" if running else "noted", ended)
    if events and one.status != "completed":
        raise InputError("unread_status", "status: not done yet, or not completed")
    done = max(at for at in (began, ended) if at is not None)
    for event in events:
        _add(scope, patient_id, event, done, None)


def _known(concept: CodeableConcept | None) -> list[tuple[str, str]]:
    if concept is None:
        return []
    return [(system, one.code) for one in concept.coding if one.code and (system := _SYSTEMS.get(one.system or ""))]


def _texts(device: resources.Device) -> Iterable[str]:
    yield from names(device.type)
    yield from (text for text in (*(one.name for one in device.deviceName), device.modelNumber) if text)


def _named(scope: Scope, reference: Reference | None) -> list[str]:
    """Every text that says what a device is: of the reference, and of the Device where this record holds it."""
    device = scope.find(reference, resources.Device)
    said = [reference.display] if reference is not None and reference.display else []
    return said + (list(_texts(device)) if device is not None else [])


def _told(scope: Scope, one: resources.DeviceUseStatement) -> int | None:
    try:
        return scope.told_at("recordedOn", one.recordedOn)
    except InputError:
        return scope.timestamp  # a day of recording is as good as none


def _instant(scope: Scope, text: str | None, told: int | None) -> int:
    """When a use began; where only a day or nothing is told, the moment at which it is told that it goes on."""
    try:
        if text:
            return scope.instant("timing", text)
    except InputError:
        if told is None:
            raise
    if told is None:
        raise InputError("no_time", "timing: expected a time, or one with the record")
    return told


def _add(scope: Scope, patient_id: str, event: PumpKind, at: int, told: int | None) -> None:
    known = at if told is None and scope.timestamp is None else (told if told is not None else scope.timestamp)
    scope.events.append(
        Pump(patient_id=patient_id, event=event, at=at, available_at=at if known is None else known,
             position=scope.position)
    )  # fmt: skip


def _add_context(
    scope: Scope, patient_id: str, stay_id: str | None, kind: ContextKind, event: ContextChange, at: int
) -> None:
    scope.events.append(
        Context(patient_id=patient_id, stay_id=stay_id, kind=kind, event=event, at=at,
                available_at=at if scope.timestamp is None else scope.timestamp, position=scope.position)
    )  # fmt: skip
