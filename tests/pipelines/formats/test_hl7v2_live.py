"""HL7 v2 by topic on a real Kafka, with pumps as canonical JSON beside, and alerts back out as FHIR and HL7 v2."""

import json
from contextlib import closing

import hl7
import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import Encounter, TimeMoved
from pipelines.dataset import RANK
from pipelines.exports import NOTICES
from pipelines.formats.canonical import KINDS, encode
from pipelines.simulate import Bed, events
from tests.kafka.broker import create_topics
from tests.pipelines.formats.hl7v2_messages import NAMES, message, msh, rendered
from tests.pipelines.live import Site, by_key, counted, replayed

ARRIVES = 1_900_022_400_000
ROLES = dict(zip(RANK, KINDS, strict=False))
OTHER = message(msh("MDM^T02"), "PID|1||SYN-0001^^^H^MR")


@pytest.mark.slow
def test_messages_by_topic_give_the_alerts_of_a_replay_and_leave_as_fhir_and_hl7v2(kafka, topic_prefix, tmp_path):
    made = events([Bed(1, pump=True, course="published")], ARRIVES, hours=48, seed=1)
    course = [replace(event, conditions=()) if isinstance(event, Encounter) else event for event in made]
    end = minute_ceil(max(event.available_at for event in course) + 48 * HOUR + MINUTE) + 1
    code_map = {f"SITE|{name}": {"signal": name} for name in NAMES}
    outputs = {"fhir": topic_prefix + "fhir", "hl7v2": topic_prefix + "hl7v2"}
    site = Site(kafka.bootstrap, topic_prefix, tmp_path, code_map=code_map, exports=outputs)
    written = json.loads(site.config.read_text())
    written["kafka"]["formats"] = {"encounters": "hl7v2", "observations": "hl7v2"}
    site.config.write_text(json.dumps(written))
    create_topics(
        kafka.bootstrap, dict.fromkeys([*site.settings.kafka.topics.model_dump().values(), *outputs.values()], 1)
    )
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        for event in course:
            topic, key = site.prefix + ROLES[type(event)], event.patient_id.encode()
            producer.send(topic, rendered(event), key, timestamp_ms=event.available_at)
        producer.send(site.prefix + "observations", OTHER, b"SYN-0001", timestamp_ms=end - 2)
        producer.send(site.prefix + "observations", b"MSH", b"SYN-0001", timestamp_ms=end - 1)
        for role in KINDS:
            producer.send(site.prefix + role, encode(TimeMoved(at=end)), timestamp_ms=end)
        producer.flush()
    with site.streaming() as stream:
        stream.wait(lambda: stream.caught_up(1))
        metrics = stream.metrics()
        stream.stop()

    plain = tmp_path / "plain.ndjson"
    plain.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    published = site.published()
    expected = replayed(tmp_path / "out", plain, "--config", site.config)

    assert expected == by_key(published)
    assert "itb_withdrawal" in {record["syndrome"] for record in published}
    assert 1 == counted(metrics, "records_rejected_total", reason="unread_type")
    assert [("bad_separators", b"MSH")] == [letter[:2] for letter in site.dead_letters()]

    resources = [json.loads(record.value) for record in site.topic("fhir")]
    issues = [(one["id"], int(one["meta"]["versionId"])) for one in resources if one["resourceType"] == "DetectedIssue"]
    assert [(one["alert_id"], one["sequence"]) for one in published] == issues
    assert sum(one["state"] in NOTICES for one in published) == len(resources) - len(issues)
    messages = site.topic("hl7v2")
    assert {b"SYN-0001"} == {record.key for record in messages}
    assert [f"{one['alert_id']}-{one['sequence']}" for one in published] == [
        str(hl7.parse(record.value.decode())["OBR"][0][3][0][0]) for record in messages
    ]
