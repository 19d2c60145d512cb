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
    lowest = _lowest_within(background, values, HIGHEST_BURDEN, _background_days(stays))
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
        lowest = _lowest_within(background, values, budget, _background_days(stays))
        if lowest == len(values):
            reached.append(AtBudget(budget, None, None, None))
        else:
            reached.append(AtBudget(budget, *_point(table, float(values[lowest]), stays)))
    return reached


class Transfer(NamedTuple):
    """A threshold set on half of the people with a background stay, and its burden on them and on the other half."""

    budget: float
    threshold: float | None
    burden_there: float | None
    burden_unseen: float | None


def transfer(scores: pl.DataFrame, stays: Stays, budgets: Sequence[float] = BUDGETS, *, seed: int) -> list[Transfer]:
    """Whether a threshold keeps its burden on people it was not set on (halves drawn by ``seed``). None = no threshold
    keeps the budget on the first half.
    """
    people = np.random.default_rng(seed).permutation(int(stays.person.max()) + 1)
    first = people[stays.person] % 2 == 0
    halves = [stays.background & first, stays.background & ~first]
    days = [float(stays.days[half].sum()) for half in halves]
    there, unseen = (scored(scores, stays).of(half) for half in halves)
    values = np.unique(there.score)
    moved = []
    for budget in budgets:
        lowest = _lowest_within(there, values, budget, days[0])
        if lowest == len(values):
            moved.append(Transfer(budget, None, None, None))
        else:
            threshold = float(values[lowest])
            moved.append(
                Transfer(budget, threshold, burden_at(there, threshold, days[0]), burden_at(unseen, threshold, days[1]))
            )
    return moved


def burden_at(table: Scored, threshold: float, days: float) -> float:
    """Counted warnings per 100 of ``days``."""
    return 100 * len(counted(table.above(threshold))) / days if days > 0 else 0.0


def _lowest_within(background: Scored, values: Floats, budget: float, days: float) -> int:
    """Index of the lowest of the sorted ``values`` with a burden of at most ``budget``: burden never rises with it."""
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
    days = _background_days(stays)
    highest = burden_at(background, float(values[0]), days)
    wanted = highest * np.linspace(0, 1, MOST_POINTS) ** 2
    chosen = {_lowest_within(background, values, float(budget), days) for budget in wanted}
    return values[sorted(index for index in chosen if index < len(values))]


def _point(table: Scored, threshold: float, stays: Stays) -> tuple[Point, Hits, Fired]:
    warnings = counted(table.above(threshold))
    found = hits(warnings, stays)
    on_background = warnings.of(stays.background)
    days = _background_days(stays)
    count = int(stays.background.sum())
    point = Point(
        threshold,
        100 * len(on_background) / days if days > 0 else 0.0,
        sensitivities(found, stays),
        len(np.unique(on_background.stay)) / count if count else 0.0,
    )
    return point, found, warnings


def _background_days(stays: Stays) -> float:
    return float(stays.days[stays.background].sum())


def sensitivities(found: Hits, stays: Stays, among: Mask | None = None) -> dict[str, float]:
    """Share found net of twins by severity; a severity without courses is left out."""
    shares = {}
    for severity in SEVERITIES:
        mask = stays.where(severity=severity) if among is None else stays.where(severity=severity) & among
        if mask.any():
            shares[severity] = float((found.net[mask] != NO_TIME).mean())
    return shares
