"""KDIGO 2012 acute kidney injury by creatinine (doi:10.1038/kisup.2012.2; definitions after clinical-evidence.md 3.2).

Baseline = supplied, else the lowest strictly earlier value of the last 7 d. Stage 1: +0.3 mg/dL over the lowest strictly
earlier value of 48 h, or a ratio of 1.5 to below 2.0; stage 2: 2.0 to below 3.0; stage 3: 3.0 or more, or 4.0 mg/dL
with an acute rise, or renal replacement. Urine output is a rule of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from detector.clock import DAY

BASELINE_WINDOW = 7 * DAY
RISE_WINDOW = 2 * DAY
RISE = 30  # hundredths of mg/dL
SEVERE = 400


def _hundredths(value: float) -> int:
    """Creatinine in whole hundredths of mg/dL, the catalogue's precision: 1.2 / 0.8 is exactly 1.5 here."""
    return round(value * 100)


def stage(
    earlier: Sequence[tuple[int, float]], at: int, creatinine: float, baseline: float | None, *, rrt: bool = False
) -> int | None:
    """The stage of one creatinine value.

    Args:
        earlier: (at in ms, mg/dL) of other values, in any order; those not strictly before ``at`` are not used.
        at: when this value was drawn, ms.
        creatinine: mg/dL.
        baseline: supplied baseline, mg/dL; None = use the lowest value of the 7 d before.
        rrt: renal replacement runs.

    Returns:
        0 to 3, or None when there is nothing to compare with.
    """
    if rrt:
        return 3
    week = [_hundredths(value) for t, value in earlier if at - BASELINE_WINDOW < t < at]
    two_days = [_hundredths(value) for t, value in earlier if at - RISE_WINDOW < t < at]
    now = _hundredths(creatinine)
    base = _hundredths(baseline) if baseline is not None else min(week, default=0)
    if base <= 0:
        return None
    rose = bool(two_days) and now - min(two_days) >= RISE
    acute = rose or 2 * now >= 3 * base
    if now >= 3 * base or (now >= SEVERE and acute):
        return 3
    if now >= 2 * base:
        return 2
    return 1 if acute else 0
