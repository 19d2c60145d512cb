"""The running service sends exports beside the alerts: the documents of each record, in order."""

import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward
from detector.events import TimeMoved
from detector.ledger import Ledger
from detector.records import AlertRecord, Batch
from pipelines.decided import Decided, to_store
from pipelines.exports import EXPORTS, exporter
from pipelines.formats.canonical import encode
from pipelines.outbox import FilePublisher
from pipelines.plan_files import load_plan
from pipelines.settings import Exports, Hl7v2, Settings
from pipelines.simulate import Bed, events
from pipelines.store import OutboxRow, Outgoing, Work
from pipelines.technical import owner
from tests.pipelines.in_process import file_settings, serving

START = 1_900_022_400_000


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path, exports={"fhir": str(tmp_path / "fhir"), "hl7v2": str(tmp_path / "hl7v2")})


def service(settings):
    return serving(settings, load_plan(settings))


def test_a_stream_exports_every_step_of_every_alert_once_and_in_order(settings, catalogue):
    beds = [Bed(1, pump=True, course="published"), Bed(2, course="hyperthermia", onset_h=3)]
    made = events(beds, START, 48, seed=1)
    end = TimeMoved(at=minute_ceil(max(event.available_at for event in made) + 48 * HOUR + MINUTE) + 1)
    Path(settings.file.path).write_bytes(b"".join(encode(event) + b"\n" for event in [*made, end]))
    with service(settings) as running:
        while running.step():
            pass

    said = [json.loads(line) for line in Path(settings.file.alerts).read_bytes().splitlines()]
    assert len(said) >= 10
    for name, path in (("fhir", settings.exports.fhir), ("hl7v2", settings.exports.hl7v2)):
        export = exporter(name, catalogue, Hl7v2())
        expected = [document for one in said for document in export(as_record(one))]
        assert expected == Path(path).read_bytes().removesuffix(b"\n").split(b"\n")


def as_record(said):
    """A record as it was let out, of one that was published."""
    return msgspec.json.decode(json.dumps(said).encode(), type=AlertRecord)


def test_without_a_place_nothing_is_exported(settings):
    off = settings.model_copy(update={"exports": Exports()})

    assert {} == made_for(off)._exports
    assert {"fhir", "hl7v2"} == made_for(settings)._exports.keys()


def made_for(settings):
    with service(settings) as made:
        return made


def test_what_waits_for_an_export_that_was_switched_off_holds_nothing_back(settings, caplog):
    rows = [OutboxRow(1, Outgoing("fhir", b"p", b"{}", 0)), OutboxRow(2, Outgoing("alerts", b"p", b"{}", 0))]
    publisher = FilePublisher(settings.file)
    told = publisher.publish(rows)
    publisher.close()

    assert ([1, 2], {}) == (told.arrived, told.refused)
    assert b"{}\n" == Path(settings.file.alerts).read_bytes()
    assert "export_off records=1" in caplog.text


@pytest.mark.parametrize(
    ("exports", "source", "expected"),
    [
        ({"fhir": "itb.alerts"}, "kafka", "another use"),
        ({"fhir": "no topic"}, "kafka", "topic name"),
        ({"fhir": "x", "hl7v2": "x"}, "kafka", "two different names"),
        ({"hl7v2": "events.ndjson"}, "file", "another use"),
    ],
)
def test_a_place_that_has_another_use_is_refused(exports, source, expected):
    with pytest.raises(ValueError, match=expected):
        Settings.model_validate({"source": source, "exports": exports})


def test_technical_alerts_of_the_service_are_no_patients_and_not_exported(settings, records):
    theirs = replace(records[0], patient_id=owner(0), stay_id=None)
    decided = Decided(Work(0, {}, {}), Batch(records=[records[0], theirs]), Ledger())
    plan = load_plan(settings)
    exports = {name: exporter(name, plan.catalogue, settings.hl7v2) for name in EXPORTS}

    to_store(decided, Ward(plan), exports, hand_over=False)

    sent = [(one.topic, one.key) for one in decided.work.outgoing]
    assert sent.count(("alerts", owner(0).encode())) == 1
    assert not [topic for topic, key in sent if key == owner(0).encode() and topic != "alerts"]
    assert ("hl7v2", records[0].patient_id.encode()) in sent
