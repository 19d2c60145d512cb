"""The canonical replay tables: observations and stays as Parquet, CSV or NDJSON, context and pumps as NDJSON.

A row that cannot be an event is counted with its reason and never fatal; a file that cannot be a table is refused as a
whole before anything is written. An NDJSON input may hold every type of event (what ``simulate`` writes), tables only
observations. Times without an offset are UTC in tables and refused in NDJSON (DESIGN.md section 2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from detector.errors import InputError, nearest
from detector.events import EARLIEST, LATEST, Encounter, Merged, Position, Status, TimeMoved
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, Dataset, InputRefused, existing
from pipelines.formats.canonical import LONGEST_IDENTITY, SILENT_STATUSES, decode
from pipelines.formats.times import parse_time

TEXT, NUMBER, TIME = "text", "number", "time"
STATUSES = get_args(Status)
TOPIC_OF = {"observation": "observations", "pump": "pumps", "context": "context"}
SEXES: dict[str, Any] = {"F": "female", "M": "male", "female": "female", "male": "male", "other": "other"}

_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")

LARGEST_EXPANSION = 1_000  # a Parquet file of 4 kB can stand for 2 GiB; honest tables stay far below both limits
EXPANSION_MATTERS_FROM = 256 << 20


@dataclass(frozen=True)
class Columns:
    """The columns a table must have, and those it may have, each with its kind."""

    required: dict[str, str]
    optional: dict[str, str]

    def present(self, path: Path, names: Sequence[str]) -> list[str]:
        """Those of our columns that a table with these ``names`` has.

        Raises:
            InputRefused: a required one is missing.
        """
        for name in self.required:
            if name not in names:
                expected = ", ".join(self.required)
                raise InputRefused(f"{path}: no column {name!r}; expected {expected}{nearest(name, names)}")
        return [name for name in names if name in self.required or name in self.optional]


Reader = Callable[[Path, Columns], pl.DataFrame]
"""Reads the columns of ours that a file has."""

OBSERVATIONS = Columns(
    {"patient_id": TEXT, "code": TEXT, "value": NUMBER, "effective_at": TIME},
    {"stay_id": TEXT, "value_text": TEXT, "unit": TEXT, "available_at": TIME, "status": TEXT, "observation_id": TEXT,
     "site": TEXT, "reference_high": NUMBER, "source": TEXT},
)  # fmt: skip
STAYS = Columns(
    {"stay_id": TEXT, "patient_id": TEXT, "admitted_at": TIME},
    {"discharged_at": TIME, "unit": TEXT, "age_years": NUMBER, "sex": TEXT, "weight_kg": NUMBER},
)


def read(inputs: Sequence[Path], stays: Path | None, context: Path | None) -> Dataset:
    """Read canonical tables.

    Raises:
        InputRefused: a file is no such table, or lacks a column.
        ConfigError: a file is not there.
        OSError: a file cannot be read.
    """
    for path in (*inputs, *filter(None, (stays, context))):
        existing(path)
    dataset = Dataset(files=())
    tables = []
    for path in inputs:
        if _is_ndjson(path):
            add_events(dataset, path, "observation")
        else:
            table = read_table(path, OBSERVATIONS)
            dataset.files += (path.name,)
            tables.append(_observations(dataset, table.with_columns(file=pl.lit(len(dataset.files) - 1, pl.UInt32))))
    if stays is not None:
        _add_stays(dataset, stays)
    if context is not None:
        add_events(dataset, context, "context")
    if tables:
        dataset.observations = pl.concat(tables)
    dataset.__post_init__()
    return dataset


def add_events(dataset: Dataset, path: Path, default_type: str) -> set[str]:
    """Add the events of an NDJSON file, ``default_type`` for lines without a type; return the patients it names.

    Raises:
        InputRefused: not one of its lines is an event.
    """
    existing(path)
    file = len(dataset.files)
    dataset.files += (path.name,)
    patients: set[str] = set()
    lines = 0
    with path.open("rb") as handle:
        for row, line in enumerate(handle):
            if not line.strip():
                continue
            lines += 1
            try:
                event = decode(line, default_type=default_type, position=Position(path.name, 0, row))
            except InputError as error:
                dataset.rejected[TOPIC_OF[default_type], error.reason] += 1
                continue
            if not isinstance(event, TimeMoved | Merged):  # a record that only moves time says nothing about a patient
                patients.add(event.patient_id)
                dataset.others.append(((event.available_at, RANK[type(event)], file, row), event))
    if lines and not patients:
        raise InputRefused(
            f"{path}: none of its {lines} lines is a canonical {default_type} event (canonical JSON, one object a line)"
        )
    return patients


def read_table(path: Path, columns: Columns) -> pl.DataFrame:
    """The named columns of a Parquet or CSV file, texts as String, numbers as Float64, times as ms UTC in Int64.

    A column ``<name>!`` is True where a cell held something that is no such number or time. ``row`` counts from 0.

    Raises:
        InputRefused: no readable table, or a required column is missing.
    """
    raw = _READERS.get(path.suffix, _refuse_suffix)(path, columns)
    typed: list[pl.Series] = []
    for name, kind in (columns.required | columns.optional).items():
        cells = raw[name] if name in raw.columns else pl.Series(name, [None] * len(raw), pl.String)
        values = _CASTS[kind](cells)
        typed += [values.alias(name), (cells.is_not_null() & values.is_null()).alias(f"{name}!")]
    return pl.DataFrame(typed).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


def _observations(dataset: Dataset, table: pl.DataFrame) -> pl.DataFrame:
    """The rows that can be events, in the columns of a data set; the others are counted in ``dataset.rejected``."""
    identity = pl.col("patient_id")
    table = table.with_columns(
        pl.col("available_at").fill_null(pl.col("effective_at")), pl.col("status").fill_null("final")
    )
    reason = (
        pl.when(_blank("patient_id") | _blank("code")).then(pl.lit("missing_key"))
        .when((identity.str.len_chars() > LONGEST_IDENTITY) | identity.str.contains(r"\p{Cc}")).then(pl.lit("bad_identity"))
        .when(~pl.col("effective_at").is_between(EARLIEST, LATEST, closed="left").fill_null(False)).then(pl.lit("bad_time"))
        .when(pl.col("available_at!") | ~pl.col("available_at").is_between(EARLIEST, LATEST, closed="left")).then(pl.lit("bad_time"))
        .when(pl.col("value").is_nan() | pl.col("value").is_infinite()).then(pl.lit("not_finite"))
        .when(pl.col("reference_high").is_nan() | pl.col("reference_high").is_infinite()).then(pl.lit("not_finite"))
        .when(pl.col("value!") | pl.col("reference_high!")).then(pl.lit("wrong_type"))
        .when(~pl.col("status").is_in(STATUSES)).then(pl.lit("bad_value"))
        .when(pl.col("value").is_null() & _blank("value_text") & ~pl.col("status").is_in(SILENT_STATUSES)).then(pl.lit("no_value"))
    )  # fmt: skip
    table = table.with_columns(reason.alias("reason"))
    for word, count in table["reason"].drop_nulls().value_counts().iter_rows():
        dataset.rejected["observations", str(word)] += count
    return table.filter(pl.col("reason").is_null()).select(*OBSERVATION_COLUMNS)


def _add_stays(dataset: Dataset, path: Path) -> None:
    """Add the admission and the discharge of each row of a stays table."""
    file = len(dataset.files)
    dataset.files += (path.name,)
    for row in read_table(path, STAYS).iter_rows(named=True):
        try:
            if row["admitted_at"] is None or row["discharged_at!"]:
                raise InputError("bad_time", "admitted_at, discharged_at: expected RFC 3339 times")
            events = _stay(row, Position(path.name, 0, row["row"]))
        except InputError as error:
            dataset.rejected["encounters", error.reason] += 1
        else:
            dataset.others += [((event.available_at, RANK[Encounter], file, row["row"]), event) for event in events]


def _stay(row: dict[str, Any], position: Position) -> list[Encounter]:
    if not row["stay_id"]:
        raise InputError("missing_key", "stay_id: expected a non-empty string")
    ids = {"patient_id": row["patient_id"], "stay_id": row["stay_id"], "position": position}
    start, end = row["admitted_at"], row["discharged_at"]
    events = [
        Encounter(**ids, event="admitted", at=start, available_at=start, unit=row["unit"], age_years=row["age_years"],
                  sex=SEXES.get(row["sex"] or "", "unknown"), weight_kg=row["weight_kg"])
    ]  # fmt: skip
    if end is not None:
        if end < start:
            raise InputError("bad_time", "discharged_at: expected a time not before admitted_at")
        events.append(Encounter(**ids, event="discharged", at=end, available_at=end))
    return events


def _read_parquet(path: Path, columns: Columns) -> pl.DataFrame:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            expanded = sum(group.total_byte_size for group in groups)
            if expanded > max(EXPANSION_MATTERS_FROM, LARGEST_EXPANSION * path.stat().st_size):
                raise InputRefused(f"{path}: would expand to {expanded} bytes, over {LARGEST_EXPANSION} times its size")
            frame = pl.from_arrow(file.read(columns=columns.present(path, file.schema_arrow.names)))
    except (pa.ArrowException, OSError, pl.exceptions.PolarsError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise InputRefused(f"{path}: no readable Parquet file ({_first_line(error)})") from error
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _text_reader(read_text: Callable[[Path], pl.DataFrame], what: str) -> Reader:
    def read_table_of_text(path: Path, columns: Columns) -> pl.DataFrame:
        try:
            frame = read_text(path)
            return frame.select(columns.present(path, frame.columns))
        except pl.exceptions.PolarsError as error:
            raise InputRefused(f"{path}: no readable {what} file ({_first_line(error)})") from error

    return read_table_of_text


def _refuse_suffix(path: Path, _: Columns) -> pl.DataFrame:
    raise InputRefused(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(_READERS)}")


_ndjson = _text_reader(lambda path: pl.read_ndjson(path, infer_schema_length=None), "NDJSON")
_READERS: dict[str, Reader] = {
    ".parquet": _read_parquet,
    ".csv": _text_reader(lambda path: pl.read_csv(path, infer_schema=False), "CSV"),
    ".ndjson": _ndjson,
    ".jsonl": _ndjson,
}


def _texts(cells: pl.Series) -> pl.Series:
    if cells.dtype.is_float():  # ids that went through pandas with a gap: 254635.0 was 254635
        whole = cells.cast(pl.Int64, strict=False)
        return whole.cast(pl.String) if (whole == cells).all() else cells.cast(pl.String)
    return cells.cast(pl.String, strict=False)


def _numbers(cells: pl.Series) -> pl.Series:
    return cells.cast(pl.Float64, strict=False)


def _times(cells: pl.Series) -> pl.Series:
    if isinstance(cells.dtype, pl.Datetime):
        return cells.dt.timestamp("us") // 1_000
    if cells.dtype == pl.String:
        texts = cells.unique()
        return cells.replace_strict(texts, [_time(text) for text in texts], return_dtype=pl.Int64)
    return pl.Series([None] * len(cells), dtype=pl.Int64)  # a bare number does not say what it counts


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


def _is_ndjson(path: Path) -> bool:
    return path.suffix in (".ndjson", ".jsonl")


def _blank(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
