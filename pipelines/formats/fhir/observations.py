"""Observation: its value, or each of its components, becomes an observation of its own.

What is no plain number (``<5``, a text, a reason why there is none) stays a text: the core counts it as ``no_value``,
and a correction that says it still takes the value before it away.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, get_args

import msgspec
from msgspec import structs

from detector.errors import InputError
from detector.events import Observation, Status
from pipelines.formats import Site
from pipelines.formats.canonical import SILENT_STATUSES
from pipelines.formats.codes import SNOMED, SYSTEMS, Codes
from pipelines.formats.fhir import resources
from pipelines.formats.fhir.resources import COMPONENT, CodeableConcept, DiagnosticReport, Quantity, Valued
from pipelines.formats.fhir.scope import Scope, codings
from pipelines.formats.json_records import fault

UCUM: Final = "http://unitsofmeasure.org"
NORMAL: Final = "normal"
STATUSES: Final = frozenset(get_args(Status))
WITHDRAWN: Final = ("cancelled", "entered-in-error")
CORRECTED: Final = ("corrected", "amended")

PANELS: Final[dict[str, tuple[str, ...]]] = {
    # LOINC: blood pressure panel with all children optional; blood pressure systolic and diastolic
    "85354-9": ("8480-6", "8462-4", "8478-0"),
    "55284-4": ("8480-6", "8462-4", "8478-0"),
    # LOINC 9269-2 is the total of 9267-6, 9268-4 and 9270-0, and is sent as a panel of them too
    "9269-2": ("9267-6", "9268-4", "9270-0"),
}
"""The components of panels. A panel that was entered in error may come without them, and takes them back all the same."""

_OTHER_VALUES: Final = (
    "valueRange", "valueRatio", "valueSampledData", "valueTime", "valueDateTime", "valuePeriod",
)  # fmt: skip


class Observations:
    def __init__(self, site: Site) -> None:
        self._codes = Codes(site)
        self._sites = site.catalogue.site_spellings

    def read(self, scope: Scope, one: resources.Observation, report: DiagnosticReport | None = None) -> None:
        """Add what an Observation says; what it leaves out it has from the report that lists it.

        Raises:
            InputError: nothing of it can be read.
        """
        patient_id = scope.patient_id(one.subject or (report.subject if report is not None else None))
        if one.focus:
            raise InputError("other_subject", "focus: the result is not the patient's own")
        if one.status not in STATUSES:
            raise InputError("bad_value", "status: expected a status of an Observation with a known meaning")
        told_at = scope.told_at("issued", one.issued or (report.issued if report is not None else None))
        own_id = one.id or next((each.value for each in one.identifier if each.value), None)
        try:
            effective_at = _effective(scope, one, report)
        except InputError:
            if one.status not in WITHDRAWN or own_id is None or told_at is None:
                raise
            effective_at = told_at  # it is known by its id: when it was measured does not matter any more
        said: dict[str, Any] = {
            "patient_id": patient_id,
            "stay_id": scope.stay_id(one.encounter or (report.encounter if report is not None else None)),
            "effective_at": effective_at,
            "available_at": effective_at if told_at is None else told_at,
            "status": one.status,
            "site": self._site(one.bodySite),
            "source": one.device.display if one.device is not None else None,
            "position": scope.position,
        }
        if not one.component:
            self._whole(scope, one, own_id, said)
            return
        if _says_something(one):
            scope.events.append(self._event(one, own_id, said))
        seen: Counter[str] = Counter()
        refused = len(scope.unread)
        for number, raw in enumerate(one.component):
            try:
                component = COMPONENT.decode(raw)
                if component.modifierExtension:
                    raise InputError("modified", "modifierExtension: expected none")
                code = self._codes.choose(codings(component.code))
                seen[code] += 1
                again = f"#{seen[code]}" if seen[code] > 1 else ""
                scope.events.append(self._event(component, own_id and f"{own_id}#{code}{again}", said, code))
            except msgspec.ValidationError as error:
                reason, path = fault(error)
                scope.refuse(InputError(reason, path), f".component[{number}]{path[1:]}")
            except InputError as error:
                scope.refuse(error, f".component[{number}]")
        if own_id and one.status in CORRECTED and refused == len(scope.unread):
            gone = said | {"status": "cancelled"}  # a corrected panel is whole: what it no longer says does not hold
            for member in (code for code in _members(one.code) if code not in seen):
                scope.events.append(Observation(code=member, observation_id=f"{own_id}#{member}", **gone))

    def _whole(self, scope: Scope, one: resources.Observation, own_id: str | None, said: dict[str, Any]) -> None:
        """An Observation without components."""
        if one.status in WITHDRAWN and own_id:
            for member in _members(one.code):
                scope.events.append(self._event(one, f"{own_id}#{member}", said, member))
        if one.hasMember and not _says_something(one) and one.status not in SILENT_STATUSES:
            raise InputError("panel", "hasMember: its results are resources of their own")
        scope.events.append(self._event(one, own_id, said))

    def _event(self, valued: Valued, own_id: str | None, said: dict[str, Any], code: str | None = None) -> Observation:
        value, text, unit = _value(valued)
        if (
            valued.dataAbsentReason is not None
            and _says_something(valued, absent=True)
            and said["status"] not in WITHDRAWN
        ):
            raise InputError("bad_value", "dataAbsentReason: expected no value beside the reason why there is none")
        if value is None and not text and said["status"] not in SILENT_STATUSES:
            raise InputError("no_value", "value: expected a value or dataAbsentReason")
        return Observation(
            code=code if code is not None else self._codes.choose(codings(valued.code)), value=value, value_text=text,
            unit=unit, observation_id=own_id, reference_high=_high(valued, unit), **said,
        )  # fmt: skip

    def _site(self, concept: CodeableConcept | None) -> str | None:
        """The site of a measurement, in a spelling that the catalogue knows; else as it is written."""
        if concept is None:
            return None
        spelt = [one.code for one in concept.coding if one.code and SYSTEMS.get(one.system or "") == SNOMED]
        spelt += [text for text in (concept.text, *(one.display for one in concept.coding)) if text]
        return next((one for one in spelt if one.strip().lower() in self._sites), spelt[0] if spelt else None)


def _members(concept: CodeableConcept) -> list[str]:
    """The components that a panel with this code usually has."""
    told = [code for standard, code in codings(concept) if standard in SYSTEMS]
    return [member for code in told for member in PANELS.get(code or "", ())]


def _effective(scope: Scope, one: resources.Observation, report: DiagnosticReport | None) -> int:
    """When it was measured or drawn; of a period its end, because before that nobody could know the result."""
    text = one.effectiveDateTime or one.effectiveInstant
    if text:
        return scope.instant("effective", text)
    for each in (one, report):
        if each is not None:
            period = each.effectivePeriod
            text = each.effectiveDateTime or (period.end or period.start if period is not None else None)
            if text:
                return scope.instant("effective", text)
    raise InputError("no_time", "effective: expected the time of the measurement")


def _says_something(valued: Valued, *, absent: bool = False) -> bool:
    """Whether it has a value of its own; ``absent`` = though it says why there is none."""
    value, text, _ = _value(valued if not absent else structs.replace(valued, dataAbsentReason=None))
    return value is not None or (text is not None and (absent or valued.dataAbsentReason is None))


def _value(valued: Valued) -> tuple[float | None, str | None, str | None]:
    """Number, text and unit of a result; at most one of number and text is there."""
    quantity = valued.valueQuantity
    if quantity is not None and quantity.value is not None:
        unit = _unit(quantity)
        if quantity.comparator:
            return None, f"{quantity.comparator}{quantity.value:.15g}", unit
        return quantity.value, None, unit
    if valued.valueInteger is not None:
        return valued.valueInteger, None, None
    if valued.valueString:
        return None, valued.valueString, None
    if valued.valueCodeableConcept is not None:
        return None, _word(valued.valueCodeableConcept), None
    if valued.valueBoolean is not None:
        return None, str(valued.valueBoolean).lower(), None
    for name in _OTHER_VALUES:
        if getattr(valued, name):
            return None, name, None
    absent = valued.dataAbsentReason
    return None, _word(absent) if absent is not None else None, None


def _unit(quantity: Quantity) -> str | None:
    """The UCUM code where there is one, else the unit as it is printed."""
    if quantity.code and quantity.system == UCUM:
        return quantity.code
    return quantity.unit or quantity.code


def _word(concept: CodeableConcept) -> str | None:
    spelt = (concept.text, *(one.display for one in concept.coding), *(one.code for one in concept.coding))
    return next((one for one in spelt if one), None)


def _high(valued: Valued, unit: str | None) -> float | None:
    """The upper limit of normal, where there is exactly one for everybody and it is in the unit of the value."""
    limits = [
        one.high
        for one in valued.referenceRange
        if one.high is not None and one.high.value is not None and not one.appliesTo and not one.age
        and (one.type is None or any(each.code == NORMAL for each in one.type.coding))
    ]  # fmt: skip
    if len(limits) != 1 or limits[0].comparator or _unit(limits[0]) not in (None, unit):
        return None
    return limits[0].value
