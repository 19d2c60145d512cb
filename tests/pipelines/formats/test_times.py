import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import from_datetime, rfc3339
from detector.errors import InputError
from detector.events import EARLIEST, LATEST
from pipelines.formats.times import in_zone, parse_time


def test_every_time_of_the_public_suite_is_taken_or_refused_as_it_says(shared):
    suite = json.loads((shared / "corpora/rfc3339/date-time.json").read_text())
    texts = [
        (test["data"], test["valid"]) for group in suite for test in group["tests"] if isinstance(test["data"], str)
    ]
    wrong = []
    for text, valid in texts:
        try:
            parse_time(text)
        except InputError:
            taken = False
        else:
            taken = True
        if taken != valid:
            wrong.append(text)

    assert [] == wrong
    assert len(texts) >= 20


@given(st.integers(EARLIEST, LATEST - 1))
def test_a_time_that_we_write_is_read_back(at):
    assert at == parse_time(rfc3339(at))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00.9999Z", 999),
        ("1970-01-01t00:00:00z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1970-01-01T00:00:00-00:00", 0),
        ("1998-12-31T23:59:60.5Z", 915148799999),
    ],
)
def test_a_time_is_cut_to_milliseconds_and_a_leap_second_is_the_last_millisecond_before_it(text, at):
    assert at == parse_time(text)


@pytest.mark.parametrize("text", ["2026-03-01T08:05:00", "2026-03-01T08:05:00.5"])
def test_a_time_without_an_offset_has_a_reason_of_its_own(text):
    with pytest.raises(InputError) as refused:
        parse_time(text)

    assert refused.value.reason == "naive_time"


@pytest.mark.parametrize(
    "text", ["", "2026-03-01", "2026-03-01 08:05:00Z", "2026-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "1767225600"]
)
def test_anything_else_is_a_bad_time(text):
    with pytest.raises(InputError) as refused:
        parse_time(text)

    assert refused.value.reason == "bad_time"


BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "utc", "doubled"),
    [
        ("2026-07-01T12:00", "2026-07-01T10:00", False),
        ("2026-10-25T01:59", "2026-10-24T23:59", False),
        ("2026-10-25T02:30", "2026-10-25T00:30", True),
        ("2026-10-25T03:00", "2026-10-25T02:00", False),
        ("2026-03-29T02:30", "2026-03-29T01:30", False),
    ],
)
def test_a_time_of_the_site_is_read_in_its_zone_and_the_doubled_hour_as_its_first_pass(local, utc, doubled):
    at = from_datetime(datetime.fromisoformat(utc).replace(tzinfo=UTC))

    assert (at, doubled) == in_zone(datetime.fromisoformat(local), BERLIN)
