"""Tables of a data-set folder, read part by part, so that memory does not grow with the file.

A table is ``name.csv``, ``name.csv.gz`` or ``name.parquet``, or a folder ``name`` of such parts; names of tables and of
columns are compared without regard to case, because copies of one data set differ in it. The header (or footer) of every
table that is asked for is looked at before the first row of any is read.
"""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv

from detector.errors import ConfigError, nearest
from pipelines.dataset import InputRefused
from pipelines.tables import NOT_PACKED, TEXT, TIME, Columns, as_kinds, first_line, kind_of, parquet_file

KINDS = (".parquet", ".csv", ".csv.gz")
BLOCK = 4 << 20  # bytes of text at once, and the longest row there may be
ROWS = 1 << 18  # of a Parquet file at once


class Folder:
    """A data set as it is handed out: one folder of tables, some of them in folders below it."""

    def __init__(self, inputs: Sequence[Path], format_name: str, *below: str) -> None:
        """``below``: names of folders inside it that may hold tables.

        Raises:
            ConfigError: not one folder is named, or it is not there.
        """
        if len(inputs) != 1:
            raise ConfigError([f"{len(inputs)} inputs; --format {format_name} expects one: the folder of the data set"])
        self.root = inputs[0]
        if not self.root.is_dir():
            found = "is a file" if self.root.exists() else "no such folder"
            raise ConfigError([f"{self.root}: {found}; --format {format_name} expects the folder of the data set"])
        self._places = [place for place in (self.root, *(self.root / name for name in below)) if place.is_dir()]
        self._below = below

    def table(self, name: str, columns: Columns, *, required: bool = True, also: str | None = None) -> Table | None:
        """The table of that name (or of the name ``also``); None when it is not there and need not be.

        Raises:
            InputRefused: it is missing, there twice, or no table with the required columns.
        """
        found: dict[str, Path] = {}
        known: set[str] = set()
        names = {name.lower(), (also or name).lower()}
        for place in self._places:
            for path in sorted(place.iterdir()):
                stem = path.name if path.is_dir() else path.name[: len(path.name) - len(kind_of(path))]
                known.add(stem.lower())
                if stem.lower() in names and (path.is_dir() or kind_of(path) in KINDS):
                    found[str(path)] = path
        if len(found) > 1:
            raise InputRefused(f"{self.root}: table {name!r} is there twice: {', '.join(found)}; leave one of them out")
        if not found:
            if not required:
                return None
            where = f", here or in {', '.join(self._below)}" if self._below else ""
            told = f"expected {name}.csv, {name}.csv.gz, {name}.parquet or a folder of such parts{where}"
            raise InputRefused(f"{self.root}: no table {name!r}; {told}{nearest(name, known)}")
        path = next(iter(found.values()))
        parts = sorted(one for one in path.rglob("*") if kind_of(one) in KINDS) if path.is_dir() else [path]
        if not parts:
            raise InputRefused(f"{path}: is an empty folder; expected parts of {name!r}, one of {', '.join(KINDS)}")
        return Table(name, parts, columns)

    def required(self, name: str, columns: Columns) -> Table:
        """The table of that name.

        Raises:
            InputRefused: as ``table`` does.
        """
        table = self.table(name, columns)
        assert table is not None
        return table


@dataclass
class Only:
    """Rows of these patients, and those that name none, are wanted of a table; the others are counted in ``skipped``."""

    column: str
    patients: frozenset[str]
    skipped: int = 0


@dataclass(frozen=True)
class Telling:
    """Rows with one of these items are wanted, and those that were known more than ``ahead`` ms before they were taken."""

    items: frozenset[str]
    taken: str
    known: str
    ahead: int


