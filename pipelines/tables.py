"""Tables of texts, numbers and times from Parquet, CSV and NDJSON files.

What a column may hold is decided by its type before anything is cast, so that a column of the wrong kind refuses the file
by name instead of making every row of it bad in silence. A cell that is wrong in a right column is marked, never fatal.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from detector.errors import InputError, nearest
from pipelines.dataset import InputRefused
from pipelines.formats.times import parse_time

TEXT, NUMBER, TIME = "text", "number", "time"
EXPECTED = {
    TEXT: "texts or whole numbers",
    NUMBER: "numbers, or texts that are numbers",
    TIME: "timestamps, or RFC 3339 texts such as 2150-03-01T08:05:00Z",
}

FAULT = "fault!"
"""The column that says why a row could not even be read: ``too_many_fields`` or ``encoding``; null = it could."""

LARGEST_EXPANSION = 1_000  # a Parquet file of 4 kB can stand for 2 GiB; honest tables stay far below both limits
EXPANSION_MATTERS_FROM = 256 << 20

ROWS_AT_ONCE = 1 << 18
"""Of a Parquet file that is read in parts."""

NOT_PACKED = (EOFError, gzip.BadGzipFile, zlib.error)
"""What a compressed file raises that was cut short or damaged."""

_PLAIN_TIME = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:[0-5]\dZ?$"  # in UTC, whole seconds, no leap second
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")
_AGAIN = re.compile(r"_duplicated_\d+$")  # how the CSV reader names the second column of a name
_QUOTED = re.compile(r"\s*[`'\"].*")
_SURROGATE = re.compile(r"[\udc80-\udcff]")


@dataclass(frozen=True)
class Columns:
    """The columns a table must have, and those it may have, each with its kind."""

    required: dict[str, str]
    optional: dict[str, str]

    def present(self, path: Path, names: Sequence[str]) -> list[str]:
        """Those of our columns that a table with these ``names`` has.

        Raises:
            InputRefused: a required one is missing, or one is there twice.
        """
        missing = [name for name in self.required if name not in names]
        if missing:
            told = f"column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}"
            hints = "".join(nearest(name, set(names) - {*self.required, *self.optional}) for name in missing)
            raise InputRefused(f"{path}: no {told}; expected {', '.join(self.required)}{hints}")
        ours = [name for name in names if name in self.required or name in self.optional]
        twice = [name for name, count in Counter(ours).items() if count > 1]
        if twice:
            raise InputRefused(
                f"{path}: column {twice[0]!r} is there twice; expected every column once; leave one of them out"
            )
        return ours


Reader = Callable[[Path, Columns], pl.DataFrame]
"""Reads the columns of ours that a file has."""


def read_table(path: Path, columns: Columns) -> pl.DataFrame:
    """The named columns of a table, texts as String, numbers as Float64, times as ms UTC in Int64.

    A column ``<name>!`` is True where a cell held something that is no such number or time; ``FAULT`` says of a row why
    it could not be read. ``row`` counts from 0.

    Raises:
        InputRefused: no readable table, a required column is missing, or a column is of another kind.
    """
    try:
        raw = _READERS.get(kind_of(path), _refuse_suffix)(path, columns)
    except IsADirectoryError as error:
        raise InputRefused(f"{path}: is a folder; expected a table, one of {', '.join(_READERS)}") from error
    return as_kinds(path, raw, columns).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


def read_parts(path: Path, columns: Columns) -> Iterator[pl.DataFrame]:
    """As ``read_table``, some rows at a time: of a Parquet file only those are in memory. There is at least one part.

    Raises:
        InputRefused: as ``read_table`` does.
    """
    if kind_of(path) != ".parquet":
        yield read_table(path, columns)
        return
    with parquet_file(path) as file:
        names = columns.present(path, file.schema_arrow.names)
        start = 0
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=names):
            raw = pl.from_arrow(batch)
            assert isinstance(raw, pl.DataFrame)
            yield as_kinds(path, raw, columns).with_columns(row=pl.int_range(start, start + len(raw), dtype=pl.Int64))
            start += len(raw)
        if not start:
            yield as_kinds(path, pl.DataFrame(), columns).with_columns(row=pl.lit(0, pl.Int64))


def as_kinds(path: Path, raw: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The cells of a table (or of a part of it) as its columns are declared; see ``read_table``.

    Raises:
        InputRefused: a column is of another kind.
    """
    typed: list[pl.Series] = []
    for name, kind in (columns.required | columns.optional).items():
        cells = raw[name] if name in raw.columns else _nothing(name, len(raw))
        cells = _plain(path, cells, kind)
        values = _CASTS[kind](cells)
        typed += [values.alias(name), (cells.is_not_null() & values.is_null()).alias(f"{name}!")]
    typed.append(raw[FAULT] if FAULT in raw.columns else _nothing(FAULT, len(raw)))
    return pl.DataFrame(typed)


