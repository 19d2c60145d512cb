"""FHIR by topic on a real Kafka: the alerts are those of a replay of the canonical form."""

import json
from contextlib import closing

import pytest
from kafka import KafkaProducer

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import TimeMoved
from pipelines.formats.canonical import KINDS, encode
from pipelines.formats.times import parse_time
from pipelines.plan_files import load_plan
from pipelines.simulate import Bed, events
from tests.kafka.broker import create_topics
from tests.pipelines.formats.fhir_rendering import expressible, rendered
from tests.pipelines.formats.fhir_resources import Resource
from tests.pipelines.live import Site, by_key, counted, replayed

ARRIVES = 1_900_022_400_000
FORMATS = dict.fromkeys(("encounters", "pumps", "context", "observations"), "fhir")
QUESTIONNAIRE, SOMEBODY_ELSE = b'{"resourceType":"Questionnaire"}', b'{"resourceType":"Observation","status":"final"}'
ROLE_OF = {"Encounter": "encounters", "DeviceUseStatement": "pumps", "MedicationAdministration": "context"}


def told_at(one: Resource) -> int:
    """The stamp of the broker: when the record had it."""
    period = one.get("period") or one.get("effectivePeriod") or {}
    timing = one.get("issued") or one.get("recordedOn") or one.get("effectiveDateTime")
    return parse_time(timing or period.get("end") or period["start"])


@pytest.mark.slow
def test_resources_by_topic_give_the_alerts_of_a_replay(kafka, topic_prefix, tmp_path):
    course = expressible(events([Bed(1, pump=True, course="published")], ARRIVES, hours=48, seed=1))
    end = minute_ceil(course[-1].available_at + 48 * HOUR + MINUTE) + 1
    site = Site(kafka.bootstrap, topic_prefix, tmp_path, code_map={"http://hospital.example|mas": {"signal": "mas"}})
    written = json.loads(site.config.read_text())
    written["kafka"]["formats"] = FORMATS
    site.config.write_text(json.dumps(written))
    create_topics(kafka.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), 1))
    catalogue = load_plan(site.settings).catalogue
    resources = rendered(course, catalogue)
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:

        def send(role: str, value: bytes, at: int) -> None:
            producer.send(site.prefix + role, value, b"SYN-0001", timestamp_ms=at)

        for one in resources:
            send(ROLE_OF.get(one["resourceType"], "observations"), json.dumps(one).encode(), told_at(one))
        send("observations", QUESTIONNAIRE, end - 2)
        send("observations", SOMEBODY_ELSE, end - 1)
        for role in KINDS:
            producer.send(site.prefix + role, encode(TimeMoved(at=end)), timestamp_ms=end)
        producer.flush()
    with site.streaming() as stream:
        stream.wait(lambda: stream.caught_up(1))
        metrics = stream.metrics()
        stream.stop()

    plain = tmp_path / "plain.ndjson"
    plain.write_bytes(b"".join(encode(event) + b"\n" for event in course))

    assert replayed(tmp_path / "out", plain, "--config", site.config) == by_key(site.published())
    assert "itb_withdrawal" in {record["syndrome"] for record in site.published()}
    assert 1 == counted(metrics, "records_rejected_total", reason="unread_type")
    assert [("missing_key", SOMEBODY_ELSE)] == [letter[:2] for letter in site.dead_letters()]
