"""Patients hold no cycles, so the collector need not look at them all the time."""

import gc
import sys

import pytest

from pipelines import __main__
from pipelines.garbage import MIDDLE, OLD, YOUNG
from pipelines.processes import spread


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
