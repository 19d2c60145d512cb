"""Intervals against published values, and a bootstrap that draws people."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.evaluation.intervals import median, rate, wilson


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    # R. G. Newcombe, Stat Med 1998;17:857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(count: int, of: int, low: float, high: float) -> None:
    figure = wilson(count, of)

    assert figure.low == pytest.approx(low, abs=5e-5)
    assert figure.high == pytest.approx(high, abs=5e-5)


def test_ten_of_ten_is_far_from_certain() -> None:
    figure = wilson(10, 10)  # clinical-evidence.md section 6: 0.72 to 1.00

    assert (0.72, 1.0) == (round(figure.low or 0, 2), pytest.approx(figure.high))


def test_nothing_to_divide_by_gives_no_figure() -> None:
    assert (None, None, None) == wilson(0, 0)[:3]
    assert (None, None, None) == rate(np.array([0]), np.array([0.0]), np.array([0]), seed=1)[:3]
    assert (None, None, None) == median(np.array([]), np.array([], dtype=np.int64), seed=1)[:3]


def test_a_rate_is_events_per_hundred_days_and_equal_people_leave_no_doubt() -> None:
    figure = rate(np.full(10, 1), np.full(10, 4.0), np.arange(10), seed=1)

    assert (25.0, 25.0, 25.0, 10, 40.0) == figure


def test_stays_of_one_person_do_not_count_as_many_people() -> None:
    counts, days = np.tile([0, 4], 50), np.full(100, 5.0)
    many = rate(counts, days, np.arange(100), seed=1)
    few = rate(counts, days, np.arange(100) % 4, seed=1)

    assert many.value == few.value
    assert (few.high or 0) - (few.low or 0) > 2 * ((many.high or 0) - (many.low or 0))


def test_equal_seeds_give_equal_intervals() -> None:
    counts, days, people = np.arange(40), np.full(40, 3.0), np.arange(40)

    assert rate(counts, days, people, seed=7) == rate(counts, days, people, seed=7)
    assert rate(counts, days, people, seed=7) != rate(counts, days, people, seed=8)


@pytest.mark.parametrize("values", [[1.0, 2.0, 4.0, 9.0], [3.0, 1.0, 2.0]])
def test_the_median_is_numpys_and_lies_in_its_interval(values: list[float]) -> None:
    figure = median(np.array(values), np.arange(len(values)), seed=1)

    assert np.median(values) == figure.value
    assert (figure.low or 0) <= (figure.value or 0) <= (figure.high or 0)
