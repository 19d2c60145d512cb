"""Times to milliseconds. An RFC 3339 time without an offset names no instant and is refused, never assumed; formats whose
times are a site's own give them to ``in_zone``.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from detector.clock import DAY, HOUR, MINUTE, SECOND, from_datetime
from detector.errors import InputError

_RFC3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d+))?(?:[Zz]|([+-])(\d{2}):(\d{2}))?", re.ASCII
)
LONGEST = 64  # characters; what is remembered must be bounded
_EPOCH_DAY = date(1970, 1, 1).toordinal()


@lru_cache(maxsize=4096)
def parse_time(text: str) -> int:
    """Milliseconds of an RFC 3339 time, cut to whole milliseconds; a leap second is the last millisecond before it.

    >>> parse_time("1970-01-01t01:00:00.9999+01:00")
    999

    Raises:
        InputError: ``naive_time`` without an offset, ``bad_time`` for anything else.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= LONGEST else None
    if match is None:
        raise InputError("bad_time", "expected an RFC 3339 time such as 2026-03-01T08:05:00+01:00")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    if sign is None and text[-1] not in "Zz":
        raise InputError("naive_time", "expected an offset such as Z or +01:00")
    offset = int(offset_hours or 0) * HOUR + int(offset_minutes or 0) * MINUTE
    if hour > 23 or minute > 59 or second > 60 or int(offset_hours or 0) > 23 or int(offset_minutes or 0) > 59:
        raise InputError("bad_time", "expected an hour, minute, second and offset of a day")
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise InputError("bad_time", "expected a day of the calendar") from error
    at = days * DAY + hour * HOUR + minute * MINUTE + second * SECOND - (-offset if sign == "-" else offset)
    if second == 60:
        if at % DAY:
            raise InputError("bad_time", "expected a leap second at 23:59:60 UTC")
        return at - 1
    return at + int(((fraction or "") + "000")[:3])


def in_zone(local: datetime, zone: ZoneInfo) -> tuple[int, bool]:
    """Milliseconds of a time without an offset in the site's time zone, and whether the clock shows it twice.

    The hour that a clock change runs through twice reads as its first pass (DESIGN.md section 2); a time that the clock
    leaps over reads by the offset before the leap.

    >>> from datetime import timedelta
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> at, doubled = in_zone(datetime(2026, 10, 25, 2, 30), berlin)
    >>> (datetime.fromtimestamp(at / 1000, UTC) - datetime(2026, 10, 25, 0, 30, tzinfo=UTC), doubled)
    (datetime.timedelta(0), True)
    """
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, after = first.utcoffset(), second.utcoffset()
    doubled = before is not None and after is not None and before > after
    return from_datetime(first.astimezone(UTC)), doubled
