"""Questions about the readings of one signal in a window that ends now.

A window question is TRUE when a valid reading in it satisfies it, FALSE only when none does and the newest reading is
not stale, else UNKNOWN (DESIGN.md 4.3). Expiry of a reading can only take a TRUE away, so a FALSE stands until its
newest reading goes stale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from detector.clock import NEVER
from detector.reading import Meta
from detector.rules.truth import FALSE, TRUE, Cite, Found, blank
from detector.rules.view import View
from detector.windows import Series

Op = Literal["at_least", "above", "at_most", "below"]
Threshold = Callable[[View], tuple[float | None, int]]
"""The number a value is compared with, and until when it stands; None = it is not known."""

_TINY = 1e-9


def bounds(op: Op, limit: float) -> tuple[float | None, float | None]:
    """The comparison as (low, high), both inclusive. Values are rounded to the catalogue's precision, so a strict
    comparison is an inclusive one a hair further on.
    """
    if op == "at_least":
        return limit - _TINY, None
    if op == "above":
        return limit + _TINY, None
    if op == "at_most":
        return None, limit + _TINY
    return None, limit - _TINY


def cite(view: View, series: Series, signal: str, index: int, change: str | None = None) -> Cite:
    """The reading at an index as a line of evidence, with what its flags say."""
    meta = series.meta[index]
    notes = [change] if change else []
    notes += [f"flagged {flag}" for flag in meta.flags]
    if meta.site and meta.site != "unknown":
        notes.append(f"site {meta.site}")
    return Cite(
        signal, series.value[index], view.catalogue.signals[signal].unit,
        series.effective[index], series.available[index], "; ".join(notes) or None, meta.source,
    )  # fmt: skip


def not_found(view: View, signal: str, series: Series | None, after: int, within: int) -> Found:
    """No reading satisfies: FALSE while the newest one in the window is fresh, else UNKNOWN."""
    if series is None or view.unreadable(signal):
        return blank(signal)
    newest = series.newest(after, view.now)
    if newest is None:
        return blank(signal)
    at = series.at[newest]
    until = at + min(view.stale_after(signal), within)
    if until <= view.now or view.low_means_nothing(signal):
        return blank(signal)
    return Found(FALSE, until)


class Reads:
    """One or two readings in a window beyond a threshold.

    ``apart`` asks for two readings at least that far apart of which at least one is not from an excluded site
    ("skin never counts alone"). ``confirm`` = (value, within): a second reading at least that high within that time.
    ``since`` moves the start of the window to an event (pump restored) plus an offset.
    """

    def __init__(
        self, signal: str, op: Op, threshold: Threshold, within: int, *, apart: int | None = None,
        confirm: tuple[float, int] | None = None, sites_not: frozenset[str] = frozenset(),
        sites: frozenset[str] = frozenset(), flags_not: frozenset[str] = frozenset(),
        since: Callable[[View], int | None] | None = None, latest: bool = False, extra: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.signal, self.op, self.threshold, self.within = signal, op, threshold, within
        self.apart, self.confirm, self.since, self.latest = apart, confirm, since, latest
        self.sites, self.sites_not, self.flags_not = sites, sites_not, flags_not
        self.needs = frozenset({signal, "context"}) | extra

    def _accept(self, meta: Meta) -> bool:
        if self.flags_not and not self.flags_not.isdisjoint(meta.flags):
            return False
        if self.sites and meta.site not in self.sites:
            return False
        return self.apart is not None or meta.site not in self.sites_not

    def ask(self, view: View) -> Found:
        series = view.series(self.signal)
        after = view.now - self.within
        if self.since is not None:
            start = self.since(view)
            if start is None:
                return Found(FALSE)
            if start > view.now:
                return Found(FALSE, start)
            after = max(after, start)
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        limit, until = self.threshold(view)
        if limit is None:
            return blank(self.signal, until)
        low, high = bounds(self.op, limit)
        if self.latest:
            found = self._ask_latest(view, series, low, high)
        elif self.apart is not None:
            found = self._ask_pair(view, series, after, low, high)
        else:
            found = self._ask_one(view, series, after, low, high)
        if found.truth == TRUE and low is None and view.low_means_nothing(self.signal):
            found = blank(self.signal)
        return found if until == NEVER else found._replace(until=min(found.until, until))

    def _ask_latest(self, view: View, series: Series, low: float | None, high: float | None) -> Found:
        stale = min(self.within, view.stale_after(self.signal))
        k = series.newest(view.now - stale, view.now)
        while k is not None and not self._accept(series.meta[k]):
            k = series.newest(view.now - stale, series.at[k] - 1)
        if k is None:
            return blank(self.signal)
        value, until = series.value[k], series.at[k] + stale
        if (low is None or value >= low) and (high is None or value <= high):
            return Found(TRUE, until, (cite(view, series, self.signal, k),))
        if high is None and view.low_means_nothing(self.signal):
            return blank(self.signal, until)
        return Found(FALSE, until)

    def _ask_one(self, view: View, series: Series, after: int, low: float | None, high: float | None) -> Found:
        for k in series.matching(after, view.now, low, high, self._accept):
            if self.confirm is None:
                return self._one(view, series, after, low, high, k)
            second = self._second(series, k, view.now)
            if second is not None:
                first = series.at[k] + self.within
                lines = (cite(view, series, self.signal, k), cite(view, series, self.signal, second, "confirms"))
                return Found(TRUE, first, lines)
        return self._ask_summaries(view, series, after, low, high) or not_found(
            view, self.signal, series, after, self.within
        )

    def _ask_summaries(
        self, view: View, series: Series, after: int, low: float | None, high: float | None
    ) -> Found | None:
        """Hours that are kept as a summary only; it knows no site and no flag. None = none of them satisfies."""
        if self.sites or self.sites_not or self.flags_not or self.confirm is not None:
            return None
        for hour in series.summaries(after):
            value = hour.high if low is not None else hour.low
            if (low is None or value >= low) and (high is None or value <= high):
                unit = view.catalogue.signals[self.signal].unit
                line = Cite(self.signal, value, unit, hour.start, hour.start, "in this hour")
                return Found(TRUE, hour.start + self.within, (line,))
        return None

    def _second(self, series: Series, first: int, now: int) -> int | None:
        assert self.confirm is not None
        value, within = self.confirm
        at = series.at[first]
        for k in series.matching(at - within - 1, min(now, at + within), value - _TINY, None):
            if series.at[k] != at:
                return k
        return None

    def _ask_pair(self, view: View, series: Series, after: int, low: float | None, high: float | None) -> Found:
        assert self.apart is not None
        newest = next(series.matching(after, view.now, low, high, self._accept), None)
        if newest is not None:
            oldest = next(series.matching(after, view.now, low, high, self._accept, backwards=False))
            pair = (oldest, newest)
            if self.sites_not:
                pair = self._with_good_site(view, series, after, low, high, oldest, newest)
            if series.at[pair[1]] - series.at[pair[0]] >= self.apart:
                until = series.at[pair[0]] + self.within
                return Found(TRUE, until, tuple(cite(view, series, self.signal, k) for k in dict.fromkeys(pair)))
        return not_found(view, self.signal, series, after, self.within)

    def _with_good_site(
        self, view: View, series: Series, after: int, low: float | None, high: float | None, oldest: int, newest: int
    ) -> tuple[int, int]:
        def good(meta: Meta) -> bool:
            return self._accept(meta) and meta.site not in self.sites_not

        last = next(series.matching(after, view.now, low, high, good), None)
        if last is None:
            return newest, newest
        first = next(series.matching(after, view.now, low, high, good, backwards=False))
        pairs = ((oldest, last), (first, newest))
        return max(pairs, key=lambda pair: series.at[pair[1]] - series.at[pair[0]])

    def _one(self, view: View, series: Series, after: int, low: float | None, high: float | None, newest: int) -> Found:
        """The first reading that satisfies, the most extreme and the newest. It stands until the first one leaves
        the window: what is cited must be a function of the readings and now, not of when it was last asked.
        """
        oldest = next(series.matching(after, view.now, low, high, self._accept, backwards=False))
        lines = {oldest, newest}
        edge = series.extremes(after, view.now)
        if edge is not None:
            most = edge[1] if low is not None else edge[0]
            if self._accept(series.meta[most]):
                lines.add(most)
        cites = tuple(cite(view, series, self.signal, k) for k in sorted(lines))
        return Found(TRUE, series.at[oldest] + self.within, cites)


class Every:
    """All readings of a window satisfy, and there are at least n of them.

    ``computed`` takes the mean arterial pressure from systolic and diastolic readings of one instant, (S + 2 D) / 3,
    where the window holds no measured one (clinical-evidence.md 3.3).
    """

    def __init__(
        self, signal: str, op: Op, threshold: Threshold, within: int, n: int, *, computed: bool = False
    ) -> None:
        self.signal, self.op, self.threshold, self.within, self.n = signal, op, threshold, within, n
        self.computed = computed
        self.needs = frozenset({signal, "context"}) | (frozenset({"sbp", "dbp"}) if computed else frozenset())

    def ask(self, view: View) -> Found:
        after = view.now - self.within
        limit, until = self.threshold(view)
        if limit is None or view.unreadable(self.signal):
            return blank(self.signal, until)
        values, series = self._values(view, after)
        if series is None or not values:
            return blank(self.signal, until)
        low, high = bounds(self.op, limit)
        first, last = values[0][0], values[-1][0]
        leaves = min(until, series.at[first] + self.within)
        if not all((low is None or value >= low) and (high is None or value <= high) for _, value in values):
            return Found(FALSE, leaves)
        if len(values) < self.n:
            return blank(self.signal, leaves)
        if series is view.series(self.signal):
            lines = [cite(view, series, self.signal, k) for k in (first, last)]
        else:
            unit = view.catalogue.signals[self.signal].unit
            lines = [
                cite(view, series, "sbp", k, "mean computed from systolic and diastolic")._replace(
                    signal=self.signal, value=value, unit=unit
                )
                for k, value in (values[0], values[-1])
            ]
        return Found(TRUE, leaves, tuple(dict.fromkeys(lines)))

    def _values(self, view: View, after: int) -> tuple[list[tuple[int, float]], Series | None]:
        """The readings as (index, value), and the series that they are of."""
        series = view.series(self.signal)
        if series is not None:
            values = [(k, series.value[k]) for k in series.between(after, view.now) if series.usable[k]]
            if values:
                return values, series
        return (_mean_pressures(view, self.signal, after), view.series("sbp")) if self.computed else ([], None)


def _mean_pressures(view: View, signal: str, after: int) -> list[tuple[int, float]]:
    """Of each systolic reading with a diastolic one of its instant: its index, and the mean."""
    systolic, diastolic = view.series("sbp"), view.series("dbp")
    if systolic is None or diastolic is None:
        return []
    low = {diastolic.at[k]: diastolic.value[k] for k in diastolic.between(after, view.now) if diastolic.usable[k]}
    rounded = view.catalogue.signals[signal].round
    return [
        (k, rounded((systolic.value[k] + 2 * low[systolic.at[k]]) / 3))
        for k in systolic.between(after, view.now)
        if systolic.usable[k] and systolic.at[k] in low
    ]


class NoReading:
    """No usable reading in the window: a prompt is an output too."""

    def __init__(self, signal: str, within: int) -> None:
        self.signal, self.within = signal, within
        self.needs = frozenset({signal})

    def ask(self, view: View) -> Found:
        series = view.series(self.signal)
        newest = None if series is None else series.newest(view.now - self.within, view.now)
        if series is None or newest is None:
            return Found(TRUE)
        return Found(FALSE, series.at[newest] + self.within)


class BaseUnknown:
    """The usual value of a signal is not known."""

    def __init__(self, signal: str) -> None:
        self.signal = signal
        self.needs = frozenset({signal, "stay"})

    def ask(self, view: View) -> Found:
        base, until = view.base(self.signal)
        return Found(TRUE if base is None else FALSE, until)