class Table:
    """One table: its parts in order, and those of our columns that each of them has."""

    def __init__(self, name: str, parts: Sequence[Path], columns: Columns) -> None:
        """Look at the header or the footer of every part.

        Raises:
            InputRefused: a part is no such table.
        """
        self.name = name
        self.parts = tuple(parts)
        self.columns = columns
        self.faults: Counter[str] = Counter()
        """Rows that were left out because they could not even be split into cells, by reason."""
        self._names = [_ours(path, columns) for path in parts]

    def batches(
        self, items: tuple[str, frozenset[str]] | None = None, seen: Counter[str] | None = None,
        told: Callable[[str, int], object] = lambda *_: None, only: Only | None = None,
        telling: Telling | None = None,
    ) -> Iterator[tuple[Path, pl.DataFrame]]:  # fmt: skip
        """The rows, part by part and some at a time, as ``pipelines.tables.as_kinds`` gives them, with ``row``.

        ``items`` = (column, values): only rows with one of these values. ``seen`` counts every value of that column;
        ``told`` hears how many rows of the table were read. ``only``: whose rows are wanted of those; ``telling``: which.

        Raises:
            InputRefused: a part cannot be read to its end, or a column is of another kind.
        """
        self.faults.clear()  # a table may be read twice
        rows = 0
        for path, names in zip(self.parts, self._names, strict=True):
            if items is not None and kind_of(path) == ".parquet":
                picked = _picked(path, names, items, telling, only)
                if picked is not None:
                    for frame, counts, read in picked:
                        rows += read
                        told(self.name, rows)
                        if seen is not None:
                            seen.update(counts)
                        if len(frame):
                            yield path, as_kinds(path, frame, self.columns).with_columns(frame["row"])
                    continue
            start = 0
            for raw in _raw(path, names, self.faults):
                count = len(raw)
                frame = raw.with_columns(row=pl.int_range(start, start + count, dtype=pl.Int64))
                start += count
                rows += count
                told(self.name, rows)
                if items is not None:
                    frame = frame.filter(_is_one_of(path, frame[items[0]], items[1], seen))
                if telling is not None and items is not None and len(frame):
                    frame = frame.filter(
                        _is_one_of(path, frame[items[0]], telling.items) | _is_ahead(path, frame, telling)
                    )
                if only is not None and len(frame):
                    whose = frame[only.column]
                    wanted = frame.filter(_is_one_of(path, whose, only.patients) | whose.is_null())
                    only.skipped += len(frame) - len(wanted)
                    frame = wanted
                if len(frame):
                    yield path, as_kinds(path, frame, self.columns).with_columns(frame["row"])

    def whole(self) -> pl.DataFrame:
        """All rows at once: for tables with a row for each stay or patient.

        Raises:
            InputRefused: as ``batches`` does.
        """
        frames = [frame for _, frame in self.batches()]
        empty = as_kinds(self.parts[0], pl.DataFrame(), self.columns).with_columns(row=pl.lit(0, pl.Int64))
        return pl.concat([empty, *frames], how="vertical_relaxed")


def _is_ahead(path: Path, frame: pl.DataFrame, telling: Telling) -> pl.Series:
    if telling.known not in frame.columns:
        return pl.Series([False])
    columns = Columns({telling.taken: TIME, telling.known: TIME}, {})
    times = as_kinds(path, frame.select(telling.taken, telling.known), columns)
    return (times[telling.taken] - times[telling.known] > telling.ahead).fill_null(False)


def _is_one_of(path: Path, cells: pl.Series, texts: Container[str], seen: Counter[str] | None = None) -> pl.Series:
    """For each cell whether it is one of these texts; each different cell is turned into a text once.

    ``seen`` counts them.
    """
    found = cells.value_counts(name="rows!")
    told, wanted = _those_of(path, found[cells.name], texts)
    if seen is not None:
        seen.update({str(text): rows for text, rows in zip(told, found["rows!"], strict=True)})
    return cells.is_in(wanted.implode()).fill_null(False)


def _those_of(path: Path, different: pl.Series, texts: Container[str]) -> tuple[pl.Series, pl.Series]:
    """Different cells of a column as texts, and those of the cells that are one of ``texts``."""
    name = different.name
    told = as_kinds(path, different.to_frame(), Columns({name: TEXT}, {}))[name]
    wanted = pl.Series([text is not None and text in texts for text in told], dtype=pl.Boolean)
    return told, different.filter(wanted)


def _picked(
    path: Path, names: dict[str, str], items: tuple[str, frozenset[str]], telling: Telling | None, only: Only | None
) -> Iterator[tuple[pl.DataFrame, Counter[str], int]] | None:
    """The few wanted rows of a Parquet file, with their ``row``, counts of its items, and how many more rows were read.

    The columns that decide are read first, and the others only where a row is wanted. None = that is not worth it, or
    not possible: the times are texts.
    """
    if telling is None and only is None:
        return None
    scan = pl.scan_parquet(path).select(pl.col(own).alias(ours) for own, ours in names.items())
    if telling is not None and telling.known in names.values():
        schema = scan.collect_schema()
        if not all(isinstance(schema[name], pl.Datetime) for name in (telling.taken, telling.known)):
            return None
    return _wanted_of(path, scan, items, telling, only)


