"""A small cohort, made by the ward simulator: courses, their twins and a look-alike in the layout of a cohort folder.

The stand-in for an injected cohort: a twin is the same simulated patient without a course, so its readings are alike
and not equal.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from detector.clock import HOUR
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.commands.simulate import STAYS, TABLE, _stays, _write_lines, _write_table
from pipelines.evaluation.truth import TRUTH
from pipelines.simulate import Bed, events

START = 1_900_000_020_000
HOURS = 84.0
COURSES = {
    "withdrawal_full_blown": ("withdrawal", "full_blown"),
    "withdrawal_moderate": ("withdrawal", "moderate"),
    "withdrawal_mild": ("partial_withdrawal", "mild"),
    "sepsis": ("septic_shock", None),
}


def write_cohort(out: Path, people: int, seed: int) -> Path:
    """``people`` with a course, and the twin of each, in ``out``."""
    made: list[PatientEvent] = []
    truth = []
    for number in range(1, people + 1):
        course = list(COURSES)[number % len(COURSES)]
        kind, severity = COURSES[course]
        onset = 20.0 + number % 7
        ids = [f"SYN-{number:04d}", f"TWIN-{number:04d}"]
        for patient, told in zip(ids, (course, None), strict=True):
            own = events([Bed(number, pump=True, course=told, onset_h=onset)], START, HOURS, seed)
            made += [_renamed(event, patient) for event in own if told or not _tells(event)]
        first = START + int(onset * HOUR)
        for patient, twin in ((ids[0], ids[1]), (ids[1], None)):
            injected = twin is not None
            truth.append([
                f"{patient}-1", patient, f"{twin}-1" if twin else None, kind if injected else "background",
                severity if injected else None, "ward", "simulate 1" if injected else None, True, START,
                START + int(HOURS * HOUR), first - 20 * HOUR if injected and severity else None,
                first if injected and severity else None,
                first + 36 * HOUR if injected and severity == "full_blown" else None, None,
            ])  # fmt: skip
    made.sort(key=lambda event: event.available_at)
    out.mkdir(parents=True)
    _write_lines(out / "pumps.ndjson", (one for one in made if isinstance(one, Pump)))
    _write_lines(out / "context.ndjson", (one for one in made if isinstance(one, Context)))
    rows = [[getattr(one, name) for name in TABLE] for one in made if isinstance(one, Observation)]
    _write_table(out / "observations.parquet", rows, TABLE)
    _write_table(out / "stays.parquet", _stays(made), STAYS)
    pl.DataFrame(truth, schema=TRUTH, orient="row").write_parquet(out / "truth.parquet")
    return out


def _renamed(event: PatientEvent, patient: str) -> PatientEvent:
    if isinstance(event, Encounter | Observation):
        return replace(event, patient_id=patient, stay_id=f"{patient}-1")
    return replace(event, patient_id=patient)


def _tells(event: PatientEvent) -> bool:
    return isinstance(event, Context)


@pytest.fixture(scope="session")
def cohort_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohorts") / "ward", 10, seed=5)
