"""MIMIC-IV: its folder as it is handed out, results by storetime, treatments and pump orders as context."""

import gzip
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.clock import MINUTE
from detector.events import Context, Encounter, Pump
from pipelines.collecting import collector
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.formats.times import parse_time

CHARTED = "subject_id,hadm_id,stay_id,caregiver_id,charttime,storetime,itemid,value,valuenum,valueuom,warning"
TABLES = {
    "icu/icustays": [
        "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
        "1,10,100,MICU,MICU,2150-03-01 08:00:00,2150-03-03 08:00:00,2.0",
    ],
    "hosp/patients": ["subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod", "1,F,60,2148,2011 - 2013,"],
    "icu/chartevents": [
        CHARTED,
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:10:00,223761,101.3,101.3,°F,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:10:00,223762,38.5,38.5,°C,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:10:00,220050,91,91,mmHg,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:12:00,220179,95,95,mmHg,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:11:00,220739,To Pain,2,,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:12:00,223900,Confused,4,,0",
        "1,10,100,7,2150-03-01 09:00:00,2150-03-01 09:13:00,223901,Localizes Pain,5,,0",
        "1,10,100,7,2150-03-01 10:00:00,2150-03-01 10:01:00,220739,None,1,,0",
        "1,10,100,7,2150-03-01 10:00:00,2150-03-01 10:01:00,223900,No Response-ETT,1,,0",
        "1,10,100,7,2150-03-01 10:00:00,2150-03-01 10:01:00,223901,No response,1,,0",
        "1,10,100,7,2150-03-01 10:00:00,2150-03-01 10:01:00,224688,20,20,insp/min,0",
        "1,10,999,7,2150-03-01 10:00:00,2150-03-01 10:01:00,220045,80,80,bpm,0",
    ],
    "hosp/labevents": [
        "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,ref_range_lower,ref_range_upper,flag,priority,comments",
        "1,1,10,5,50910,,2150-03-01 03:00:00,2150-03-01 04:30:00,5250,5250,IU/L,29,201,abnormal,STAT,",
        "2,1,10,5,51265,,2150-03-01 09:00:00,2150-03-01 09:40:00,___,9,K/uL,150,440,abnormal,STAT,VERIFIED BY SMEAR.",
        "3,1,10,5,50912,,2150-03-01 09:00:00,2150-03-01 10:00:00,<0.4,0.4,mg/dL,,,,STAT,",
        "4,1,10,5,50878,,2150-03-01 09:00:00,2150-03-01 10:00:00,NotDone,,IU/L,,,,STAT,",
        "5,1,10,5,50861,,2150-03-01 09:00:00,2150-03-01 10:00:00,,,IU/L,,,,STAT,",
        "6,1,10,5,50912,,2150-02-20 09:00:00,2150-02-20 10:00:00,1.0,1.0,mg/dL,,,,STAT,",
        "7,1,10,5,51082,,2150-03-01 09:00:00,2150-03-01 10:00:00,50,50,mg/dL,,,,STAT,",
    ],
    "icu/inputevents": [
        "subject_id,hadm_id,stay_id,starttime,endtime,storetime,itemid,amount",
        "1,10,100,2150-03-01 10:00:00,2150-03-01 11:00:00,2150-03-01 10:05:00,221906,1",
        "1,10,100,2150-03-01 11:00:00,2150-03-01 12:00:00,2150-03-01 11:05:00,221906,2",
        "1,10,100,2150-03-01 11:30:00,2150-03-01 11:31:00,2150-03-01 11:35:00,221385,2",
    ],
    "hosp/emar": [
        "subject_id,charttime,medication,event_txt,storetime",
        "1,2150-03-01 12:00:00,Haloperidol,Administered,2150-03-01 12:02:00",
        "1,2150-03-01 13:00:00,Haloperidol,Not Given,2150-03-01 13:02:00",
    ],
    "hosp/prescriptions": [
        "subject_id,starttime,stoptime,drug,ndc,route",
        "1,2150-02-27 08:00:00,2150-03-01 08:00:00,Baclofen,00172409660,PO/NG",
        "1,2150-03-01 14:00:00,2150-03-02 08:00:00,Baclofen,0,IT",
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the tables, some of them otherwise: ``folder(**{"icu/chartevents": [...]})``; None leaves one out."""

    def write(ending: str = "csv.gz", **other: list[str] | None) -> Path:
        for name, lines in (TABLES | other).items():
            if lines is None:
                continue
            path = tmp_path / "set" / f"{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join(lines) + "\n"
            if ending == "parquet":
                pl.read_csv(text.encode(), try_parse_dates=True).write_parquet(path)
            else:
                path.write_bytes(gzip.compress(text.encode()))
        return tmp_path / "set"

    return write


def read(path: Path) -> Dataset:
    return open_dataset("mimic-iv", [path], stays=None, pumps=None, context=None)


def at(text: str) -> int:
    return parse_time(f"{text}Z")


def results(dataset: Dataset, code: str) -> list[Any]:
    rows = dataset.observations.filter(pl.col("code") == code)
    return rows.select("value", "value_text", "unit", "effective_at", "available_at").rows()


def test_a_charted_value_keeps_its_unit_and_is_known_when_it_was_stored(folder: Callable[..., Path]) -> None:
    taken, stored = at("2150-03-01T09:00:00"), at("2150-03-01T09:10:00")

    assert [(38.5, None, "°C", taken, stored), (101.3, None, "°F", taken, stored)] == results(read(folder()), "temp")


def test_two_routes_of_a_pressure_in_one_instant_are_two_readings_of_it(folder: Callable[..., Path]) -> None:
    assert [91.0, 95.0] == [value for value, *_ in results(read(folder()), "sbp")]


def test_a_result_is_known_when_it_was_stored_and_belongs_to_the_stay_of_the_day_after(
    folder: Callable[..., Path],
) -> None:
    dataset = read(folder())

    assert [(5250.0, None, "IU/L", at("2150-03-01T03:00:00"), at("2150-03-01T04:30:00"))] == results(dataset, "ck")
    ck = dataset.observations.row(by_predicate=pl.col("code") == "ck", named=True)
    assert ("100", 201.0) == (ck["stay_id"], ck["reference_high"])


def test_results_that_are_no_numbers_stay_texts_and_none_at_all_is_counted(folder: Callable[..., Path]) -> None:
    dataset = read(folder())

    assert [(9.0, None)] == [one[:2] for one in results(dataset, "plt")]
    assert [(None, "<0.4")] == [one[:2] for one in results(dataset, "creat")]
    assert [(None, "NotDone")] == [one[:2] for one in results(dataset, "ast")]
    assert [] == results(dataset, "alt")
    assert {"no_value": 1, "outside_stay": 2, "other_item": 2} == {
        reason: count for (topic, reason), count in dataset.rejected.items() if topic == "observations"
    }


def test_the_total_of_the_coma_scale_is_known_with_its_last_part_and_not_where_one_was_not_testable(
    folder: Callable[..., Path],
) -> None:
    dataset = read(folder())

    assert [(11.0, None, "points", at("2150-03-01T09:00:00"), at("2150-03-01T09:13:00"))] == results(dataset, "gcs")
    assert [(4.0, None), (None, "No Response-ETT")] == [one[:2] for one in results(dataset, "gcs_verbal")]


def test_stays_have_the_age_at_admission(folder: Callable[..., Path]) -> None:
    [admitted] = [e for _, e in read(folder()).others if isinstance(e, Encounter) and e.event == "admitted"]

    assert (62.0, "female", "MICU", "100") == (admitted.age_years, admitted.sex, admitted.unit, admitted.stay_id)


def test_infusions_run_and_pushes_and_administered_drugs_are_given(folder: Callable[..., Path]) -> None:
    seen = {(e.kind, e.event, e.at, e.available_at) for _, e in read(folder()).others if isinstance(e, Context)}

    assert {
        ("vasopressor", "started", at("2150-03-01T10:00:00"), at("2150-03-01T10:05:00")),
        ("vasopressor", "stopped", at("2150-03-01T12:00:00"), at("2150-03-01T12:00:00")),
        ("benzodiazepine", "given", at("2150-03-01T11:30:00"), at("2150-03-01T11:35:00")),
        ("dopamine_blocker", "given", at("2150-03-01T12:00:00"), at("2150-03-01T12:02:00")),
        ("oral_baclofen", "started", at("2150-02-27T08:00:00"), at("2150-02-27T08:00:00")),
        ("oral_baclofen", "stopped", at("2150-03-01T08:00:00"), at("2150-03-01T08:00:00")),
    } == seen


def test_an_order_of_intrathecal_baclofen_says_that_there_is_a_pump_unless_the_command_line_knows_better(
    folder: Callable[..., Path],
) -> None:
    path = folder()

    assert [("implanted", at("2150-03-01T14:00:00"))] == [
        (e.event, e.available_at) for _, e in read(path).others if isinstance(e, Pump)
    ]
    none = open_dataset("mimic-iv", [path], stays=None, pumps="none", context=None)
    assert [("absent",)] == [(e.event,) for _, e in none.others if isinstance(e, Pump)]
    assert 1 == none.rejected["pumps", "overridden"]


def test_a_dose_of_a_product_for_pumps_says_that_there_is_one_once_it_was_stored(folder: Callable[..., Path]) -> None:
    doses = [
        "1,2150-03-01 12:00:00,Gablofen,Administered,2150-03-01 12:02:00",
        "1,2150-03-01 13:00:00,Gablofen,Not Given,2150-03-01 13:02:00",
        "1,2150-03-01 14:00:00,Baclofen,Administered,2150-03-01 14:02:00",
    ]
    path = folder(**{"hosp/emar": [*TABLES["hosp/emar"][:1], *doses], "hosp/prescriptions": None})

    assert [("implanted", at("2150-03-01T12:00:00"), at("2150-03-01T12:02:00"))] == [
        (e.event, e.at, e.available_at) for _, e in read(path).others if isinstance(e, Pump)
    ]


@pytest.mark.parametrize(
    ("table", "topic"),
    [("icu/icustays", "encounters"), ("icu/chartevents", "observations"), ("hosp/emar", "context"), ("hosp/prescriptions", "context")],
)  # fmt: skip
def test_a_row_that_cannot_be_split_into_cells_is_counted_whatever_its_table(
    folder: Callable[..., Path], table: str, topic: str
) -> None:
    whole = read(folder()).rejected[topic, "too_few_fields"]

    assert (0, 1) == (whole, read(folder(**{table: [*TABLES[table], "1,2"]})).rejected[topic, "too_few_fields"])


def test_parquet_and_csv_give_the_same_events(folder: Callable[..., Path]) -> None:
    path = folder()
    text = list(read(path).in_order())
    for table in path.rglob("*.csv.gz"):
        table.unlink()

    assert [type(e) for e in text] == [type(e) for e in read(folder("parquet")).in_order()]
    wide = read(path).observations.drop("source", "file")
    for table in path.rglob("*.parquet"):
        table.unlink()
    assert wide.equals(read(folder()).observations.drop("source", "file"))


@pytest.mark.parametrize("table", ["icu/chartevents", "hosp/emar", "icu/inputevents"])
def test_a_table_that_need_not_be_there_is_remarked(folder: Callable[..., Path], table: str) -> None:
    remarks = read(folder(**{table: None})).remarks

    assert any(table.split("/")[1] in remark for remark in remarks)


def test_without_stays_or_without_any_results_the_set_is_refused(folder: Callable[..., Path], tmp_path: Path) -> None:
    path = folder(**{"icu/icustays": None})
    with pytest.raises(InputRefused, match="no table 'icustays'"):
        read(path)
    folder()
    for name in ("icu/chartevents", "hosp/labevents"):
        (path / f"{name}.csv.gz").unlink()
    with pytest.raises(InputRefused, match="none of chartevents, labevents, outputevents"):
        read(path)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_renamed_column_refuses_the_set_by_file_and_column(folder: Callable[..., Path], table: str) -> None:
    column = {"hosp/patients": "gender", "hosp/prescriptions": "drug", "hosp/emar": "medication", "icu/icustays": "intime"}.get(table, "itemid")  # fmt: skip
    lines = TABLES[table]
    path = folder(**{table: [lines[0].replace(column, f"{column}x"), *lines[1:]]})

    with pytest.raises(
        InputRefused, match=rf"{table.split('/')[1]}\.csv\.gz: no column '{column}'; .*mean '{column}x'"
    ):
        read(path)


def test_the_demo_is_read_whole(shared: Path) -> None:
    dataset = read(shared / "data" / "raw" / "mimic-iv-demo-2.2-sample")

    counts = Counter(type(e).__name__ for _, e in dataset.others)
    assert 58 == counts["Encounter"]
    assert counts["Context"] > 300
    rows = len(dataset.observations) + sum(n for (topic, _), n in dataset.rejected.items() if topic == "observations")
    assert 19_196 + 2_494 == rows
    known = dataset.observations.filter(pl.col("code") == "creat")
    delay = (known["available_at"] - known["effective_at"]).median()
    assert 40 * MINUTE < float(str(delay)) < 120 * MINUTE


def test_a_set_too_large_for_memory_gives_the_same_events(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = shared / "data" / "raw" / "mimic-iv-demo-2.2-sample"
    raw = read(demo)
    monkeypatch.setattr(collector, "ROWS_IN_MEMORY", 100)
    spilled = read(demo)

    def events(dataset: Dataset) -> dict[str, list[Any]]:
        return dict(dataset.by_patient())

    assert type(spilled) is not Dataset
    assert events(raw) == events(spilled)
    assert sum(raw.rows_by_patient().values()) == len(raw)
    assert raw.first_available() == spilled.first_available()
    before = 0
    by_patient: dict[str, list[Any]] = {}
    for event in spilled.in_order():
        assert before <= event.available_at
        before = event.available_at
        by_patient.setdefault(event.patient_id, []).append(event)
    assert events(raw) == by_patient
    assert spilled.rejected == raw.rejected
    assert raw.observations.drop("file").equals(spilled.observations.drop("file"))
    few = sorted(raw.rows_by_patient())[:3]
    assert dict(raw.of(few).by_patient()) == dict(spilled.of(few).by_patient())
    assert by_patient == {p: events for share in spilled.shares(4) for p, events in share.by_patient()}
