"""A data set too large for memory: its rows lie in a temporary folder, by share of the patients.

Whole patients are read back one share at a time, which is all that a replay needs. For the one order of all patients
(``publish``) each share is sorted once more on disk, and the shares are merged. The folder holds patient data: it is
readable by its owner only and lies where TMPDIR says; its files have no name once they are written, so that they go away
with the process, even when it is killed.
"""

from __future__ import annotations

import heapq
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path

import polars as pl
import pyarrow as pa

from detector.events import Context, PatientEvent, Position
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, Dataset, Placed

SHARES = 128  # of the patients: the largest research set, 70 million of our rows, gives half a million a share
ROWS_AT_ONCE = 400  # of each share while they are merged: what they hold together is in memory

CONTEXT_COLUMNS: dict[str, type[pl.DataType]] = {
    "patient_id": pl.String,
    "stay_id": pl.String,
    "kind": pl.String,
    "event": pl.String,
    "at": pl.Int64,
    "available_at": pl.Int64,
    "detail": pl.String,
    "file": pl.UInt32,
    "row": pl.Int64,
}
"""Treatments and findings as rows: times in ms UTC."""

Derive = Callable[[pl.DataFrame], pl.DataFrame]
"""Observations of whole patients -> the same with those added that follow from several rows (a total of parts)."""


