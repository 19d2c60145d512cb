"""``replay --engine spark``: the persons of a data set, each folded by whichever executor has it.

The driver reads the data set as ever (every format, every refused row), and sends rows, not files: executors need no
folder in common. Rows of one person come together again by a shuffle, in whatever order; their places in the one order
travel with them, and ``Dataset`` sorts by those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
from msgspec import Struct

from detector.events import PatientEvent
from detector.records import AlertRecord
from pipelines.burden import Exposure
from pipelines.dataset import OBSERVATION_COLUMNS, Dataset, Place, Placed
from pipelines.outages import ModelEvent
from pipelines.replay import Opened, Outcome, begun, in_record_order, opened, run_share
from pipelines.settings import Settings
from pipelines.spark.session import session

if TYPE_CHECKING:
    import pyarrow as pa

PERSON, EVENT, OUTCOME = "person", "event", "outcome"


class _Part(Struct, frozen=True, array_like=True):
    """An ``Outcome`` on its way to the driver."""

    records: list[AlertRecord]
    stays: list[Exposure]
    counts: list[tuple[tuple[str, ...], int]]
    rejected: list[tuple[tuple[str, str], int]]
    events: int


class _Common(Struct, frozen=True):
    """What every executor is told. ``settings`` are those of config.yaml, as JSON."""

    settings: str
    files: tuple[str, ...]
    outages: list[ModelEvent]


def replay_on_spark(
    dataset: Dataset, settings: Settings, *, workers: int = 1, progress: Callable[[int], object] = int
) -> Outcome:
    """As ``pipelines.replay.replay``, with the same outcome.

    Raises:
        ConfigError: Spark cannot be started.
    """
    common = _Common(settings.model_dump_json(), dataset.files, dataset.outages)
    outcome = begun(dataset)
    with session(settings.spark, cores=str(workers)) as spark:
        rows = spark.createDataFrame(rows_of(dataset).to_arrow())
        run = _runner(msgspec.json.encode(common))
        done = rows.groupBy(PERSON).applyInArrow(run, f"{PERSON} string, {OUTCOME} binary").collect()
    for row in sorted(done, key=lambda row: str(row[PERSON])):
        part = _received(bytes(row[OUTCOME]))
        outcome.add(part)
        progress(part.events)
    in_record_order(outcome)
    return outcome


def rows_of(dataset: Dataset) -> pl.DataFrame:
    """Every event as a row: observations in their columns, any other event (``event``) as msgpack with its place.

    ``person`` is the patient id, or the one that stands for all that merges make one.
    """
    person = dataset.same_person()
    observed = dataset.observations.with_columns(pl.lit(None, pl.Binary).alias(EVENT))
    others = pl.DataFrame(
        [(event.patient_id, msgspec.msgpack.encode((place, event))) for place, event in dataset.others],
        schema={"patient_id": pl.String, EVENT: pl.Binary}, orient="row",
    )  # fmt: skip
    stands = pl.col("patient_id").replace(person).alias(PERSON)
    return (
        pl.concat([observed, others], how="diagonal").cast({"file": pl.Int64}).with_columns(stands)
    )  # Spark has no unsigned numbers


def dataset_of(rows: pl.DataFrame, files: tuple[str, ...], outages: list[ModelEvent]) -> Dataset:
    """What ``rows_of`` made rows of, for the rows that are there."""
    is_other = pl.col(EVENT).is_not_null()
    others: list[Placed] = [
        msgspec.msgpack.decode(raw, type=tuple[Place, PatientEvent]) for raw in rows.filter(is_other)[EVENT]
    ]
    observed = rows.filter(~is_other).select(pl.col(name).cast(kind) for name, kind in OBSERVATION_COLUMNS.items())
    return Dataset(files, observed, others, outages=outages)


def _runner(common: bytes) -> Callable[[pa.Table], pa.Table]:
    def run(table: pa.Table) -> pa.Table:
        """One person, on an executor."""
        known, ready = _of_worker(common)
        rows = pl.from_arrow(table)
        assert isinstance(rows, pl.DataFrame)
        outcome = run_share(*ready, dataset_of(rows, known.files, known.outages))
        return _sent(rows[PERSON][0], outcome)

    return run


@cache  # one plan a worker, read once
def _of_worker(common: bytes) -> tuple[_Common, Opened]:
    known = msgspec.json.decode(common, type=_Common)
    return known, opened(Settings.model_validate_json(known.settings))


def _sent(person: str, outcome: Outcome) -> pa.Table:
    import pyarrow as pa

    part = _Part(
        outcome.records, outcome.stays, list(outcome.counts.items()), list(outcome.rejected.items()), outcome.events
    )
    schema = pa.schema([(PERSON, pa.string()), (OUTCOME, pa.binary())])
    return pa.table({PERSON: [person], OUTCOME: [msgspec.msgpack.encode(part)]}, schema=schema)


def _received(raw: bytes) -> Outcome:
    part = msgspec.msgpack.decode(raw, type=_Part)
    counts: Counter[Any] = Counter(dict(part.counts))
    return Outcome(part.records, part.stays, counts, Counter(dict(part.rejected)), part.events)
