"""eICU: offsets are laid on a made-up date, and everything keeps its own time of day."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.events import Encounter, Pump
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.formats.times import parse_time

TABLES = {
    "patient": (
        "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,unittype,"
        "unitadmittime24,admissionweight,unitdischargeoffset,uniquepid\n"
        "11,1,Female,> 89,23:36:00,-2258,Med-Surg ICU,13:14:00,46.5,600,002-1\n"
        "12,1,Female,> 89,23:36:00,-3000,MICU,01:36:00,,600,002-1\n"
        "21,2,Male,40,,,MICU,10:00:00,,600,002-1\n"
    ),
    "vitalPeriodic": (
        "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,"
        "systemicsystolic,systemicdiastolic,systemicmean\n"
        "1,11,5,38.5,97,120,,91,51,64\n1,99,5,38.5,97,120,,,,\n"
    ),
    "lab": (
        "labid,patientunitstayid,labresultoffset,labname,labresult,labresulttext,labmeasurenamesystem,labresultrevisedoffset\n"
        "1,11,10,CPK,5250,5250,Units/L,70\n"
        "2,11,10,creatinine,,<0.4,mg/dL,5\n"
        "3,11,-6000,creatinine,1.1,1.1,mg/dL,\n"
        "4,11,10,Temperature,37,37,&#176;C,\n"
    ),
    "nurseCharting": (
        "patientunitstayid,nursingchartoffset,nursingchartentryoffset,nursingchartcelltypevallabel,nursingchartcelltypevalname,nursingchartvalue\n"
        "11,20,25,Temperature,Temperature (F),101.3\n11,20,25,Temperature,Temperature Location,ORAL\n"
        "21,20,25,Glasgow coma score,GCS Total,14\n"
    ),
    "intakeOutput": "patientunitstayid,intakeoutputoffset,celllabel,cellvaluenumeric\n11,60,Urine,40\n",
    "medication": (
        "medicationid,patientunitstayid,drugorderoffset,drugstartoffset,drugordercancelled,drugname,routeadmin\n"
        "1,11,30,20,No,BACLOFEN 2000 MCG/ML,IT\n2,11,1,2,No,BACLOFEN 10 MG TAB,PO\n3,11,1,2,Yes,GABLOFEN,\n"
        "4,99,1,2,No,GABLOFEN,\n5,12,,40,No,baclofen,Intrathecal\n6,12,1,,No,baclofen,IT\n7,12,1,2,No,heparin,IV\n"
    ),
}
UNIT = parse_time("2150-01-03T13:14:00Z")
MINUTE = 60_000


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def write(**other: str | None) -> Path:
        for name, text in (TABLES | other).items():
            if text is not None:
                (tmp_path / f"{name}.csv").write_text(text)
        return tmp_path

    return write


def read(path: Path) -> Dataset:
    return open_dataset("eicu", [path], stays=None, pumps=None, context=None)


def results(dataset: Dataset, code: str) -> list[Any]:
    rows = dataset.observations.filter(pl.col("code") == code)
    return rows.select("value", "value_text", "unit", "effective_at", "available_at").rows()


def test_a_hospital_stay_begins_on_the_made_up_day_and_its_unit_stays_follow_at_their_offsets(
    folder: Callable[..., Path],
) -> None:
    admitted = {e.stay_id: e for _, e in read(folder()).others if isinstance(e, Encounter) and e.event == "admitted"}

    assert UNIT == admitted["11"].at
    assert UNIT + 742 * MINUTE == admitted["12"].at
    assert parse_time("2150-01-01T10:00:00Z") == admitted["21"].at
    assert ("1", "1", "2") == tuple(admitted[stay].patient_id for stay in ("11", "12", "21"))
    assert (90.0, "female", 46.5, "Med-Surg ICU") == (
        admitted["11"].age_years, admitted["11"].sex, admitted["11"].weight_kg, admitted["11"].unit,
    )  # fmt: skip


def test_an_order_for_a_pump_is_known_once_it_was_written_and_had_begun(folder: Callable[..., Path]) -> None:
    dataset = read(folder())

    second = UNIT + 742 * MINUTE
    assert [("1", UNIT + 20 * MINUTE, UNIT + 30 * MINUTE), ("1", second + 40 * MINUTE, second + 40 * MINUTE)] == [
        (e.patient_id, e.at, e.available_at) for _, e in dataset.others if isinstance(e, Pump)
    ]
    assert {"cancelled": 1, "outside_stay": 1, "bad_time": 1} == {
        reason: count for (topic, reason), count in dataset.rejected.items() if topic == "pumps"
    }


def test_columns_of_vital_signs_become_results_with_the_documented_unit(folder: Callable[..., Path]) -> None:
    dataset = read(folder())

    assert [(38.5, None, "Cel", UNIT + 5 * MINUTE, UNIT + 5 * MINUTE)] == results(dataset, "temp")[:1]
    assert [(91.0, "mm[Hg]")] == [(one[0], one[2]) for one in results(dataset, "sbp")]
    assert [] == results(dataset, "rr")


def test_a_nurses_temperature_keeps_its_unit_and_is_known_when_it_was_entered(folder: Callable[..., Path]) -> None:
    assert (101.3, None, "[degF]", UNIT + 20 * MINUTE, UNIT + 25 * MINUTE) == results(read(folder()), "temp")[1]


def test_a_result_is_known_when_it_was_last_revised_but_not_before_it_was_drawn(folder: Callable[..., Path]) -> None:
    dataset = read(folder())

    assert [(5250.0, None, "Units/L", UNIT + 10 * MINUTE, UNIT + 70 * MINUTE)] == results(dataset, "ck")
    assert [(None, "<0.4", "mg/dL", UNIT + 10 * MINUTE, UNIT + 10 * MINUTE)] == results(dataset, "creat")


def test_what_is_left_out_is_counted(folder: Callable[..., Path]) -> None:
    dataset = read(folder(medication=None))

    assert {("observations", "outside_stay"): 4, ("observations", "other_item"): 2} == dict(dataset.rejected)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_renamed_column_refuses_the_set_by_file_and_column(folder: Callable[..., Path], table: str) -> None:
    column = "patientunitstayid"
    path = folder(**{table: TABLES[table].replace(column, f"{column}x")})

    with pytest.raises(InputRefused, match=rf"{table}\.csv: no column '{column}'; .*mean '{column}x'"):
        read(path)


def test_the_demo_is_read_whole(shared: Path) -> None:
    dataset = read(shared / "data" / "raw" / "eicu-crd-demo-2.0.1-part")

    assert 2_520 == sum(isinstance(e, Encounter) and e.event == "admitted" for _, e in dataset.others)
    labs = dataset.observations.filter(pl.col("code").is_in(["ck", "plt", "creat", "ast", "alt"]))
    assert {"Units/L", "K/mcL", "mg/dL"} == set(labs["unit"])
    assert len(labs) > 1_500
    assert len(dataset.observations.filter(pl.col("code") == "sbp")) > 240_000
    assert ["table vitalPeriodic is not there: nothing of it is read"] == [
        r for r in dataset.remarks if "Periodic" in r
    ]
