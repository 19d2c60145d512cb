"""Every FHIR sample of the shared folder: what fhir.resources finds in it, what is taken, and why the rest is not.

The oracle parses the same bytes with an independent library (fhir.resources, R4B) and reads from its objects what an
Observation says. The figures stand in docs/formats.md, and are compared with it.
"""

import gzip
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from detector.catalogue.signals import Catalogue
from detector.clean import Refused, clean, name_of
from detector.clock import from_datetime
from detector.events import Encounter, Observation
from pipelines.formats import Decoded
from pipelines.plan_files import plan_from_files
from tests.pipelines.formats.fhir_resources import fhir

ROOT = Path(__file__).resolve().parents[3]
DECODE = fhir(record_bytes=64 << 20)
MISSION = ("temp", "ck", "plt", "creat", "ast", "alt")

Said = tuple[Any, ...]


class Sample(NamedTuple):
    """Records; results in them; results with a code of ours; of these those that are numbers; and what is left out.

    ``taken`` = the results that became observations. ``left`` counts every part that did not become an event.
    """

    records: int
    results: int
    ours: int
    numbers: int
    taken: int
    left: dict[str, int]


SAMPLES = {
    "hl7/bundle-questionnaire.json": Sample(1, 0, 0, 0, 0, {"unread_type": 1}),
    "hl7/detectedissue-example.json": Sample(1, 0, 0, 0, 0, {"unread_type": 1}),
    "hl7/device-example.json": Sample(1, 0, 0, 0, 0, {"unread_code": 1}),
    "hl7/devicemetric-example.json": Sample(1, 0, 0, 0, 0, {"unread_type": 1}),
    "hl7/deviceusestatement-example.json": Sample(1, 0, 0, 0, 0, {"unread_code": 1}),
    "hl7/diagnosticreport-example.json": Sample(1, 17, 2, 2, 17, {"panel": 1}),
    "hl7/encounter-example.json": Sample(1, 0, 0, 0, 0, {"no_time": 1}),
    "hl7/flag-example.json": Sample(1, 0, 0, 0, 0, {"unread_type": 1}),
    "hl7/medicationadministration0301.json": Sample(1, 0, 0, 0, 0, {"unread_code": 1}),
    "hl7/observation-decimal.json": Sample(1, 7, 0, 0, 0, {"missing_key": 1}),
    "hl7/observation-example.json": Sample(1, 1, 0, 0, 0, {"date_only": 1}),
    "hl7/patient-example.json": Sample(1, 0, 0, 0, 0, {"unread_type": 1}),
    "mimic-iv-fhir-demo-2.1.0/MimicEncounterICU.ndjson.gz": Sample(140, 0, 0, 0, 0, {}),
    "mimic-iv-fhir-demo-2.1.0/MimicObservationVitalSignsED.ndjson.gz": Sample(6300, 7560, 7560, 6733, 7560, {}),
    "mimic-iv-fhir-demo-2.1.0/MimicPatient.ndjson.gz": Sample(100, 0, 0, 0, 0, {"unread_type": 100}),
    "synthea/Buster_Hoeger_ad2e3fc5-2b5d-4cb9-8d03-9ea0f4ac8423.json.gz": Sample(
        1, 36, 8, 8, 36, {"panel": 2, "unread_class": 6, "unread_code": 1, "unread_type": 24}
    ),
    "synthea/Clemente_Kreiger_1484a42d-0eaf-4654-9cbf-6b050a5cd73b.json.gz": Sample(
        1, 51, 10, 10, 51, {"panel": 4, "unread_class": 3, "unread_code": 1, "unread_type": 14}
    ),
}


def records(path: Path) -> list[bytes]:
    whole = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return whole.splitlines() if ".ndjson" in path.name else [whole]


def resources(raw: bytes) -> Iterator[Any]:
    """The resources of a record, as the oracle reads them."""
    kind = re.search(rb'"resourceType"\s*:\s*"(\w+)"', raw if len(raw) < 3_000 else raw[:200])
    assert kind is not None
    try:
        parsed = get_fhir_model_class(kind[1].decode()).model_validate_json(raw)
    except ValidationError:
        return  # not R4B as the oracle sees it
    if parsed.get_resource_type() == "Bundle":
        yield from (entry.resource for entry in parsed.entry or [])
    else:
        yield parsed


def results(one: Any, report: Any = None) -> Iterator[Said]:
    """What an Observation says, each component for itself: (patient, code, number, bound, unit, times, status, id)."""
    effective = one.effectiveDateTime or one.effectiveInstant or (report and report.effectiveDateTime)
    issued = one.issued or (report and report.issued)
    when = from_datetime(effective) if isinstance(effective, datetime) else None
    told = from_datetime(issued) if issued else when
    for part in [*(one.component or []), *([] if one.component else [one])]:
        quantity = part.valueQuantity
        number, bound, unit = None, None, None
        if quantity is not None and quantity.value is not None:
            number = float(quantity.value) if quantity.comparator is None else None
            bound = quantity.comparator
            unit = quantity.code if quantity.system == "http://unitsofmeasure.org" else quantity.unit
        codes = frozenset(coding.code for coding in part.code.coding or [])
        yield one.subject and one.subject.reference, codes, number, bound, unit, when, told, one.status, one.id