def _wanted_of(
    path: Path, scan: pl.LazyFrame, items: tuple[str, frozenset[str]], telling: Telling | None, only: Only | None
) -> Iterator[tuple[pl.DataFrame, Counter[str], int]]:
    with parquet_file(path) as file:
        rows = file.metadata.num_rows
        found = scan.group_by(items[0]).len("rows!").collect(engine="streaming")
        told, ours = _those_of(path, found[items[0]], items[1])
        counts = Counter({str(text): rows for text, rows in zip(told, found["rows!"], strict=True)})
        wanted = pl.col(items[0]).is_in(ours.implode())
        if telling is not None:
            tells = pl.col(items[0]).is_in(_those_of(path, ours, telling.items)[1].implode())
            if telling.known in scan.collect_schema().names():
                late = (pl.col(telling.taken) - pl.col(telling.known)).dt.total_milliseconds()
                tells = tells | (late > telling.ahead - 2)  # either was cut to whole ms
            wanted &= tells
        if only is not None:
            whose = scan.select(pl.col(only.column).unique()).collect(engine="streaming")[only.column]
            theirs = _those_of(path, whose, only.patients)[1]
            wanted &= pl.col(only.column).is_in(theirs.implode()) | pl.col(only.column).is_null()
            only.skipped += sum(counts[item] for item in items[1])
        read = 0
        picked = scan.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64)).filter(wanted)
        for frame in picked.collect_batches(chunk_size=ROWS, maintain_order=True):
            if only is not None:
                only.skipped -= len(frame)
            reached = frame["row"][-1] + 1 if len(frame) else read
            yield frame, Counter(), reached - read
            read = reached
        yield pl.DataFrame(), counts, rows - read


def _ours(path: Path, columns: Columns) -> dict[str, str]:
    """Our columns of one part: its own spelling -> ours."""
    if kind_of(path) == ".parquet":
        with parquet_file(path) as file:
            names: list[str] = list(file.schema_arrow.names)
    else:
        names = _header(path)
    lower = [name.strip().lower() for name in names]
    return {names[lower.index(name)]: name for name in columns.present(path, lower)}


def _header(path: Path) -> list[str]:
    try:
        with _text(path) as file:
            return next(csv.reader(file), [])
    except (csv.Error, *NOT_PACKED) as error:
        raise InputRefused(_no_csv(path, error)) from error


def _text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _raw(path: Path, names: dict[str, str], faults: Counter[str]) -> Iterator[pl.DataFrame]:
    for frame in _parquet(path, names) if kind_of(path) == ".parquet" else _csv(path, names, faults):
        yield frame.rename(names)


def _parquet(path: Path, names: dict[str, str]) -> Iterator[pl.DataFrame]:
    with parquet_file(path) as file:
        for batch in file.iter_batches(batch_size=ROWS, columns=list(names)):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield frame


def _csv(path: Path, names: dict[str, str], faults: Counter[str]) -> Iterator[pl.DataFrame]:
    def skip(row: Any) -> str:
        faults["too_many_fields" if row.actual_columns > row.expected_columns else "too_few_fields"] += 1
        return "skip"

    parse = pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    convert = pa_csv.ConvertOptions(
        include_columns=list(names), column_types=dict.fromkeys(names, pa.binary()),
        strings_can_be_null=True, quoted_strings_can_be_null=True, null_values=[""],
    )  # fmt: skip
    read = pa_csv.ReadOptions(block_size=BLOCK, use_threads=False)
    compression = "gzip" if path.suffix.lower() == ".gz" else None
    try:
        with pa.input_stream(str(path), compression=compression) as file:
            for batch in pa_csv.open_csv(file, read_options=read, parse_options=parse, convert_options=convert):
                yield _decoded(batch, faults)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputRefused(_no_csv(path, error)) from error


def _decoded(batch: Any, faults: Counter[str]) -> pl.DataFrame:
    """The cells as text, without the rows that hold bytes that are no UTF-8."""
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    try:
        return frame.select(pl.all().cast(pl.String))
    except pl.exceptions.PolarsError:  # cell by cell, because somewhere in this part is one
        rows = [row for row in frame.iter_rows() if all(cell is None or _is_text(cell) for cell in row)]
    faults["encoding"] += len(frame) - len(rows)
    return pl.DataFrame(rows, schema=frame.schema, orient="row").select(pl.all().cast(pl.String))


def _is_text(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def _no_csv(path: Path, error: Exception) -> str:
    return f"{path}: no readable CSV file ({first_line(error)}); expected UTF-8, commas, and every quote closed"
