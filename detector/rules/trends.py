"""Questions about how a signal moved: rise, fall, range, swing, ratio, doubling time, response to an event.

Each looks for readings in a window that ends now. All are monotone under expiry (a reading that leaves can only take
a TRUE away), so a FALSE stands until its newest reading goes stale. Each opens the window only when the hourly
extremes leave room for a yes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from detector.clock import HOUR, in_words
from detector.reading import Meta
from detector.rules.readings import _TINY, cite, not_found
from detector.rules.truth import FALSE, TRUE, Found, blank
from detector.rules.view import View
from detector.windows import Series


def _pair(view: View, series: Series, signal: str, first: int, last: int, change: str, until: int) -> Found:
    return Found(TRUE, until, (cite(view, series, signal, first), cite(view, series, signal, last, change)))


class Rise:
    """Some reading is at least ``to`` and at least ``by`` above an earlier one of the same site in the window."""

    def __init__(self, signal: str, by: float, to: float, within: int, apart: int, sites_not: frozenset[str]) -> None:
        self.signal, self.by, self.to, self.within, self.apart = signal, by, to, within, apart
        self.sites_not = sites_not
        self.needs = frozenset({signal, "context"})

    def ask(self, view: View) -> Found:
        series, after = view.series(self.signal), view.now - self.within
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        for k in series.matching(after, view.now, self.to - _TINY, None):
            site = series.meta[k].site
            if site in self.sites_not:
                continue
            limit = series.value[k] - self.by + _TINY
            earlier = series.matching(after, series.at[k] - self.apart, None, limit, partial(_at_site, site))
            first = next(earlier, None)
            if first is not None:
                change = f"up {series.value[k] - series.value[first]:.2f} in {_hours(series, first, k)}"
                return _pair(view, series, self.signal, first, k, change, series.at[first] + self.within)
        return not_found(view, self.signal, series, after, self.within)


class Fall:
    """Some reading is at most (1 - fraction) of an earlier one in the window."""

    def __init__(self, signal: str, fraction: float, within: int, flags_not: frozenset[str]) -> None:
        self.signal, self.fraction, self.within, self.flags_not = signal, fraction, within, flags_not
        self.needs = frozenset({signal, "context"})

    def ask(self, view: View) -> Found:
        series, after = view.series(self.signal), view.now - self.within
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        highest: int | None = None
        found: tuple[int, int] | None = None
        for k in series.between(after, view.now):
            if not series.usable[k] or not self.flags_not.isdisjoint(series.meta[k].flags):
                continue
            top = series.value[highest] if highest is not None else 0.0
            if highest is not None and 0 < top and series.value[k] <= top * (1 - self.fraction) + _TINY:
                found = (highest, k)
            if highest is None or series.value[k] >= series.value[highest]:
                highest = k
        if found is None:
            return not_found(view, self.signal, series, after, self.within)
        first, last = found
        change = f"down {100 * (1 - series.value[last] / series.value[first]):.0f} % in {_hours(series, first, last)}"
        oldest = series.at[series.between(after, view.now).start] + self.within
        return _pair(view, series, self.signal, first, last, change, oldest)


class Range:
    """Highest minus lowest in the window is at least ``at_least``."""

    def __init__(self, signal: str, at_least: float, within: int) -> None:
        self.signal, self.at_least, self.within = signal, at_least, within
        self.needs = frozenset({signal, "context"})

    def ask(self, view: View) -> Found:
        series, after = view.series(self.signal), view.now - self.within
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        edges = series.extremes(after, view.now)
        if edges is not None and series.value[edges[1]] - series.value[edges[0]] >= self.at_least - _TINY:
            first, last = sorted(edges)
            spread = series.value[edges[1]] - series.value[edges[0]]
            change = f"range {spread:g} in {in_words(self.within)}"
            return _pair(view, series, self.signal, first, last, change, series.at[first] + self.within)
        return not_found(view, self.signal, series, after, self.within)


class Swing:
    """A reading of at most ``low`` within ``apart`` after one of at least ``high``: one-sided rules miss a crash."""

    def __init__(self, signal: str, high: float, low: float, apart: int, within: int) -> None:
        self.signal, self.high, self.low, self.apart, self.within = signal, high, low, apart, within
        self.needs = frozenset({signal, "context"})

    def ask(self, view: View) -> Found:
        series, after = view.series(self.signal), view.now - self.within
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        for k in series.matching(after, view.now, None, self.low + _TINY):
            start = max(after, series.at[k] - self.apart - 1)
            first = next(series.matching(start, series.at[k] - 1, self.high - _TINY, None), None)
            if first is not None:
                change = f"from {series.value[first]:g} in {_hours(series, first, k)}"
                return _pair(view, series, self.signal, first, k, change, series.at[first] + self.within)
        return not_found(view, self.signal, series, after, self.within)


class Grows:
    """Two samples between ``apart`` = (least, most) ms of each other, the later one in the last ``recent`` ms.

    ``ratio``: the later is at least that many times the earlier. ``doubling``: it grew at least as fast as doubling
    every so many ms (dt * ln 2 / ln(later / earlier)). ``at_least`` bounds the later value; ``above_uln`` asks it to
    lie above the upper limit of normal.
    """

    def __init__(
        self, signal: str, apart: tuple[int, int], recent: int, *, ratio: float | None = None,
        doubling: int | None = None, at_least: float = 0.0, above_uln: bool = False,
    ) -> None:  # fmt: skip
        self.signal, self.apart, self.recent = signal, apart, recent
        self.ratio, self.doubling, self.at_least, self.above_uln = ratio, doubling, at_least, above_uln
        self.needs = frozenset({signal, "context", "stay"})

    def ask(self, view: View) -> Found:
        series = view.series(self.signal)
        after = view.now - self.recent
        if series is None or view.unreadable(self.signal):
            return blank(self.signal)
        paired = False
        for k in series.matching(after, view.now, None, None):
            least, most = self.apart
            window = (series.at[k] - most - 1, series.at[k] - least)
            paired = paired or series.newest(*window) is not None
            # it grew only from a sample at most this high: the hours rule out the rest
            highest = series.value[k] / (self.ratio or 2.0 ** (least / (self.doubling or least)))
            for first in series.matching(*window, None, highest + _TINY):
                if self._grew(view, series, first, k):
                    times = series.value[k] / series.value[first]
                    change = f"x{times:.2f} in {_hours(series, first, k)}"
                    return _pair(view, series, self.signal, first, k, change, series.at[k] + self.recent)
        return not_found(view, self.signal, series, after, self.recent) if paired else blank(self.signal)

    def _grew(self, view: View, series: Series, first: int, last: int) -> bool:
        then, now = series.value[first], series.value[last]
        if then <= 0 or now <= then or now < self.at_least - _TINY:
            return False
        if self.above_uln:
            limit = view.upper_limit(self.signal, series.meta[last])
            if limit is None or now <= limit:
                return False
        if self.doubling is not None:
            return bool(now / then >= 2.0 ** ((series.at[last] - series.at[first]) / self.doubling) - _TINY)
        return self.ratio is not None and now / then >= self.ratio - _TINY


class Responded:
    """After an event (the pump was restored) the signal fell by at least ``by`` from its newest value before it.

    UNKNOWN when nothing was measured in the ``before`` ms before the event or after it; TRUE also when the earlier
    value was below ``only_from`` and had nothing to fall from.
    """

    def __init__(
        self, signal: str, by: float, only_from: float, before: int, event_at: Callable[[View], int | None]
    ) -> None:
        self.signal, self.by, self.only_from, self.before, self.event_at = signal, by, only_from, before, event_at
        self.needs = frozenset({signal, "pump", "context"})

    def ask(self, view: View) -> Found:
        series, at = view.series(self.signal), self.event_at(view)
        if series is None or at is None:
            return blank(self.signal)
        since = list(series.summaries(at))  # vitals of more than a day ago are kept by the hour only
        earlier = self._earlier(series, at)
        if earlier is None or (not since and series.newest(at, view.now) is None):
            return blank(self.signal)
        if earlier < self.only_from:
            return Found(TRUE)
        limit = earlier - self.by + _TINY
        fell = any(hour.low <= limit for hour in since)
        fell = fell or next(series.matching(at, view.now, None, limit), None) is not None
        return Found(TRUE if fell else FALSE)

    def _earlier(self, series: Series, at: int) -> float | None:
        k = series.newest(at - self.before, at)
        if k is not None:
            return series.value[k]
        return next((hour.last for hour in series.summaries(at - self.before) if hour.start + HOUR <= at), None)


def _at_site(site: str | None, meta: Meta) -> bool:
    return meta.site == site


def _hours(series: Series, first: int, last: int) -> str:
    return f"{(series.at[last] - series.at[first]) / HOUR:.1f} h"
