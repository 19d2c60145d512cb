"""Time as the core sees it: whole milliseconds since 1970 UTC, handed in, never read.

Nothing here asks what time it is. Ticks lie on whole minutes; a tick for minute m is folded after every record whose
``available_at`` is not after m, so that a record and a tick of one instant always meet in the same order.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

NEVER = 1 << 62
"""Later than any instant: the due time of something that time alone cannot change."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


def minute_floor(at: int) -> int:
    """The newest whole minute not after ``at``."""
    return at - at % MINUTE


def minute_ceil(at: int) -> int:
    """The first whole minute not before ``at``."""
    return -(-at // MINUTE) * MINUTE


def last_tick_before(at: int) -> int:
    """The newest tick folded before a record available at ``at``: the last whole minute strictly before it."""
    return minute_floor(at - 1)


def from_datetime(moment: datetime) -> int:
    """Milliseconds of an aware datetime, cut (never rounded) to whole milliseconds.

    Raises:
        ValueError: ``moment`` is naive; which instant it means cannot be known here.
    """
    if moment.tzinfo is None:
        msg = "a time without an offset names no instant"
        raise ValueError(msg)
    return (moment - _EPOCH) // _MILLISECOND


def to_datetime(at: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + at * _MILLISECOND


@lru_cache(maxsize=8_192)  # what a ward is told of shares its minutes
def rfc3339(at: int) -> str:
    """An instant as RFC 3339 in UTC with milliseconds.

    >>> rfc3339(0)
    '1970-01-01T00:00:00.000Z'
    """
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def parse_duration(text: str) -> int:
    """Milliseconds of an ISO 8601 duration of days, hours, minutes and seconds.

    >>> parse_duration("PT90M") == 90 * MINUTE
    True

    Raises:
        ValueError: not such a duration (months and years have no fixed length and are refused).
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        msg = f"{text!r} is not a duration like PT30M, PT4H or P7D"
        raise ValueError(msg)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * DAY + hours * HOUR + minutes * MINUTE + seconds * SECOND


def in_words(duration: int) -> str:
    """A duration for people: ``"30 min"``, ``"12 h"``, ``"7 d"``."""
    if duration % DAY == 0 and duration >= 2 * DAY:
        return f"{duration // DAY} d"
    if duration % HOUR == 0:
        return f"{duration // HOUR} h"
    return f"{duration // MINUTE} min"
