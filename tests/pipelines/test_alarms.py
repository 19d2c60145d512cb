"""What the service finds out about itself is a technical alert like any other: stored, published once, and seen to end."""

import pytest

from detector.clock import HOUR, rfc3339
from detector.events import Observation, TimeMoved
from pipelines.alarms import CUT_IN_TWO, GAP, QUIET_AFTER, STALLED, Alarms
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.ticks import wall_ms
from tests.pipelines.in_process import alert_lines, append, drain, file_settings, serving

PLAN = load_plan(Settings())
T = 1_900_022_400_000
LABS = "observations"


@pytest.fixture
def alarms():
    made = Alarms(PLAN, lambda _: False)
    made.gained(0, [])
    return made


def out(alarms, at, *over):
    records = alarms.due(0, at, over)
    for one in records:
        alarms.let_out(0, one)
    alarms.stored(0)
    return [(one.state, one.evidence[0].rule, one.evidence[0].signal) for one in records]


def test_what_was_noted_is_opened_once_while_it_stands(alarms):
    alarms.note(0, STALLED, LABS)
    alarms.note(0, STALLED, LABS)

    assert [("opened", STALLED, LABS)] == out(alarms, T)

    alarms.note(0, STALLED, LABS)

    assert [] == out(alarms, T + HOUR)


def test_what_was_seen_to_end_is_resolved_and_may_begin_again_in_the_same_minute(alarms):
    alarms.note(0, STALLED, LABS)
    out(alarms, T)

    assert [("resolved", STALLED, LABS)] == out(alarms, T, (STALLED, LABS))

    alarms = Alarms(PLAN, {alarms._begins(0, (STALLED, LABS), T, "").alert_id}.__contains__)
    alarms.gained(0, [])
    alarms.note(0, STALLED, LABS)
    (again,) = alarms.due(0, T)

    assert ("opened", rfc3339(T + 1)) == (again.state, again.at)


def test_what_happened_is_resolved_when_it_has_not_happened_again_for_12_hours(alarms):
    alarms.note(0, CUT_IN_TWO, LABS)
    out(alarms, T)
    alarms.note(0, CUT_IN_TWO, LABS)
    out(alarms, T + 5 * HOUR)

    assert [] == out(alarms, T + QUIET_AFTER)
    assert [("resolved", CUT_IN_TWO, LABS)] == out(alarms, T + 5 * HOUR + QUIET_AFTER)


def test_a_stall_stands_until_records_come_again_however_long(alarms):
    alarms.note(0, STALLED, LABS)
    out(alarms, T)

    assert [] == out(alarms, T + 100 * HOUR)


def test_what_was_noted_while_a_partition_was_away_is_told_when_it_is_back(alarms):
    alarms.lost(0)
    alarms.note(0, STALLED, LABS)
    alarms.gained(0, [])

    assert [("opened", STALLED, LABS)] == out(alarms, T)


def test_what_was_due_and_not_stored_is_due_again_once_the_partition_is_loaded_anew(alarms):
    alarms.note(0, STALLED, LABS)
    alarms.due(0, T)
    alarms.note(0, GAP, LABS, "offset 3")
    alarms.lost(0)
    alarms.gained(0, [])

    assert [("opened", STALLED, LABS), ("opened", GAP, LABS)] == out(alarms, T)

    alarms.lost(0)
    alarms.gained(0, [])

    assert [] == out(alarms, T)


def test_an_alert_names_the_records_that_are_gone(alarms):
    alarms.note(0, GAP, LABS, "offsets 3 to 17")
    (record,) = alarms.due(0, T)

    assert "observations: offsets 3 to 17 are gone" in record.headline
    assert ("technical", "watch", "itbwatch:0") == (record.syndrome, record.severity, record.patient_id)


def reading(at):
    return Observation(patient_id="p1", code="temp", value=37.0, unit="Cel", effective_at=at, available_at=at)


def test_a_file_that_is_another_one_now_is_an_alert_that_outlives_a_restart_and_ends(tmp_path):
    settings = file_settings(tmp_path)
    append(settings, reading(T), reading(T + HOUR))
    with serving(settings, PLAN) as made:
        drain(made)
    (tmp_path / "events.ndjson").write_bytes(b"")
    append(settings, reading(T + 2 * HOUR), reading(T + 3 * HOUR))
    with serving(settings, PLAN) as made:
        drain(made)

        assert [("opened", "offset_out_of_range")] == [(one["state"], one["reason"]) for one in alert_lines(settings)]

    with serving(settings, PLAN) as made:
        append(settings, TimeMoved(at=T + 20 * HOUR))
        drain(made)
    told = alert_lines(settings)

    assert ["opened", "resolved"] == [one["state"] for one in told]
    assert 1 == len({one["alert_id"] for one in told})
    assert "offsets" not in told[0]["headline"]
    assert "records from offset" in told[0]["headline"]


def test_a_clock_that_most_records_are_ahead_of_is_an_alert_until_it_is_right(tmp_path):
    settings = file_settings(tmp_path, time="wall")
    now = wall_ms()
    append(settings, *(reading(now + 5 * HOUR + n) for n in range(20)))
    with serving(settings, PLAN) as made:
        drain(made)

        assert [("opened", "clock_off")] == [(one["state"], one["reason"]) for one in alert_lines(settings)]

        append(settings, *(reading(now + n) for n in range(30)))
        drain(made)

    assert ["opened", "resolved"] == [one["state"] for one in alert_lines(settings)]
