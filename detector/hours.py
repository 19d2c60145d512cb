"""Hourly summaries of the readings of one signal, so that a question about a long window need not look at each of them.

Two kinds. While readings are kept as they came, an :class:`HourCounts` says of each hour how many usable ones there
are, the lowest and the highest, and on demand their moments. Once a vital's hour is more than 24 h old, one
:class:`Hour` is all that is kept of it.

Hours are counted from the patient's own ``anchor``, so that shifting a whole course by minutes shifts its hours with
it. Sums are exact roundings of exact sums (``math.fsum``), so that the order of arrival cannot show in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import fsum
from typing import NamedTuple

from detector.clock import HOUR


class Hour(NamedTuple):
    """What is kept of a vital's hour once it is more than 24 h old."""

    start: int
    n: int
    low: float
    high: float
    median: float
    last: float


class Moments(NamedTuple):
    """Sums over readings: count, times (hours from an origin), values, squares of times, products."""

    n: float
    t: float
    v: float
    tt: float
    tv: float

    def seen_from(self, hours: float) -> Moments:
        """The same sums with every time later by ``hours``."""
        return Moments(
            self.n, self.t + self.n * hours, self.v, self.tt + 2 * hours * self.t + self.n * hours * hours,
            self.tv + hours * self.v,
        )  # fmt: skip

    @property
    def mean(self) -> float:
        return self.v / self.n

    @property
    def slope(self) -> float | None:
        """Least-squares change per hour; None where every time is the same."""
        spread = self.tt - self.t * self.t / self.n
        return (self.tv - self.t * self.v / self.n) / spread if spread > TINY * self.n else None


TINY = 1e-9
"""Times that spread by less than this (hours squared: two readings a quarter of a second apart) are one instant: what
is left of their spread after subtraction would be rounding."""


def moments(times: Sequence[float], values: Sequence[float]) -> Moments:
    """The sums over some readings."""
    return Moments(
        len(values), fsum(times), fsum(values), fsum(t * t for t in times),
        fsum(t * v for t, v in zip(times, values, strict=True)),
    )  # fmt: skip


def together(parts: Iterable[Moments]) -> Moments | None:
    """The sums over all parts, which have one origin; None = there is no reading in them."""
    columns = list(zip(*parts, strict=True))
    return Moments(*map(fsum, columns)) if columns else None


class HourCounts:
    """Of each hour that has usable readings: (n, lowest, highest), and its moments once they were asked for."""

    __slots__ = ("_moments", "anchor", "counts")

    def __init__(self, anchor: int) -> None:
        self.anchor = anchor
        self.counts: dict[int, tuple[int, float, float]] = {}
        self._moments: dict[int, Moments] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HourCounts) and (self.anchor, self.counts) == (other.anchor, other.counts)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def of(self, at: int) -> int:
        """The number of the hour in which an instant lies."""
        return (at - self.anchor) // HOUR

    def start(self, hour: int) -> int:
        return self.anchor + hour * HOUR

    def add(self, at: int, value: float) -> None:
        """One more usable reading."""
        hour = self.of(at)
        n, low, high = self.counts.get(hour, (0, value, value))
        self.counts[hour] = (n + 1, min(low, value), max(high, value))
        self._moments.pop(hour, None)

    def put(self, hour: int, values: Sequence[float]) -> None:
        """These are all the usable readings of an hour."""
        self._moments.pop(hour, None)
        if values:
            self.counts[hour] = (len(values), min(values), max(values))
        else:
            self.counts.pop(hour, None)

    def drop(self, upto: int) -> None:
        """Forget the hours up to and including one."""
        for hour in [h for h in self.counts if h <= upto]:
            del self.counts[hour]
            self._moments.pop(hour, None)

    def clear(self) -> None:
        self.counts.clear()
        self._moments.clear()

    def moments_of(self, hour: int) -> Moments | None:
        """The kept moments of a whole hour, times from its start; None = they were not worked out yet."""
        return self._moments.get(hour)

    def keep_moments(self, hour: int, found: Moments) -> Moments:
        self._moments[hour] = found
        return found
