"""What counts as one warning, and which course it found.

A warning is an opened or raised record of warning or higher, at least 12 h after the last counted one of that stay;
reminders are not counted. A score counts whenever it stands at or above its threshold, again no sooner than 12 h after
the last one. Patient-days run from the first to the last reading of a stay, at most to discharge.

A course is found by the first counted warning from one hour before its first visible sign (never before the
interruption) to the end of the stay, or 12 h after the infusion was restored. A hit that the twin (the same stay
without the course) also has, within 6 h, is a chance hit and finds nothing in the net figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

from detector.clock import HOUR, from_datetime
from detector.records import SEVERITIES, AlertRecord
from pipelines.evaluation.truth import NO_TIME, Floats, Ints, Mask, Stays

REFIRES_AFTER = 12 * HOUR
SAME_TIME = 6 * HOUR
WITHDRAWAL = frozenset({"itb_withdrawal"})
TIERS = ("watch", "warning", "critical")
ASKS = frozenset({"opened", "raised"})
"""The states in which a record asks for attention."""


@dataclass(frozen=True)
class Fired:
    """Instants (ms UTC) at which stays (rows of the truth) fired, sorted by stay, then time."""

    stay: Ints
    at: Ints

    def __len__(self) -> int:
        return len(self.stay)

    def of(self, mask: Mask) -> Fired:
        """Those of the stays that ``mask`` (one element a stay) names."""
        chosen = mask[self.stay]
        return Fired(self.stay[chosen], self.at[chosen])


@dataclass(frozen=True)
class Scored:
    """Scores of stays, sorted by stay, then time; indeterminate ones are left out."""

    stay: Ints
    at: Ints
    score: Floats

    def above(self, threshold: float) -> Fired:
        """Every instant at which the score was at or above ``threshold``."""
        chosen = self.score >= threshold
        return Fired(self.stay[chosen], self.at[chosen])

    def of(self, mask: Mask) -> Scored:
        chosen = mask[self.stay]
        return Scored(self.stay[chosen], self.at[chosen], self.score[chosen])


@dataclass(frozen=True)
class Hits:
    """The first counted warning of each course (one element a stay, ``NO_TIME`` = none): ``first`` of all, ``net`` of
    those that the twin does not have at the same time. ``chance`` = the twin has one in the very same span.
    """

    first: Ints
    net: Ints
    chance: Mask


def fired_by_records(
    records: Iterable[AlertRecord], stays: Stays, least: str = "warning", syndromes: Collection[str] = WITHDRAWAL
) -> Fired:
    """The opened and raised records of ``least`` or higher. Records of stays outside the truth are left out."""
    return _sorted(
        (row, _ms(one.at))
        for row, one in _concerning(records, stays, syndromes)
        if one.state in ASKS and SEVERITIES[one.severity] >= SEVERITIES[least]
    )


def standing_by_records(
    records: Iterable[AlertRecord], stays: Stays, least: str = "warning", syndromes: Collection[str] = WITHDRAWAL
) -> Fired:
    """As ``fired_by_records``, and again every 12 h for as long as an alert stands at ``least`` or higher, answered or
    not: the burden of a product that repeats itself, for comparison with scores.
    """
    return _sorted(_standing(records, stays, SEVERITIES[least], syndromes))


def scored(scores: pl.DataFrame, stays: Stays) -> Scored:
    """A frame of ``stay_id``, ``at`` (ms) and ``score`` (null or NaN = indeterminate) as arrays."""
    rows = pl.DataFrame(
        {"stay_id": list(stays.rows), "row": list(stays.rows.values())}, schema={"stay_id": pl.String, "row": pl.Int64}
    )
    known = scores.filter(pl.col("score").is_not_null() & pl.col("score").is_not_nan())
    table = known.join(rows, on="stay_id").sort("row", "at")
    return Scored(table["row"].to_numpy(), table["at"].to_numpy(), table["score"].to_numpy())


def counted(fired: Fired) -> Fired:
    """Those at least 12 h after the last counted one of their stay.

    Taking the earliest first also takes the most that can be 12 h apart: more instants never count as fewer warnings,
    so a lower threshold never has a lower burden.
    """
    if not len(fired):
        return fired
    last_of_stay = np.searchsorted(fired.stay, fired.stay, side="right")
    keys = _keys(fired.stay, fired.at)
    following = np.searchsorted(keys, keys + REFIRES_AFTER)
    here = np.flatnonzero(np.r_[True, fired.stay[1:] != fired.stay[:-1]])
    chosen = np.zeros(len(fired), dtype=bool)
    while len(here):
        chosen[here] = True
        there = following[here]
        here = there[there < last_of_stay[here]]
    return Fired(fired.stay[chosen], fired.at[chosen])


def hits(warnings: Fired, stays: Stays) -> Hits:
    """What ``warnings`` (counted ones) found of each course."""
    inside = _inside(warnings, stays)
    first = _first(inside, len(stays))
    shared = _twin_has(inside, warnings, stays)
    net = _first(Fired(inside.stay[~shared], inside.at[~shared]), len(stays))
    return Hits(first, net, _in_span_of_twin(warnings, stays))


def with_higher_tiers(found: Mapping[str, Hits]) -> dict[str, Hits]:
    """The same, where a course found at a tier of ``TIERS`` is found at every lower one too.

    By counting alone it need not be: a critical record 6 h after a watch is no counted watch, and when the twin has that
    watch as well, all that the lower tier saw of the course was chance.
    """
    merged = dict(found)
    for higher, lower in pairwise([tier for tier in reversed(TIERS) if tier in found]):
        merged[lower] = _either(merged[lower], merged[higher])
    return merged


def _either(one: Hits, other: Hits) -> Hits:
    return Hits(_earlier(one.first, other.first), _earlier(one.net, other.net), one.chance | other.chance)


def _earlier(one: Ints, other: Ints) -> Ints:
    return np.where(one == NO_TIME, other, np.where(other == NO_TIME, one, np.minimum(one, other)))


def _inside(warnings: Fired, stays: Stays) -> Fired:
    of = warnings.stay
    chosen = stays.course[of] & (warnings.at >= stays.opens[of]) & (warnings.at <= stays.closes[of])
    return Fired(of[chosen], warnings.at[chosen])


def _first(warnings: Fired, count: int) -> Ints:
    first = np.full(count, NO_TIME, dtype=np.int64)
    first[warnings.stay[::-1]] = warnings.at[::-1]  # sorted: the earliest is written last
    return first


def _twin_has(inside: Fired, warnings: Fired, stays: Stays) -> Mask:
    """Which of the warnings ``inside`` have one of the twin within ``SAME_TIME``."""
    twin = stays.twin[inside.stay]
    if not len(warnings):
        return np.zeros(len(inside), dtype=bool)
    origin = int(warnings.at.min())
    keys = _keys(warnings.stay, warnings.at, origin)
    wanted = _keys(twin, inside.at, origin)
    low, high = np.searchsorted(keys, wanted - SAME_TIME), np.searchsorted(keys, wanted + SAME_TIME, side="right")
    return (high > low) & (twin >= 0)


def _in_span_of_twin(warnings: Fired, stays: Stays) -> Mask:
    spans = np.zeros(len(stays), dtype=bool)
    if not len(warnings):
        return spans
    origin = int(warnings.at.min())
    keys = _keys(warnings.stay, warnings.at, origin)
    known = np.flatnonzero(stays.course & (stays.twin >= 0))
    low = np.searchsorted(keys, _keys(stays.twin[known], np.maximum(stays.opens[known], origin), origin))
    high = np.searchsorted(
        keys, _keys(stays.twin[known], np.maximum(stays.closes[known], origin - 1), origin), side="right"
    )
    spans[known] = high > low
    return spans


_STAY_APART = np.int64(1 << 43)  # about 280 years in ms: no instant of one stay comes near the next stay's


def _keys(stay: Ints, at: Ints, origin: int | None = None) -> Ints:
    """Stay and time as one number, so that one sorted search serves all stays at once."""
    return stay * _STAY_APART + (at - (int(at.min()) if origin is None else origin))


def _concerning(
    records: Iterable[AlertRecord], stays: Stays, syndromes: Collection[str]
) -> Iterator[tuple[int, AlertRecord]]:
    for one in records:
        row = stays.rows.get(one.stay_id or "")
        if row is not None and one.syndrome in syndromes:
            yield row, one


def _standing(
    records: Iterable[AlertRecord], stays: Stays, least: int, syndromes: Collection[str]
) -> Iterator[tuple[int, int]]:
    since: dict[str, tuple[int, int]] = {}
    concerning = _concerning(records, stays, syndromes)
    for row, one in sorted(concerning, key=lambda pair: (pair[1].alert_id, pair[1].sequence)):
        at, stay = _ms(one.at), row
        stands = one.state != "resolved" and SEVERITIES[one.severity] >= least
        if stands and one.state in ASKS:
            yield stay, at
        if stands:
            since.setdefault(one.alert_id, (stay, at))
        elif one.alert_id in since:
            stay, start = since.pop(one.alert_id)
            yield from ((stay, again) for again in range(start, at, REFIRES_AFTER))
    last = stays.truth["last_at"].to_list()
    for stay, start in since.values():
        yield from ((stay, again) for again in range(start, max(start, last[stay]) + 1, REFIRES_AFTER))


def _sorted(pairs: Iterable[tuple[int, int]]) -> Fired:
    table = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return Fired(table[:, 0], table[:, 1])


def _ms(at: str) -> int:
    return from_datetime(datetime.fromisoformat(at))
