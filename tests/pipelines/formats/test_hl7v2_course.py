"""The same course as HL7 v2 and as canonical JSON gives the same alerts, replayed and through the service."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward, run
from detector.events import Encounter, Observation, PatientEvent, Pump, Ticked, TimeMoved
from pipelines.formats.canonical import encode
from pipelines.intake import decoders
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import Bed, events
from tests.pipelines.formats.hl7v2_messages import NAMES, hl7v2, obr, obx, oru, rendered
from tests.pipelines.in_process import alert_lines, append, drain, file_settings, serving

START = 1_900_022_400_000
BEDS = [Bed(1, pump=True, course="published"), Bed(2, course="hyperthermia", onset_h=3), Bed(3, pump=True)]


@pytest.fixture(scope="module")
def course() -> list[PatientEvent]:
    """Two days of three patients, without what no HL7 v2 message says of a stay."""
    made = events(BEDS, START, 48, seed=1)
    return [replace(event, conditions=()) if isinstance(event, Encounter) else event for event in made]


def settings_for(folder: Path, file_format: str) -> Settings:
    settings = file_settings(folder, code_map={f"SITE|{name}": {"signal": name} for name in NAMES})
    return settings.model_copy(update={"file": settings.file.model_copy(update={"format": file_format})})


def streamed(settings: Settings, lines: list[bytes]) -> list[dict[str, Any]]:
    """The alert records of a service that follows a file of these lines."""
    append(settings, *lines)
    with serving(settings, load_plan(settings)) as made:
        drain(made)
    assert not Path(settings.file.deadletters).exists() or not Path(settings.file.deadletters).read_bytes()
    return in_order(alert_lines(settings))


def replayed(settings: Settings, course: list[PatientEvent]) -> list[dict[str, Any]]:
    """The alert records of every patient folded alone."""
    plan = load_plan(settings)
    by_patient: dict[str, list[PatientEvent]] = defaultdict(list)
    for event in course:
        by_patient[event.patient_id].append(event)
    records = []
    for mine in by_patient.values():
        end = minute_ceil(max(event.available_at for event in mine) + 48 * HOUR + MINUTE)
        records += run(plan, Ward(plan), [*mine, Ticked(end)]).records
    return in_order([json.loads(record.to_json()) for record in records])


def in_order(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for record in records:
        record["provenance"]["position"] = None
    return sorted(records, key=lambda one: (one["alert_id"], one["sequence"]))


@pytest.fixture(scope="module")
def expected(course: list[PatientEvent], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the canonical course gives, replayed; not trivially."""
    records = replayed(settings_for(tmp_path_factory.mktemp("canonical"), "canonical"), course)

    assert {"itb_withdrawal", "hyperpyrexia"} <= {record["syndrome"] for record in records}
    assert len(records) >= 10
    return records


def test_decoded_messages_replay_to_the_same_alerts(
    course: list[PatientEvent], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    settings = settings_for(tmp_path, "hl7v2")
    decode = decoders(settings, load_plan(settings).catalogue)[None]
    decoded: list[PatientEvent] = []
    for event in course:
        said = decode(rendered(event))
        assert () == said.unread
        decoded += [one for one in said.events if not isinstance(one, TimeMoved)]

    assert len(course) == len(decoded)
    assert expected == replayed(settings, decoded)


def test_a_file_of_messages_streams_to_the_same_alerts(
    course: list[PatientEvent], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    newest = max(event.available_at for event in course)
    end = encode(TimeMoved(at=minute_ceil(newest + 48 * HOUR + MINUTE) + 1))

    assert sum(isinstance(event, Pump) for event in course) < len(course) / 100, "the file is HL7 v2, with pumps beside"
    assert expected == streamed(settings_for(tmp_path, "hl7v2"), [*map(rendered, course), end])


def test_the_alerts_depend_on_what_the_messages_say(
    course: list[PatientEvent], expected: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The comparison can fail: without its creatine kinase a course gives other records."""
    without = [event for event in course if not (isinstance(event, Observation) and event.code in ("ck", "2157-6"))]

    assert expected != replayed(settings_for(tmp_path, "canonical"), without)


def known(*messages_of: bytes) -> list[float]:
    """The readings of creatine kinase of patient p, after these messages reached the core."""
    plan = load_plan(Settings())
    ward = Ward(plan)
    for raw in messages_of:
        run(plan, ward, [event for event in hl7v2()(raw).events if not isinstance(event, TimeMoved)])
    return list(ward.patients["p"].series["ck"].value)


def test_a_correction_replaces_the_right_reading_and_a_deletion_takes_it_away() -> None:
    """Two results of one code under two orders: each is known by its own."""

    def told(number: str, status: str, value: str, filed: str) -> bytes:
        return oru(obx(f11=status, f5=value), order=obr(f3=f"{number}^LAB", f22=f"20260301{filed}+0100"))

    first, second = told("F1", "F", "5250", "090100"), told("F2", "F", "300", "090200")
    corrected, gone = told("F1", "C", "525", "091000"), told("F2", "D", "300", "091500")

    assert [300.0, 5250.0] == known(told("F1", "P", "5250", "090000"), first, first, second)
    assert [300.0, 525.0] == known(first, second, corrected, first)
    assert [525.0] == known(first, second, corrected, gone, second)
    assert [300.0] == known(first, second, told("F1", "C", "<5", "091000")), "what it said was wrong, whatever is right"
