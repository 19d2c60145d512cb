"""FHIR R4 (valid as R4B too): a DetectedIssue for an alert, and a Communication where somebody's attention is asked.

Every step of an alert is the same DetectedIssue again, with the sequence as its version. The evidence is contained, as
Observations that the ``evidence`` of each rule refers to: an alert can be read without asking the record for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from detector.catalogue.signals import UNKNOWN_SITE, Catalogue
from detector.records import AlertRecord, Evidence
from pipelines.exports import NOTICES, Export, told
from pipelines.settings import Hl7v2
from pipelines.web.alert_html import DISCLAIMER

SYNDROMES: Final = "urn:itbwatch:syndrome"
RULES: Final = "urn:itbwatch:rule"
ALERTS: Final = "urn:itbwatch:alert"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
CATEGORIES: Final = "http://terminology.hl7.org/CodeSystem/communication-category"

SEVERITIES: Final = {"critical": "high", "warning": "moderate", "watch": "low", "info": "low"}
PRIORITIES: Final = {"critical": "stat", "warning": "urgent", "watch": "routine", "info": "routine"}

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_LOINC = re.compile(r"\d+-\d")
_ENCODER = msgspec.json.Encoder()

Resource = dict[str, Any]


def exporter(catalogue: Catalogue, _: Hl7v2) -> Export:
    """Writes the resources of a record, one a line."""
    codes = _loinc_codes(catalogue)

    def write(record: AlertRecord) -> Iterator[bytes]:
        yield _ENCODER.encode(detected_issue(record, codes))
        if record.state in NOTICES:
            yield _ENCODER.encode(communication(record))

    return write


def detected_issue(record: AlertRecord, codes: dict[str, str]) -> Resource:
    """The alert. ``status`` is preliminary while it is open; final once it is resolved, corrected when its evidence
    was.
    """
    contained, evidence = _evidence(record, codes)
    status = "preliminary"
    if record.state == "resolved":
        status = "corrected" if record.reason == "evidence_corrected" else "final"
    return _without_nothing({
        "resourceType": "DetectedIssue",
        "id": record.alert_id,
        "meta": {"versionId": str(record.sequence), "lastUpdated": record.at},
        "contained": contained,
        "identifier": [{"system": ALERTS, "value": record.alert_id}],
        "status": status,
        "code": {"coding": [{"system": SYNDROMES, "code": record.syndrome}], "text": record.syndrome.replace("_", " ")},
        "severity": SEVERITIES[record.severity],
        "patient": _reference("Patient", record.patient_id),
        "identifiedDateTime": record.at,
        "author": {"display": "itbwatch"},
        "evidence": evidence,
        "detail": "\n".join([record.headline, *told(record), DISCLAIMER]),
    })  # fmt: skip


def communication(record: AlertRecord) -> Resource:
    """The notice of a step that asks for attention."""
    return _without_nothing({
        "resourceType": "Communication",
        "id": f"{record.alert_id}-{record.sequence}",
        "status": "completed",
        "category": [{"coding": [{"system": CATEGORIES, "code": "alert"}]}],
        "priority": PRIORITIES[record.severity],
        "subject": _reference("Patient", record.patient_id),
        "about": [{"reference": f"DetectedIssue/{record.alert_id}"}],
        "encounter": _reference("Encounter", record.stay_id) if record.stay_id else None,
        "sent": record.at,
        "reasonReference": [{"reference": f"DetectedIssue/{record.alert_id}"}],
        "payload": [{"contentString": text} for text in (record.headline, *told(record), DISCLAIMER)],
    })  # fmt: skip


def _reference(kind: str, identity: str) -> Resource:
    """A reference by the id that the feed knows: literal where that can be the id of a resource, logical always."""
    literal = {"reference": f"{kind}/{identity}"} if _ID.fullmatch(identity) else {}
    return {**literal, "type": kind, "identifier": {"value": identity}}


def _evidence(record: AlertRecord, codes: dict[str, str]) -> tuple[list[Resource], list[Resource]]:
    """The readings of a record as contained Observations, each once; and by rule which of them it rests on."""
    places: dict[tuple[object, ...], str] = {}
    contained: list[Resource] = []
    by_rule: dict[str, list[Resource]] = {}
    for line in record.evidence:
        content = (line.signal, line.value, line.unit, line.effective_at, line.change)
        place = places.get(content)
        if place is None:
            place = places[content] = f"e{len(places) + 1}"
            contained.append(_observation(place, line, record.patient_id, codes))
        by_rule.setdefault(line.rule, []).append({"reference": f"#{place}"})
    rules = [
        {"code": [{"coding": [{"system": RULES, "code": rule}]}], "detail": details}
        for rule, details in by_rule.items()
    ]
    return contained, rules


def _observation(place: str, line: Evidence, patient_id: str, codes: dict[str, str]) -> Resource:
    loinc = codes.get(line.signal)
    return _without_nothing({
        "resourceType": "Observation",
        "id": place,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": loinc}] if loinc else [], "text": line.signal},
        "subject": _reference("Patient", patient_id),
        "effectiveDateTime": line.effective_at,
        "issued": line.available_at,
        "valueQuantity": {"value": line.value, "unit": line.unit, "system": UCUM if line.unit else None, "code": line.unit}
        if line.value is not None else None,
        "note": [{"text": line.change}] if line.change else [],
    })  # fmt: skip


def _loinc_codes(catalogue: Catalogue) -> dict[str, str]:
    """A LOINC code of each signal that has one: the one that says least of the site."""
    found: dict[str, tuple[bool, str]] = {}
    for code, named in catalogue.codes.items():
        if _LOINC.fullmatch(code):
            offered = (named.site not in (None, UNKNOWN_SITE), code)
            known = found.get(named.signal)
            if known is None or offered[0] < known[0]:
                found[named.signal] = offered
    return {signal: code for signal, (_, code) in found.items()}


def _without_nothing(resource: Resource) -> Resource:
    """FHIR has no null and no empty array: what is not there is left out."""
    return {
        name: _without_nothing(value) if isinstance(value, dict) else value
        for name, value in resource.items()
        if value is not None and value not in ([], {})
    }
