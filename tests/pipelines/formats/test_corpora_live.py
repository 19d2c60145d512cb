"""The public corpora on topics of foreign formats, through a real Kafka: each record is accepted, skipped or kept aside.

A full course of withdrawal goes through one partition with the files of every suite between its own records, and within the
parts of records that would otherwise be good. Whoever they are about has a canary for a name.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from detector.clean import QUARANTINED
from detector.clean import REASONS as CORE_REASONS
from detector.clock import HOUR, MINUTE, minute_ceil, rfc3339
from detector.errors import InputError
from detector.events import Encounter, PatientEvent, TimeMoved
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode
from pipelines.formats.times import parse_time
from pipelines.intake import decoders
from pipelines.plan_files import load_plan
from pipelines.simulate import Bed, events
from tests.kafka.broker import create_topics
from tests.pipelines.formats.fhir_rendering import expressible
from tests.pipelines.formats.fhir_rendering import rendered as as_fhir
from tests.pipelines.formats.fhir_resources import LOINC, Resource, bundle, concept, observation, quantity, raw
from tests.pipelines.formats.hl7v2_messages import NAMES, fields, message, msh, obr, obx
from tests.pipelines.formats.hl7v2_messages import rendered as as_hl7v2
from tests.pipelines.formats.hl7v2_messages import time as hl7_time
from tests.pipelines.live import Site, by_key, counted, replayed

ARRIVES = 1_900_022_400_000
PATIENT, STAY = "Jane-Roe-4711", "stay-0815"
ROLES = dict(zip(RANK, KINDS, strict=False))
RECORD_BYTES = 256 << 10
KEPT_BYTES = (512 << 10) - len(PATIENT)
"""A longer value is not kept in a dead letter, only its length (docs/operations.md)."""
MEMORY_KB = 64 << 10
"""What the corpora may add to the peak of the process: records of at most 256 KiB, some hundreds at once."""


class Sent(NamedTuple):
    role: str
    value: bytes
    at: int


# -- the corpora, as they are and as parts of records ------------------------------------------------------------------


def files(shared: Path) -> Iterator[bytes]:
    """Every file of every suite that a producer would take."""
    for path in sorted((shared / "corpora").rglob("*")):
        if path.is_file() and not path.name.startswith(("LICENSE", "SOURCES", "UCUM-LICENSE", "README")):
            yield path.read_bytes()


def strings(shared: Path) -> list[str]:
    """Naughty strings, good for any place."""
    return json.loads((shared / "corpora/blns/blns.json").read_text(encoding="utf-8"))


def times(shared: Path) -> list[str]:
    """Times, days and hours of the RFC 3339 suite, good and bad."""
    suites = (
        json.loads((shared / f"corpora/rfc3339/{name}.json").read_text()) for name in ("date-time", "date", "time")
    )
    cases = (case["data"] for suite in suites for group in suite for case in group["tests"])
    return list(dict.fromkeys(case for case in cases if isinstance(case, str)))


def units(shared: Path) -> list[str]:
    """Units of UCUM's own functional tests, good and bad."""
    cases = ET.parse(shared / "corpora/ucum/UcumFunctionalTests.xml").iter("case")
    return list(dict.fromkeys(case.attrib[key] for case in cases for key in ("unit", "srcUnit") if key in case.attrib))


def told(at: int, code: Resource | None = None, **more: Any) -> Resource:
    whole = {
        "id": None, "subject": {"reference": f"Patient/{PATIENT}"}, "encounter": {"reference": f"Encounter/{STAY}"},
        "effectiveDateTime": rfc3339(at),
    }  # fmt: skip
    return observation(code or concept("2157-6"), **(whole | more))


