"""A clinician answers an alert and asks why it was given: `ack` and `explain` beside a stream on a real Kafka."""

import json
import shutil
import sqlite3
import stat
import uuid
from contextlib import closing

import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE
from detector.events import Observation
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode
from pipelines.formats.times import parse_time
from pipelines.simulate import Bed, events
from tests.kafka.broker import create_topics
from tests.pipelines.live import Site, by_key, counted, done, finished, replayed

ARRIVES = 1_900_022_400_000  # a whole hour
LABORATORY = ARRIVES + 110 * MINUTE  # when the first laboratory values are known
CANARY = "Jane-Roe-4711"
ROLES = dict(zip(RANK, KINDS, strict=False))


class Answered:
    """The published case up to its first laboratory values, an answer, and the rest of the case."""

    def __init__(self, site, course, before, records, answer):
        self.site = site
        self.course = course
        self.before = before
        self.records = records
        self.answer = answer

    @property
    def alert_id(self):
        return self.before[-1]["alert_id"]


@pytest.fixture(scope="module")
def course():
    case = events([Bed(1, pump=True, course="published")], ARRIVES, hours=96, seed=1)
    return [replace(event, patient_id=CANARY) for event in case]


@pytest.fixture(scope="module")
def answered(kafka, course, tmp_path_factory):
    site = Site(kafka.bootstrap, f"answers-{uuid.uuid4().hex[:8]}.", tmp_path_factory.mktemp("site"))
    create_topics(kafka.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), 1))
    with site.streaming() as stream, closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:

        def play(part):
            for event in part:
                key, at = event.patient_id.encode(), event.available_at
                producer.send(site.prefix + ROLES[type(event)], encode(event), key, timestamp_ms=at)
            producer.flush()
            observed[0] += sum(isinstance(event, Observation) for event in part)
            stream.wait(lambda: counted(stream.metrics(), "observations_total") == observed[0])

        observed = [0]
        play([event for event in course if event.available_at <= LABORATORY])
        before = sorted(site.stored(), key=lambda record: record["sequence"])
        words = ("--action", "confirm", "--reason", "pump_fault_found", "--by", "Dr. Example", "--config", site.config)
        said = done("ack", before[-1]["alert_id"], *words)

        assert "sent: confirm of a critical itb_withdrawal alert" in said

        stream.wait(lambda: any(record["state"] == "acknowledged" for record in site.stored()))
        play([event for event in course if event.available_at > LABORATORY])
        stream.wait(lambda: any(record["state"] == "resolved" for record in site.stored()))
        metrics = stream.metrics()
        stream.stop()

    assert 1 == metrics["itbwatch_alert_acknowledgement_seconds_count"]

    (answer,) = [record.value for record in site.topic("acknowledgements")]
    return Answered(site, course, before, site.published(), answer)


def lines(course):
    return b"".join(encode(event) + b"\n" for event in course)


def test_an_answer_is_a_record_of_the_alert_and_silences_its_reminder_for_12_hours(answered, tmp_path):
    plain = tmp_path / "plain.ndjson"
    plain.write_bytes(lines(answered.course))
    (acknowledged,) = [record for record in answered.records if record["state"] == "acknowledged"]
    reminded = [parse_time(record["at"]) for record in answered.records if record["state"] == "reminded"]
    unanswered = replayed(tmp_path / "out", plain).values()

    assert answered.before[-1]["sequence"] + 1 == acknowledged["sequence"]
    assert LABORATORY == parse_time(acknowledged["at"])
    assert "critical" == acknowledged["severity"]
    assert min(reminded) >= LABORATORY + 12 * HOUR
    assert any(
        record["state"] == "reminded" and parse_time(record["at"]) < LABORATORY + 12 * HOUR for record in unanswered
    )
    assert "resolved" == answered.records[-1]["state"], "no answer resolves an alert; the discharge did"
    assert "discharged" == answered.records[-1]["reason"]


def test_a_replay_of_the_events_and_the_answer_gives_the_same_records(answered, tmp_path):
    inputs = tmp_path / "answered.ndjson"
    inputs.write_bytes(lines(answered.course) + answered.answer + b"\n")

    assert replayed(tmp_path / "out", inputs) == by_key(answered.records)


def test_explain_shows_the_records_the_rules_and_what_was_missing(answered):
    said = done("explain", answered.alert_id, "--config", answered.site.config)

    assert "Pattern compatible with baclofen withdrawal, critical" in said
    assert "raised" in said
    assert "acknowledged" in said
    assert "C-15    critical" in said.partition("rules that are true")[2]
    assert "lacks" in said.partition("rules that are unknown")[2]
    assert "no CK in 24 h" in said.partition("missing")[2]
    assert "temp 40.33 Cel" in said
    assert f"{len(answered.records)} of {len(answered.records)} records come out the same" in said
    assert CANARY not in said

    first = done("explain", answered.alert_id, "--sequence", 1, "--config", answered.site.config)

    assert "why record 1 was made: opened, watch" in first
    assert "C-15    critical" not in first


def test_an_exported_explanation_replays_to_the_records_it_holds(answered, tmp_path):
    folder = tmp_path / "why"
    for _ in range(2):  # a second export replaces the first
        done("explain", answered.alert_id, "--export", folder, "--config", answered.site.config)

    assert {"events.ndjson", "records.ndjson", "README.md"} == {path.name for path in folder.iterdir()}
    assert all(0 == stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (folder, *folder.iterdir()))
    assert "itbwatch replay events.ndjson --config config.yaml --out out" in (folder / "README.md").read_text()
    assert CANARY not in (folder / "README.md").read_text()

    held = by_key([json.loads(line) for line in (folder / "records.ndjson").read_text().splitlines()])
    again = replayed(tmp_path / "out", folder / "events.ndjson", "--config", answered.site.config)

    assert held == again == by_key(answered.records)


def test_inputs_that_are_no_longer_kept_are_said_to_be_gone(answered, tmp_path):
    copy = tmp_path / "store.sqlite"
    shutil.copy(answered.site.settings.store.path, copy)
    with closing(sqlite3.connect(copy)) as database, database:
        database.execute("delete from journal")
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"store": {"path": str(copy)}}))
    said = done("explain", answered.alert_id, "--config", config)

    assert "evidence, newest first" in said, "the records themselves are kept"
    assert "the inputs are no longer kept (store.journal_days)" in said

    refused = finished("explain", answered.alert_id, "--export", tmp_path / "why", "--config", config)

    assert (65, 1) == (refused.returncode, len(refused.stderr.splitlines()))
    assert not (tmp_path / "why").exists()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ((CANARY,), 65, "expected an alert_id of itb.alerts or the page"),
        (("{alert_id}", "--sequence", "9999"), 2, "--sequence 9999: expected 1 to"),
        (("{alert_id}", "--export", "{folder}"), 2, "holds something else; expected a new folder"),
        (("{alert_id}", "--config", "{folder}/none.yaml"), 2, "none.yaml"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line_that_repeats_no_identifier(
    answered, tmp_path, words, code, expected
):
    (tmp_path / "mine.txt").write_text("not an export")
    filled = [word.format(alert_id=answered.alert_id, folder=tmp_path) for word in words]
    refused = finished("explain", "--config", answered.site.config, *filled)

    assert code == refused.returncode
    assert expected in refused.stderr
    assert CANARY not in refused.stderr
    assert "Traceback" not in refused.stderr
    assert {"mine.txt"} == {path.name for path in tmp_path.iterdir()}


def test_help_teaches():
    said = done("explain", "--help")

    assert "itbwatch explain 0f3a..." in said
    assert "--export why" in said
    assert "records.ndjson" in said
