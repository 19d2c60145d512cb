"""Counts of what the core decided in silence: accepted, rejected, late, suppressed, unknown, indeterminate.

The core has no metrics library. It counts under ``(metric, label value, ...)`` and the pipelines add these numbers to
the Prometheus metrics of the same name (DESIGN.md section 3). Label values are from fixed lists, never a patient's.
"""

from __future__ import annotations

from collections import Counter

METRICS: dict[str, tuple[str, ...]] = {
    "observations_total": ("signal", "outcome"),
    "late_observations_total": ("signal",),
    "alerts_suppressed_total": ("reason",),
    "rule_evaluations_total": ("rule", "truth"),
    "stays_closed_total": ("reason",),
    "events_ignored_total": ("kind", "reason"),
    "scores_indeterminate_total": ("model", "reason"),
}
"""Every count the core keeps, with its labels in order."""


class Ledger:
    """Counts by key, the delays of accepted observations in seconds (effective -> available), and scores by model."""

    __slots__ = ("counts", "delays", "scores")

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.delays: list[tuple[str, float]] = []
        self.scores: list[tuple[str, float]] = []

    def add(self, *key: str) -> None:
        """Count one under ``(metric, label value, ...)``."""
        self.counts[key] += 1
