"""What Spark keeps of one patient: cut anywhere, its records are those of a replay. No Spark is needed here."""

import json

import pytest

from detector.clock import DAY
from detector.events import Encounter
from pipelines.dataset import RANK
from pipelines.formats.canonical import KINDS, encode
from pipelines.settings import Settings
from pipelines.simulate import Bed, events
from pipelines.sources import RawRecord
from pipelines.spark.one_patient import Stored, follow, ready

ARRIVES = 1_900_022_400_000
ROLE = {kind: role for role, kind in KINDS.items()}


@pytest.fixture(scope="module")
def known():
    return ready(Settings(time="stream"))


@pytest.fixture(scope="module")
def course():
    """The published case, in the one order, as records of their topics."""
    made = list(events([Bed(1, pump=True, course="published")], ARRIVES, hours=72, seed=1))
    made.sort(key=lambda event: (event.available_at, RANK[type(event)]))
    return [
        RawRecord(
            ROLE[type(event)],
            "icu",
            0,
            offset,
            offset + 1,
            event.available_at,
            event.patient_id.encode(),
            encode(event),
        )
        for offset, event in enumerate(made)
    ]


def kept(stored, done):
    """What a checkpoint holds after a step."""
    if done.changes is None:
        return stored
    segments = [] if stored is None or done.changes.replace else stored.segments
    more = [] if done.changes.segment is None else [done.changes.segment]
    return Stored(done.changes.head, [*segments, *more], done.ticked)


def followed(known, course, at_once):
    """The alerts of a course folded ``at_once`` records at a time, with a restart between any two."""
    patient, stored, alerts = course[0].key.decode(), None, []
    batches = [course[start : start + at_once] for start in range(0, len(course), at_once)]
    for raws in [*batches, []]:
        upto = course[-1].timestamp + 3 * DAY if not raws else raws[-1].timestamp
        done = follow(known, patient, stored, raws, upto)
        alerts += [one.payload for one in done.outgoing if one.topic == "alerts"]
        stored = kept(stored, done)
    return alerts


@pytest.mark.parametrize("at_once", [1_000_000, 97, 13])
def test_however_it_is_cut_into_micro_batches_the_alerts_are_the_same(known, course, at_once):
    whole = followed(known, course, len(course))

    assert len(whole) > 5
    assert whole == followed(known, course, at_once)


def test_it_asks_to_be_woken_when_time_alone_has_something_to_do(known, course):
    course = course[: len(course) * 3 // 4]  # nobody is discharged yet
    upto = course[-1].timestamp
    done = follow(known, "SYN-0001", None, course, upto)
    stored, said = kept(None, done), []
    for _ in range(1_000):
        due = done.due
        if due > upto + 5 * DAY:
            break
        assert not follow(known, "SYN-0001", stored, [], due).outgoing, "a tick comes when its minute is over"
        done = follow(known, "SYN-0001", stored, [], due + 1)
        stored = kept(stored, done)
        said += [json.loads(one.payload)["state"] for one in done.outgoing]

    assert "resolved" in said, "a stay that nothing is heard of closes, and its alerts with it"


def test_a_patient_merged_away_hands_its_open_alerts_to_the_surviving_id_through_the_topic_of_merges(known, course):
    course = course[: len(course) * 3 // 4]
    at = course[-1].timestamp
    merge = Encounter(patient_id="SYN-0001", stay_id="m", event="merged", at=at, available_at=at, into="SYN-0009")
    told = RawRecord("encounters", "icu", 0, 90_000, 90_001, at, b"SYN-0001", encode(merge))
    leaving = follow(known, "SYN-0001", None, [*course, told], at + 1)
    (handover,) = [one for one in leaving.outgoing if one.topic == "merges"]
    came = RawRecord("merges", "itb", 1, 0, 1, handover.timestamp, handover.key, handover.payload)
    surviving = follow(known, "SYN-0009", None, [came], at + 1)
    closed = follow(known, "SYN-0009", kept(None, surviving), [], at + 5 * DAY)
    said = [json.loads(one.payload) for one in leaving.outgoing if one.topic == "alerts"]
    ended = [json.loads(one.payload) for one in closed.outgoing if one.topic == "alerts"]
    open_then = {one["alert_id"] for one in said} - {one["alert_id"] for one in said if one["state"] == "resolved"}

    assert (b"SYN-0009", at) == (handover.key, handover.timestamp)
    assert open_then
    assert open_then <= {one["alert_id"] for one in ended if one["state"] == "resolved"}


def test_a_record_that_is_none_leaves_as_a_dead_letter_with_its_place(known, course):
    broken = course[0]._replace(value=b"{", topic="icu.observations", offset=7)
    done = follow(known, "SYN-0001", None, [broken], course[-1].timestamp)
    (letter,) = [json.loads(one.payload) for one in done.outgoing]

    assert ("deadletters", "json", 7) == (done.outgoing[0].topic, letter["reason"], letter["offset"])
    assert done.changes is None, "nothing is kept of a patient that nothing was heard of"


def test_a_record_from_the_future_is_refused_where_time_is_that_of_the_wall(course):
    known = ready(Settings())
    ahead = course[0]._replace(timestamp=course[0].timestamp + 400 * DAY)
    late = ahead._replace(value=ahead.value.replace(b'"at":"2030', b'"at":"2031').replace(b'_at":"2030', b'_at":"2031'))
    done = follow(known, "SYN-0001", None, [late], course[0].timestamp)

    assert ["future"] == [json.loads(one.payload)["reason"] for one in done.outgoing]
