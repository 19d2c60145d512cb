"""FHIR R4 data sets: what is read from files and folders, and what refuses them."""

import gzip
import json
from pathlib import Path

import pytest

from detector.errors import ConfigError
from detector.events import Encounter, Observation
from pipelines.collecting.spill import SpilledDataset
from pipelines.dataset import Dataset, InputRefused, declare_pumps
from pipelines.datasets import FORMATS, fhir, open_dataset
from pipelines.settings import Settings, SiteCode
from tests.pipelines.formats.fhir_resources import AT_MS, LATER, LATER_MS, bundle, concept, observation, raw


def opened(*inputs: Path, **more) -> Dataset:
    return open_dataset("fhir", inputs, stays=None, pumps=None, context=None, **more)


def lines(*resources: dict) -> bytes:
    return b"".join(raw(one) + b"\n" for one in resources)


ENCOUNTER = {
    "resourceType": "Encounter", "id": "s", "status": "finished", "class": {"code": "ACUTE"},
    "subject": {"reference": "Patient/p"}, "period": {"start": "2026-03-01T08:05:00+01:00", "end": LATER},
}  # fmt: skip
PATIENT = {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1980-01-01"}


def test_it_is_a_format_of_replay() -> None:
    assert "fhir" in FORMATS


def test_a_folder_is_read_with_all_its_files_and_the_patients_describe_the_stays(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.ndjson").write_bytes(lines(observation(), observation(id="o2", issued=LATER)))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(lines(ENCOUNTER)))
    (tmp_path / "deep" / "c.json").write_bytes(json.dumps(bundle(PATIENT, observation(id="o3")), indent=1).encode())
    (tmp_path / "deep" / "d.json.gz").write_bytes(gzip.compress(raw(observation(id="o4"))))
    (tmp_path / "LICENSE.txt").write_text("not FHIR")
    dataset = opened(tmp_path)
    events = list(dataset.in_order())

    assert ("a.ndjson", "b.ndjson.gz", "c.json", "d.json.gz") == dataset.files
    assert ["admitted", "o1", "o3", "o4", "discharged", "o2"] == [
        event.observation_id if isinstance(event, Observation) else getattr(event, "event", None) for event in events
    ]
    assert [AT_MS] * 4 + [LATER_MS] * 2 == [event.available_at for event in events]
    assert isinstance(events[0], Encounter)
    assert (46.0, "male") == (events[0].age_years, events[0].sex)
    assert {("records", "unread_type"): 1} == dict(dataset.rejected)


def test_a_row_that_is_no_event_is_counted_and_says_where_the_others_are(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"\n{\n" + lines(observation(effectiveDateTime="2026"), observation()))
    dataset = opened(path)

    assert {("records", "json"): 1, ("records", "date_only"): 1} == dict(dataset.rejected)
    assert [("a.ndjson", 0, 3)] == [event.position for event in dataset.in_order()]


def test_local_codes_of_the_site_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw(observation(concept("LAB1", "http://hospital.example"))))
    settings = Settings(code_map={"LAB1": SiteCode(signal="ck")})

    assert ["LAB1"] == [event.code for event in opened(path, settings=settings).in_order()]
    assert ["http://hospital.example|LAB1"] == [event.code for event in opened(path).in_order()]
    maps = {"observations": {"LAB1": {"signal": "plt"}}}
    settings = Settings.model_validate({"kafka": {"code_maps": maps}, "file": {"codes_of": "observations"}})
    assert ["observations::LAB1"] == [event.code for event in opened(path, settings=settings).in_order()]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.ndjson", b"{\n{\n", "none of its 2 records is a FHIR resource (json 2)"),
        ("a.json", b"<Bundle/>", "(xml 1)"),
        ("a.ndjson", lines(PATIENT), "nothing in the inputs is an event (unread_type 1)"),
        ("a.ndjson", b"", "nothing in the inputs is an event (no records)"),
        ("a.ndjson.gz", b"not gzip", "no readable gzip file"),
        ("a.json.gz", gzip.compress(raw(observation()), mtime=0)[:-9], "no readable gzip file"),
        ("a.parquet", b"PAR1", "unknown kind of file '.parquet'"),
        ("a.json.gz", gzip.compress(b"[" * 10_001, mtime=0), "over 10000 bytes"),
        ("a.ndjson.gz", gzip.compress(b"\n" + b"[" * 10_001, mtime=0), "line 2 is over 10000 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_as_a_whole_refuses_the_input(
    tmp_path: Path, monkeypatch, name: str, content: bytes, says: str
) -> None:
    monkeypatch.setattr(fhir, "LARGEST", 10_000)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputRefused) as refused:
        opened(path)

    assert str(refused.value).startswith(f"{path}: ")
    assert says in str(refused.value)


def test_an_empty_folder_and_a_file_that_is_not_there_are_mistakes_of_the_command(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.ndjson"):
        with pytest.raises(ConfigError):
            opened(path)


def test_a_set_too_large_for_memory_gives_the_same_events(tmp_path: Path, monkeypatch) -> None:
    drug = {"resourceType": "MedicationAdministration", "id": "m", "status": "completed", "subject": {"reference": "Patient/p"},
            "medicationCodeableConcept": {"text": "Norepinephrine"}, "effectiveDateTime": LATER}  # fmt: skip
    oral = drug | {"medicationCodeableConcept": {"text": "baclofen tablet"}}
    results = [observation(id=f"o{n}", subject={"reference": f"Patient/{n % 7}"}) for n in range(40)]
    path = tmp_path / "a.ndjson"
    path.write_bytes(lines(*results, drug, oral, ENCOUNTER, PATIENT))
    in_memory = opened(path)
    monkeypatch.setattr(fhir, "ROWS_AT_ONCE", 10)
    monkeypatch.setattr(fhir, "MOST", 20)
    on_disk = opened(path)

    assert isinstance(on_disk, SpilledDataset)
    assert not isinstance(in_memory, SpilledDataset)
    assert len(in_memory) == len(on_disk) == 44
    assert dict(in_memory.by_patient()) == dict(on_disk.by_patient())
    assert sorted(map(repr, in_memory.in_order())) == sorted(map(repr, on_disk.in_order()))
    for dataset in (in_memory, on_disk):
        declare_pumps(dataset, "none")
    assert dict(in_memory.by_patient()) == dict(on_disk.by_patient())
