"""Stays without a course: real ones out of a data set, or plain synthetic ones where there is no data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal

import numpy as np
import polars as pl

from detector.clock import DAY, HOUR
from detector.events import Encounter, Observation
from pipelines.dataset import OBSERVATION_COLUMNS, Dataset
from pipelines.simulate import Bed, events

Split = Literal["train", "tune", "test"]

SHORTEST_H = 30.0  # 6 h before the earliest onset and 24 h after it
FEWEST = {"temp": 4, "hr": 12}  # readings without which a course leaves no trace; D


@dataclass(frozen=True)
class Background:
    """One stay. ``observations`` has ``OBSERVATION_COLUMNS``; times are ms UTC; ``discharged_at`` None = not known."""

    stay_id: str
    patient_id: str
    observations: pl.DataFrame
    admitted_at: int
    discharged_at: int | None = None
    unit: str | None = None
    age_years: float | None = None
    sex: str | None = None
    weight_kg: float | None = None
    first: int = field(init=False)
    last: int = field(init=False)

    def __post_init__(self) -> None:
        at = self.observations["effective_at"]
        # 1st and 99th percentile: one misdated row must not make a stay look long
        object.__setattr__(self, "first", int(at.quantile(0.01, "lower") or 0) if len(at) else self.admitted_at)
        object.__setattr__(self, "last", int(at.quantile(0.99, "higher") or 0) if len(at) else self.admitted_at)

    @property
    def hours(self) -> float:
        return (self.last - self.first) / HOUR


def backgrounds(dataset: Dataset) -> Iterator[Background]:
    """The stays of a data set, in the order of their ids. Observations without a stay are left out.

    Patients whose ids were merged keep the id each observation has.
    """
    about: dict[str, Encounter] = {}
    ends: dict[str, int] = {}
    for _, event in dataset.others:
        if isinstance(event, Encounter) and event.event == "admitted":
            about.setdefault(event.stay_id, event)
        elif isinstance(event, Encounter) and event.event == "discharged":
            ends[event.stay_id] = event.at
    tables = dataset.observations.filter(pl.col("stay_id").is_not_null()).partition_by("stay_id", as_dict=True)
    for (stay,), table in sorted(tables.items(), key=lambda one: str(one[0][0])):
        known = about.get(str(stay))
        first = int(table["effective_at"].min())  # type: ignore[arg-type]  # polars types every minimum as any literal
        yield Background(
            stay_id=str(stay),
            patient_id=str(table["patient_id"][0]),
            observations=table.sort("effective_at", "available_at", "code", "row"),
            admitted_at=known.at if known else first,
            discharged_at=ends.get(str(stay)),
            unit=known.unit if known else None,
            age_years=known.age_years if known else None,
            sex=known.sex if known else None,
            weight_kg=known.weight_kg if known else None,
        )


def unsuitable(background: Background) -> str | None:
    """Why no course can be injected into a stay; None = one can."""
    if background.hours < SHORTEST_H:
        return f"{background.hours:.0f} h of readings; expected {SHORTEST_H:.0f} h or more"
    counts = dict(background.observations["code"].value_counts().iter_rows())
    for signal, fewest in FEWEST.items():
        found = max(counts.get(signal, 0), counts.get(_LOINC[signal], 0))
        if found < fewest:
            return f"{found} readings of {signal}; expected {fewest} or more"
    return None


def split(patient_id: str, seed: int = 0, shares: tuple[float, float] = (0.5, 0.2)) -> Split:
    """Which part of a study a patient belongs to, by a hash: the same on every machine, whatever else is in the data.

    ``shares`` are those of train and tune; the rest is test.
    """
    digest = blake2b(f"split|{seed}|{patient_id}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return "train" if place < shares[0] else "tune" if place < sum(shares) else "test"


def synthetic_backgrounds(count: int, seed: int, *, start: int = 1_893_974_400_000) -> Iterator[Background]:
    """Plain ICU stays of 2 to 6 days out of the first edition's ward: usual values, drift, artefacts, delays, no course.

    The ward's values only jitter; real ones drift for hours, go to fever and back, and are wrong at admission. So each
    signal gets slow noise, and a stay in three a day of fever with its heart rate. All amounts are by design.
    """
    for number in range(1, count + 1):
        rng = np.random.default_rng([seed, number, 0xBAC])
        hours = float(rng.uniform(48, 144))
        bed = Bed(number, arrives_h=0.0)
        made = events([bed], start, hours, seed)
        rows = [
            (one.patient_id, one.stay_id, one.code, one.value, one.value_text, one.unit, one.effective_at,
             one.available_at, one.status, None, None, None, one.source, 0, row)
            for row, one in enumerate(made)
            if isinstance(one, Observation)
        ]  # fmt: skip
        table = pl.DataFrame(rows, schema=OBSERVATION_COLUMNS, orient="row")
        admitted = next(one for one in made if isinstance(one, Encounter) and one.event == "admitted")
        yield Background(
            stay_id=bed.patient_id + "-1",
            patient_id=bed.patient_id,
            observations=_drift(table, start, hours, rng).sort("effective_at", "available_at", "code", "row"),
            admitted_at=admitted.at,
            discharged_at=start + int(hours * HOUR),
            unit=admitted.unit,
            age_years=admitted.age_years,
            sex=admitted.sex,
        )


_LOINC = {"temp": "8310-5", "hr": "8867-4", "sbp": "8480-6", "dbp": "8462-4", "map": "8478-0", "rr": "9279-1"}
_DRIFT = {"temp": 0.25, "hr": 7.0, "sbp": 9.0, "dbp": 5.0, "map": 6.0, "rr": 2.0}  # D
_DECIMALS = {"temp": 1}


def _drift(table: pl.DataFrame, start: int, hours: float, rng: np.random.Generator) -> pl.DataFrame:
    from pipelines.simulate.shapes import bump, wander  # shapes do not know wards

    grid = np.arange(0.0, hours + 2.0, 0.5)
    pressure = wander(grid, 8.0, rng)
    curves = {name: size * (pressure if name in ("sbp", "dbp", "map") else wander(grid, 8.0, rng)) for name, size in _DRIFT.items()}  # fmt: skip
    if rng.random() < 1 / 3:
        fever = rng.uniform(0.8, 2.2) * bump(grid, rng.uniform(0, hours), rng.uniform(16, 48))
        curves["temp"] = curves["temp"] + fever
        curves["hr"] = curves["hr"] + 7.0 * fever
    at = (table["effective_at"].to_numpy() - start) / HOUR
    codes = table["code"].to_numpy()
    values = table["value"].to_numpy().copy()
    for name, curve in curves.items():
        rows = codes == _LOINC[name]
        moved = values[rows] + np.interp(at[rows], grid, curve)
        values[rows] = np.round(moved, _DECIMALS.get(name, 0))
    # a text has no number: numpy has only NaN for that, an event has null
    return table.with_columns(pl.Series("value", values, dtype=pl.Float64).fill_nan(None))


IMPLANTED_BEFORE = 365 * DAY
"""How long before admission the pump of every stay was implanted."""
