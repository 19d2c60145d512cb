"""What counts as one warning, and which course it found: worked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.evaluation.counting import (
    Fired,
    counted,
    fired_by_records,
    hits,
    scored,
    standing_by_records,
    with_higher_tiers,
)
from pipelines.evaluation.truth import NO_TIME, Stays
from tests.pipelines.evaluation.toy import at, course, record, scores_from, stay, stays_from


def hours_of(fired: Fired, stays: Stays) -> dict[str, list[float]]:
    names = stays.truth["stay_id"]
    found: dict[str, list[float]] = {}
    for row, instant in zip(fired.stay, fired.at, strict=True):
        found.setdefault(names[int(row)], []).append((int(instant) - at(0)) / 3_600_000)
    return found


def test_a_warning_counts_again_exactly_twelve_hours_after_the_last_counted_one() -> None:
    stays = stays_from(stay("a"), stay("b"))
    records = [record("a", hours) for hours in (0, 11.99, 12, 13, 23.99, 24.5)] + [record("b", 1)]

    assert {"a": [0, 12, 24.5], "b": [1]} == hours_of(counted(fired_by_records(records, stays)), stays)


def test_time_is_taken_from_the_last_counted_warning_and_not_from_the_last_one() -> None:
    stays = stays_from(stay("a"))
    every_five_hours = [record("a", hours) for hours in (0, 5, 10, 15, 20, 25, 30)]

    assert {"a": [0, 15, 30]} == hours_of(counted(fired_by_records(every_five_hours, stays)), stays)


@pytest.mark.parametrize("state", ["lowered", "amended", "reminded", "acknowledged", "snoozed", "resolved"])
def test_only_opened_and_raised_records_count(state: str) -> None:
    stays = stays_from(stay("a"))

    assert not len(fired_by_records([record("a", 1, state=state)], stays))


def test_a_tier_counts_itself_and_what_is_above_it() -> None:
    stays = stays_from(stay("a"))
    records = [record("a", 0, "watch"), record("a", 1, "warning", "raised"), record("a", 2, "critical", "raised")]

    assert [3, 2, 1] == [len(fired_by_records(records, stays, tier)) for tier in ("watch", "warning", "critical")]


def test_other_syndromes_and_unknown_stays_are_left_out_unless_asked_for() -> None:
    stays = stays_from(stay("a"))
    records = [record("a", 1, syndrome="hyperpyrexia"), record("elsewhere", 1)]

    assert 0 == len(fired_by_records(records, stays))
    assert 1 == len(fired_by_records(records, stays, syndromes={"itb_withdrawal", "hyperpyrexia"}))


def test_a_score_counts_at_its_threshold_and_again_every_twelve_hours_while_it_stays_there() -> None:
    stays = stays_from(stay("a"), stay("b"))
    scores = scores_from(a=dict.fromkeys(range(40), 0.5), b={0: 0.49, 3: None, 5: float("nan"), 7: 0.5})

    assert {"a": [0, 12, 24, 36], "b": [7]} == hours_of(counted(scored(scores, stays).above(0.5)), stays)


def test_a_lower_threshold_never_counts_fewer_warnings() -> None:
    rng = np.random.default_rng(4)
    stays = stays_from(*(stay(f"s{number}") for number in range(20)))
    scores = scored(
        scores_from(**{f"s{number}": dict.fromkeys(np.sort(rng.uniform(0, 96, 80)), 0.0) for number in range(20)}),
        stays,
    )
    scores = replace(scores, score=rng.uniform(size=len(scores.score)))
    counts = [len(counted(scores.above(threshold))) for threshold in np.linspace(1, 0, 50)]

    assert sorted(counts) == counts
    assert counts[-1] > counts[0]


def test_a_standing_warning_repeats_until_it_is_lowered_below_or_the_stay_ends() -> None:
    stays = stays_from(stay("a"), stay("b", hours=30))
    records = [
        record("a", 0), record("a", 6, "critical", "raised"), record("a", 20, "warning", "lowered"),
        record("a", 25, "watch", "lowered"), record("b", 10),
    ]  # fmt: skip

    assert {"a": [0, 12, 24], "b": [10, 22]} == hours_of(counted(standing_by_records(records, stays)), stays)


@pytest.mark.parametrize(
    ("hours", "found"), [(46.9, False), (47, True), (48, True), (96, True), (96.1, False)], ids=str
)
def test_a_course_is_found_from_an_hour_before_its_first_sign_to_the_end_of_the_stay(hours: float, found: bool) -> None:
    stays = stays_from(course("a", visible=48))
    warnings = counted(fired_by_records([record("a", hours)], stays))

    assert found == (hits(warnings, stays).net[0] != NO_TIME)


def test_nothing_before_the_interruption_finds_its_course() -> None:
    stays = stays_from(course("a", visible=48, interrupted_at=47.5))
    warnings = counted(fired_by_records([record("a", 47.2)], stays))

    assert NO_TIME == hits(warnings, stays).net[0]


@pytest.mark.parametrize(("hours", "found"), [(72, True), (72.1, False)])
def test_a_restored_course_is_found_up_to_twelve_hours_after_it(hours: float, found: bool) -> None:
    stays = stays_from(course("a", visible=48, restored_at=60))
    warnings = counted(fired_by_records([record("a", hours)], stays))

    assert found == (hits(warnings, stays).net[0] != NO_TIME)


def test_a_hit_that_the_twin_has_too_is_chance_and_the_next_one_of_its_own_finds_the_course() -> None:
    stays = stays_from(stay("twin"), course("a", "twin", visible=48))
    warnings = counted(fired_by_records([record("twin", 55), record("a", 50), record("a", 64)], stays))
    found = hits(warnings, stays)

    assert (at(50), at(64), True) == (found.first[1], found.net[1], found.chance[1])


def test_a_warning_of_the_twin_at_another_time_takes_nothing_away() -> None:
    stays = stays_from(course("a", "twin", visible=48), stay("twin"))
    warnings = counted(fired_by_records([record("twin", 57), record("a", 50)], stays))
    found = hits(warnings, stays)

    assert (at(50), at(50)) == (found.first[0], found.net[0])


def test_warnings_of_stays_without_a_course_find_nothing() -> None:
    stays = stays_from(stay("a"), stay("b", kind="septic_shock"))
    found = hits(counted(fired_by_records([record("a", 50), record("b", 50)], stays)), stays)

    assert [NO_TIME, NO_TIME] == found.first.tolist()


def test_nothing_fired_is_nothing_counted() -> None:
    stays = stays_from(stay("a"), course("b", "a"))
    found = hits(counted(fired_by_records([], stays)), stays)

    assert ([NO_TIME, NO_TIME], [False, False]) == (found.net.tolist(), found.chance.tolist())


def test_a_course_found_at_a_tier_is_found_at_every_lower_one() -> None:
    stays = stays_from(stay("twin"), course("a", "twin", visible=48))
    records = [record("twin", 50, "watch"), record("a", 50, "watch"), record("a", 56, "critical", "raised")]
    found = {
        tier: hits(counted(fired_by_records(records, stays, tier)), stays) for tier in ("watch", "warning", "critical")
    }

    assert NO_TIME == found["watch"].net[1]
    assert [at(56)] * 3 == [int(one.net[1]) for one in with_higher_tiers(found).values()]
