"""How a drive rises and falls: three families of shapes, and the slow noise that no straight line has.

All functions work on ``hours``, an even grid counted from the onset, and return arrays of its length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LAG_95 = 4.744  # 1 - (1 + x) exp(-x) = 0.95
_LN_19 = float(np.log(19.0))  # a logistic curve goes from 5 % to 95 % in twice this many of its scales


@dataclass(frozen=True)
class Times:
    """When a drive acts, in hours from the onset. ``hold`` None = to the end."""

    start: float
    rise: float
    hold: float | None = None
    fall: float = 12.0
    episodes: tuple[tuple[float, float], ...] = field(default=())
    """(start, length) of each, for what comes and goes; empty for one rise."""


def balance(hours: Array, times: Times, rng: np.random.Generator) -> Array:  # noqa: ARG001 - one signature for all
    """Two first-order lags in a row: quick from the start, slow to the top; as heat or a drug fills a compartment."""
    x = _LAG_95 * np.maximum(hours - times.start, 0.0) / times.rise
    return np.asarray(1 - (1 + x) * np.exp(-x))


def logistic(hours: Array, times: Times, rng: np.random.Generator) -> Array:  # noqa: ARG001 - one signature for all
    """An S that is already at 5 % at its start, cut down to nothing at the onset itself."""
    scale = times.rise / (2 * _LN_19)
    middle = times.start + times.rise / 2
    curve = 1 / (1 + np.exp(-np.clip((hours - middle) / scale, -60, 60)))
    first = 1 / (1 + np.exp(min(60.0, middle / scale)))
    return np.asarray(np.maximum(curve - first, 0.0) / (1 - first))


def episodic(hours: Array, times: Times, rng: np.random.Generator) -> Array:
    """Storms: each lifts the drive in an hour or two and half of it is lost until the next; they come closer and stay."""
    count = int(rng.integers(3, 8))
    steps = np.sort(rng.uniform(0, 1, count)) * times.rise * 0.85 + times.start
    weights = rng.uniform(0.5, 1.5, count)
    weights /= weights.sum()
    quick = max(0.15, min(1.2, times.rise / 6))
    curve = np.zeros_like(hours)
    for at, weight in zip(steps, weights, strict=True):
        since = np.maximum(hours - at, 0.0)
        overshoot = 1 + float(rng.uniform(0.3, 1.4)) * np.exp(-since / max(0.8, times.rise / 4))
        curve += weight * (1 - np.exp(-((since / quick) ** 2))) * overshoot
    # storms go on after the rise, smaller
    at = times.start + times.rise
    while at < hours[-1]:
        since = np.maximum(hours - at, 0.0)
        curve += rng.uniform(0.05, 0.3) * (since / quick) * np.exp(1 - since / quick) * (since > 0)
        at += float(rng.exponential(5.0)) + 1.0
    return curve


FAMILIES: dict[str, Callable[[Array, Times, np.random.Generator], Array]] = {
    "balance": balance,
    "logistic": logistic,
    "episodic": episodic,
}
"""A generator of courses by its name in ``course_shapes.yaml``."""


def drive(hours: Array, times: Times, family: str, rng: np.random.Generator) -> Array:
    """A drive from 0 to about 1 with its fall, exactly 0 before the onset."""
    if times.episodes:
        curve = np.zeros_like(hours)
        for start, length in times.episodes:
            curve = np.maximum(curve, _episode(hours, start, length, times.rise))
        return curve
    curve = FAMILIES[family](hours, times, rng)
    if times.hold is not None:
        after = np.maximum(hours - (times.start + times.rise + times.hold), 0.0)
        curve = curve * 0.5 ** (after / times.fall)
    return curve


def wander(hours: Array, correlated_h: float, rng: np.random.Generator) -> Array:
    """Noise of mean 0 and spread 1 whose correlation fades with ``correlated_h`` (Ornstein and Uhlenbeck's process)."""
    keep = float(np.exp(-(hours[1] - hours[0]) / correlated_h))
    shocks = rng.normal(size=len(hours)) * np.sqrt(1 - keep * keep)
    shocks[0] = rng.normal()
    return recursion(shocks, keep)


def recursion(inflow: Array, keep: float) -> Array:
    """``x[i] = keep * x[i-1] + inflow[i]``: what a first-order clearance leaves of an inflow.

    Written as a sum of discounted inflows, in parts short enough that no power of ``keep`` underflows.
    """
    part = len(inflow) if keep >= 1 else max(1, min(len(inflow), int(-200 / np.log10(max(keep, 1e-9)))))
    level, out = 0.0, np.empty_like(inflow)
    for start in range(0, len(inflow), part):
        now = inflow[start : start + part]
        powers = keep ** np.arange(len(now))
        out[start : start + part] = powers * (np.cumsum(now / powers) + keep * level)
        level = float(out[start + len(now) - 1])
    return out


def bump(hours: Array, at: float, length: float) -> Array:
    """A quick rise and slower fall of height 1 that is over after about ``length`` hours."""
    since = np.maximum(hours - at, 0.0) / (length / 4)
    return np.asarray(since * np.exp(1 - since))


def _episode(hours: Array, start: float, length: float, rise: float) -> Array:
    up = np.clip((hours - start) / rise, 0, 1)
    down = np.clip((hours - start - length) / (2 * rise), 0, 1)
    return np.asarray(up * up * (3 - 2 * up) * (1 - down * down * (3 - 2 * down)))
