"""A canary travels in parts, and all of it together is an alert at the partition's time."""

import pytest

from detector.clock import HOUR, rfc3339
from pipelines.canary.course import SAYS, UNDER_WAY, Flock, fly, parts, patient_id, trip_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.sources import RawRecord

TRIP = 1_900_022_400_000


@pytest.fixture(scope="module")
def plan():
    return load_plan(Settings())


def records(trip, partition=3):
    return [
        RawRecord(
            role, f"icu.{role}", partition, trip - TRIP, 1, trip, patient_id(partition).encode(), value, trip=trip
        )
        for role, value in parts(partition, trip).items()
    ]


def test_a_canary_has_a_part_on_every_topic_that_the_feed_fills():
    assert {"encounters", "pumps", "context", "observations"} == SAYS.keys() == parts(0, TRIP).keys()


@pytest.mark.parametrize("at", [TRIP - 300 * HOUR, TRIP, TRIP + 300 * HOUR])
def test_its_alerts_have_the_time_of_the_partition_whatever_the_clock_of_the_sender(plan, at):
    said = fly(plan, records(TRIP), at)

    assert {"opened"} <= {record.state for record in said}
    assert ("warning", "itbwatch:canary:3", rfc3339(at)) == (said[-1].severity, said[-1].patient_id, said[-1].at)


def test_its_alerts_say_that_they_are_a_canary_s_and_which_trip_they_end(plan):
    said = fly(plan, records(TRIP), TRIP)

    assert all(b'"canary":true' in record.to_json() for record in said)
    assert {TRIP} == {trip_of(record) for record in said}


@pytest.mark.parametrize("part", SAYS)
def test_a_trip_is_judged_when_its_last_part_has_come_whichever_that_is(part):
    came = records(TRIP)
    last = next(raw for raw in came if raw.role == part)
    flock = Flock()

    assert [] == flock.take([raw for raw in came if raw is not last])
    assert came == flock.take([last])
    assert [] == flock.take([last])


def test_trips_may_overtake_each_other_and_the_one_that_is_whole_last_is_judged():
    first, second = records(TRIP), records(TRIP + 1)
    flock = Flock()

    assert [] == flock.take([*first[:2], *second[:3]])
    assert second == flock.take(second[3:])
    assert first == flock.take(first[2:])


def test_trips_that_lost_a_part_are_given_up_for_newer_ones():
    flock = Flock()
    for number in range(UNDER_WAY + 1):
        flock.take(records(TRIP + number)[:3])

    assert [] == flock.take(records(TRIP)[3:])
    assert flock.take(records(TRIP + 2)[3:])
    assert len(flock._trips) <= UNDER_WAY


def test_a_patient_s_records_are_no_part_of_a_trip():
    assert [] == Flock().take([raw._replace(trip=None) for raw in records(TRIP)])


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"{}", b'{"type":"time","at":"2026-01-01T00:00:00Z"}'])
def test_a_part_that_cannot_be_read_is_left_out(plan, value):
    damaged = [raw._replace(value=value) if raw.role == "observations" else raw for raw in records(TRIP)]

    assert {"C-13"}.isdisjoint(one.rule for record in fly(plan, damaged, TRIP) for one in record.evidence)
