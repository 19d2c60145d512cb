"""OMOP CDM: a small site made of the open ICU data in their canonical form, and cases of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.clock import rfc3339
from detector.events import Context, Encounter, Pump
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.formats.times import parse_time

VISITS = "visit_detail_id,person_id,visit_detail_concept_id,visit_detail_start_datetime,visit_detail_end_datetime,visit_occurrence_id\n"
RESULTS = (
    "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_datetime,operator_concept_id,value_as_number,"
    "unit_concept_id,range_high,visit_detail_id,measurement_source_value,unit_source_value,value_source_value\n"
)
TABLES = {
    "person": "person_id,gender_concept_id,year_of_birth\n1,8532,2090\n",
    "visit_detail": VISITS
    + "100,1,32037,2150-03-01 08:00:00,2150-03-02 08:00:00,7\n101,1,9201,2150-02-01 08:00:00,2150-03-09 08:00:00,7\n",
    "visit_occurrence": "visit_occurrence_id,person_id,visit_concept_id,visit_start_datetime,visit_end_datetime\n7,1,9201,2150-02-01 08:00:00,2150-03-09 08:00:00\n",
    "measurement": RESULTS
    + "1,1,3020891,2150-03-01,2150-03-01 09:00:00,,101.3,9289,,100,x,deg F,101.3\n"
    + "2,1,4302666,2150-03-01,2150-03-01 09:00:00,,38.5,586323,,100,x,C,38.5\n"
    + "3,1,3007220,2150-03-01,2150-03-01 09:00:00,4171756,20,8645,395,,x,U/L,<20\n"
    + "4,1,4265595,2150-03-01,2150-03-01 10:00:00,,5250,8645,395,,x,,5250\n"
    + "5,1,3016723,2150-03-01,2150-03-01 09:00:00,,2.1,999999,,,x,,2.1\n"
    + "6,1,4013964,2150-03-01,2150-03-01 10:00:00,,186,0,,,x,umol/L,186\n"
    + "7,1,3024929,2150-03-01,,,9,8848,,,x,,9\n"
    + "8,1,3007469,2150-03-01,2150-03-01 09:00:00,,20,8541,,100,x,,20\n",
    "observation": "observation_id,person_id,observation_concept_id,observation_date,observation_datetime,value_as_number,value_as_string,unit_concept_id\n"
    "1,1,3016335,2150-03-01,2150-03-01 09:00:00,2,,0\n2,1,3009094,2150-03-01,2150-03-01 09:00:00,4,,0\n3,1,3008223,2150-03-01,2150-03-01 09:00:00,5,,0\n",
    "drug_exposure": "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_datetime,drug_exposure_end_datetime,drug_source_value,route_source_value,route_concept_id\n"
    "1,1,715233,2150-02-25 08:00:00,2150-02-28 08:00:00,baclofen 10 mg tablet,PO,4132161\n"
    "2,1,715233,2150-03-01 12:00:00,2150-03-01 13:00:00,baclofen,,4217202\n",
    "device_exposure": "device_exposure_id,person_id,device_concept_id,device_exposure_start_datetime,device_source_value\n1,1,0,2150-03-01 07:00:00,SynchroMed II 40 mL\n2,1,0,2150-03-01 07:00:00,PICC\n",
}


PROCEDURES = {
    "procedure_occurrence": "procedure_occurrence_id,person_id,procedure_concept_id,procedure_date,procedure_datetime,procedure_source_value,procedure_source_concept_id\n"
    "1,1,900001,2150-02-20,2150-02-20 08:00:00,62362,0\n"  # what the concept table says, whatever the number
    "2,1,0,2150-03-01,2150-03-01 15:00:00,x,900002\n"
    "3,1,900003,2150-03-01,2150-03-01 16:00:00,62362,0\n"  # another vocabulary's code of that spelling
    "4,1,0,2150-03-01,2150-03-01 17:00:00,62362,0\n"
    "5,1,900001,2150-03-01,,62362,0\n",
    "concept": "concept_id,concept_name,domain_id,vocabulary_id,concept_code\n"
    "900001,a,Procedure,CPT4,62362\n900002,b,Procedure,CPT4,62370\n900003,c,Procedure,LOCAL,62362\n900004,d,Procedure,CPT4,99213\n",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def write(ending: str = "csv", **other: str | None) -> Path:
        for name, text in (TABLES | other).items():
            if text is None:
                continue
            path = tmp_path / f"{name.upper()}.{ending}"
            if ending == "parquet":
                pl.read_csv(text.encode(), try_parse_dates=True).write_parquet(path)
            else:
                path.write_text(text)
        return tmp_path

    return write


def read(path: Path) -> Dataset:
    return open_dataset("omop", [path], stays=None, pumps=None, context=None)


def results(dataset: Dataset, code: str) -> list[Any]:
    return dataset.observations.filter(pl.col("code") == code).select("value", "value_text", "unit").rows()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_both_families_of_concepts_are_read_with_the_unit_of_their_concept_or_their_source(
    folder: Callable[..., Path], ending: str
) -> None:
    dataset = read(folder(ending))

    assert [(38.5, None, "Cel"), (101.3, None, "[degF]")] == results(dataset, "temp")
    assert [(None, "<20.0", "U/L"), (5250.0, None, "U/L")] == results(dataset, "ck")
    assert [(2.1, None, "concept 999999"), (186.0, None, "umol/L")] == results(dataset, "creat")
    assert [(11.0, None, "points")] == results(dataset, "gcs")
    assert {("observations", "bad_time"): 1, ("observations", "other_item"): 1} == dict(dataset.rejected)


def test_stays_are_details_of_intensive_care_and_else_visits(folder: Callable[..., Path]) -> None:
    def stays(dataset: Dataset) -> list[Any]:
        return [
            (e.stay_id, e.age_years, e.sex)
            for _, e in dataset.others
            if isinstance(e, Encounter) and e.event == "admitted"
        ]

    assert [("100", 60.0, "female")] == stays(read(folder()))
    ward_only = read(folder(visit_detail=VISITS + "101,1,9201,2150-02-01 08:00:00,2150-03-09 08:00:00,7\n"))
    assert [("7", 60.0, "female")] == stays(ward_only)
    assert ["no visit_detail of intensive care: every visit_occurrence is a stay"] == ward_only.remarks[1:]
    assert "table procedure_occurrence is not there: nothing of it is read" == ward_only.remarks[0]


def test_devices_and_routes_say_that_there_is_a_pump_and_oral_baclofen_is_none(folder: Callable[..., Path]) -> None:
    others = [e for _, e in read(folder()).others]

    assert [parse_time("2150-03-01T07:00:00Z"), parse_time("2150-03-01T12:00:00Z")] == [
        e.at for e in others if isinstance(e, Pump)
    ]
    assert ["started", "stopped"] == [e.event for e in others if isinstance(e, Context) and e.kind == "oral_baclofen"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_procedures_of_a_pump_are_known_by_the_concept_table_of_the_export(
    folder: Callable[..., Path], ending: str
) -> None:
    dataset = read(folder(ending, device_exposure=None, drug_exposure=None, **PROCEDURES))

    assert [
        ("surgery", "2150-02-20T08:00:00Z"), ("implanted", "2150-02-20T08:00:00Z"),
        ("refilled", "2150-03-01T15:00:00Z"), ("reprogrammed", "2150-03-01T15:00:00Z"),
    ] == [(e.event, rfc3339(e.at).replace(".000", "")) for _, e in dataset.others if isinstance(e, Pump)]  # fmt: skip
    assert 2 == dataset.rejected["pumps", "bad_time"]  # both events of the row that has a day only


@pytest.mark.parametrize(("vocabulary", "pumps"), [("RxNorm", ["2150-03-01T12:00:00.000Z"]), ("LOCAL", [])])
def test_a_concept_of_a_drug_is_one_for_a_pump_by_the_rxnorm_code_of_the_export(
    folder: Callable[..., Path], vocabulary: str, pumps: list[str]
) -> None:
    header = TABLES["drug_exposure"].splitlines()[0]
    dataset = read(
        folder(
            device_exposure=None,
            drug_exposure=f"{header}\n1,1,910001,2150-03-01 12:00:00,,00001,,0\n2,1,910002,2150-03-01 12:00:00,,00002,,0\n",
            concept=f"concept_id,vocabulary_id,concept_code\n910001,{vocabulary},1047437\n910002,RxNorm,11124\n",
        )
    )

    assert pumps == [rfc3339(e.at) for _, e in dataset.others if isinstance(e, Pump)]


def test_without_the_concept_table_no_procedure_is_guessed_from_its_source_value(folder: Callable[..., Path]) -> None:
    dataset = read(folder(**(PROCEDURES | {"concept": None, "device_exposure": None, "drug_exposure": None})))

    assert [] == [e for _, e in dataset.others if isinstance(e, Pump)]
    assert any("table concept is not there" in remark for remark in dataset.remarks)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_renamed_column_refuses_the_set_by_file_and_column(folder: Callable[..., Path], table: str) -> None:
    path = folder(**{table: TABLES[table].replace("person_id", "persn_id", 1)})

    with pytest.raises(InputRefused, match=rf"{table.upper()}\.csv: no column 'person_id'; .*mean 'persn_id'"):
        read(path)


def test_results_are_needed(folder: Callable[..., Path]) -> None:
    with pytest.raises(InputRefused, match="neither measurement nor observation"):
        read(folder(measurement=None, observation=None))


CONCEPT = {
    "temp": ("3020891", "4302666"), "hr": ("3027018",), "sbp": ("3004249", "21492239"), "dbp": ("3012888",),
    "map": ("3027598",), "rr": ("3024171",), "spo2": ("40762499",), "ck": ("3007220", "4265595"),
    "plt": ("3024929", "4267147"), "creat": ("3016723", "4013964"), "ast": ("3013721",), "alt": ("3006923",),
    "inr": ("3022217",), "wbc": ("3000905",), "lactate": ("3047181",), "k": ("3023103",), "hco3": ("3016293",),
    "bili": ("3024128",), "ckmb": ("3005785",), "uop": ("3014315",),
}  # fmt: skip


def test_the_open_icu_data_written_as_a_site_of_omop_come_back_whole(shared: Path, tmp_path: Path) -> None:
    canonical = shared / "data" / "canonical"
    rows = pl.read_parquet(canonical / "mimic_iii_demo.observations.parquet").filter(pl.col("code").is_in(CONCEPT))
    stays = pl.read_parquet(canonical / "mimic_iii_demo.stays.parquet")
    concept = pl.struct("code", "stay_id").map_elements(
        lambda one: CONCEPT[one["code"]][int(one["stay_id"]) % len(CONCEPT[one["code"]])], return_dtype=pl.String
    )
    rows.select(
        person_id="patient_id", measurement_concept_id=concept, measurement_datetime="effective_at",
        value_as_number="value", unit_concept_id=pl.lit(0), unit_source_value="unit", value_source_value="value_text",
    ).write_parquet(tmp_path / "measurement.parquet")  # fmt: skip
    stays.select(
        visit_detail_id="stay_id", person_id="patient_id", visit_detail_concept_id=pl.lit(32037),
        visit_detail_start_datetime="admitted_at", visit_detail_end_datetime="discharged_at",
    ).write_parquet(tmp_path / "visit_detail.parquet")  # fmt: skip

    dataset = read(tmp_path)

    given = rows.filter(pl.col("value").is_not_null()).select("patient_id", "code", "value", "unit", pl.col("effective_at").dt.timestamp("ms"))  # fmt: skip
    seen = dataset.observations.select("patient_id", "code", "value", "unit", "effective_at")
    outside = dataset.rejected["observations", "outside_stay"]
    assert len(rows) == len(seen) + dataset.rejected.total()
    assert set(seen.drop_nulls("value").iter_rows()) <= set(given.iter_rows())
    assert outside < 0.005 * len(rows)
