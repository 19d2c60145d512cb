"""What the models cost a gated observation: features, personal baseline and scores, with the shipped artefact.

    .venv/bin/python benchmarks/scoring.py [STAYS]

STAYS (default 60) synthetic stays with a pump go through the picture of the engine with the pump gate as its only rule,
with and without features and learner; the rows of so many observations as a batch of 500 are scored together. Processor
time, the best of five rounds, because what disturbs only slows.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time

from msgspec import structs

from detector.events import Observation, PatientEvent
from detector.features import columns
from detector.plan import Plan
from detector.scoring import FeatureRow, Learned, Readings
from models.bundle import FOLDER, open_models
from models.columns import column_names
from models.personal import PersonalBaseline
from pipelines.model_files import columns_of
from pipelines.plan_files import load_plan
from pipelines.settings import Settings
from pipelines.simulate.backgrounds import synthetic_backgrounds
from pipelines.simulate.cohort import build
from pipelines.training.rows import rows_of, without_rules

ROUNDS = 5
BATCH = 500
"""Observations that come together."""


class Watched(PersonalBaseline):
    """Keeps what it is asked, to be asked again with nothing around it."""

    def __init__(self) -> None:
        self.learned: list[tuple[Learned, float, Readings]] = []
        self.asked: list[tuple[Learned, Readings]] = []

    def learn(self, learned: Learned, hours: float, readings: Readings) -> Learned:
        self.learned.append((learned, hours, dict(readings)))
        return super().learn(learned, hours, readings)

    def read(self, learned: Learned, recent: Readings) -> dict[str, float]:
        self.asked.append((learned, dict(recent)))
        return super().read(learned, recent)


def best(work: Callable[[], object]) -> float:
    """Seconds of processor time."""
    took = []
    for _ in range(ROUNDS):
        start = process_time()
        work()
        took.append(process_time() - start)
    return min(took)


def all_rows(plan: Plan, patients: Mapping[str, list[PatientEvent]]) -> list[FeatureRow]:
    return [row for events in patients.values() for row in rows_of(plan, events)]


def main(stays: int) -> None:
    start = process_time()
    models = open_models(FOLDER, column_names(columns_of(load_plan(Settings(), scored=False).catalogue)))
    print(f"opening the artefact and scikit-learn: {process_time() - start:.1f} s of processor time, "
          f"{sum(path.stat().st_size for path in Path(FOLDER).iterdir()) / 1e6:.2f} MB")  # fmt: skip
    patients = {
        name: list(events) for name, events in build(synthetic_backgrounds(stays, 3), 0, seed=3).dataset().by_patient()
    }
    count = sum(isinstance(event, Observation) for events in patients.values() for event in events)
    watched = Watched()
    plan = without_rules(load_plan(Settings()))
    bare = structs.replace(plan, features=(), columns=columns(()), learner=None)
    rows = all_rows(structs.replace(plan, learner=watched), patients)
    rows.sort(key=lambda row: (row.at, row.patient_id))
    together = max(1, round(BATCH * len(rows) / count))
    batches = [rows[at : at + together] for at in range(0, len(rows), together)]
    personal = PersonalBaseline()

    def of_personal() -> None:
        for state, hours, readings in watched.learned:
            personal.learn(state, hours, readings)
        for state, recent in watched.asked:
            personal.read(state, recent)

    without = best(lambda: all_rows(bare, patients))
    figures = {
        "features and personal baseline, in the engine": best(lambda: all_rows(plan, patients)) - without,
        "  of it the personal baseline alone": best(of_personal),
        f"scores of both models, {together} rows a batch": best(lambda: [models.score(batch) for batch in batches]),
    }
    print(f"{count:,} observations of {len(patients)} patients, {len(rows):,} rows; microseconds an observation")
    for what, seconds in figures.items():
        print(f"{what:52s} {1e6 * seconds / count:7.2f}")
    largest = max(len(json.dumps(state)) for state, _, _ in watched.learned)
    print(f"largest state of a personal baseline: {largest:,} bytes as JSON")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
