"""What a table may hold, and what is said of one that may not."""

import gzip
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.dataset import InputRefused
from pipelines.tables import FAULT, NUMBER, TEXT, TIME, Columns, read_table

COLUMNS = Columns({"patient_id": TEXT, "value": NUMBER, "at": TIME}, {"unit": TEXT})
AT = datetime(2150, 3, 1, 8, 5, tzinfo=UTC)
AT_MS = 5_685_408_300_000
GOOD: dict[str, Any] = {"patient_id": ["a", "b"], "value": [1.0, 2.0], "at": [AT, AT], "unit": ["Cel", None]}


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    def write(**columns: Any) -> Path:
        path = tmp_path / "t.parquet"
        pq.write_table(pa.table(GOOD | columns), path)
        return path

    return write


@pytest.fixture
def text(tmp_path: Path) -> Callable[..., Path]:
    def write(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("column", "cells", "told"),
    [
        ("patient_id", pa.array([b"a", b"\xff"]), "Binary"),
        ("patient_id", pa.array([["a"], ["b"]]), "List"),
        ("patient_id", pa.array([True, False]), "Boolean"),
        ("unit", pa.array([{"u": 1}, {"u": 2}]), "Struct"),
        ("value", pa.array([True, False]), "Boolean"),
        ("value", pa.array([AT, AT]), "Datetime"),
        ("value", pa.array([timedelta(1), timedelta(2)]), "Duration"),
        ("value", pa.array([[1.0], [2.0]]), "List"),
        ("at", pa.array([1, 2]), "Int64"),
        ("at", pa.array([1.5, 2.5]), "Float64"),
        ("at", pa.array([date(2150, 3, 1)] * 2), "Date"),
    ],
)
def test_a_column_of_another_kind_refuses_the_file_and_names_column_type_and_what_was_expected(
    parquet: Callable[..., Path], column: str, cells: Any, told: str
) -> None:
    with pytest.raises(InputRefused, match=rf"t\.parquet: column '{column}' is of type {told}; expected "):
        read_table(parquet(**{column: cells}), COLUMNS)


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("patient_id", pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        ("patient_id", pa.array([b"x", b"y"]), ["x", "y"]),
        ("patient_id", pa.array([7, 8]), ["7", "8"]),
        ("value", pa.array(["1.5", "many"]).dictionary_encode(), [1.5, None]),
        ("value", pa.array([Decimal("1.5"), None]), [1.5, None]),
        ("value", pa.nulls(2), [None, None]),
        ("unit", pa.nulls(2), [None, None]),
        ("at", pa.array(["2150-03-01T08:05:00Z"] * 2).dictionary_encode(), [AT_MS] * 2),
        ("at", pa.array([AT, AT], pa.timestamp("ns", "America/New_York")), [AT_MS] * 2),
        ("at", pa.nulls(2, pa.int64()), [None, None]),
    ],
)
def test_a_column_of_a_right_kind_is_read_however_it_is_stored(
    parquet: Callable[..., Path], column: str, cells: Any, expected: list[Any]
) -> None:
    assert expected == read_table(parquet(**{column: cells}), COLUMNS)[column].to_list()


@pytest.mark.parametrize("name", ["t.csv", "T.CSV", "t.csv.gz", "T.Csv.GZ"])
def test_a_header_alone_is_a_table_without_rows_and_endings_may_be_in_capitals(
    text: Callable[..., Path], name: str
) -> None:
    header = b"patient_id,value,at\n"
    packed = gzip.compress(header) if name.lower().endswith(".gz") else header

    assert 0 == len(read_table(text(packed, name), COLUMNS))


def test_a_parquet_table_without_rows_is_one(parquet: Callable[..., Path]) -> None:
    pl.DataFrame(GOOD).clear().write_parquet(path := parquet())

    assert 0 == len(read_table(path, COLUMNS))


@pytest.mark.parametrize("packed", [False, True])
def test_a_row_of_text_that_cannot_be_read_is_marked_and_its_neighbours_are_read(
    text: Callable[..., Path], packed: bool
) -> None:
    content = (
        b"\xef\xbb\xbfpatient_id,value,at,unit\n"
        b"a,1,2150-03-01T08:05:00Z,Cel\n"
        b"b,2,2150-03-01T08:05:00Z,Cel,more\n"
        b"c,3,2150-03-01T08:05:00Z,\xb0C\n"
        b"d,4,2150-03-01T08:05:00Z\n"
        b'"e,e",5,2150-03-01T08:05:00Z,,\n'
    )
    table = read_table(text(gzip.compress(content), "t.csv.gz") if packed else text(content), COLUMNS)

    assert [None, "too_many_fields", "encoding", None, None] == table[FAULT].to_list()
    assert ["a", None, None, "d", "e,e"] == table["patient_id"].to_list()
    assert ["Cel", None, None, None, None] == table["unit"].to_list()


@pytest.mark.parametrize("damage", ["cut", "bent", "checksum", "not packed at all"])
def test_a_packed_table_that_was_cut_short_or_damaged_is_refused_by_name(
    text: Callable[..., Path], damage: str
) -> None:
    rows = b"".join(b"%d,%d,2150-03-01T08:05:00Z\n" % (number, number) for number in range(9_000))
    packed = bytearray(gzip.compress(b"patient_id,value,at\n" + rows, mtime=0))
    match damage:
        case "cut":
            del packed[len(packed) // 2 :]
        case "bent":
            packed[len(packed) // 2] ^= 0xFF
        case "checksum":
            packed[-5] ^= 1
        case _:
            packed[:] = b"\x1f\x8b" + rows

    with pytest.raises(InputRefused, match=r"t\.csv\.gz: no readable gzip file \(.*expected a whole one"):
        read_table(text(bytes(packed), "t.csv.gz"), COLUMNS)


def test_a_column_that_is_there_twice_is_refused(text: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"column 'value' is there twice"):
        read_table(text("patient_id,value,at,value\na,1,2150-03-01T08:05:00Z,2\n"), COLUMNS)

    path = tmp_path / "twice.parquet"
    arrays = [pa.array(GOOD[name]) for name in ("patient_id", "value", "at", "value")]
    pq.write_table(pa.Table.from_arrays(arrays, names=["patient_id", "value", "at", "value"]), path)
    with pytest.raises(InputRefused, match=r"column 'value' is there twice"):
        read_table(path, COLUMNS)


def test_what_is_said_of_a_file_that_cannot_be_read_quotes_no_cell(text: Callable[..., Path]) -> None:
    with pytest.raises(InputRefused, match=r"t\.csv: no readable CSV file") as refused:
        read_table(text('patient_id,value,at\na,1,"Jane Doe,2150\nb,2,2150-03-01T08:05:00Z\n'), COLUMNS)

    assert "Jane" not in str(refused.value)


def test_every_missing_column_is_named_at_once(text: Callable[..., Path]) -> None:
    with pytest.raises(InputRefused, match=r"no columns 'patient_id', 'value'; expected .*did you mean 'valeu'"):
        read_table(text("patient,valeu,at\n"), COLUMNS)