def fhir_records(shared: Path, at: int) -> Iterator[bytes]:
    for content in files(shared):
        yield content
        if content[:1] in b'[{"0123456789-tfn' and len(content) < 10_000:  # JSON, more or less: as a part
            yield raw(told(at)).replace(b"5250", content.strip() or b"x")
            yield raw(bundle(told(at), told(at))).replace(b'"collection"', b'"collection","x":' + content, 1)
    for text in strings(shared) + times(shared):
        yield raw(told(at, effectiveDateTime=text))
    for text in strings(shared) + units(shared):
        yield raw(told(at, value=quantity(7, text)))
    for text in strings(shared):
        yield raw(told(at, value={"value": 7, "unit": "U/L", "comparator": text}))
        yield raw(told(at, concept(text, LOINC, text=text)))
        yield raw({**told(at, valueString=text), "valueQuantity": None})
        yield raw(told(at, subject={"reference": text}))


def hl7v2_records(shared: Path, at: int) -> Iterator[bytes]:
    def said(pid: str = PATIENT, **result: str) -> bytes:
        whole = {"f14": hl7_time(at)} | result
        person, visit = f"PID|1||{pid}^^^H^MR", fields("PV1", f1="1", f2="I", f19=STAY)
        return message(msh(f7=hl7_time(at)), person, visit, obr(f7="", f22=hl7_time(at)), obx(**whole))

    for content in files(shared):
        yield content
        if len(content) < 10_000:
            yield said(f5="@@").replace(b"@@", content)
    for text in strings(shared) + times(shared):
        yield said(f14=text)
    for text in strings(shared) + units(shared):
        yield said(f6=text)
    for text in strings(shared):
        yield said(f3=f"{text}^x^LN")
        yield said(f5=text)
        yield said(f2="SN", f5=f"{text}^7")
        yield said(text)


# -- the course between them -------------------------------------------------------------------------------------------


def fhir_course() -> tuple[list[PatientEvent], dict[str, Any]]:
    course = expressible(events([Bed(1, pump=True, course="published")], ARRIVES, hours=16, seed=1))
    formats = dict.fromkeys(("encounters", "pumps", "context", "observations"), "fhir")
    return course, {"formats": formats, "code_map": {"http://hospital.example|mas": {"signal": "mas"}}}


def hl7v2_course() -> tuple[list[PatientEvent], dict[str, Any]]:
    made = events([Bed(1, pump=True, course="published")], ARRIVES, hours=16, seed=1)
    course = [replace(event, conditions=()) if isinstance(event, Encounter) else event for event in made]
    code_map = {f"SITE|{name}": {"signal": name} for name in NAMES}
    return course, {"formats": {"encounters": "hl7v2", "observations": "hl7v2"}, "code_map": code_map}


def course_as_sent(name: str, course: list[PatientEvent], site: Site) -> list[Sent]:
    if name == "hl7v2":
        return [Sent(ROLES[type(event)], as_hl7v2(event), event.available_at) for event in course]
    role_of = {"Encounter": "encounters", "DeviceUseStatement": "pumps", "MedicationAdministration": "context"}
    sent = []
    for one in as_fhir(course, load_plan(site.settings).catalogue):
        period = one.get("period") or one.get("effectivePeriod") or {}
        timing = one.get("issued") or one.get("recordedOn") or one.get("effectiveDateTime")
        at = parse_time(timing or period.get("end") or period["start"])
        sent.append(Sent(role_of.get(one["resourceType"], "observations"), json.dumps(one).encode(), at))
    return sent


FORMATS = {"fhir": (fhir_course, fhir_records), "hl7v2": (hl7v2_course, hl7v2_records)}


def peak_kb(pid: int) -> int:
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[0])


@pytest.fixture(params=FORMATS)
def site(request, kafka, topic_prefix, tmp_path):
    name = request.param
    course, said = FORMATS[name][0]()
    limits = {"record_bytes": RECORD_BYTES, "json_depth": 32}
    site = Site(kafka.bootstrap, topic_prefix, tmp_path, code_map=said["code_map"], limits=limits)
    written = json.loads(site.config.read_text())
    written["kafka"]["formats"] = said["formats"]
    site.config.write_text(json.dumps(written))
    create_topics(kafka.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), 1))
    site.name, site.course = name, course
    return site


