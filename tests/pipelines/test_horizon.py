"""Which records lie in the future."""

from detector.clock import DAY, HOUR, MINUTE
from pipelines.horizon import Horizon
from pipelines.ticks import NO_TIME

NOW = 20_000 * DAY


class Clocks:
    """The host's clock and the monotonic one, set by hand."""

    def __init__(self) -> None:
        self.wall, self.monotonic = NOW, 0.0

    def horizon(self) -> Horizon:
        return Horizon("wall", HOUR, lambda: self.wall, lambda: self.monotonic)


def test_a_record_may_be_as_far_ahead_as_clocks_may_differ() -> None:
    horizon = Clocks().horizon()
    horizon.see([NOW])

    assert not horizon.refuses(NOW + HOUR)
    assert horizon.refuses(NOW + HOUR + 1)


def test_the_first_record_of_all_is_taken_and_becomes_our_clock() -> None:
    horizon = Clocks().horizon()
    horizon.resume(NO_TIME)
    horizon.see([NOW + DAY])

    assert horizon.is_ahead(NOW + DAY)
    assert not horizon.refuses(NOW + DAY)


def test_the_time_a_partition_was_left_at_outweighs_the_first_records() -> None:
    horizon = Clocks().horizon()
    horizon.resume(NOW - 3 * DAY)
    horizon.see([NOW + DAY] * 50)

    assert horizon.refuses(NOW + DAY)


def test_most_records_ahead_are_our_clock_and_so_are_few_once_it_is_put_right() -> None:
    horizon = Clocks().horizon()
    horizon.see([NOW] * 10_000)
    horizon.see([NOW + DAY] * 400)

    assert horizon.refuses(NOW + DAY)

    horizon.see([NOW + DAY] * 2_000)

    assert not horizon.refuses(NOW + DAY)

    horizon.see([NOW] * 2_000)

    assert horizon.refuses(NOW + DAY)


def test_a_host_clock_that_is_set_back_refuses_nothing() -> None:
    clocks = Clocks()
    horizon = clocks.horizon()
    clocks.wall, clocks.monotonic = NOW - 5 * HOUR, 600.0

    assert not horizon.is_ahead(NOW + 10 * MINUTE + HOUR)


def test_a_machine_that_slept_refuses_nothing() -> None:
    clocks = Clocks()
    horizon = clocks.horizon()
    clocks.wall = NOW + 8 * HOUR

    assert not horizon.is_ahead(NOW + 9 * HOUR)


def test_in_stream_time_nothing_lies_in_the_future() -> None:
    horizon = Horizon("stream", 0, lambda: NOW, lambda: 0.0)
    horizon.see([NOW] * 100)

    assert not horizon.is_ahead(NOW + 100 * 365 * DAY)
