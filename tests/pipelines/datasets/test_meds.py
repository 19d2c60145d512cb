"""MEDS 0.3 and 0.4: one table of events; codes of the MIMIC-IV extraction and LOINC."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.events import Encounter, Pump
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.formats.times import parse_time

Event = tuple[int, str | None, str, float | None, str | None]
EVENTS: list[Event] = [
    (1, None, "GENDER//F", None, None),
    (1, "2090-01-01T00:00:00", "MEDS_BIRTH", None, None),
    (1, "2150-03-01T08:00:00", "ICU_ADMISSION//MICU", None, None),
    (1, "2150-03-01T09:00:00", "LAB//223761//°F", 101.3, None),
    (1, "2150-03-01T09:00:00", "LAB//50912//mg/dL", 2.1, None),
    (1, "2150-03-01T09:00:00", "LAB//51237//UNK", 2.0, None),
    (1, "2150-03-01T09:00:00", "LOINC/777-3", 9.0, None),
    (1, "2150-03-01T09:00:00", "LOINC//1920-8//U/L", 1128.0, None),
    (1, "2150-03-01T09:00:00", "LAB//50910//IU/L", None, "<20"),
    (1, "2150-03-01T09:30:00", "SUBJECT_FLUID_OUTPUT//226559//ml", 40.0, None),
    (1, "2150-03-01T10:00:00", "MEDICATION//START//Gablofen", None, None),
    (1, "2150-03-02T08:00:00", "ICU_DISCHARGE//HOME", None, None),
    (1, "2150-03-09T09:00:00", "LAB//50912//mg/dL", 1.0, None),
    (1, "2150-03-01T09:00:00", "DIAGNOSIS//ICD//10//I951", None, None),
]
NAMES = ["subject_id", "time", "code", "numeric_value", "text_value"]
SCHEMA: dict[str, Any] = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32, "text_value": pl.String}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A MEDS folder; ``version`` 0.3 has no text_value."""

    def write(version: str = "0.4", events: list[Event] = EVENTS, **renamed: str) -> Path:
        rows = [(s, None if t is None else datetime.fromisoformat(t), *rest) for s, t, *rest in events]
        table = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        path = tmp_path / "data" / "train"
        path.mkdir(parents=True, exist_ok=True)
        half = len(table) // 2
        for number, part in enumerate((table[:half], table[half:])):
            part = part.drop("text_value") if version == "0.3" else part  # noqa: PLW2901
            part.rename(renamed).write_parquet(path / f"{number}.parquet")
        return tmp_path

    return write


def read(path: Path) -> Dataset:
    return open_dataset("meds", [path], stays=None, pumps=None, context=None)


def found(dataset: Dataset) -> dict[str, tuple[Any, ...]]:
    rows = dataset.observations.select("code", "value", "value_text", "unit", "stay_id")
    return {code: tuple(rest) for code, *rest in rows.iter_rows()}


def test_codes_of_the_extraction_and_loinc_are_read_with_their_units(folder: Callable[..., Path]) -> None:
    dataset = read(folder())

    assert {
        "temp": (101.3, None, "°F", "1-1"),
        "creat": (2.1, None, "mg/dL", "1-1"),
        "inr": (2.0, None, None, "1-1"),
        "777-3": (9.0, None, None, "1-1"),
        "1920-8": (1128.0, None, "U/L", "1-1"),
        "ck": (None, "<20", "IU/L", "1-1"),
        "uop": (40.0, None, "ml", "1-1"),
    } == found(dataset)
    assert {("observations", "other_item"): 6, ("observations", "outside_stay"): 1} == dict(dataset.rejected)


def test_the_older_schema_has_no_texts_and_is_read_all_the_same(folder: Callable[..., Path]) -> None:
    dataset = read(folder("0.3"))

    assert {"temp", "creat", "inr", "777-3", "1920-8", "uop"} == set(found(dataset))
    assert 1 == dataset.rejected["observations", "no_value"]


def test_a_laboratory_result_is_known_after_the_usual_time_and_a_charted_value_at_once(
    folder: Callable[..., Path],
) -> None:
    known = dict(read(folder()).observations.select("code", "available_at").iter_rows())

    taken = parse_time("2150-03-01T09:00:00Z")
    assert (taken, taken + 67 * 60_000) == (known["temp"], known["creat"])


def test_stays_are_admissions_with_their_discharge(folder: Callable[..., Path]) -> None:
    stays = [
        (e.event, e.stay_id, e.unit, e.age_years, e.sex) for _, e in read(folder()).others if isinstance(e, Encounter)
    ]

    assert [("admitted", "1-1", "MICU", 60.0, "female"), ("discharged", "1-1", None, None, None)] == stays


def test_without_admissions_every_row_is_read_and_that_is_remarked(folder: Callable[..., Path]) -> None:
    dataset = read(folder(events=[one for one in EVENTS if not one[2].startswith("ICU_")]))

    assert 8 == len(dataset.observations)
    assert {None} == set(dataset.observations["stay_id"])
    assert ["no ICU_ADMISSION in the data: stays are not known, and every row is read"] == dataset.remarks


def test_a_drug_made_for_pumps_says_that_there_is_one(folder: Callable[..., Path]) -> None:
    assert [("implanted", "1")] == [(e.event, e.patient_id) for _, e in read(folder()).others if isinstance(e, Pump)]


@pytest.mark.parametrize(
    ("code", "route", "known"),
    [
        ("MEDICATION//START//Baclofen", "IT", True),
        ("MEDICATION//START//Baclofen", "PO/NG", False),
        ("MEDICATION//START//Baclofen", None, False),
        ("RxNorm/1047437", None, True),
        ("RXNORM//1047437", None, True),
        ("NDC/25021067967", None, True),
        ("NDC//70511012101", "IT", False),  # a screening test
        ("RxNorm/11124", "IT", False),
        ("LAB//1047437//IT", "IT", False),
    ],
)
def test_a_drug_for_a_pump_is_known_by_its_route_or_by_a_code_of_its_products(
    folder: Callable[..., Path], code: str, route: str | None, known: bool
) -> None:
    path = folder(
        events=[*(one for one in EVENTS if "Gablofen" not in one[2]), (1, "2150-03-01T10:00:00", code, None, None)]
    )
    for part in (path / "data" / "train").glob("*.parquet"):
        pl.read_parquet(part).with_columns(route=pl.lit(route, pl.String)).write_parquet(part)

    assert known == any(isinstance(e, Pump) for _, e in read(path).others)


@pytest.mark.parametrize("column", ["subject_id", "time", "code", "numeric_value"])
def test_a_renamed_column_refuses_the_set_by_file_and_column(folder: Callable[..., Path], column: str) -> None:
    with pytest.raises(InputRefused, match=rf"0\.parquet: no column '{column}'; .*mean '{column}x'"):
        read(folder(**{column: f"{column}x"}))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="no table 'data'"):
        read(tmp_path)


def test_the_demo_is_read_whole(shared: Path) -> None:
    dataset = read(shared / "data" / "raw" / "mimic-iv-demo-meds-0.0.1-sample")

    assert 15 == sum(isinstance(e, Encounter) and e.event == "admitted" for _, e in dataset.others)
    derived = len(dataset.observations.filter(pl.col("code") == "gcs"))
    assert 69_620 == len(dataset.observations) - derived + dataset.rejected.total()
    assert {"°C", "°F"} == set(dataset.observations.filter(pl.col("code") == "temp")["unit"])
