"""HL7 times (DTM, TS) to milliseconds: YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ], v2.8.2 chapter 2.A.22.

A time that is not known to the minute names no instant and is refused, never filled up with noughts.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from detector.clock import from_datetime
from detector.errors import InputError
from pipelines.formats.times import in_zone

_TIME = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,4}))?)?)?)?)?)?(?:([+-])(\d\d)(\d\d))?", re.ASCII
)


class Instant(NamedTuple):
    """Milliseconds since 1970 UTC; ``doubled`` = the site's clock shows that time twice, and this is the first."""

    at: int
    doubled: bool = False


@lru_cache(maxsize=4096)
def instant(text: str, zone: ZoneInfo) -> Instant:
    """The instant of a time; without an offset it is the site's.

    >>> instant("203001070300+0100", ZoneInfo("UTC"))
    Instant(at=1893981600000, doubled=False)

    Raises:
        InputError: ``date_only`` for a time without minutes, ``bad_time`` for what is no time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise InputError("bad_time", "expected a time such as 202603010805+0100")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    if minute is None:
        raise InputError("date_only", "expected a time of day to the minute")
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0))  # noqa: DTZ001
        milliseconds = int(((fraction or "") + "000")[:3])
        if sign is None:
            at, doubled = in_zone(local, zone)
            return Instant(at + milliseconds, doubled)
        if int(offset_minutes) > 59:
            raise ValueError
        offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
        at = from_datetime(local.replace(tzinfo=timezone(-offset if sign == "-" else offset)).astimezone(UTC))
    except (ValueError, OverflowError) as error:
        raise InputError("bad_time", "expected a time of the calendar") from error
    return Instant(at + milliseconds)


def is_finer(written: str, coarse: str) -> bool:
    """Whether a time is to the minute and lies in the hour, day, month or year that a coarser one names, by one clock.

    >>> is_finer("202603010805+0100", "20260301"), is_finer("202603010805", "20260302")
    (True, False)
    """
    fine, less = _TIME.fullmatch(written), _TIME.fullmatch(coarse)
    if fine is None or less is None or fine[5] is None or less[5] is not None:
        return False
    named = [part for part in less.groups()[:4] if part is not None]
    return list(fine.groups()[: len(named)]) == named and (less[8] is None or fine.groups()[7:] == less.groups()[7:])


def years_between(birth: str, at: int) -> int | None:
    """Completed years from a date of birth to an instant; None where the date is not known to the day.

    >>> years_between("19700108", 1893974400000)
    59
    """
    match = _TIME.fullmatch(birth)
    if match is None or match[3] is None:
        return None
    year, month, day = (int(part) for part in match.groups()[:3])
    then = datetime.fromtimestamp(at / 1_000, UTC)
    return then.year - year - ((then.month, then.day) < (month, day))
