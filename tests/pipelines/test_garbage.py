"""Patients hold no cycles, so the collector need not look at them all the time."""

import gc
import sys

import pytest

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.engine import Ward, run
from detector.events import Ticked
from pipelines import __main__
from pipelines.garbage import MIDDLE, OLD, YOUNG
from pipelines.model_files import open_scorer
from pipelines.plan_files import load_plan
from pipelines.processes import spread
from pipelines.settings import Settings
from pipelines.simulate import events, random_ward

START = 1_900_022_400_000


@pytest.fixture
def nobody_looks():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_patients_that_alerted_and_are_let_go_of_leave_nothing_for_the_collector(nobody_looks):
    settings = Settings()
    plan = load_plan(settings)
    scorer = open_scorer(settings, plan)
    happened = events(random_ward(4, 2, 1), START, 48, 1)
    gc.collect()  # what loading and simulating left behind

    ward = Ward(plan)
    end = Ticked(minute_ceil(happened[-1].available_at + 48 * HOUR + MINUTE))
    records = len(run(plan, ward, [*happened, end], scorer).records)
    patients = len(ward.patients)
    del ward

    assert records > 5
    assert patients == 4
    assert 0 == gc.collect()


@pytest.fixture
def usual():
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def threshold(_):
    return gc.get_threshold()


def test_a_command_looks_seldom(usual, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["itbwatch", "--version"])
    with pytest.raises(SystemExit):
        __main__.main()

    assert usual != gc.get_threshold() == (YOUNG, MIDDLE, OLD)


def test_so_do_the_processes_of_a_replay():
    assert [(YOUNG, MIDDLE, OLD)] * 3 == list(spread(threshold, [1, 2, 3], 2))
