"""The readings of one signal in event time, and the questions a rule may ask of them.

A :class:`Series` keeps its readings in columns ordered by (at, value) and then by what else they are, so the order of arrival cannot matter. A
question about a long window reads the hourly summaries beside them and opens an hour only when the answer must lie in
it. Nothing here grows with history.

A window of width w that ends now is (now - w, now].
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from math import inf
from statistics import median

from detector.clock import HOUR
from detector.hours import Hour, HourCounts, Moments, moments, together
from detector.reading import Jump, Meta, Reading

SHORT = 48
"""So few readings are looked through faster than their hours are looked up."""

AHEAD = 2 * HOUR
"""Readings are charted ahead by at most 90 min (DESIGN.md 4.1); a twin is looked for a little further back."""

ANY = (1, -inf, inf)
"""The summary of a piece that was not summarised: anything may be in it."""

Accept = Callable[[Meta], bool]


class Series:
    """All that is remembered of one signal of one patient."""

    __slots__ = (
        "_usual",
        "ahead_until",
        "anchor",
        "at",
        "available",
        "changes",
        "effective",
        "hours",
        "ids",
        "jump",
        "meta",
        "older",
        "usable",
        "value",
    )

    def __init__(self, anchor: int, jump: Jump | None = None) -> None:
        self.anchor = anchor
        self.jump = jump
        self.at = array("q")
        self.value = array("d")
        self.effective = array("q")
        self.available = array("q")
        self.usable = array("b")
        self.meta: list[Meta] = []
        self.ids: list[str | None] = []
        self.older: list[Hour] = []
        self.hours = HourCounts(anchor)
        self.ahead_until = -(1 << 62)
        self._usual: tuple[int, float | None] | None = None
        self.changes = 0

    def __len__(self) -> int:
        return len(self.at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        return all(
            getattr(self, name) == getattr(other, name)
            for name in Series.__slots__
            if name not in ("_usual", "ahead_until", "changes")
        )

    __hash__ = None  # type: ignore[assignment]  # mutable

    # --- folding -----------------------------------------------------------------------------------------------

    def insert(self, reading: Reading) -> bool:
        """Put a reading in its place; False when the same reading is there already."""
        at, value = reading.at, reading.value
        if reading.effective_at > at:
            self.ahead_until = max(self.ahead_until, reading.effective_at)
        index = len(self.at)
        if index and (at, value) <= (self.at[-1], self.value[-1]):
            index = bisect_left(self.at, at)
            mine = (value, reading.effective_at, reading.meta.site or "")
            while index < len(self.at) and self.at[index] == at and self._within_instant(index) < mine:
                index += 1
            if index < len(self.at) and self.at[index] == at and self._within_instant(index) == mine:
                return False
        self.changes += 1
        self.at.insert(index, at)
        self.value.insert(index, value)
        self.effective.insert(index, reading.effective_at)
        self.available.insert(index, reading.available_at)
        self.meta.insert(index, reading.meta)
        self.ids.insert(index, reading.observation_id)
        self.usable.insert(index, 1)
        if self.jump is None:
            self.hours.add(at, value)
        else:
            self._judge_jumps(at)
        return True

    def _within_instant(self, index: int) -> tuple[float, int, str]:
        return self.value[index], self.effective[index], self.meta[index].site or ""

    def told_before(self, reading: Reading) -> bool:
        """The same measurement was charted ahead of time and is told again: it counts from when it was first known."""
        return not reading.at == reading.effective_at > self.ahead_until and self.twin(reading) is not None

    def twin(self, reading: Reading) -> int | None:
        """Index of the same measurement: value, site and the time it was made, whenever it was told."""
        for k in self.between(reading.effective_at - AHEAD, reading.effective_at):
            if (self.effective[k], self.value[k], self.meta[k].site) == (
                reading.effective_at, reading.value, reading.meta.site,
            ):  # fmt: skip
                return k
        return None

    def remove(self, index: int) -> None:
        """Take out a reading that was corrected or entered in error."""
        self.changes += 1
        at = self.at[index]
        for column in (self.at, self.value, self.effective, self.available, self.meta, self.ids, self.usable):
            del column[index]
        if self.jump is None:
            self._recount(self.hours.of(at))
        else:
            self._judge_jumps(at)

    def find(self, effective_at: int) -> list[int]:
        """Indices of the readings measured at ``effective_at``."""
        found = [k for k in self.between(effective_at - 1, effective_at) if self.effective[k] == effective_at]
        return found or [k for k in range(len(self.at)) if self.effective[k] == effective_at > self.at[k]]

    def reading(self, index: int) -> Reading:
        """The reading at an index."""
        return Reading(
            self.at[index], self.value[index], self.effective[index], self.available[index],
            self.meta[index], self.ids[index],
        )  # fmt: skip

    def count_hours(self) -> None:
        """Rebuild the hourly summaries from the columns (after they were loaded)."""
        self.hours.clear()
        for k, at in enumerate(self.at):
            if self.effective[k] > at:
                self.ahead_until = max(self.ahead_until, self.effective[k])
            if self.usable[k]:
                self.hours.add(at, self.value[k])

    def _recount(self, hour: int) -> None:
        start = self.hours.start(hour)
        within = range(bisect_left(self.at, start), bisect_left(self.at, start + HOUR))
        self.hours.put(hour, [self.value[k] for k in within if self.usable[k]])

    def _judge_jumps(self, at: int) -> None:
        """Guard G-2 around one instant: a reading that jumped from those before it, with none near it in time that
        repeats it, is not usable. It depends on neighbours only, so late and early arrivals end in one state.
        """
        jump = self.jump
        assert jump is not None
        touched = {at}
        for k in self.between(at - jump.within - 1, at + jump.within):
            mine = self.value[k]
            site = self.meta[k].site
            jumped = repeated = False
            for other in self.between(self.at[k] - jump.within - 1, self.at[k] + jump.within):
                if other == k or self.meta[other].site != site or self.at[other] == self.at[k]:
                    continue
                if abs(self.value[other] - mine) <= jump.delta:
                    repeated = True
                    break  # usable, whatever else lies around it
                if self.at[other] < self.at[k]:
                    jumped = True
            self.usable[k] = 0 if jumped and not repeated else 1
            touched.add(self.at[k])
        for hour in {self.hours.of(t) for t in touched}:
            self._recount(hour)

    def summarise(self, before: int) -> None:
        """Replace every whole hour that ended by ``before`` with its summary."""
        cut = self.hours.start(self.hours.of(before))
        end = bisect_left(self.at, cut)
        start = 0
        while start < end:
            hour = self.hours.of(self.at[start])
            stop = bisect_left(self.at, self.hours.start(hour + 1), start, end)
            values = [self.value[k] for k in range(start, stop) if self.usable[k]]
            if values:
                self.older.append(
                    Hour(self.hours.start(hour), len(values), min(values), max(values), median(values), values[-1])
                )
            start = stop
        self._usual = None
        self._drop(end)

    def forget(self, before: int) -> None:
        """Drop readings and summaries that lie before an instant."""
        self._drop(bisect_left(self.at, before))
        keep = 0
        while keep < len(self.older) and self.older[keep].start < before:
            keep += 1
        if keep:
            del self.older[:keep]

    def _drop(self, end: int) -> None:
        if not end:
            return
        self.changes += 1
        hour = self.hours.of(self.at[end - 1])
        self.hours.drop(hour)
        for column in (self.at, self.value, self.effective, self.available, self.meta, self.ids, self.usable):
            del column[:end]
        self._recount(hour)

    def usual(self, oldest: int) -> float | None:
        """The median of the hourly medians after ``oldest``; None = nothing is summarised yet. Kept until it moves."""
        first = next((hour.start for hour in self.older if hour.start > oldest), None)
        if first is None:
            return None
        if self._usual is None or self._usual[0] != first:
            self._usual = (first, median([hour.median for hour in self.older if hour.start > oldest]))
        return self._usual[1]

    # --- questions ---------------------------------------------------------------------------------------------

    def between(self, after: int, upto: int) -> range:
        """Indices of the readings in (after, upto]."""
        return range(bisect_right(self.at, after), bisect_right(self.at, upto))

    def newest(self, after: int, upto: int) -> int | None:
        """Index of the newest usable reading in (after, upto]; None = there is none."""
        for k in range(bisect_right(self.at, upto) - 1, bisect_right(self.at, after) - 1, -1):
            if self.usable[k]:
                return k
        return None

    def oldest(self, after: int, upto: int) -> int | None:
        """Index of the oldest usable reading in (after, upto]; None = there is none."""
        return next((k for k in self.between(after, upto) if self.usable[k]), None)

    def count(self, after: int, upto: int) -> int:
        """How many usable readings there are in (after, upto], those of summarised hours among them."""
        window = self.between(after, upto)
        found = sum(hour.n for hour in self.summaries(after))
        for (n, _, _), hour in self._hourly(window, backwards=False):
            start = self.hours.start(self.hours.of(self.at[hour.start]))
            whole = after < start and start + HOUR <= upto
            found += n if whole else sum(self.usable[k] for k in hour)
        return found

    def values(self, after: int, upto: int) -> list[float]:
        """The usable values in (after, upto], by (at, value)."""
        window = slice(bisect_right(self.at, after), bisect_right(self.at, upto))
        values = self.value[window].tolist()
        usable = self.usable[window]
        return values if 0 not in usable else [value for value, counts in zip(values, usable, strict=True) if counts]

    def begins(self, after: int) -> int | None:
        """The first instant after ``after`` at which a reading was taken or a summarised hour began; None = never."""
        kept = bisect_right(self.at, after)
        first = self.at[kept] if kept < len(self.at) else None
        if not self.summarised(after):
            return first
        return self.older[bisect_right(self.older, after, key=_start)].start

    def summarised(self, after: int) -> bool:
        """Whether an hour that began after an instant is kept as a summary only."""
        return bool(self.older) and self.older[-1].start > after

    def summaries(self, after: int) -> Iterator[Hour]:
        """The summarised hours that begin after an instant, newest first."""
        for hour in reversed(self.older):
            if hour.start <= after:
                return
            yield hour

    def moments(self, after: int, upto: int) -> Moments | None:
        """Sums over the usable readings in (after, upto], times in hours from ``upto``; None = there is none.

        A summarised hour counts as its n readings, all at its median and its middle.
        """
        whole_window = self.between(after, upto)
        if len(whole_window) <= SHORT and not self.summarised(after):
            usable = [k for k in whole_window if self.usable[k]]
            if not usable:
                return None
            return moments([(self.at[k] - upto) / HOUR for k in usable], [self.value[k] for k in usable])
        parts = []
        for _, window in self._hourly(whole_window, backwards=False):
            hour = self.hours.of(self.at[window.start])
            start = self.hours.start(hour)
            whole = after < start and start + HOUR <= upto
            found = self.hours.moments_of(hour) if whole else None
            if found is None:
                usable = [k for k in window if self.usable[k]]
                found = moments([(self.at[k] - start) / HOUR for k in usable], [self.value[k] for k in usable])
                if whole:
                    self.hours.keep_moments(hour, found)
            if found.n:
                parts.append(found.seen_from((start - upto) / HOUR))
        for hour_kept in self.summaries(after):
            t, n = (hour_kept.start + HOUR / 2 - upto) / HOUR, hour_kept.n
            parts.append(Moments(n, n * t, n * hour_kept.median, n * t * t, n * t * hour_kept.median))
        return together(parts)

    def _hourly(self, window: range, *, backwards: bool) -> Iterator[tuple[tuple[int, float, float], range]]:
        """The window cut into hours, each with the summary of its whole hour."""
        low, high = window.start, window.stop
        counts, nothing = self.hours.counts, (0, 0.0, 0.0)
        while low < high:
            hour = self.hours.of(self.at[high - 1] if backwards else self.at[low])
            if backwards:
                cut = bisect_left(self.at, self.hours.start(hour), low, high)
                yield counts.get(hour, nothing), range(cut, high)
                high = cut
            else:
                cut = bisect_left(self.at, self.hours.start(hour + 1), low, high)
                yield counts.get(hour, nothing), range(low, cut)
                low = cut

    def matching(
        self,
        after: int,
        upto: int,
        low: float | None,
        high: float | None,
        accept: Accept | None = None,
        *,
        backwards: bool = True,
    ) -> Iterator[int]:
        """Indices in (after, upto] of usable readings with low <= value <= high (None = no bound), newest first."""
        window = self.between(after, upto)
        pieces = [(ANY, window)] if len(window) <= SHORT else self._hourly(window, backwards=backwards)
        for (n, least, most), hour in pieces:
            if not n or (low is not None and most < low) or (high is not None and least > high):
                continue
            for k in reversed(hour) if backwards else hour:
                value = self.value[k]
                if (
                    self.usable[k]
                    and (low is None or value >= low)
                    and (high is None or value <= high)
                    and (accept is None or accept(self.meta[k]))
                ):
                    yield k

    def extremes(self, after: int, upto: int) -> tuple[int, int] | None:
        """Indices of the lowest and the highest usable reading in (after, upto] (the newest of equals)."""
        window = self.between(after, upto)
        low, high = window.start, window.stop
        if high - low <= SHORT and 0 not in self.usable[low:high]:  # nearly always; C looks through it
            if low == high:
                return None
            values = self.value[low:high]
            values.reverse()
            return high - 1 - values.index(min(values)), high - 1 - values.index(max(values))
        lowest = highest = -1
        for (n, least, most), hour in [(ANY, window)] if len(window) <= SHORT else self._hourly(window, backwards=True):
            if not n or (lowest >= 0 and least >= self.value[lowest] and most <= self.value[highest]):
                continue
            for k in reversed(hour):
                if not self.usable[k]:
                    continue
                if lowest < 0 or self.value[k] < self.value[lowest]:
                    lowest = k
                if highest < 0 or self.value[k] > self.value[highest]:
                    highest = k
        return None if lowest < 0 else (lowest, highest)


def _start(hour: Hour) -> int:
    return hour.start
