"""How sure a figure is: Wilson's interval for shares, a bootstrap over people for rates and medians.

Stays of one person resemble each other, so people are drawn, never stays. Seeds fix every draw.
"""

from __future__ import annotations

from functools import lru_cache
from math import sqrt
from typing import NamedTuple

import numpy as np

from pipelines.evaluation.truth import Floats, Ints

Z_95 = 1.959963984540054
DRAWS = 1_000


class Figure(NamedTuple):
    """A figure with its 95 % interval. None = cannot be said: nothing to divide by, or nothing that was found."""

    value: float | None
    low: float | None
    high: float | None
    hits: int
    of: float
    """What ``hits`` is counted among: stays, patient-days, or found courses."""


def wilson(count: int, of: int, z: float = Z_95) -> Figure:
    """``count / of`` with the score interval of E. B. Wilson, J Am Stat Assoc 1927;22:209-212.

    10 of 10 gives 0.72 to 1.00 (clinical-evidence.md section 6).
    """
    if not of:
        return Figure(None, None, None, count, of)
    share = count / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return Figure(share, max(0.0, middle - half), min(1.0, middle + half), count, of)


def rate(counts: Ints, days: Floats, person: Ints, *, seed: int, per: float = 100.0) -> Figure:
    """Events per ``per`` patient-days, one element a stay in each array. None where there are no days."""
    total, all_days = int(counts.sum()), float(days.sum())
    if all_days <= 0:
        return Figure(None, None, None, total, all_days)
    people, number = np.unique(person, return_inverse=True)
    sums = np.bincount(number, weights=counts, minlength=len(people))
    spans = np.bincount(number, weights=days, minlength=len(people))
    weights = _draws(len(people), seed)
    drawn_days = weights @ spans
    drawn = per * (weights @ sums)[drawn_days > 0] / drawn_days[drawn_days > 0]
    return Figure(per * total / all_days, *_middle_95(drawn), total, all_days)


def median(values: Floats, person: Ints, *, seed: int) -> Figure:
    """The median of values, one element a found course. None where nothing was found."""
    if not len(values):
        return Figure(None, None, None, 0, 0)
    people, number = np.unique(person, return_inverse=True)
    order = np.argsort(values, kind="stable")
    ranked, weights = values[order], _draws(len(people), seed)[:, number[order]]
    below = np.cumsum(weights, axis=1)
    total = below[:, -1:]
    # the weighted median: half-way between the two middle values where their number is even
    low = ranked[np.argmax(below >= (total + 1) // 2, axis=1)]
    high = ranked[np.argmax(below >= total // 2 + 1, axis=1)]
    drawn = ((low + high) / 2)[total[:, 0] > 0]
    return Figure(float(np.median(values)), *_middle_95(drawn), len(values), len(values))


@lru_cache(maxsize=8)  # the same people are drawn for every detector, and drawing them is most of the time
def _draws(people: int, seed: int) -> Ints:
    """How often each of ``people`` is drawn, one row a draw."""
    return np.random.default_rng(seed).multinomial(people, np.full(people, 1 / people), size=DRAWS)


def _middle_95(drawn: Floats) -> tuple[float, float]:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)
