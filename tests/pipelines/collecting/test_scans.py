"""Tables of a data-set folder are found by name, looked at before they are read, and read part by part."""

import gzip
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from detector.errors import ConfigError
from pipelines.collecting import scans
from pipelines.collecting.scans import Folder
from pipelines.dataset import InputRefused
from pipelines.tables import NUMBER, TEXT, TIME, Columns

COLUMNS = Columns({"id": TEXT, "at": TIME}, {"value": NUMBER})
ROWS = "ID,At,VALUE,more\n1,2150-03-01 08:05:00,1.5,x\n2,2150-03-01T08:05:00Z,,x\n"


def folder(root: Path, *below: str) -> Folder:
    return Folder([root], "mimic-iv", *below)


@pytest.mark.parametrize("name", ["events.csv", "EVENTS.CSV.GZ", "events.parquet", "sub/events.csv", "events/1.csv"])
def test_a_table_is_found_however_it_is_stored_and_whatever_the_case_of_its_name_and_columns(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith("parquet"):
        pl.DataFrame({"ID": [1, 2], "At": ["2150-03-01 08:05:00"] * 2, "VALUE": [1.5, None]}).write_parquet(path)
    else:
        path.write_bytes(gzip.compress(ROWS.encode()) if name.endswith("GZ") else ROWS.encode())

    table = folder(tmp_path, "sub").required("events", COLUMNS).whole()

    assert [("1", 1.5, 0), ("2", None, 1)] == table.select("id", "value", "row").rows()
    assert 1 == table["at"].n_unique()


def test_only_rows_with_one_of_the_items_are_read_and_every_item_is_counted(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS + "1,2150-03-01 08:06:00,3,x\n")
    seen: Counter[str] = Counter()

    [(_, rows)] = folder(tmp_path).required("events", COLUMNS).batches(("id", frozenset({"1"})), seen)

    assert [0, 2] == rows["row"].to_list()
    assert {"1": 2, "2": 1} == dict(seen)


def test_rows_keep_their_number_over_the_parts_in_which_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "ROWS", 3)
    pl.DataFrame({"id": range(10), "at": ["2150-03-01 08:05:00"] * 10}).write_parquet(tmp_path / "events.parquet")

    batches = [rows for _, rows in folder(tmp_path).required("events", COLUMNS).batches()]

    assert [3, 3, 3, 1] == [len(rows) for rows in batches]
    assert list(range(10)) == pl.concat(batches)["row"].to_list()


def test_a_row_that_cannot_be_split_or_decoded_is_counted_and_its_neighbours_are_read(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_bytes(b'\xef\xbb\xbfid,at,value\na,,1\nb,,2,3\nc,\n"d\nd",,4\n\xb0,,5\ne,,6\n')
    table = folder(tmp_path).required("events", COLUMNS)

    assert ["a", "d\nd", "e"] == table.whole()["id"].to_list()
    assert {"too_many_fields": 1, "too_few_fields": 1, "encoding": 1} == dict(table.faults)


def test_a_missing_table_names_the_nearest_one_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "event.csv").write_text(ROWS)

    with pytest.raises(InputRefused, match=r"no table 'events'; expected events\.csv, .* did you mean 'event'\?"):
        folder(tmp_path, "icu").required("events", COLUMNS)
    assert folder(tmp_path).table("events", COLUMNS, required=False) is None


def test_a_missing_column_names_file_column_and_the_nearest_before_any_row_is_read(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS.replace("ID", "idd"))

    with pytest.raises(InputRefused, match=r"events\.csv: no column 'id'; expected id, at; did you mean 'idd'\?"):
        folder(tmp_path).required("events", COLUMNS)


def test_a_table_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(ROWS)
    (tmp_path / "Events.csv.gz").write_bytes(gzip.compress(ROWS.encode()))

    with pytest.raises(InputRefused, match="'events' is there twice"):
        folder(tmp_path).required("events", COLUMNS)


@pytest.mark.parametrize("inputs", [[], ["a", "b"], ["nowhere"], ["file"]])
def test_anything_but_one_folder_is_a_usage_error(tmp_path: Path, inputs: list[str]) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match="the folder of the data set"):
        Folder([tmp_path / name for name in inputs], "mimic-iv")


def test_a_file_that_ends_too_soon_refuses_the_set(tmp_path: Path) -> None:
    packed = gzip.compress((ROWS + "3,2150-03-01 08:05:00,1.5,x\n" * 20_000).encode())
    (tmp_path / "events.csv.gz").write_bytes(packed[: len(packed) // 2])

    with pytest.raises(InputRefused, match=r"events\.csv\.gz: no readable CSV file \(Truncated"):
        folder(tmp_path).required("events", COLUMNS).whole()


def test_a_packed_file_that_is_damaged_at_its_beginning_refuses_the_set(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress((ROWS + "3,2150-03-01 08:05:00,1.5,x\n" * 20_000).encode(), mtime=0))
    packed[12] ^= 0xFF
    (tmp_path / "events.csv.gz").write_bytes(packed)

    with pytest.raises(InputRefused, match=r"events\.csv\.gz: no readable CSV file"):
        folder(tmp_path).required("events", COLUMNS).whole()


def test_no_corrupt_or_exploding_parquet_file_is_read_or_ends_the_process(shared: Path, tmp_path: Path) -> None:
    paths = sorted((shared / "corpora" / "parquet-bad").rglob("*.parquet"))

    assert len(paths) > 20
    for path in paths:
        root = tmp_path / path.stem
        root.mkdir()
        (root / "events.parquet").symlink_to(path)
        with pytest.raises(InputRefused, match=r"events\.parquet"):
            folder(root).required("events", COLUMNS).whole()


def test_a_small_file_that_promises_gigabytes_is_refused_from_its_footer(shared: Path, tmp_path: Path) -> None:
    path = shared / "corpora" / "parquet-bad" / "data" / "large_string_map.brotli.parquet"
    (tmp_path / "events.parquet").symlink_to(path)

    with pytest.raises(InputRefused, match=r"would expand to 2147483.* bytes"):
        folder(tmp_path).required("events", Columns({"arr": TEXT}, {}))
