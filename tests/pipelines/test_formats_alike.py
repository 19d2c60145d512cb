"""The same course gives the same alerts, whatever format it is written in: through replay and through the service."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from detector.events import Context, Encounter, Observation, Pump, TimeMoved
from pipelines.datasets import open_dataset
from pipelines.formats.canonical import encode
from pipelines.plan_files import load_plan
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.simulate import Bed, events, random_ward
from tests.pipelines.formats.fhir_rendering import expressible, in_bundles, rendered
from tests.pipelines.formats.fhir_resources import Resource
from tests.pipelines.in_process import drain, without_position
from tests.pipelines.test_service import START, published, service, settings

__all__ = ["settings"]
LEAST_ALERTS = 5
OPTIONS = {"models": {"enabled": False}, "code_map": {"http://hospital.example|mas": {"signal": "mas"}}}
SITE = Settings.model_validate(OPTIONS)
PLAN = load_plan(SITE)
CATALOGUE = PLAN.catalogue


@pytest.fixture(scope="module")
def course():
    """The published case and eight simulated patients, as far as FHIR can say it."""
    whole = events([Bed(90, pump=True, course="published"), *random_ward(8, 3, 2)], START, 72, 2)
    said = expressible(whole)

    assert {"admitted", "discharged", "implanted", "started", "given"} <= {
        event.event for event in said if isinstance(event, Encounter | Pump | Context)
    }
    return said


def as_lines(resources: Sequence[Resource]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in resources)


def replayed(path: Path, format_name: str, site: Settings = SITE) -> list[dict]:
    dataset = open_dataset(format_name, [path], stays=None, pumps=None, context=None, settings=site)

    assert {} == dict(dataset.rejected)
    records = [without_position(json.loads(record.to_json())) for record in replay(dataset, site).records]
    return sorted(records, key=lambda record: (record["alert_id"], record["sequence"]))


@pytest.fixture(scope="module")
def expected(course, tmp_path_factory):
    path = tmp_path_factory.mktemp("canonical") / "events.ndjson"
    path.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    records = replayed(path, "canonical")

    assert len({record["alert_id"] for record in records}) >= LEAST_ALERTS
    assert {"itb_withdrawal"} < {record["syndrome"] for record in records}
    return records


@pytest.mark.parametrize("write", [rendered, in_bundles])
def test_a_replay_of_the_course_as_fhir_gives_the_alerts_of_its_canonical_form(course, expected, tmp_path, write):
    path = tmp_path / "events.ndjson"
    path.write_bytes(as_lines(write(course, CATALOGUE)))

    assert expected == replayed(path, "fhir")


@pytest.mark.parametrize("write", [rendered, in_bundles])
def test_the_service_following_the_course_as_fhir_gives_the_alerts_of_its_canonical_form(
    course, expected, settings, write
):
    file = settings.file.model_copy(update={"format": "fhir"})
    told = settings.model_copy(update={"file": file, "code_map": SITE.code_map})
    end = encode(TimeMoved(at=course[-1].available_at + 49 * 3_600_000))
    Path(told.file.path).write_bytes(as_lines(write(course, CATALOGUE)) + end + b"\n")
    with service(told, plan=PLAN) as made:
        drain(made)

    assert expected == published(told)


def test_a_course_in_the_local_codes_of_a_topic_gives_its_alerts_from_a_file_that_speaks_them(course, settings):
    told = {event.code for event in course if isinstance(event, Observation)}
    known = {name: f"LAB-{name}" for name in told & CATALOGUE.signals.keys()}
    maps = {"observations": {code: {"signal": name} for name, code in known.items()}}
    spoken = [
        changed(event, code=known.get(event.code, event.code)) if isinstance(event, Observation) else event
        for event in course
    ]
    end = TimeMoved(at=course[-1].available_at + 49 * 3_600_000)
    path = Path(settings.file.path)
    site = Settings.model_validate(OPTIONS | {"kafka": {"code_maps": maps}})
    path.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    wanted = replayed(path, "canonical", site)
    path.write_bytes(b"".join(encode(event) + b"\n" for event in (*spoken, end)))

    assert len(known) >= LEAST_ALERTS
    assert wanted != replayed(path, "canonical", site)
    speaks = site.model_copy(update={"file": settings.file.model_copy(update={"codes_of": "observations"})})
    assert wanted == replayed(path, "canonical", speaks)
    followed = settings.model_copy(update={"file": speaks.file, "kafka": site.kafka, "code_map": SITE.code_map})
    with service(followed, plan=load_plan(site)) as made:
        drain(made)
    assert wanted == published(followed)
