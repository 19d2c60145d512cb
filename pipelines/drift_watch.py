"""Looking at the inputs once an hour: which readings are unlike the reference, since when, and when that is an alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from detector.clock import HOUR
from detector.engine import Ward
from detector.plan import Plan
from detector.records import AlertRecord
from pipelines import drift
from pipelines.drift import Found, Reference
from pipelines.technical import Subject, opened, resolved
from pipelines.ticks import NO_TIME

CHECKS = ("a unit or an analyser that changed", "itbwatch_observations_total by outcome", "a feed that is silent")

High = dict[str, tuple[int, int]]
"""Signals whose index is high: since when, and when that was seen last (ms UTC)."""


class Seen(NamedTuple):
    """One look: every index and its limit, what is high (to be stored), and the alerts that begin or end with it."""

    indices: dict[str, float]
    limits: dict[str, float]
    high: High
    alerts: list[AlertRecord]


class DriftWatch:
    """Compares the wards of a process with a reference of at least ``fewest`` patients' width."""

    def __init__(self, reference: Reference, plan: Plan, fewest: int) -> None:
        self._reference, self._plan, self._fewest = reference, plan, fewest
        self._hour = NO_TIME
        self._high: High = {}

    def resume(self, stored: Mapping[str, tuple[int, int]]) -> None:
        """Go on from what was stored of a partition number."""
        self._high |= stored

    def look(
        self, wards: Sequence[Ward], at: int, partition: int, standing: Mapping[Subject, AlertRecord]
    ) -> Seen | None:
        """Look at the hour of ``at``; None = it was looked at already.

        New alerts belong to ``partition``; ``standing`` are the technical alerts that are open.
        """
        hour = at // HOUR
        if hour < 0 or hour <= self._hour:
            return None
        self._hour, now = hour, hour * HOUR
        found = drift.look(wards, self._reference, self._plan.catalogue, now, self._fewest)
        self._high = drift.stands(self._high, found, now)
        alerts = []
        for name, one in found.items():
            alert = standing.get(("input_drift", name))
            if alert is None and name in self._high and now - self._high[name][0] >= drift.DWELL:
                alerts.append(self._begins(name, one, now, partition))
            elif alert is not None and one.psi < drift.QUIET_AGAIN + (one.limit - drift.CHANGED):
                alerts.append(resolved(alert, now, "like_reference"))
        indices = {name: one.psi for name, one in found.items()}
        return Seen(indices, {name: one.limit for name, one in found.items()}, self._high, alerts)

    def _begins(self, name: str, one: Found, now: int, partition: int) -> AlertRecord:
        usual, seen = self._reference.signals[name].median, "none" if one.median is None else f"{one.median:g}"
        return opened(
            self._plan, partition, ("input_drift", name), now, because="unlike_reference", value=round(one.psi, 3),
            headline=f"{name}: readings unlike the reference for a day, median {seen} instead of {usual:g}", checks=CHECKS,
        )  # fmt: skip
