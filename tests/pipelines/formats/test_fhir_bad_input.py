"""Hostile and broken FHIR: every file of the public suites is taken, counted or refused with a reason, and no value is made up.

What is taken is compared with what Python's own JSON reader finds in the same bytes.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import InputError
from detector.events import Observation
from pipelines.formats import Decoded, reasons
from pipelines.formats.json_records import LONGEST_IDENTITY
from tests.pipelines.formats.fhir_resources import bundle, concept, fhir, observation, quantity, raw

DECODE = fhir()
KNOWN = reasons()
EXAMPLES = {"unread_type": 38, "xml": 7, "unread_code": 2, "date_only": 1, "missing_key": 12}


def outcome(value: bytes) -> Decoded | str:
    """What is said, or why nothing is. Anything but an ``InputError`` is a crash."""
    try:
        decoded = DECODE(value, timestamp=1_772_000_000_000)
    except InputError as error:
        return {word: word for word in KNOWN}[error.reason]
    assert {part.reason for part in decoded.unread} <= KNOWN.keys()
    assert decoded.events or decoded.unread or b"Bundle" in value
    return decoded


def written(value: bytes) -> Any:
    """What Python's strict reader finds; None = no JSON, or a key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def refuse(word: str) -> None:
        raise ValueError(word)

    try:
        return json.loads(value.decode(), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, AssertionError, RecursionError):
        return None


def numbers(found: Any) -> Counter[float]:
    """Every number that stands anywhere in a JSON value."""
    if isinstance(found, bool) or found is None or isinstance(found, str):
        return Counter()
    if isinstance(found, int | float):
        return Counter([float(found)])
    parts = found.values() if isinstance(found, dict) else found
    return sum((numbers(part) for part in parts), Counter())


def nothing_is_made_up(value: bytes) -> bool:
    """Whether an event came out of it; each of its numbers must stand in the record, as often as it is told."""
    decoded = outcome(value)
    if isinstance(decoded, str) or not decoded.events:
        return False
    lines = [value] if written(value) is not None else value.splitlines()
    there = sum((numbers(found) for line in lines if (found := written(line)) is not None), Counter())
    told = Counter(e.value for e in decoded.events if isinstance(e, Observation) and e.value is not None)

    assert told <= there
    return True


def test_every_example_of_hl7_is_taken_counted_or_refused(shared: Path) -> None:
    folder = shared / "corpora/fhir-r4-examples"
    found: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".xml", ".out"):
            continue
        said = outcome(path.read_bytes())
        assert not nothing_is_made_up(path.read_bytes()), path.name
        found.update([said] if isinstance(said, str) else {part.reason for part in said.unread})

    assert EXAMPLES == found


@pytest.mark.parametrize("place", ["whole", "value", "resource", "component"])
def test_no_file_of_the_json_suite_crashes_it_or_becomes_another_number(shared: Path, place: str) -> None:
    taken = 0
    for path in sorted((shared / "corpora/jsontestsuite").glob("test_*/*.json")):
        content = path.read_bytes()
        frame = {
            "whole": b"%s",
            "value": raw(observation()).replace(b"5250", b"%s"),
            "resource": raw(bundle(observation(), observation(id="o2"))).replace(b'"collection"', b'"collection","x":%s', 1),
            "component": raw({**observation("85354-9", component=[7]), "valueQuantity": None}).replace(b"[7]", b"[%s]"),
        }[place]  # fmt: skip
        inner = content.strip()  # the suite wraps its numbers and texts in arrays
        if place in ("value", "component") and inner[:1] + inner[-1:] == b"[]":
            content = inner[1:-1]
        whole = frame.replace(b"%s", content)
        if nothing_is_made_up(whole):
            taken += 1
            assert written(whole) is not None or whole.count(b"\n"), path.name

    assert (taken > 0) == (place in ("value", "resource"))


def test_no_naughty_string_crashes_it_or_becomes_a_number(shared: Path) -> None:
    texts = json.loads((shared / "corpora/blns/blns.json").read_text(encoding="utf-8"))
    assert len(texts) > 400
    for text in texts:
        for one in (
            observation(subject={"reference": text}),
            observation(subject={"identifier": {"value": text}}),
            observation(effectiveDateTime=text),
            observation(issued=text),
            observation(status=text),
            observation(concept(text, text, text=text)),
            observation(bodySite={"text": text}),
            observation(value={"value": 1, "unit": text, "comparator": text}),
            {**observation(valueString=text), "valueQuantity": None},
            {**observation(), "resourceType": text},
        ):
            nothing_is_made_up(raw(one))
            said = outcome(raw(one))
            for event in said.events if isinstance(said, Decoded) else ():
                assert 0 < len(event.patient_id) <= LONGEST_IDENTITY
                assert event.patient_id.isprintable() or not any(ord(c) < 32 for c in event.patient_id)


RICH = raw(
    bundle(
        observation(issued="2026-03-01T09:01:00Z", referenceRange=[{"high": quantity(235)}]),
        {**observation("85354-9", id="o2", component=[{"code": concept("8480-6"), "valueQuantity": quantity(120, "mm[Hg]")}]),
         "valueQuantity": None},
    )
)  # fmt: skip


def test_a_record_cut_at_any_byte_says_nothing() -> None:
    for end in range(len(RICH)):
        assert "json" == outcome(RICH[:end])


@given(st.integers(0, len(RICH) - 1), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_a_record_with_other_bytes_in_it_says_no_number_that_is_not_there(at: int, put: bytes, cut: int) -> None:
    nothing_is_made_up(RICH[:at] + put + RICH[at + cut :])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["resourceType", "entry", "resource", "code", "coding", "system", "value", "subject", "reference", "status"]), inner),
    max_leaves=12,
)  # fmt: skip


@given(
    st.sampled_from(["Observation", "Bundle", "Encounter", "DeviceUseStatement", "Procedure", "MedicationAdministration"]),
    st.dictionaries(
        st.sampled_from(["status", "code", "subject", "valueQuantity", "component", "entry", "contained", "class", "period",
                         "effectiveDateTime", "location", "device", "medicationCodeableConcept", "referenceRange"]), JSON),
)  # fmt: skip
def test_a_resource_of_anything_is_taken_or_refused(kind: str, parts: dict[str, Any]) -> None:
    nothing_is_made_up(raw({**observation(), "class": {"code": "IMP"}, **parts, "resourceType": kind}))


def test_what_is_remembered_is_bounded() -> None:
    for n in range(50):
        long = "0" * 1_000 + str(n)
        assert ["bad_time"] == [
            p.reason for p in DECODE(raw(observation(effectiveDateTime=f"2026-03-01T08:05:00.{long}Z"))).unread
        ]
        many = {
            "coding": [{"system": "http://loinc.org", "code": "2157-6"}]
            + [{"system": long[-200:], "code": f"{k}"} for k in range(20)]
        }
        assert ["2157-6"] == [e.code for e in DECODE(raw(observation(many))).events if isinstance(e, Observation)]
        assert ["bad_value"] == [p.reason for p in DECODE(raw(observation(concept(long)))).unread]
