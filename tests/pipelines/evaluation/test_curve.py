"""Sensitivity against burden on a set small enough to work out by hand."""

from __future__ import annotations

import pytest

from pipelines.evaluation.curve import at_budgets, curve, transfer
from tests.pipelines.evaluation.toy import course, scores_from, stay, stays_from

# Four backgrounds of 600 h = 25 days each: 100 patient-days, so one warning is a burden of exactly 1.
STAYS = stays_from(
    *(stay(f"b{number}", hours=600) for number in range(4)),
    course("x", "b0", severity="full_blown", visible=100, hours=600),
    course("y", "b1", severity="mild", visible=100, hours=600),
    course("z", severity="mild", visible=100, hours=600),
)
SCORES = scores_from(
    b0={10: 0.3, 20: 0.4, 30: 0.1}, b1={150: 0.5}, b2={5: 0.2, 18: 0.2}, b3={7: None},
    x={110: 0.9}, y={150: 0.5, 300: 0.35}, z={50: 0.99, 200: 0.05},
)  # fmt: skip


def test_every_point_is_a_threshold_that_some_score_has() -> None:
    points = curve(SCORES, STAYS)

    assert [0.99, 0.9, 0.5, 0.4, 0.35, 0.3, 0.2, 0.1, 0.05] == [point.threshold for point in points]
    assert [0, 0, 1, 2, 2, 2, 4, 5, 5] == [round(point.burden, 9) for point in points]


def test_what_is_found_at_each_threshold_is_net_of_twins() -> None:
    by_threshold = {point.threshold: point.sensitivity for point in curve(SCORES, STAYS)}

    assert {"full_blown": 0.0, "mild": 0.0} == by_threshold[0.99]  # z: long before its course
    assert {"full_blown": 1.0, "mild": 0.0} == by_threshold[0.5]  # y: its twin b1 warns at the same time
    assert {"full_blown": 1.0, "mild": 0.5} == by_threshold[0.35]
    assert {"full_blown": 1.0, "mild": 1.0} == by_threshold[0.05]


@pytest.mark.parametrize(
    ("budget", "threshold", "burden"), [(0.5, 0.9, 0), (1, 0.5, 1), (3, 0.3, 2), (4, 0.2, 4), (9, 0.05, 5)]
)
def test_a_budget_takes_the_lowest_threshold_that_keeps_it(budget: float, threshold: float, burden: float) -> None:
    (reached,) = at_budgets(SCORES, STAYS, [budget])

    assert reached.point is not None
    assert (threshold, burden) == (reached.point.threshold, pytest.approx(reached.point.burden))


def test_a_budget_below_every_threshold_is_said_to_be_out_of_reach() -> None:
    scores = scores_from(b0=dict.fromkeys(range(0, 600, 12), 7.0), x={110: 7.0})
    (reached,) = at_budgets(scores, STAYS, [3.0])

    assert (None, None) == (reached.point, reached.found)


def test_the_share_of_stays_ever_alerted_counts_a_stay_once() -> None:
    at_the_end = curve(SCORES, STAYS)[-1]

    assert 0.75 == at_the_end.ever


def test_no_score_gives_no_point() -> None:
    assert [] == curve(scores_from(b0={1: None}), STAYS)


def test_a_threshold_is_tried_on_the_people_it_was_not_set_on() -> None:
    stays = stays_from(*(stay(f"b{number}", hours=240) for number in range(20)))  # ten days each
    scores = scores_from(**{f"b{number}": {10: 0.2, 50: 0.1} for number in range(20)})
    kept, out_of_reach = transfer(scores, stays, [12, 5], seed=1)

    assert (0.2, 10.0, 10.0) == kept[1:]
    assert (None, None, None) == out_of_reach[1:]
