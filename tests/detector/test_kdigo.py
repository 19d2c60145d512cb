"""KDIGO staging by creatinine: golden vectors, and every difference from akiFlagger by its cause."""

import random
import warnings
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from detector.clock import DAY, HOUR, MINUTE, SECOND
from detector.kdigo import stage

NOW = 30 * DAY

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its source has escapes that newer Pythons warn of
    from akiFlagger import AKIFlagger


def ago(hours: float, creatinine: float) -> tuple[int, float]:
    return NOW - round(hours * HOUR), creatinine


BOUNDARIES = [
    ("a ratio just below 1.5 is no stage", [ago(100, 1.0)], 1.49, 0),
    ("a ratio of 1.5 is stage 1", [ago(100, 1.0)], 1.5, 1),
    ("a ratio just below 2.0 is stage 1", [ago(100, 1.0)], 1.99, 1),
    ("a ratio of 2.0 is stage 2", [ago(100, 1.0)], 2.0, 2),
    ("a ratio just below 3.0 is stage 2", [ago(100, 1.0)], 2.99, 2),
    ("a ratio of 3.0 is stage 3", [ago(100, 1.0)], 3.0, 3),
    ("a rise of 0.3 in 48 h is stage 1", [ago(40, 1.0)], 1.3, 1),
    ("a rise of 0.29 in 48 h is no stage", [ago(40, 1.0)], 1.29, 0),
    ("the rise is over the lowest value of 48 h, not the newest", [ago(40, 1.0), ago(4, 1.2)], 1.3, 1),
    ("4.0 with a rise of 0.3 in 48 h is stage 3", [ago(40, 3.7)], 4.0, 3),
    ("4.0 with a ratio of 1.5 in 7 d is stage 3", [ago(100, 2.6)], 4.0, 3),
    ("3.99 with an acute rise is not stage 3", [ago(40, 3.6)], 3.99, 1),
    ("4.0 without an acute rise is no stage", [ago(40, 3.8)], 4.0, 0),
    ("8.0 in a patient who always has 8.0 is no stage", [ago(100, 8.0), ago(20, 8.0)], 8.0, 0),
    ("a fall is no stage", [ago(40, 4.0)], 1.0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("earlier", "creatinine", "expected"), [row[1:] for row in BOUNDARIES], ids=[row[0] for row in BOUNDARIES])  # fmt: skip
def test_boundaries(earlier: list[tuple[int, float]], creatinine: float, expected: int) -> None:
    assert expected == stage(earlier, NOW, creatinine, None)


def test_a_value_exactly_48_h_old_is_outside_the_window_of_the_rise() -> None:
    assert 0 == stage([(NOW - 48 * HOUR, 1.0)], NOW, 1.3, None)
    assert 1 == stage([(NOW - 48 * HOUR + 1, 1.0)], NOW, 1.3, None)


def test_a_value_exactly_7_d_old_is_no_baseline() -> None:
    assert stage([(NOW - 7 * DAY, 1.0)], NOW, 2.0, None) is None
    assert 2 == stage([(NOW - 7 * DAY + 1, 1.0)], NOW, 2.0, None)


def test_values_of_the_same_instant_or_later_are_not_earlier() -> None:
    assert stage([(NOW, 0.5), (NOW + 1, 0.5)], NOW, 2.0, None) is None


def test_without_anything_to_compare_with_the_stage_is_unknown() -> None:
    assert stage([], NOW, 5.0, None) is None
    assert stage([(NOW - 8 * DAY, 0.8)], NOW, 5.0, None) is None


def test_a_supplied_baseline_stands_in_place_of_the_lowest_value() -> None:
    assert 2 == stage([], NOW, 1.6, 0.8)
    assert 0 == stage([ago(100, 0.8)], NOW, 1.6, 1.5)
    assert 3 == stage([], NOW, 4.0, 2.0)


def test_a_supplied_baseline_does_not_replace_the_48_h_rise() -> None:
    assert 1 == stage([ago(40, 1.0)], NOW, 1.3, 1.3)


def test_a_baseline_of_nothing_is_unknown() -> None:
    assert stage([], NOW, 1.0, 0.0) is None


def test_renal_replacement_is_stage_3_whatever_the_value() -> None:
    assert 3 == stage([], NOW, 0.9, None, rrt=True)
    assert 3 == stage([ago(40, 1.0)], NOW, 1.0, 1.0, rrt=True)


@pytest.mark.parametrize(
    ("earlier", "creatinine", "expected"),
    [
        (0.8, 1.2, 1),
        (1.1, 1.4, 1),
        (0.7, 1.0, 1),
        (1.4, 1.7, 1),
        (0.7, 1.4, 2),
        (1.1, 3.3, 3),
        (0.1, 0.3, 3),
        (1.2, 1.8, 1),
    ],
)
def test_floating_point_does_not_decide(earlier: float, creatinine: float, expected: int) -> None:
    """1.2 / 0.8 is 1.4999999999999998, 1.1 + 0.3 is 1.4000000000000001, 3 x 1.1 is 3.3000000000000003."""
    assert expected == stage([ago(40, earlier)], NOW, creatinine, None)


# --- akiFlagger -------------------------------------------------------------------------------------------------------

CAUSES = {
    "nothing_to_compare": "no strictly earlier value in 7 d: we answer None (unknown), akiFlagger 0",
    "window_edge": "a value exactly 48 h or 7 d old: akiFlagger adds a second to its windows, ours are open there",
    "four_with_acute_rise": "4.0 mg/dL or more with an acute rise: stage 3 here; akiFlagger leaves that out",
}
"""docs/decisions/004-kdigo-differences.md explains each."""


def series(seed: int) -> list[tuple[int, float]]:
    """One patient: clustered sampling on whole minutes, distinct times, values on the catalogue's grid of 0.01."""
    rng = random.Random(seed)
    level = rng.choice([0.4, 0.8, 1.1, 1.9, 3.4])
    at, points = 0, []
    for _ in range(rng.randint(1, 14)):
        points.append((at, max(0.1, round(level, 2))))
        at += rng.choice([6, 12, 24, 24, 48, 48, 96, 168, 190]) * HOUR + rng.choice([0, 0, 0, 7 * MINUTE, -13 * MINUTE])
        level *= rng.choice([0.7, 0.9, 1.0, 1.0, 1.1, 1.3, 1.5, 2.0])
        level = min(level, 12.0)
    return points


def cause(points: list[tuple[int, float]], index: int, ours: int | None, theirs: int) -> str | None:
    """Why two stages differ; None = for no reason we know. Each cause is undone, and must then explain the rest."""
    at, creatinine = points[index]
    earlier = points[:index]
    if ours is None:
        week = [value for t, value in earlier if at - 7 * DAY - SECOND <= t]
        if not week and theirs == 0:
            return "nothing_to_compare"
    # a second more at each edge is the same as letting a value at the edge count
    moved = [(t + 1 if at - t in (48 * HOUR, 7 * DAY) else t, value) for t, value in earlier]
    widened = stage(moved, at, creatinine, None)
    if widened == theirs or (widened is None and theirs == 0):
        return "window_edge"
    if creatinine >= 4.0 and 3 in (ours, widened) and theirs in (1, 2):
        return "four_with_acute_rise"
    return None


def test_every_difference_from_akiflagger_has_a_named_cause() -> None:
    patients = {f"p{seed}": series(seed) for seed in range(400)}
    rows: list[dict[str, Any]] = [
        {"patient_id": name, "time": pd.Timestamp(at, unit="ms"), "creatinine": value, "inpatient": True}
        for name, points in patients.items()
        for at, value in points
    ]
    flagged = AKIFlagger(padding="0hours").returnAKIpatients(pd.DataFrame(rows))["aki"].to_dict()
    found: Counter[str] = Counter()
    unexplained = []
    for name, points in patients.items():
        for index, (at, value) in enumerate(points):
            ours = stage(points[:index], at, value, None)
            theirs = int(flagged[name, pd.Timestamp(at, unit="ms")])
            if ours == theirs:
                found[f"stage {ours}"] += 1
                continue
            why = cause(points, index, ours, theirs)
            found[why or "unexplained"] += 1
            if why is None:
                unexplained.append((points[: index + 1], ours, theirs))
    print(dict(found))

    assert unexplained == []
    assert set(CAUSES) == {name for name in found if not name.startswith("stage")}
    assert all(found[f"stage {number}"] > 50 for number in range(4))