def of_report(found: list[Any]) -> dict[str, Any]:
    """Each Observation that a report lists, and the report."""
    reports = [one for one in found if one.get_resource_type() == "DiagnosticReport"]
    return {named.reference: report for report in reports for named in report.result or []}


def matches(said: Said, event: Observation) -> bool:
    patient, codes, number, bound, unit, when, told, status, own_id = said
    comparator = re.match(r"[<>]=?", event.value_text or "")
    return (
        patient.rpartition("/")[2].rpartition(":")[2] == event.patient_id
        and event.code in codes
        and (number, unit, when, told, status) == (event.value, event.unit, event.effective_at, event.available_at, event.status)
        and bound == (comparator and comparator[0])
        and str(event.observation_id).partition("#")[0] == own_id
    )  # fmt: skip


def left_out(decoded: Decoded) -> Counter[str]:
    return Counter(part.reason for part in decoded.unread)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return plan_from_files().catalogue


@pytest.mark.parametrize("name", SAMPLES)
def test_every_result_with_a_code_of_ours_is_taken_and_says_what_the_oracle_reads(
    shared: Path, catalogue: Catalogue, name: str
) -> None:
    count, left, numbers = Counter(), Counter(), 0
    whole = records(shared / "data/fhir-r4" / name)
    for raw in whole:
        found = list(resources(raw))
        listed = of_report(found)
        expected = [
            said
            for one in found if one.get_resource_type() == "Observation"
            for said in results(one, listed.get(f"Observation/{one.id}"))
        ]  # fmt: skip
        decoded = DECODE(raw)
        taken = [event for event in decoded.events if isinstance(event, Observation)]
        known = [said for said in expected if any(map(catalogue.resolve_code, said[1]))]
        for event in taken:
            assert [event] == [event for said in expected if matches(said, event)][:1], event.observation_id
        dated = [said for said in known if said[5] is not None]
        assert len(dated) == sum(catalogue.resolve_code(event.code) is not None for event in taken)
        count.update(results=len(expected), ours=len(known), taken=len(taken))
        numbers += sum(said[2] is not None for said in known)
        left += left_out(decoded)
    found_here = Sample(len(whole), count["results"], count["ours"], numbers, count["taken"], dict(left))

    assert SAMPLES[name] == found_here


def test_every_icu_encounter_of_the_demo_is_a_stay_and_every_other_location_a_transfer(shared: Path) -> None:
    raws = records(shared / "data/fhir-r4/mimic-iv-fhir-demo-2.1.0/MimicEncounterICU.ndjson.gz")
    events = Counter(event.event for raw in raws for event in DECODE(raw).events if isinstance(event, Encounter))

    assert {"admitted": 140, "transferred": 11, "discharged": 140} == events


def test_the_table_names_every_sample_and_stands_in_the_documentation(shared: Path) -> None:
    files = {path.relative_to(shared / "data/fhir-r4").as_posix() for path in (shared / "data/fhir-r4").rglob("*.*")}
    files = {name for name in files if name.endswith((".json", ".json.gz", ".ndjson.gz"))}
    page = (ROOT / "docs/formats.md").read_text()
    told = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    rows = {row[0].strip("`"): row[1:] for row in told if row[0].strip("`") in SAMPLES}

    assert files == SAMPLES.keys()
    for name, sample in SAMPLES.items():
        left = ", ".join(f"{reason} {count:,}" for reason, count in sorted(sample.left.items())) or "nothing"
        assert rows[name] == [*(f"{number:,}" for number in sample[:5]), left], name


def test_99_of_100_numbers_of_the_six_signals_have_a_code_and_a_unit_that_is_known(
    shared: Path, catalogue: Catalogue
) -> None:
    outcomes: Counter[str] = Counter()
    for name in SAMPLES:
        for raw in records(shared / "data/fhir-r4" / name):
            for event in DECODE(raw).events:
                named = name_of(catalogue, event) if isinstance(event, Observation) else None
                if named is None or named.signal not in MISSION or event.value is None:
                    continue
                cleaned = clean(catalogue, named, event, None)
                outcomes[cleaned.reason if isinstance(cleaned, Refused) else "accepted"] += 1

    assert {"accepted": 742, "suspect_unit": 37} == outcomes
    assert outcomes["unknown_unit"] <= 0.01 * outcomes.total(), "the others have a known unit, and the wrong one"
