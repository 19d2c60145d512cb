"""Alert records as a replay of simulated patients gives them."""

import pytest

from detector.records import AlertRecord
from pipelines.dataset import RANK, Dataset
from pipelines.plan_files import load_plan
from pipelines.replay import replay
from pipelines.settings import Settings
from pipelines.simulate import Bed, events

BEDS = [Bed(1, pump=True, course="published"), Bed(2, course="hyperthermia", onset_h=3)]


@pytest.fixture(scope="session")
def records() -> list[AlertRecord]:
    made = events(BEDS, 1_900_022_400_000, 48, seed=1)
    placed = [((one.available_at, RANK[type(one)], 0, row), one) for row, one in enumerate(made)]
    found = replay(Dataset(("ward",), others=placed), Settings()).records

    assert {"opened", "raised", "amended", "resolved"} <= {one.state for one in found}
    assert {"itb_withdrawal", "hyperpyrexia"} <= {one.syndrome for one in found}
    return found


@pytest.fixture(scope="session")
def catalogue():
    return load_plan(Settings()).catalogue
