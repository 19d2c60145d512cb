"""The rows that the engine would score, without asking a single rule: what models are fitted on is what they will see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
from msgspec import structs

from detector.clock import last_tick_before
from detector.events import PatientEvent
from detector.ledger import Ledger
from detector.patient import Patient
from detector.picture import Picture
from detector.plan import Plan
from detector.rules.book import RuleBook, only
from detector.scoring import FeatureRow
from pipelines.dataset import Dataset


def without_rules(plan: Plan) -> Plan:
    """The plan with the pump gate as its only question: rows are the same, and come much faster."""
    book: RuleBook = only(plan.book, plan.book.gate)
    return structs.replace(plan, book=book)


def rows_of(plan: Plan, events: Iterable[PatientEvent]) -> Iterator[FeatureRow]:
    """The rows of one patient, whose events are in the one order."""
    picture = Picture(plan, Ledger())
    patient: Patient | None = None
    for event in events:
        if patient is None:
            patient = Patient(event.patient_id, event.available_at)
        picture.advance(patient, last_tick_before(event.available_at))
        picture.fold(patient, event, event.available_at)
        for step in picture.steps:
            if step.row is not None:
                yield step.row
        picture.steps.clear()


def row_table(
    plan: Plan, dataset: Dataset, names: tuple[str, ...], progress: Callable[[int], object] = int
) -> pl.DataFrame:
    """All rows of a data set: patient_id, at (ms UTC), and one Float64 column for each name (null = not known)."""
    bare = without_rules(plan)
    patients: list[str] = []
    at: list[int] = []
    values: list[list[float]] = []
    for patient_id, events in dataset.by_patient():
        for row in rows_of(bare, events):
            patients.append(patient_id)
            at.append(row.at)
            values.append([row.values.get(name, np.nan) for name in names])
        progress(len(events))
    matrix = np.array(values, dtype=np.float64).reshape(len(values), len(names))
    columns = {name: matrix[:, k] for k, name in enumerate(names)}
    return pl.DataFrame({"patient_id": patients, "at": at, **columns}).with_columns(pl.col(pl.Float64).fill_nan(None))
