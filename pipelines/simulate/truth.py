"""What was really going on in a stay: the ground truth of an injected course, and how it is found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from pipelines.simulate.body import HOURS, SHAPES, Course, first_hour
from pipelines.simulate.charting import Record

_BEDSIDE = ("temp", "hr", "sbp", "rr", "gcs")


class Truth(Struct, frozen=True, kw_only=True):
    """What was really going on in a stay. Times are ms UTC; None = it never happens, or not while the stay is watched.

    ``interrupted_at``     the pump stopped (withdrawals only); usually unknown in the stream, often before admission
    ``onset_at``           the course begins: up to here the stay is its background, value by value
    ``first_visible_at``   the first instant at which the expected change of a bedside signal the stay charts is beyond
                           noise (``visible`` in ``course_shapes.yaml``), or a laboratory value was drawn that the course
                           has multiplied or divided as far (``visible``), or raised tone was charted; whichever comes first
    ``organ_failure_at``   the first true organ sign (``organ_signs``) whether or not it was measured: platelets,
                           KDIGO with CK, transaminases, GCS, shock; of the body, not of the record
    ``restored_at``        the pump works again
    """

    stay_id: str
    patient_id: str
    twin_of: str
    kind: str
    severity: str | None = None
    generator: str | None = None
    with_tone: bool = True
    interrupted_at: int | None = None
    onset_at: int | None = None
    first_visible_at: int | None = None
    organ_failure_at: int | None = None
    restored_at: int | None = None
    watched_from: int
    watched_until: int


def bedside_visible(made: Course, seen: Record) -> float | None:
    """The first hour at which the expected change of a bedside signal that this stay charts is beyond noise."""
    hours = []
    for signal in _BEDSIDE:
        if signal in made.expected and seen.of(signal).any():
            moved = np.abs(made.expected[signal]) >= SHAPES["visible"][signal]
            hours.append(first_hour(HOURS, moved))
    return min((one for one in hours if one is not None), default=None)


def multiplied(after: Record, before: Record, onset: int) -> int | None:
    """When the first laboratory value was drawn that the course has multiplied or divided far enough to be seen."""
    found = []
    for signal, times in SHAPES["visible"]["laboratory"].items():
        rows = np.flatnonzero(after.of(signal) & (after.at >= onset))
        ratio = after.value[rows] / np.maximum(before.value[rows], 1e-9)
        found += list(after.at[rows][(ratio >= times) | (ratio <= 1 / times)])
    return int(min(found)) if found else None


def organ_failure(made: Course, usual: Mapping[str, float], until_h: float) -> float | None:
    """The first hour of a true organ sign that the course made; None = none while the stay is watched."""
    written = SHAPES["organ_signs"]
    zero, one = np.zeros_like(HOURS), np.ones_like(HOURS)
    ck = usual["ck"] + made.add.get("ck", zero)
    creat, plt = usual["creat"] * made.factor.get("creat", one), usual["plt"] * made.factor.get("plt", one)
    gcs = usual["gcs"] + made.expected.get("gcs", zero)
    mean = usual["map"] + made.expected.get("map", zero)
    kidney = (creat >= written["creat_ratio"] * usual["creat"]) | (creat >= usual["creat"] + written["creat_rise"])
    # as KDIGO: 0.3 mg/dL within 48 h; over a longer course the ratio decides, which it reaches earlier
    signs = (
        (plt < written["plt_below"]) & (usual["plt"] >= written["plt_below"]),
        kidney & (made.factor.get("creat", one) > 1.1) & (ck >= written["with_ck_from"]),
        (usual["ast"] + made.add.get("ast", zero) >= written["transaminase_from"]) & (usual["ast"] < written["transaminase_from"]),
        (usual["alt"] + made.add.get("alt", zero) >= written["transaminase_from"]) & (usual["alt"] < written["transaminase_from"]),
        (gcs < written["gcs_to"] + 0.5) & (usual["gcs"] >= written["gcs_to"] + 0.5),
        (mean < written["map_below"]) & (made.drives.get("shock", zero) > 0.3) & (usual["map"] >= written["map_below"]),
    )  # fmt: skip
    hours = [first_hour(HOURS, sign & (HOURS <= until_h)) for sign in signs]
    return min((hour for hour in hours if hour is not None), default=None)


def earliest(*instants: int | None) -> int | None:
    """The first of some instants; None = none of them ever comes."""
    return min((at for at in instants if at is not None), default=None)
