"""FHIR resources for tests, and a decoder as a site has it."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from detector.catalogue.signals import Named, build_catalogue
from pipelines.formats import Decode, Site, decoder
from pipelines.plan_files import CATALOGUE, read_catalogue

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
AT = "2026-03-01T08:05:00+01:00"
AT_MS = 1_772_348_700_000
LATER = "2026-03-01T09:01:00+01:00"
LATER_MS = AT_MS + 56 * 60_000

Resource = dict[str, Any]


def fhir(code_map: Mapping[str, Named] | None = None, *, timezone: str = "UTC", record_bytes: int = 1 << 20) -> Decode:
    own = dict(code_map or {})
    site = Site(build_catalogue(_signals(), "signals.yaml", own), own.keys(), ZoneInfo(timezone), record_bytes, 32)
    return decoder("fhir", site)


@cache
def _signals() -> Any:
    return read_catalogue(CATALOGUE)[0]


def raw(resource: Resource) -> bytes:
    return json.dumps(resource).encode()


def concept(code: str, system: str = LOINC, **more: Any) -> Resource:
    return {"coding": [{"system": system, "code": code}], **more}


def quantity(value: float, unit: str = "U/L", **more: Any) -> Resource:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit, **more}


def observation(code: str | Resource = "2157-6", value: Resource | None = None, **more: Any) -> Resource:
    """A creatine kinase of 5,250 U/L of patient p, unless it is said otherwise; None takes a part away."""
    whole = {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": concept(code) if isinstance(code, str) else code,
        "subject": {"reference": "Patient/p"},
        "effectiveDateTime": AT,
        "valueQuantity": quantity(5250) if value is None else value,
    }
    return {name: part for name, part in (whole | more).items() if part is not None}


def bundle(*resources: Resource, kind: str = "collection", **more: Any) -> Resource:
    entries = [{"fullUrl": f"https://fhir.example/{one.get('resourceType')}/{one.get('id')}", "resource": one} for one in resources]  # fmt: skip
    return {"resourceType": "Bundle", "type": kind, "entry": entries, **more}
