"""The pump gate beside fhir.resources (R4B): every valid way to tell of a pump, and what the library reads in it.

Each resource is made of parts that R4B allows. The library validates it and reads status and times; what must come of them
is written here a second time, in terms of the library's objects. What the library writes out again must say the same.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class

from detector.clock import from_datetime
from detector.events import Pump
from pipelines.formats import Decoded
from tests.pipelines.formats.fhir_resources import AT, LATER, SNOMED, Resource, concept, fhir, raw

DECODE = fhir()
TOLD_MS = from_datetime(datetime.fromisoformat(LATER)) + 60_000
DAY = "2026-03-01"
PERIODS: tuple[Resource | None, ...] = (
    None, {"start": AT}, {"end": LATER}, {"start": AT, "end": LATER}, {"start": DAY}, {"start": "2019", "end": LATER}, {"end": DAY},
)  # fmt: skip
TIMES = (None, AT, DAY)
P = {"reference": "Patient/p"}
PUMP = {"resourceType": "Device", "id": "d", "deviceName": [{"name": "SynchroMed II", "type": "model-name"}]}
CPT = "http://www.ama-assn.org/go/cpt"
RXNORM, NDC = "http://www.nlm.nih.gov/research/umls/rxnorm", "http://hl7.org/fhir/sid/ndc"
HL7_ROUTE = "http://terminology.hl7.org/CodeSystem/v2-0162"

Told = tuple[str, int, int]
"""Event, at, available_at."""


def without_nothing(**parts: Any) -> Resource:
    return {name: part for name, part in parts.items() if part is not None}


def uses() -> Iterator[Resource]:
    words = ("active", "completed", "stopped", "on-hold", "intended", "entered-in-error")
    named: tuple[Resource, ...] = (
        {"device": {"display": "Prometra II"}},
        {"device": {"reference": "#d"}, "contained": [PUMP]},
        {"device": {"display": "PICC line"}},
    )
    whens = [(period, None) for period in PERIODS] + [(None, time) for time in TIMES[1:]]
    for status, device, (period, time), recorded in product(words, named, whens, (None, LATER)):
        yield without_nothing(resourceType="DeviceUseStatement", id="u", status=status, subject=P, timingPeriod=period,
                              timingDateTime=time, recordedOn=recorded, **device)  # fmt: skip


def devices() -> Iterator[Resource]:
    for status, patient in product((None, "active", "inactive", "unknown", "entered-in-error"), (None, P)):
        yield without_nothing(**PUMP, status=status, patient=patient)


def procedures() -> Iterator[Resource]:
    words = ("preparation", "in-progress", "not-done", "on-hold", "stopped", "completed", "entered-in-error", "unknown")
    whens = [(period, None) for period in PERIODS] + [(None, time) for time in TIMES[1:]]
    for status, code, (period, time) in product(words, ("62362", "62365", "62369", "99213"), whens):
        yield without_nothing(resourceType="Procedure", id="x", status=status, subject=P, code=concept(code, CPT),
                              performedPeriod=period, performedDateTime=time)  # fmt: skip


def doses() -> Iterator[Resource]:
    words = ("in-progress", "not-done", "on-hold", "completed", "entered-in-error", "stopped", "unknown")
    drugs: tuple[Resource, ...] = (
        {"text": "Baclofen"}, concept("1047437", RXNORM), concept("66794-157-02", NDC), concept("70511-121-01", NDC), {"text": "Morphine"},
    )  # fmt: skip
    ways: tuple[Resource | None, ...] = (
        None, {"route": concept("72607000", SNOMED)}, {"route": concept("IT", HL7_ROUTE)}, {"route": {"text": "oral"}},
    )  # fmt: skip
    whens = [(period, None) for period in PERIODS[1:]] + [(None, time) for time in TIMES[1:]]
    for status, drug, dosage, (period, time) in product(words, drugs, ways, whens):
        # R4B asks for a dose or a rate where there is a dosage
        said = None if dosage is None else dosage | {"dose": {"value": 1, "unit": "mL"}}
        yield without_nothing(resourceType="MedicationAdministration", id="m", status=status, subject=P, dosage=said,
                              medicationCodeableConcept=drug, effectivePeriod=period, effectiveDateTime=time)  # fmt: skip


# -- what must come of it, in terms of the library's objects -----------------------------------------------------------


def instant(read: Any) -> int | None:
    """Milliseconds of a dateTime; None = not told, or a date, which names no instant."""
    return from_datetime(read) if isinstance(read, datetime) else None


def is_a_date(read: Any) -> bool:
    return read is not None and not isinstance(read, datetime)


def of_use(one: Any) -> list[Told]:
    names = [one.device.display or "", *(name.name for device in one.contained or [] for name in device.deviceName)]
    if not any(word in name for name in names for word in ("SynchroMed", "Prometra")):
        return []
    period = one.timingPeriod
    start, end = (one.timingDateTime or (period and getattr(period, name)) for name in ("start", "end"))
    told = instant(one.recordedOn) or TOLD_MS
    match one.status:
        case "active":
            return [("implanted", instant(start) or told, told)]
        case "completed":
            return [("explanted", at, told)] if (at := instant(end)) is not None else []
        case "stopped" | "on-hold":
            return [("interrupted", instant(end) or told, told)]
    return []


def of_device(one: Any) -> list[Told]:
    there = one.status in (None, "active") and one.patient is not None
    return [("implanted", TOLD_MS, TOLD_MS)] if there else []


def of_procedure(one: Any) -> list[Told]:
    said = {"62362": ["surgery", "implanted"], "62365": ["explanted"], "62369": ["refilled", "reprogrammed"]}
    period = one.performedPeriod
    start, end = (one.performedDateTime or (period and getattr(period, name)) for name in ("start", "end"))
    at = instant(end) if end is not None else instant(start)
    if one.status != "completed" or at is None or is_a_date(start) or is_a_date(end):
        return []
    return [(kind, at, TOLD_MS) for kind in said.get(one.code.coding[0].code, [])]


def of_dose(one: Any) -> list[Told]:
    drug, route = one.medicationCodeableConcept, one.dosage and one.dosage.route
    code = drug.coding[0].code if drug.coding else ""
    product_of_pumps = code in ("1047437", "66794-157-02")
    by_word = drug.text == "Baclofen" and route is not None and route.coding is not None
    oral = route is not None and route.text == "oral"
    start = one.effectiveDateTime or one.effectivePeriod.start
    dates = (start, one.effectivePeriod and one.effectivePeriod.end)
    given = one.status in ("in-progress", "completed", "stopped") and not any(map(is_a_date, dates))
    if given and (product_of_pumps or by_word) and not oral and (at := instant(start)) is not None:
        return [("implanted", at, TOLD_MS)]
    return []


CASES = {
    "DeviceUseStatement": (uses, of_use, 324),
    "Device": (devices, of_device, 10),
    "Procedure": (procedures, of_procedure, 288),
    "MedicationAdministration": (doses, of_dose, 1_120),
}


def pumps(decoded: Decoded) -> list[Told]:
    return [(event.event, event.at, event.available_at) for event in decoded.events if isinstance(event, Pump)]


@pytest.mark.parametrize("kind", CASES)
def test_whatever_says_that_there_is_a_pump_says_what_the_library_reads(kind: str) -> None:
    made, expected, ways = CASES[kind]
    seen: set[tuple[Told, ...]] = set()
    resources = list(made())
    for resource in resources:
        read = get_fhir_model_class(kind).model_validate(resource)
        decoded = DECODE(raw(resource), timestamp=TOLD_MS)

        assert expected(read) == pumps(decoded), resource
        assert decoded.events or decoded.unread, "nothing leaves in silence"
        assert decoded == DECODE(read.model_dump_json().encode(), timestamp=TOLD_MS), "the library writes it otherwise"
        seen.add(tuple(pumps(decoded)))

    assert ways == len(resources)
    assert len(seen) > 1, "both with a pump and without"
