"""Bad records on a real Kafka: each is counted with its reason, the unusable are kept aside, and nobody else notices.

A full course of withdrawal goes through one partition with every kind of bad record between its own, twice. All bad
records carry canary identifiers, which may come back in dead letters only.
"""

import json
from collections import Counter
from contextlib import closing

import pytest
from kafka import KafkaProducer

from detector.clock import HOUR, rfc3339
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode
from pipelines.simulate import Bed, events
from pipelines.store import Store
from tests.kafka.broker import create_topics
from tests.pipelines.live import Site, by_key, counted, replayed

ARRIVES = 1_900_022_400_000
ROLES = dict(zip(RANK, KINDS, strict=False))
RECORD_BYTES = 256 << 10
LEVELS = 100_000
CANARIES = ("Jane-Roe-4711", "stay-0815", "bed-42-window", "mother is Ann")
PATIENT, STAY, BED, NOTE = CANARIES
NO_INSTANT = 1 << 62  # a broker's timestamp is any 64-bit number


def observation(at, **changes):
    record = {
        "type": "observation", "patient_id": PATIENT, "stay_id": STAY, "code": "temp", "value": 37.0, "unit": "Cel",
        "effective_at": rfc3339(at), "available_at": rfc3339(at), "value_text": NOTE,
    }  # fmt: skip
    return json.dumps({key: value for key, value in (record | changes).items() if value != "absent"}).encode()


def nested(at):
    """Deep in a key that nobody reads, of a record that is otherwise right."""
    return observation(at).rstrip(b"}") + b', "more": ' + b"[" * LEVELS + b"]" * LEVELS + b"}"


def encounter(at, **changes):
    record = {"type": "encounter", "patient_id": PATIENT, "stay_id": STAY, "bed": BED, "event": "admitted"}
    return json.dumps(record | {"at": rfc3339(at)} | changes).encode()


