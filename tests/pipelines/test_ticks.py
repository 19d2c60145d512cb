from detector.clock import MINUTE, SECOND
from detector.events import Ticked
from pipelines.ticks import NO_TIME, Ticks


class Monotonic:
    seconds = 100.0

    def __call__(self):
        return self.seconds


def test_stream_time_ticks_the_minute_before_a_record_and_nothing_later():
    ticks = Ticks("stream")

    assert [Ticked(0)] == list(ticks.before(0, None, MINUTE))
    assert [] == list(ticks.before(0, None, MINUTE))
    assert [Ticked(MINUTE)] == list(ticks.before(0, None, MINUTE + 1))
    assert [] == list(ticks.after(0, caught_up=True))


def test_time_never_goes_back():
    ticks = Ticks("stream")
    list(ticks.before(0, None, 10 * MINUTE))

    assert [] == list(ticks.before(0, None, 3 * MINUTE))
    assert 9 * MINUTE == ticks.ticked(0)


def test_each_partition_has_its_own_stream_time():
    ticks = Ticks("stream")
    list(ticks.before(0, None, 10 * MINUTE))

    assert [Ticked(4 * MINUTE)] == list(ticks.before(1, None, 5 * MINUTE))


def test_stream_time_is_available_at_and_wall_time_the_brokers_timestamp():
    assert [Ticked(MINUTE)] == list(Ticks("stream").before(0, 9 * MINUTE, 2 * MINUTE))
    assert [Ticked(8 * MINUTE)] == list(Ticks("wall").before(0, 9 * MINUTE, 2 * MINUTE))
    assert [Ticked(MINUTE)] == list(Ticks("wall").before(0, None, 2 * MINUTE))


def test_wall_time_is_carried_on_by_the_monotonic_clock():
    clock = Monotonic()
    ticks = Ticks("wall", clock)
    list(ticks.before(0, 10 * MINUTE, 0))
    clock.seconds += 59

    assert [Ticked(10 * MINUTE)] == list(ticks.after(0, caught_up=True))

    clock.seconds += 1

    assert [Ticked(11 * MINUTE)] == list(ticks.after(0, caught_up=True))
    assert [] == list(ticks.after(0, caught_up=True))


def test_a_partition_with_a_backlog_takes_its_time_from_its_records():
    clock = Monotonic()
    ticks = Ticks("wall", clock)
    list(ticks.before(0, 100 * MINUTE, 0))
    list(ticks.before(1, 10 * MINUTE, 0))
    clock.seconds += 300

    assert [] == list(ticks.after(1, caught_up=False))
    assert [Ticked(105 * MINUTE)] == list(ticks.after(1, caught_up=True))


def test_without_any_record_there_is_no_time():
    assert [] == list(Ticks("wall").after(0, caught_up=True))
    assert NO_TIME == Ticks("wall").ticked(0)


def test_a_gained_partition_goes_on_from_its_stored_tick():
    clock = Monotonic()
    ticks = Ticks("wall", clock)
    ticks.resume(3, 7 * MINUTE)
    clock.seconds += 61

    assert [] == list(ticks.before(3, 5 * MINUTE + SECOND, 0))
    assert [Ticked(8 * MINUTE)] == list(ticks.after(3, caught_up=True))
