"""Windows answer what a plain list answers, at a cost that does not grow with history."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detector.clock import DAY, HOUR, MINUTE
from detector.windows import Jump, Meta, Reading, Series

readings = st.lists(
    st.tuples(st.integers(0, 60 * 24), st.integers(0, 60)), min_size=0, max_size=120, unique_by=lambda pair: pair
)


def reading(minute: int, value: float, site: str | None = None) -> Reading:
    at = minute * MINUTE
    return Reading(at, float(value), at, at, Meta(site=site))


def filled(pairs: list[tuple[int, int]], jump: Jump | None = None) -> Series:
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
    before = dict(series._hours)

    series.count_hours()

    assert before == series._hours
