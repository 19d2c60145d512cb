"""Sensitivity against alert burden: what a score finds at every burden that one of its thresholds really has.

Nothing is interpolated: a coarse score (NEWS2 has about 20 values) reaches few burdens, and its curve has few points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.evaluation.counting import Fired, Hits, Scored, counted, hits, scored
from pipelines.evaluation.truth import NO_TIME, SEVERITIES, Floats, Mask, Stays

BUDGETS = (1.0, 3.0, 5.0)
"""Warnings per 100 patient-days."""

MOST_POINTS = 120
HIGHEST_BURDEN = 30.0
"""Warnings per 100 patient-days beyond which nobody would look; the curve ends there."""


class Point(NamedTuple):
    """One threshold: its warnings per 100 background patient-days, and the share found (net of twins) by severity."""

    threshold: float
    burden: float
    sensitivity: dict[str, float]
    ever: float
    """Share of background stays with at least one warning."""


class AtBudget(NamedTuple):
    """The lowest threshold whose burden keeps within ``budget``. ``point`` None = even the highest score exceeds it."""

    budget: float
    point: Point | None
    found: Hits | None
    warnings: Fired | None


def curve(scores: pl.DataFrame, stays: Stays) -> list[Point]:
    """Points from the strictest threshold on, at most ``MOST_POINTS``, up to ``HIGHEST_BURDEN``."""
    table = scored(scores, stays)
    background = table.of(stays.background)
    values = np.unique(table.score)
    if not len(values):
        return []
    # a threshold above every background score finds what it finds at no burden at all: a point like any other
    lowest = _lowest_within(background, values, stays, HIGHEST_BURDEN)
    chosen = values[lowest:]
    if len(chosen) > MOST_POINTS:
        chosen = _evenly_by_burden(background, chosen, stays)
    return [_point(table, float(threshold), stays)[0] for threshold in chosen[::-1]]


def at_budgets(scores: pl.DataFrame, stays: Stays, budgets: Sequence[float] = BUDGETS) -> list[AtBudget]:
    """For each budget the lowest threshold that keeps it on the background stays, found exactly by bisection."""
    table = scored(scores, stays)
    background = table.of(stays.background)
    values = np.unique(table.score)
    reached = []
    for budget in budgets:
        lowest = _lowest_within(background, values, stays, budget)
        if lowest == len(values):
            reached.append(AtBudget(budget, None, None, None))
        else:
            reached.append(AtBudget(budget, *_point(table, float(values[lowest]), stays)))
    return reached


def burden_at(table: Scored, threshold: float, days: float) -> float:
    """Counted warnings per 100 of ``days``."""
    return 100 * len(counted(table.above(threshold))) / days if days > 0 else 0.0


def _lowest_within(background: Scored, values: Floats, stays: Stays, budget: float) -> int:
    """Index of the lowest of the sorted ``values`` with a burden of at most ``budget``: burden never rises with it."""
    days = float(stays.days[stays.background].sum())
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        if burden_at(background, float(values[middle]), days) <= budget:
            high = middle
        else:
            low = middle + 1
    return low


def _evenly_by_burden(background: Scored, values: Floats, stays: Stays) -> Floats:
    """Thresholds whose burdens are spread from none to the highest, closer where burden is low."""
    days = float(stays.days[stays.background].sum())
    highest = burden_at(background, float(values[0]), days)
    wanted = highest * np.linspace(0, 1, MOST_POINTS) ** 2
    chosen = {_lowest_within(background, values, stays, float(budget)) for budget in wanted}
    return values[sorted(index for index in chosen if index < len(values))]


def _point(table: Scored, threshold: float, stays: Stays) -> tuple[Point, Hits, Fired]:
    warnings = counted(table.above(threshold))
    found = hits(warnings, stays)
    on_background = warnings.of(stays.background)
    days = float(stays.days[stays.background].sum())
    count = int(stays.background.sum())
    point = Point(
        threshold,
        100 * len(on_background) / days if days > 0 else 0.0,
        sensitivities(found, stays),
        len(np.unique(on_background.stay)) / count if count else 0.0,
    )
    return point, found, warnings


def sensitivities(found: Hits, stays: Stays, among: Mask | None = None) -> dict[str, float]:
    """Share found net of twins by severity; a severity without courses is left out."""
    shares = {}
    for severity in SEVERITIES:
        mask = stays.where(severity=severity) if among is None else stays.where(severity=severity) & among
        if mask.any():
            shares[severity] = float((found.net[mask] != NO_TIME).mean())
    return shares
