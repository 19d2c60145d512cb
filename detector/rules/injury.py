"""Kidney questions: KDIGO stage by creatinine, and urine output."""

from __future__ import annotations

from detector.clock import HOUR
from detector.kdigo import BASELINE_WINDOW, RISE_WINDOW, stage
from detector.rules.readings import cite
from detector.rules.truth import FALSE, TRUE, Cite, Found, blank
from detector.rules.view import View

CREATININE = "creat"
FEWEST_VOLUMES = 3


class Kidney:
    """The newest fresh creatinine is at least this KDIGO stage; UNKNOWN without one, or with nothing to compare."""

    needs = frozenset({CREATININE, "stay", "context"})

    def __init__(self, at_least: int) -> None:
        self.at_least = at_least

    def ask(self, view: View) -> Found:
        series = view.series(CREATININE)
        fresh = view.stale_after(CREATININE)
        k = None if series is None else series.newest(view.now - fresh, view.now)
        rrt = "rrt" in view.patient.running
        if series is None or k is None:
            return Found(TRUE) if rrt else blank(CREATININE)
        at = series.at[k]
        week = series.between(at - BASELINE_WINDOW, at - 1)
        earlier = [(series.at[i], series.value[i]) for i in week if series.usable[i]]
        stay = view.patient.stay
        supplied = stay.baseline.get(CREATININE) if stay is not None else None
        found = stage(earlier, at, series.value[k], supplied, rrt=rrt)
        if found is None:
            return blank(CREATININE, at + fresh)
        if found < self.at_least:
            return Found(FALSE, at + fresh)
        lowest = min((value for t, value in earlier if t > at - RISE_WINDOW), default=supplied)
        change = f"KDIGO stage {found}" + (f", from {lowest:g}" if lowest is not None else "")
        return Found(TRUE, at + fresh, (cite(view, series, CREATININE, k, change),))


class UrineBelow:
    """Urine output below a rate per kilogram over the window, from charted rates or charted volumes.

    Without a weight an adult (or a patient of unknown age) is held against the fallback rate in mL/h. Volumes count
    when there are at least three and they reach back over half of the window; else UNKNOWN.
    """

    needs = frozenset({"uop", "urine_volume", "stay", "context"})

    def __init__(self, ml_per_kg_h: float, fallback_ml_h: float, within: int) -> None:
        self.ml_per_kg_h, self.fallback_ml_h, self.within = ml_per_kg_h, fallback_ml_h, within

    def ask(self, view: View) -> Found:
        limit = self._limit(view)
        if limit is None:
            return blank("urine_volume")
        rate = view.series("uop")
        after = view.now - self.within
        k = None if rate is None else rate.newest(view.now - view.stale_after("uop"), view.now)
        if rate is not None and k is not None:
            until = rate.at[k] + view.stale_after("uop")
            if rate.value[k] < limit:
                return Found(TRUE, until, (cite(view, rate, "uop", k),))
            return Found(FALSE, until)
        volumes = view.series("urine_volume")
        if volumes is None:
            return blank("urine_volume")
        window = [i for i in volumes.between(after, view.now) if volumes.usable[i]]
        if not window:
            return blank("urine_volume")
        until = volumes.at[window[0]] + self.within
        covered = view.now - volumes.at[window[0]]
        if len(window) < FEWEST_VOLUMES or 2 * covered < self.within:
            half = volumes.at[window[0]] + self.within // 2
            return blank("urine_volume", min(until, half) if half > view.now else until)
        per_hour = sum(volumes.value[i] for i in window) * HOUR / self.within
        if per_hour >= limit:
            return Found(FALSE, until)
        last = window[-1]
        change = f"{per_hour:.0f} mL/h over {self.within // HOUR} h"
        unit = view.catalogue.signals["urine_volume"].unit
        line = Cite("urine_volume", volumes.value[last], unit, volumes.effective[last], volumes.available[last], change)
        return Found(TRUE, until, (line,))

    def _limit(self, view: View) -> float | None:
        weight = view.weight_kg
        if weight is not None:
            return self.ml_per_kg_h * weight
        age = view.age_years
        return self.fallback_ml_h if age is None or age >= 18 else None