def refuse_if_none_is_usable(path: Path, rows: int, usable: int, reasons: Counter[str]) -> None:
    """A table without rows is a table; one that has rows and none of use is the wrong file, or wrongly written.

    Raises:
        InputRefused: it is.
    """
    if rows and not usable:
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise InputRefused(
            f"{path}: none of its {rows} rows can be used ({said}); expected some that can; look at a row and at its columns"
        )


def kind_of(path: Path) -> str:
    """The ending that says how a file is written, in small letters: ``.csv``, ``.csv.gz``, ..."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


# -- reading -----------------------------------------------------------------------------------------------------------


@contextmanager
def parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    """An open Parquet file whose footer promises no more than honest tables do; what it cannot give refuses it.

    Raises:
        InputRefused: it is no readable Parquet file, or would expand beyond measure.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            expanded = sum(group.total_byte_size for group in groups)
            if expanded > max(EXPANSION_MATTERS_FROM, LARGEST_EXPANSION * path.stat().st_size):
                raise InputRefused(f"{path}: would expand to {expanded} bytes, over {LARGEST_EXPANSION} times its size")
            yield file
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputRefused(f"{path}: no readable Parquet file ({first_line(error)})") from error


def _read_parquet(path: Path, columns: Columns) -> pl.DataFrame:
    with parquet_file(path) as file:
        frame = pl.from_arrow(file.read(columns=columns.present(path, file.schema_arrow.names)))
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _read_ndjson(path: Path, columns: Columns) -> pl.DataFrame:
    if not path.stat().st_size:
        raise InputRefused(f"{path}: is empty; expected one object a line")
    try:
        frame = pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise InputRefused(f"{path}: no readable NDJSON file ({first_line(error)})") from error
    return frame.select(columns.present(path, frame.columns))


def _read_csv(path: Path, columns: Columns) -> pl.DataFrame:
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            raise
        return _read_csv_by_rows(path, columns, first_line(error))
    names = [_AGAIN.sub("", name) if _AGAIN.sub("", name) in frame.columns else name for name in frame.columns]
    return frame.select(columns.present(path, names))


def _read_csv_by_rows(path: Path, columns: Columns, because: str) -> pl.DataFrame:
    """A CSV file of which not every row can be read: slower, and the rows that cannot be have their ``FAULT``."""
    cells: dict[str, list[str | None]] = {}
    faults: list[str | None] = []
    try:
        with _open_text(path) as file:
            rows = csv.reader(file)
            names = next(rows, [])
            places = {name: names.index(name) for name in columns.present(path, names)}
            cells = {name: [] for name in places}
            for row in rows:
                if not row:
                    continue
                fault = _fault(row, len(names))
                faults.append(fault)
                for name, place in places.items():
                    cells[name].append(None if fault or place >= len(row) else row[place] or None)
    except csv.Error as error:
        raise InputRefused(_no_csv(path, because)) from error
    except NOT_PACKED as error:
        raise InputRefused(f"{path}: no readable gzip file ({because}); expected a whole one") from error
    if not any(faults):  # row by row nothing is wrong with it: what was found first holds
        raise InputRefused(_no_csv(path, because))
    return pl.DataFrame(cells | {FAULT: faults}, schema=dict.fromkeys([*cells, FAULT], pl.String))