UNUSABLE = {
    # what is wrong: reason, role of the topic, the bytes at an instant, and what else differs
    "not UTF-8": ("encoding", "observations", lambda at: observation(at).replace(b"mother", b"m\xf8ther")),
    "bytes of another program": ("encoding", "pumps", lambda at: b"\x00\x01\xfe\xff" + PATIENT.encode()),
    "cut in the middle": ("json", "observations", lambda at: observation(at)[:80]),
    "NaN": ("json", "observations", lambda at: observation(at, value=float("nan"))),
    "infinite": ("not_finite", "observations", lambda at: observation(at).replace(b"37.0", b"1e999")),
    "a text for a value": ("wrong_type", "observations", lambda at: observation(at, value=NOTE)),
    "a list for a patient": ("wrong_type", "context", lambda at: observation(at, type="context", patient_id=[PATIENT])),
    "a list, not an object": ("wrong_type", "observations", lambda at: json.dumps([PATIENT]).encode()),
    "no time": ("missing_key", "observations", lambda at: observation(at, effective_at="absent")),
    "no patient": ("missing_key", "observations", lambda at: observation(at, patient_id="absent")),
    "no stay": ("missing_key", "encounters", lambda at: encounter(at).replace(b"stay_id", b"stay")),
    "an empty patient": ("missing_key", "observations", lambda at: observation(at, patient_id="")),
    "a naive time": ("naive_time", "observations", lambda at: observation(at, effective_at=rfc3339(at)[:-1])),
    "no time at all": ("bad_time", "observations", lambda at: observation(at, effective_at=NOTE)),
    "a patient of two lines": ("bad_identity", "observations", lambda at: observation(at, patient_id=f"{PATIENT}\n")),
    "an unknown status": ("bad_value", "observations", lambda at: observation(at, status=NOTE)),
    "an unknown type": ("unknown_type", "observations", lambda at: observation(at, type=PATIENT)),
    "of another topic": ("wrong_topic", "observations", encounter),
    "a key twice": ("duplicate_key", "observations", lambda at: observation(at)[:-1] + b', "value": 41.0}'),
    "says nothing": ("no_value", "observations", lambda at: observation(at, value=None, value_text=None)),
    "oversize": ("oversize", "observations", lambda at: observation(at, value_text=NOTE * (RECORD_BYTES // 10))),
    "nested 100,000 deep": ("too_deep", "observations", nested),
    "a tombstone": ("tombstone", "observations", lambda _: None),
    "a key of another": ("key_mismatch", "observations", observation, {"key": b"somebody else"}),
    "no key": ("key_mismatch", "encounters", encounter, {"key": None}),
}

UNREADABLE = {
    # a good record of a value that cannot be used; it is kept aside where a mended configuration could read it
    "an unknown unit": ("unknown_unit", True, {"unit": "furlong"}),
    "Fahrenheit said to be Celsius": ("suspect_unit", True, {"value": 101.3}),
    "an unknown code": ("unknown_code", False, {"code": NOTE}),
    "an implausible value": ("implausible", False, {"value": 12.0}),
    "charted far ahead": ("future", True, {"hours": 9}),
    "much too late": ("late", False, {"hours": -200}),
}

FOREIGN = {
    # good records in envelopes that nobody should send: used as they are
    "a redriven record without a dead letter": {"headers": [("itbwatch-dead-letter", b"9" * 40)]},
    "a redriven record of an endless number": {"headers": [("itbwatch-dead-letter", b"9" * 5_000)]},
    "stamped at no instant": {"timestamp_ms": NO_INSTANT},
}


@pytest.fixture(scope="module")
def course():
    return events([Bed(1, pump=True, course="published")], ARRIVES, hours=96, seed=1)


@pytest.fixture
def site(kafka, topic_prefix, tmp_path):
    site = Site(kafka.bootstrap, topic_prefix, tmp_path, limits={"record_bytes": RECORD_BYTES, "json_depth": 32})
    create_topics(kafka.bootstrap, dict.fromkeys(site.settings.kafka.topics.model_dump().values(), 1))
    return site


def bad_records(at):
    """Every bad record once, as (role, value, how it is sent)."""
    for _, role, made, *rest in UNUSABLE.values():
        yield role, made(at), {"key": PATIENT.encode()} | (rest[0] if rest else {})
    for _, _, changes in UNREADABLE.values():
        effective = rfc3339(at + changes.get("hours", 0) * HOUR)
        yield "observations", observation(at, effective_at=effective, **changes), {"key": PATIENT.encode()}
    for envelope in FOREIGN.values():
        yield "observations", observation(at, code="hr", value=70, unit="/min"), {"key": PATIENT.encode()} | envelope


def play(site, course):
    """The course with a bad record after every few of its own; returns the number of bad records."""
    sent = 0
    with closing(KafkaProducer(bootstrap_servers=site.bootstrap, max_request_size=4 << 20)) as producer:
        quarter = len(course) // 4
        bad = {quarter: None, 3 * quarter: None}
        for number, event in enumerate(course):
            at = event.available_at
            producer.send(site.prefix + ROLES[type(event)], encode(event), event.patient_id.encode(), timestamp_ms=at)
            if number in bad:
                bad[number] = bad_records(at)
            for waiting in bad.values():
                if waiting is not None and (one := next(waiting, None)) is not None:
                    role, value, envelope = one
                    producer.send(site.prefix + role, value, **({"timestamp_ms": at} | envelope))
                    sent += 1
        producer.flush()
    return sent


def test_every_bad_record_is_counted_kept_aside_and_changes_nothing_for_the_patient_beside_it(site, course, tmp_path):
    assert 2 * len([*UNUSABLE, *UNREADABLE, *FOREIGN]) == play(site, course)

    inputs = tmp_path / "course.ndjson"
    inputs.write_bytes(b"".join(encode(event) + b"\n" for event in course))
    clean = replayed(tmp_path / "clean", inputs)
    with site.streaming() as stream:
        stream.wait(lambda: stream.caught_up(1))
        metrics, page = stream.metrics(), stream.get("")
        stream.stop()

    assert len(clean) > 10
    assert clean == {key: one for key, one in by_key(site.published()).items() if one["patient_id"] != PATIENT}

    refused = [(reason, role) for reason, role, *_ in UNUSABLE.values()]
    rejected = [*refused, *((reason, "observations") for reason, *_ in UNREADABLE.values())]
    for (reason, role), count in Counter(2 * rejected).items():
        assert count == counted(metrics, "records_rejected_total", topic=site.prefix + role, reason=reason), reason
    assert 2 * len(rejected) == counted(metrics, "records_rejected_total")

    aside = Counter(2 * [*(reason for reason, _ in refused), *(one for one, kept, _ in UNREADABLE.values() if kept)])
    for reason, count in aside.items():
        assert count == counted(metrics, "dead_letters_total", reason=reason), reason

    letters = site.dead_letters()
    original = {(record.topic, record.offset): record for role in KINDS for record in site.topic(role)}

    assert aside == Counter(reason for reason, *_ in letters)
    for reason, value, letter in letters:
        came = original[letter["topic"], letter["offset"]]

        assert (came.partition, came.value, came.timestamp) == (letter["partition"], value, letter["timestamp"]), reason
    with closing(Store(site.settings.store, read_only=True)) as store:
        for one in store.deadletters():  # what redrive would send again
            came = original.pop((one.topic, one.offset))

            assert (came.key, came.value, came.timestamp) == (one.key, one.value, one.timestamp), one.reason

    told = site.log.read_text()

    assert told.count("record_refused") == 2 * len(UNUSABLE)
    assert "Traceback" not in told
    for canary in (*CANARIES, "somebody else", course[0].patient_id):
        assert canary not in told
        assert not any(canary in name for name in metrics)
    assert PATIENT not in page
