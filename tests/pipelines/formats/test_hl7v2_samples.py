"""HL7 v2 as others wrote it: samples read beside the hl7 library and another converter, cut at every byte, and mutated."""

import json
import random
import re
from collections import Counter
from datetime import datetime
from pathlib import Path

import hl7
import pytest

from detector.errors import InputError
from detector.events import Encounter, Observation
from pipelines.formats import Decoded
from pipelines.formats.hl7v2 import RESULTS
from pipelines.formats.hl7v2.stays import EVENTS
from tests.pipelines.formats.hl7v2_messages import DRAWN, hl7v2, message, msh, obr, obx

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
MUTATIONS = 60  # of each sample

decode = hl7v2()
ADT = [f"ADT-A{name}.hl7" for name in ("01-01", "01-02", "08-01")]
CATALOGUED = "8867-4"  # the only code of the catalogue in these samples


@pytest.fixture(scope="module")
def samples(shared: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((shared / "data" / "hl7v2").glob("*.hl7"))}


@pytest.fixture(scope="module")
def told() -> dict[str, tuple[int, int, str]]:
    """The table of docs/formats.md: results, taken, and the rest by reason."""
    rows = re.findall(r"^\| `([\w-]+\.hl7)` \| (\d+) \| (\d+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: (int(results), int(taken), rest) for name, results, taken, rest in rows}


def by_library(raw: bytes) -> hl7.Message:
    text = raw.decode("utf-8-sig")
    return hl7.parse(re.sub(r"[\r\n]+", "\r", text))


def results(raw: bytes) -> list[hl7.Segment]:
    return [segment for segment in by_library(raw) if str(segment[0]) == "OBX"]


def is_read(raw: bytes) -> bool:
    header = by_library(raw).segment("MSH")
    kind, trigger = str(header[9][0][0]), str(header[9][0][1])
    return trigger in RESULTS.get(kind, ()) or (kind == "ADT" and trigger in EVENTS)


def field(segment: hl7.Segment, number: int) -> str:
    return str(segment[number]) if number < len(segment) else ""


def safely(raw: bytes) -> Decoded | None:
    """What a record says; None = it was refused as a whole. Anything but an InputError is a crash."""
    try:
        decoded = decode(raw)
    except InputError:
        return None
    assert decoded.events or decoded.unread, "nothing leaves in silence"
    return decoded


def observations(decoded: Decoded | None) -> list[Observation]:
    return [] if decoded is None else [event for event in decoded.events if isinstance(event, Observation)]


def test_the_page_tells_what_becomes_of_every_result_of_every_sample(
    samples: dict[str, bytes], told: dict[str, tuple[int, int, str]]
) -> None:
    found = {}
    for name, raw in samples.items():
        decoded = decode(raw)
        present = len(results(raw))
        if not is_read(raw):
            reasons = Counter({part.reason: present for part in decoded.unread})
        else:
            reasons = Counter(part.reason for part in decoded.unread if part.where.startswith("OBX"))
        taken = present - reasons.total()
        rest = ", ".join(f"{count} `{reason}`" for reason, count in sorted(reasons.items()) if count)
        found[name] = (present, taken, rest or "-")

        # A repetition of a number is a result more; here only one OBX has two.
        assert taken + (name == "ORU-R01-01.hl7") == len(observations(decoded)), name

    assert found == told


def minutes_of(raw: bytes, day: str) -> list[str]:
    """Every time that a message names anywhere, to the minute, of a day."""
    return [one.decode() for one in re.findall(rb"(?<![\w.])(?:19|20)\d{10,}", raw) if one.decode().startswith(day)]


def test_every_result_with_a_code_of_the_catalogue_is_taken_unless_its_time_is_a_day_or_it_is_a_document(
    samples: dict[str, bytes],
) -> None:
    """``pytest -rP -k every_result_with_a_code`` shows the table."""
    found: Counter[str] = Counter()
    for name, raw in samples.items():
        read = is_read(raw)
        refused = {part.where: part.reason for part in decode(raw).unread}
        for number, segment in enumerate(results(raw), 1):
            if CATALOGUED not in {str(segment[3][0][k]) for k in (0, 3) if k < len(segment[3][0])}:
                continue
            outcome = refused.get(f"OBX {number}", "taken") if read else "unread_type"
            day = field(segment, 14)
            found[outcome] += 1
            print(f"{name:20} OBX {number:2} {segment[2]!s:4} {field(segment, 5)[:12]:12} OBX-14 {day:9} {outcome}")
            if outcome == "date_only":  # what no field of the message says need not be looked for in any of them
                assert re.fullmatch(r"\d{8}", day)
                assert [] == minutes_of(raw, day)
            else:
                assert outcome != "unread_value" or str(segment[2]) == "RP"

    assert {"taken": 1, "date_only": 11, "unread_value": 1, "unread_type": 6} == found


def test_values_units_and_patients_are_those_that_the_library_reads(samples: dict[str, bytes]) -> None:
    compared = 0
    for raw in samples.values():
        if not is_read(raw):
            continue
        whole = by_library(raw)
        said = [
            (str(one[3][0][0]), float(str(value)), str(one[6][0]) or None)
            for one in results(raw)
            for value in one[5]
            if str(one[2]) == "NM" and str(value) and len(field(one, 14)) != len("YYYYMMDD")
        ]
        found = observations(decode(raw))

        assert said == [(one.code, one.value, one.unit) for one in found]
        assert {str(whole.segment("PID")[3][0][0])} >= {one.patient_id for one in found}
        compared += len(said)

    assert 10 == compared


@pytest.mark.parametrize("name", ["LAB-ORU-1", "ORU-R01-01"])
def test_another_converter_reads_the_same(shared: Path, samples: dict[str, bytes], name: str) -> None:
    bundle = json.loads((shared / "data" / "hl7v2" / "expected_fhir" / f"{name}-expected.json").read_bytes())
    theirs = []
    for entry in bundle["entry"]:
        resource = entry["resource"]
        if resource["resourceType"] != "Observation":
            continue
        code = resource["code"]["coding"][0]["code"]
        at = resource.get("effectiveDateTime", "")
        when = int(datetime.fromisoformat(at).timestamp() * 1000) if "T" in at else None
        for part in resource.get("component", [resource]):
            quantity = part.get("valueQuantity", {})
            if "value" in quantity:
                theirs.append((code, quantity["value"], quantity.get("unit"), resource["status"], when))
    ours = observations(decode(samples[f"{name}.hl7"]))

    assert theirs
    # They know no status for "in process", and no time from the order.
    assert theirs == [
        (one.code, one.value, one.unit) + (("unknown", None) if one.status == "registered" else (one.status, one.effective_at))
        for one in ours
    ]  # fmt: skip


@pytest.mark.slow
def test_a_sample_cut_at_any_byte_gives_nothing_that_the_whole_does_not_say(samples: dict[str, bytes]) -> None:
    """Only a time at the very end of what is left can be shorter than it was, and the number of a visit."""
    for raw in samples.values():
        whole = decode(raw)
        values = {(one.patient_id, one.code, one.value, one.unit, one.status) for one in observations(whole)}
        times = {one.effective_at for one in observations(whole)}
        stays = {(one.patient_id, one.event): one.stay_id for one in whole.events if isinstance(one, Encounter)}
        for end in range(len(raw)):
            found = safely(raw[:end])
            for one in observations(found):
                assert one.value is None or (one.patient_id, one.code, one.value, one.unit, one.status) in values
            assert sum(one.effective_at not in times for one in observations(found)) <= 1
            for event in found.events if found is not None else ():
                if isinstance(event, Encounter):
                    assert stays[event.patient_id, event.event].startswith(event.stay_id)


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """A sample with some bytes changed, and a segment dropped, doubled or moved."""
    segments = re.split(rb"(?<=[\r\n])", raw)
    for _ in range(rng.randrange(3)):
        k = rng.randrange(len(segments))
        segment = segments.pop(k)
        if rng.random() < 0.7:
            segments[k:k] = [segment] * rng.randrange(3)
        else:
            segments.insert(rng.randrange(len(segments) + 1), segment)
        segments = segments or [raw]
    changed = bytearray(b"".join(segments))
    for _ in range(rng.randrange(8)):
        k = rng.randrange(len(changed))
        if rng.random() < 0.5:
            changed[k] ^= 1 << rng.randrange(8)
        elif rng.random() < 0.5:
            del changed[k]
        else:
            changed[k] = rng.choice(b"|^~\\&\r\n\x0b\x1c\x00\"'<0159.-")
    return bytes(changed)


def test_a_mutated_sample_gives_only_numbers_that_stand_in_it_as_a_whole(samples: dict[str, bytes]) -> None:
    rng = random.Random(20260301)
    seen = 0
    for raw in samples.values():
        for _ in range(MUTATIONS):
            changed = mutated(raw, rng)
            numbers = {float(one) for one in re.findall(rb"(?<![\d.])[+-]?\d+\.?\d*|\.\d+", changed) if len(one) < 300}
            for one in observations(safely(changed)):
                assert one.value is None or one.value in numbers
                seen += 1

    assert seen > MUTATIONS


@pytest.mark.parametrize("seed", range(20))
def test_a_mutated_panel_gives_no_value_that_was_not_written(seed: int) -> None:
    rng = random.Random(seed)
    panel = [obx(f1=str(n), f3=f"{code}^x^LN", f5=value, f6=unit) for n, (code, value, unit) in enumerate(
        [("2157-6", "5250", "U/L"), ("777-3", "45.5", "10*9/L"), ("2160-0", "1.25", "mg/dL"), ("8310-5", "40.75", "Cel")]
    )]  # fmt: skip
    raw = message(msh(), "PID|1||p^^^H^MR", obr(), *panel)
    for _ in range(200):
        changed = mutated(raw, rng)
        lines = [line.split(b"|") for line in re.split(rb"[\r\n\x0b\x1c]+", changed)]
        written = {
            part.strip().decode("latin-1") for line in lines if len(line) > 5 for part in re.split(rb"[~^&]", line[5])
        }
        for one in observations(safely(changed)):
            assert one.value is None or one.value in {
                float(text) for text in written if re.fullmatch(r"[+-]?[\d.]+", text)
            }


CORPORA = {
    "hapi/LICENSE.txt": "not_hl7v2",
    "hapi/critical_response_data.xml": "xml",
    "hapi/ed_issue.xml": "xml",
    "hapi/uuencoded.txt": "not_hl7v2",
    "hapi/weird_message.xml": "xml",
    "hapi/xml-with-xxe.xml": "xml",
    "hapi/messages.txt": {"unread_type": 17, "bad_segment": 14, "empty": 1},
    "hapi/omd_o03_rep.txt": {"unread_type": 1},
    "hapi/segmentfinder_a24.hl7": {"unread_type": 1},
    "linuxforhealth/LICENSE": "not_hl7v2",
    "linuxforhealth/sample_unix.hl7": {"bad_separators": 1},
    "linuxforhealth/sample_win.hl7": {"bad_separators": 1},
}
"""What each file of the public suites gives: the reason of its refusal, or the reasons of its parts."""


def test_the_public_suites_are_refused_or_skipped_with_a_reason(shared: Path) -> None:
    folder = shared / "corpora" / "hl7v2"
    found: dict[str, str | dict[str, int]] = {}
    for file in sorted(folder.glob("*/*")):
        try:
            decoded = decode(file.read_bytes())
        except InputError as error:
            found[str(file.relative_to(folder))] = error.reason
            continue
        assert () == decoded.events
        found[str(file.relative_to(folder))] = dict(Counter(part.reason for part in decoded.unread))

    assert CORPORA == found


def test_an_entity_of_xml_is_never_resolved(shared: Path) -> None:
    with pytest.raises(InputError) as refusal:
        decode((shared / "corpora" / "hl7v2" / "hapi" / "xml-with-xxe.xml").read_bytes())

    assert "xml" == refusal.value.reason
    assert "root:" not in str(refusal.value)


def test_the_time_of_a_result_is_that_which_the_library_reads() -> None:
    (segment,) = results(message(msh(), "PID|1||p", obr(), obx()))

    assert DRAWN == str(segment[14])