class Spill:
    """Runs of rows on disk, each cut into one part for each share of the patients."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="itbwatch-"))
        self._runs: list[pa.OSFile] = []
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def add(self, table: pl.DataFrame) -> None:
        """Write one run of rows with a ``patient_id``."""
        share = table["patient_id"].hash(seed=0) % SHARES
        table = table.with_columns(share=share.cast(pl.UInt8))
        path = self.folder / f"{len(self._runs)}.run"
        _write(path, (table.filter(pl.col("share") == one) for one in range(SHARES)))
        self._runs.append(_opened(path))

    def share(self, number: int, schema: dict[str, type[pl.DataType]]) -> pl.DataFrame:
        """All rows of one share, in the columns of ``schema``."""
        parts = [pl.DataFrame(schema=schema)]
        for file in self._runs:
            batch = pl.from_arrow(pa.ipc.open_file(file).get_batch(number))
            assert isinstance(batch, pl.DataFrame)
            if len(batch):
                parts.append(batch.select(*schema))
        return pl.concat(parts)


def _write(path: Path, tables: Iterator[pl.DataFrame], rows: int | None = None) -> None:
    """Tables of one schema as an Arrow file: each one batch, or batches of ``rows``."""
    writer = None
    with pa.OSFile(str(path), "wb") as file:
        for table in tables:
            arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
            writer = writer or pa.ipc.new_file(file, arrow.schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
            batches = arrow.to_batches(max_chunksize=rows)
            for batch in batches or [pa.RecordBatch.from_pylist([], schema=arrow.schema)]:
                writer.write_batch(batch)
        if writer is not None:
            writer.close()


class SpilledDataset(Dataset):
    """A data set whose observations and context are on disk; its other events are in memory as ever."""

    def __init__(
        self, files: tuple[str, ...], observed: Spill, context: Spill, others: list[Placed],
        rejected: Counter[tuple[str, str]], rows: Counter[str], first: dict[str, int], derive: Derive,
        remarks: list[str],
    ) -> None:  # fmt: skip
        """``rows`` and ``first``: number of observations and first available_at of each patient."""
        self.files, self.others, self.rejected, self.remarks = files, others, rejected, remarks
        self.outages, self.skipped = [], None
        self.others.sort(key=itemgetter(0))
        self._observed, self._context, self._derive = observed, context, derive
        self._rows, self._first = rows, first

    @property
    def observations(self) -> pl.DataFrame:  # type: ignore[override]
        """Every observation at once, which is what the folder is there to avoid; share by share it is bounded."""
        parts = [self._derive(self._observed.share(number, OBSERVATION_COLUMNS)) for number in range(SHARES)]
        return pl.concat(parts).sort("available_at", "file", "row")

    def of(self, patients: Iterable[str]) -> Dataset:
        wanted = set(patients)
        chosen = pl.Series(sorted(wanted), dtype=pl.String)
        others = [placed for placed in self.others if placed[1].patient_id in wanted]
        whole = Dataset(self.files, others=others)
        for number in sorted(set(chosen.hash(seed=0) % SHARES)):
            part = self._part(number, []).of(chosen)
            whole.observations = pl.concat([whole.observations, part.observations])
            whole.others += part.others
        whole.__post_init__()
        return whole

    def __len__(self) -> int:
        return self._rows.total() + len(self.others)

    @property
    def synthetic(self) -> bool:
        """False: what is this large was not made up here."""
        return False

    def rows_by_patient(self) -> dict[str, int]:
        rows = Counter(self._rows)
        rows.update(event.patient_id for _, event in self.others)
        return dict(sorted(rows.items()))

    def first_available(self) -> dict[str, int]:
        return dict(self._first)

    def shares(self, count: int) -> Iterator[Dataset]:
        """Cut into data sets of whole patients, each small enough for memory; their order is not that of the ids."""
        share_of = dict(zip(ids := list(self.rows_by_patient()), pl.Series(ids).hash(seed=0) % SHARES, strict=True))
        others: list[list[Placed]] = [[] for _ in range(SHARES)]
        for placed in self.others:
            others[share_of[placed[1].patient_id]].append(placed)
        for number in range(SHARES):
            part = self._part(number, others[number])
            if len(part):
                yield from part.shares(max(1, count // SHARES))

    def by_patient(self) -> Iterator[tuple[str, list[PatientEvent]]]:
        for share in self.shares(SHARES):
            yield from share.by_patient()

    def in_order(self) -> Iterator[PatientEvent]:
        folder = Path(tempfile.mkdtemp(dir=self._observed.folder))
        runs: list[Iterator[Placed]] = []
        for number in range(SHARES):
            observed = self._derive(self._observed.share(number, OBSERVATION_COLUMNS))
            context = numbered_context(self._context.share(number, CONTEXT_COLUMNS))
            for table, placed in ((observed, self.placed), (context, partial(placed_context, files=self.files))):
                if len(table):
                    path = folder / f"{len(runs)}.sorted"
                    _write(path, iter([table.sort("available_at", "file", "row")]), ROWS_AT_ONCE)
                    runs.append(_placed_run(_opened(path), placed))
        for _, event in heapq.merge(self.others, *runs, key=itemgetter(0)):
            yield event
        shutil.rmtree(folder)

    def _part(self, number: int, others: list[Placed]) -> Dataset:
        observations = self._derive(self._observed.share(number, OBSERVATION_COLUMNS))
        context = placed_context(numbered_context(self._context.share(number, CONTEXT_COLUMNS)), self.files)
        return Dataset(self.files, observations, [*others, *context])


def _opened(path: Path) -> pa.OSFile:
    """A file open for reading that has no name any more: it is gone when the process is, however that ends."""
    file = pa.OSFile(str(path), "rb")
    path.unlink()
    return file


def _placed_run(opened: pa.OSFile, placed: Callable[[pl.DataFrame], Iterable[Placed]]) -> Iterator[Placed]:
    with opened as file:
        run = pa.ipc.open_file(file)
        for number in range(run.num_record_batches):
            batch = pl.from_arrow(run.get_batch(number))
            assert isinstance(batch, pl.DataFrame)
            yield from placed(batch)


def numbered_context(table: pl.DataFrame) -> pl.DataFrame:
    """Context of whole patients, numbered anew by time known and time happened, a start before its stop."""
    table = table.sort("patient_id", "available_at", "at", "kind", "event", "row", maintain_order=True)
    return table.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64).over("patient_id"), file=pl.lit(0, pl.UInt32))


def placed_context(table: pl.DataFrame, files: tuple[str, ...]) -> list[Placed]:
    """Rows of ``CONTEXT_COLUMNS`` as events, each with its place in the one order."""
    return [
        (
            (row["available_at"], RANK[Context], row["file"], row["row"]),
            Context(
                patient_id=row["patient_id"], kind=row["kind"], event=row["event"], at=row["at"],
                available_at=row["available_at"], detail=row["detail"], stay_id=row["stay_id"],
                position=Position(files[row["file"]], 0, row["row"]),
            ),
        )
        for row in table.iter_rows(named=True)
    ]  # fmt: skip