def _no_csv(path: Path, because: str) -> str:
    return f"{path}: no readable CSV file ({because}); expected UTF-8, commas, and every quote closed"


def _open_text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


def _fault(row: Sequence[str], width: int) -> str | None:
    if any(row[width:]):
        return "too_many_fields"
    return "encoding" if any(_SURROGATE.search(cell) for cell in row) else None


def _refuse_suffix(path: Path, _: Columns) -> pl.DataFrame:
    raise InputRefused(f"{path}: unknown kind of table {kind_of(path)!r}; expected {', '.join(_READERS)}")


_READERS: dict[str, Reader] = {
    ".parquet": _read_parquet,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".ndjson": _read_ndjson,
    ".jsonl": _read_ndjson,
}


# -- kinds of columns --------------------------------------------------------------------------------------------------


def _nothing(name: str, rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.String, eager=True).alias(name)


def _plain(path: Path, cells: pl.Series, kind: str) -> pl.Series:
    """The cells as something that can be cast to ``kind``.

    Raises:
        InputRefused: the column is of another type.
    """
    if cells.null_count() == len(cells):
        return _nothing(cells.name, len(cells))
    if isinstance(cells.dtype, pl.Categorical | pl.Enum):
        return cells.cast(pl.String)
    if cells.dtype == pl.Binary and kind == TEXT:
        try:
            return cells.cast(pl.String)
        except pl.exceptions.PolarsError:  # bytes that are no UTF-8
            pass
    numeric = cells.dtype.is_numeric()
    if cells.dtype == pl.String or (kind in (TEXT, NUMBER) and numeric):
        return cells
    if kind == TIME and isinstance(cells.dtype, pl.Datetime):
        return cells
    raise InputRefused(
        f"{path}: column {cells.name!r} is of type {_type_name(cells.dtype)}; expected {EXPECTED[kind]}; cast it first"
    )


def _type_name(dtype: pl.DataType) -> str:
    return str(dtype).partition("(")[0]  # a struct would name its fields, an enumeration its values


def _texts(cells: pl.Series) -> pl.Series:
    if cells.dtype.is_float():  # ids that went through pandas with a gap: 254635.0 was 254635
        whole = cells.cast(pl.Int64, strict=False)
        return whole.cast(pl.String) if (whole == cells).all() else cells.cast(pl.String)
    return cells.cast(pl.String, strict=False)


def _numbers(cells: pl.Series) -> pl.Series:
    if cells.dtype == pl.Float32:  # as the number that was written: 1.1, not 1.10000002384
        cells = cells.cast(pl.String)
    return cells.cast(pl.Float64, strict=False)


def _times(cells: pl.Series) -> pl.Series:
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.timestamp("us") // 1_000
    # Most tables write whole seconds of UTC and nothing else: read many at once, and one by one only what is left.
    seconds = cells.str.slice(0, 19).str.replace("T", " ", literal=True)
    usual = seconds.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms").dt.timestamp("ms")
    usual = usual.zip_with(cells.str.contains(_PLAIN_TIME), pl.Series([None], dtype=pl.Int64))
    texts = cells.filter(usual.is_null() & cells.is_not_null()).unique()
    if not len(texts):
        return usual
    return usual.fill_null(
        cells.replace_strict(texts, [_time(text) for text in texts], return_dtype=pl.Int64, default=None)
    )


def _time(text: str | None) -> int | None:
    # As tables are written: a blank for the T, an offset without its colon, and none at all where it is UTC.
    full = _OFFSET.sub(r"\1:\2", text.replace(" ", "T", 1)) if text else ""
    for written in (full, f"{full}Z"):
        try:
            return parse_time(written)
        except InputError:
            continue
    return None


_CASTS: dict[str, Callable[[pl.Series], pl.Series]] = {TEXT: _texts, NUMBER: _numbers, TIME: _times}


def first_line(error: Exception) -> str:
    """What a library says, up to where it begins to quote: that may be a patient's data."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return _QUOTED.sub(" ...", line)[:120]
