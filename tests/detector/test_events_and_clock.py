"""An event that exists is valid; times are whole milliseconds, and durations have one spelling."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from detector.catalogue.strict import Problems
from detector.clock import DAY, HOUR, MINUTE, from_datetime, in_words, last_tick_before, minute_ceil, parse_duration
from detector.courses import ZERO, clock_time
from detector.errors import InputError, nearest
from detector.events import Acknowledgement, Context, Encounter, Observation, Pump
from detector.examples import read_expected
from detector.plan import Plan

AT = {"at": ZERO, "available_at": ZERO, "patient_id": "p"}
OBSERVED = {"patient_id": "p", "code": "ck", "effective_at": ZERO, "available_at": ZERO}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Observation(**OBSERVED | {"patient_id": ""}), "missing_key"),
        (lambda: Observation(**OBSERVED | {"value": float("nan")}), "not_finite"),
        (lambda: Observation(**OBSERVED | {"reference_high": float("inf")}), "not_finite"),
        (lambda: Observation(**OBSERVED | {"effective_at": -10**15}), "bad_time"),
        (lambda: Observation(**OBSERVED | {"available_at": 10**15}), "bad_time"),
        (lambda: Pump(event="refilled", volume_expected_ml=float("nan"), **AT), "not_finite"),
        (lambda: Pump(event="low_reservoir_on", date=10**15, **AT), "bad_time"),
        (lambda: Encounter(stay_id="s", event="merged", **AT), "missing_key"),
        (lambda: Encounter(stay_id="s", event="admitted", age_years=float("nan"), **AT), "not_finite"),
        (lambda: Encounter(stay_id="s", event="admitted", baseline={"sbp": float("inf")}, **AT), "not_finite"),
        (lambda: Context(kind="fall", event="noted", dose=float("nan"), **AT), "not_finite"),
        (lambda: Context(kind="fall", event="noted", **AT | {"patient_id": ""}), "missing_key"),
        (lambda: Acknowledgement(alert_id="a", action="snooze", reason="other", by="b", **AT | {"at": 10**15}), "bad_time"),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_used_does_not_come_to_be(make: Any, reason: str) -> None:
    with pytest.raises(InputError) as caught:
        make()

    assert reason == caught.value.reason


def test_a_naive_time_names_no_instant_and_microseconds_are_cut() -> None:
    with pytest.raises(ValueError, match="without an offset"):
        from_datetime(datetime(2026, 3, 2))  # noqa: DTZ001 - that is the point

    assert ZERO + 1 == from_datetime(datetime(2026, 3, 2, 0, 0, 0, 1999, tzinfo=UTC))
    assert ZERO == from_datetime(datetime(2026, 3, 2, 2, tzinfo=timezone(timedelta(hours=2))))


@pytest.mark.parametrize(("text", "expected"), [("PT30M", 30 * MINUTE), ("P1DT2H", DAY + 2 * HOUR), ("PT0S", 0)])
def test_a_duration(text: str, expected: int) -> None:
    assert expected == parse_duration(text)


@pytest.mark.parametrize("text", ["", "P", "PT", "2h", "P1M", "P1Y", "-PT1H", "PT1.5H"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("duration", "words"), [(30 * MINUTE, "30 min"), (12 * HOUR, "12 h"), (DAY, "24 h"), (7 * DAY, "7 d")])  # fmt: skip
def test_a_duration_for_people(duration: int, words: str) -> None:
    assert words == in_words(duration)


def test_a_tick_of_a_minute_comes_after_every_record_of_it() -> None:
    assert ZERO == minute_ceil(ZERO)
    assert ZERO + MINUTE == minute_ceil(ZERO + 1)
    assert ZERO - MINUTE == last_tick_before(ZERO)
    assert ZERO == last_tick_before(ZERO + 1)


@pytest.mark.parametrize(("at", "text"), [(ZERO, "0:00"), (ZERO + 25 * HOUR, "25:00"), (ZERO - 90 * MINUTE, "-1:30")])
def test_the_clock_of_a_course(at: int, text: str) -> None:
    assert text == clock_time(at)


def test_an_expectation_without_a_rule_needs_a_name_in_front(plan: Plan) -> None:
    problems = Problems("W01.yaml")
    read_expected(plan, {"0:00": "critical"}, "$.expect", problems, None)

    assert ["W01.yaml $.expect['0:00']: 'critical': expected the rule or syndrome in front"] == problems.lines


def test_the_nearest_word_is_offered_only_when_there_is_one() -> None:
    assert "; did you mean 'critical'?" == nearest("critcal", ["watch", "critical"])
    assert "" == nearest("xyz", ["watch", "critical"])