def expected_of(site: Site, corpora: list[Sent]) -> tuple[Counter[str], dict[bytes, list[str]], list[bytes]]:
    """Reasons of all parts; of the records that are refused their reasons, in order; and the records with events."""
    settings = site.settings
    decode = decoders(settings, load_plan(settings).catalogue)["observations"]
    parts: Counter[str] = Counter()
    refused: dict[bytes, list[str]] = {}
    usable: list[bytes] = []
    for one in corpora:
        try:
            decoded = decode(one.value, timestamp=one.at)
        except InputError as error:
            parts[error.reason] += 1
            refused[one.value] = [error.reason]
            continue
        mine = [event.patient_id == PATIENT for event in decoded.events if not isinstance(event, TimeMoved)]
        reasons = ["key_mismatch"] * mine.count(False) + [part.reason for part in decoded.unread]
        kept = ["key_mismatch"] * mine.count(False) + [part.reason for part in decoded.unread if part.refused]
        parts.update(reasons or ([] if decoded.events else ["empty"]))
        if kept:
            refused[one.value] = kept
        if any(mine):
            usable.append(one.value)
        assert reasons or decoded.events or decoded.unread == (), "nothing leaves in silence"
    return parts, refused, usable


@pytest.mark.slow
def test_every_file_of_the_corpora_is_accepted_skipped_or_kept_aside_and_nobody_else_notices(site, shared, tmp_path):
    course, own = site.course, course_as_sent(site.name, site.course, site)
    middle = own[len(own) // 2].at
    corpora = [Sent("observations", value, middle) for value in FORMATS[site.name][1](shared, middle) if value]
    parts, refused, usable = expected_of(site, corpora)
    end = minute_ceil(max(event.available_at for event in course) + 48 * HOUR + MINUTE) + 1

    assert len(corpora) > 3_000
    assert len(refused) > 1_000
    assert len(usable) > 300

    sent = []
    with closing(KafkaProducer(bootstrap_servers=site.bootstrap, max_request_size=4 << 20)) as producer:
        for number, one in enumerate(own):
            producer.send(site.prefix + one.role, one.value, course[0].patient_id.encode(), timestamp_ms=one.at)
            if number == len(own) // 2:
                sent = [
                    producer.send(site.prefix + bad.role, bad.value, PATIENT.encode(), timestamp_ms=bad.at)
                    for bad in corpora
                ]
        for role in KINDS:
            producer.send(site.prefix + role, encode(TimeMoved(at=end)), timestamp_ms=end)
        producer.flush()
    offsets = [future.get().offset for future in sent]
    with site.streaming() as stream:
        stream.wait(lambda: stream.get("readyz"))
        before = peak_kb(stream.process.pid)
        stream.wait(lambda: stream.caught_up(1))
        metrics, after = stream.metrics(), peak_kb(stream.process.pid)
        stream.stop()

    plain = tmp_path / "plain.ndjson"
    plain.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    clean = replayed(tmp_path / "clean", plain, "--config", site.config)
    assert len(clean) > 5
    there = {key: one for key, one in by_key(site.published()).items() if one["patient_id"] != PATIENT}
    assert clean == there

    # What decoding gives reasons for is counted as often as it happened, whatever the core says of the rest.
    for reason, count in parts.items():
        found = counted(metrics, "records_rejected_total", reason=reason)
        assert count <= found if reason in CORE_REASONS else count == found, reason
    letters = {(letter["topic"], letter["offset"]): (reason, value) for reason, value, letter in site.dead_letters()}
    assert len(letters) == len(site.dead_letters()), "a record is kept once"
    for one, offset in zip(corpora, offsets, strict=True):
        reason, value = letters.pop((site.prefix + one.role, offset), (None, one.value))
        assert value == (one.value if len(one.value) <= KEPT_BYTES else None)
        if one.value in refused:
            assert reason == refused[one.value][0]
        else:
            assert reason is None or (reason in QUARANTINED and one.value in usable)
    assert {} == letters, "nothing of the patient beside it"

    said = site.log.read_text()
    assert "Traceback" not in said
    for canary in (PATIENT, STAY, course[0].patient_id):
        assert canary not in said
        assert not any(canary in name for name in metrics)
    assert after - before < MEMORY_KB, f"{before} kB, then {after} kB"
