"""What the gauge of the state's size says is what stands in the database of those in memory, and is kept up cheaply."""

from contextlib import closing

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.events import TimeMoved
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward
from pipelines.store import Store
from tests.pipelines.in_process import Unheard, append, drain, file_settings, refresh, serving

START = 1_900_022_400_000
PLAN = load_plan(Settings())


class Sizes(Unheard):
    def __init__(self):
        self.told = []

    def state_bytes(self, size):
        self.told.append(size)


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def size_now(settings):
    sizes = Sizes()
    with serving(settings, PLAN, metrics=sizes) as made:
        drain(made)
        refresh(made)
        before_restart = sizes.told[-1]
    with serving(settings, PLAN, metrics=sizes) as made:
        refresh(made)

    assert before_restart == sizes.told[-1]
    return before_restart


def test_the_size_is_that_of_the_stored_patients_before_and_after_a_restart(settings):
    append(settings, *events(random_ward(3, 2, 1), START, 24, 1))
    size = size_now(settings)
    with closing(Store(settings.store, read_only=True)) as store:
        stored = store.load(0).patients

    assert 3 == len(stored)
    assert size == sum(len(one.head) + sum(map(len, one.segments)) for one in stored)


def test_who_rests_in_the_store_counts_nothing(settings):
    happened = events(random_ward(2, 2, 1), START, 24, 1)
    newest = max(event.available_at for event in happened)
    append(settings, *happened, TimeMoved(at=minute_ceil(newest + 240 * HOUR + MINUTE)))

    assert 0 == size_now(settings)
