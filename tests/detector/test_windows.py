"""Windows answer what a plain list answers, at a cost that does not grow with history."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, linear_regression

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import DAY, HOUR, MINUTE
from detector.reading import Jump, Meta, Reading
from detector.windows import Series

readings = st.lists(
    st.tuples(st.integers(0, 60 * 24), st.integers(0, 60)), min_size=0, max_size=120, unique_by=lambda pair: pair
)


def reading(minute: int, value: float, site: str | None = None) -> Reading:
    at = minute * MINUTE
    return Reading(at, float(value), at, at, Meta(site=site))


def filled(pairs: Sequence[tuple[int, float]], jump: Jump | None = None) -> Series:
    series = Series(anchor=7 * MINUTE, jump=jump)
    for minute, value in pairs:
        series.insert(reading(minute, value))
    return series


@given(readings, st.integers(0, 1500), st.integers(1, 1500), st.integers(0, 60), st.booleans())
def test_matching_equals_a_scan_of_the_window(
    pairs: list[tuple[int, int]], now: int, width: int, limit: int, backwards: bool
) -> None:
    series = filled(pairs)
    after, upto = (now - width) * MINUTE, now * MINUTE
    expected = sorted((m * MINUTE, v) for m, v in pairs if after < m * MINUTE <= upto and v >= limit)

    found = [(series.at[k], series.value[k]) for k in series.matching(after, upto, limit, None, backwards=backwards)]

    assert (list(reversed(expected)) if backwards else expected) == found


@given(readings, st.integers(0, 1500), st.integers(1, 1500))
def test_extremes_are_the_lowest_and_the_highest_of_the_window(
    pairs: list[tuple[int, int]], now: int, width: int
) -> None:
    series = filled(pairs)
    after, upto = (now - width) * MINUTE, now * MINUTE
    values = [v for m, v in pairs if after < m * MINUTE <= upto]

    edges = series.extremes(after, upto)

    assert (None if not values else (min(values), max(values))) == (
        None if edges is None else (series.value[edges[0]], series.value[edges[1]])
    )


@given(readings, st.integers(0, 1500), st.integers(1, 1500))
def test_count_mean_and_slope_equal_those_of_a_scan(pairs: list[tuple[int, int]], now: int, width: int) -> None:
    series = filled(pairs)
    after, upto = (now - width) * MINUTE, now * MINUTE
    inside = [(m / 60, v) for m, v in pairs if after < m * MINUTE <= upto]

    for _ in range(2):  # the second time from the kept hours
        found = series.moments(after, upto)
        assert len(inside) == series.count(after, upto)
        if not inside:
            assert found is None
            continue
        assert found is not None
        assert fmean(v for _, v in inside) == pytest.approx(found.mean)
        if len({t for t, _ in inside}) > 1:
            assert linear_regression(*zip(*inside, strict=True)).slope == pytest.approx(found.slope, abs=1e-6)
        else:
            assert found.slope is None


@pytest.mark.parametrize("after", [66, 67, 68])
@pytest.mark.parametrize("upto", [246, 247, 248])
def test_hours_that_begin_or_end_with_the_window_count_what_lies_in_it(after: int, upto: int) -> None:
    minutes = range(after - 30, upto + 30)
    series = filled([(minute, minute % 7) for minute in minutes])  # its hours begin at minute 7, 67, 127, ...

    for began in (after, after - 20, after):  # what is kept of an hour serves every window
        inside = [(minute / 60, minute % 7) for minute in minutes if began < minute <= upto]
        found = series.moments(began * MINUTE, upto * MINUTE)

        assert len(inside) == series.count(began * MINUTE, upto * MINUTE)
        assert found is not None
        assert len(inside) == found.n
        assert linear_regression(*zip(*inside, strict=True)).slope == pytest.approx(found.slope, abs=1e-6)


@given(readings, st.integers(0, 1500), st.integers(1, 1500), st.randoms(use_true_random=False))
def test_sums_are_equal_to_the_bit_in_whatever_order_readings_came(
    pairs: list[tuple[int, int]], now: int, width: int, rng: object
) -> None:
    tenths = [(m, v / 10) for m, v in pairs]  # not exact in binary
    shuffled = list(tenths)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    after, upto = (now - width) * MINUTE, now * MINUTE

    assert filled(tenths).moments(after, upto) == filled(shuffled).moments(after, upto)


def test_a_kept_sum_is_dropped_when_its_hour_changes() -> None:
    series = filled([(10, 1), (20, 3), (200, 5)])
    assert series.moments(-1, DAY).mean == 3.0  # type: ignore[union-attr]

    series.insert(reading(30, 11))
    assert series.moments(-1, DAY).mean == 5.0  # type: ignore[union-attr]
    series.remove(0)
    assert series.moments(-1, DAY).mean == 19 / 3  # type: ignore[union-attr]


@given(readings, st.randoms(use_true_random=False))
def test_the_order_of_arrival_cannot_matter(pairs: list[tuple[int, int]], rng: object) -> None:
    shuffled = list(pairs)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]

    assert filled(pairs, Jump(5, 5 * MINUTE)) == filled(shuffled, Jump(5, 5 * MINUTE))


@given(readings, st.data())
def test_a_reading_put_in_and_taken_out_leaves_no_trace(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    minute, value = data.draw(st.tuples(st.integers(0, 1440), st.integers(61, 99)))
    series = filled(pairs, Jump(5, 5 * MINUTE))
    series.insert(reading(minute, value))
    series.remove(next(k for k in range(len(series)) if series.value[k] == value and series.at[k] == minute * MINUTE))

    assert filled(pairs, Jump(5, 5 * MINUTE)) == series


def test_the_same_reading_again_is_a_duplicate_and_another_site_is_not() -> None:
    series = Series(0)

    assert series.insert(reading(5, 37.0, "oral"))
    assert not series.insert(reading(5, 37.0, "oral"))
    assert series.insert(reading(5, 37.0, "core"))


def test_a_jump_is_an_artefact_until_it_is_repeated() -> None:
    series = Series(0, Jump(2, 5 * MINUTE))
    for minute, value in ((0, 37.0), (3, 40.0)):
        series.insert(reading(minute, value))
    assert list(series.usable) == [1, 0]

    series.insert(reading(6, 40.1))

    assert list(series.usable) == [1, 1, 1]


def test_a_second_reading_of_the_same_instant_repeats_no_jump() -> None:
    series = Series(0, Jump(2, 5 * MINUTE))
    for minute, value in ((0, 37.0), (3, 40.0), (3, 40.1)):
        series.insert(reading(minute, value))

    assert list(series.usable) == [1, 0, 0]


def test_a_slow_rise_is_no_jump() -> None:
    series = Series(0, Jump(2, 5 * MINUTE))
    for minute, value in ((0, 37.0), (30, 40.0)):
        series.insert(reading(minute, value))

    assert list(series.usable) == [1, 1]


def test_an_hour_that_is_summarised_keeps_n_low_high_median_and_last() -> None:
    series = Series(0)
    for minute, value in ((1, 5), (20, 1), (50, 3), (61, 9)):
        series.insert(reading(minute, value))

    series.summarise(HOUR)

    assert [(0, 3, 1.0, 5.0, 3.0, 3.0)] == [tuple(hour) for hour in series.older]
    assert [61 * MINUTE] == list(series.at)
    assert series.usual(-1) == 3.0


def test_what_is_older_than_the_retention_is_forgotten() -> None:
    series = filled([(1, 5), (2000, 6)])
    series.summarise(DAY)
    series.forget(2 * DAY)

    assert len(series) == 0
    assert series.older == []


def test_loaded_columns_rebuild_the_hours() -> None:
    series = filled([(1, 5), (20, 1), (90, 3)])
    before = dict(series.hours.counts)

    series.count_hours()

    assert before == series.hours.counts
