"""Whoever is skipped by a replay has nothing to be alerted of: the records are those of a replay of everybody."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.catalogue.signals import Catalogue
from detector.clock import HOUR, MINUTE
from pipelines.commands.replay import sieve_of
from pipelines.dataset import Dataset, InputRefused
from pipelines.datasets import open_dataset
from pipelines.formats.times import parse_time
from pipelines.plan_files import load_plan, rules_of
from pipelines.replay import Outcome, replay
from pipelines.settings import Settings
from pipelines.sieve import Sieve, floors, least

START = parse_time("2150-03-01T08:00:00Z")
COLUMNS = ("patient_id", "stay_id", "code", "value", "unit", "effective_at", "available_at")
QUIET = [(10.0 * k, "temp", 37.0, "degC") for k in range(12)]
PATIENTS: dict[str, list[tuple[float, str, float, str | None]]] = {
    "quiet": QUIET,
    "fever": [*QUIET, (125, "temp", 39.9, "degC"), (126, "hr", 150, "/min"), (126, "sbp", 190, "mm[Hg]"), (127, "ck", 9000, "U/L")],
    "hot": [*QUIET, (125, "temp", 40.5, "degC")],
    "hot-in-fahrenheit": [(0, "8310-5", 98.0, "[degF]"), (60, "8310-5", 106.4, "[degF]"), (90, "8310-5", 106.4, "[degF]")],
    "hyperpyrexia": [*QUIET, (125, "temp", 41.2, "degC"), (150, "temp", 40.6, "degC")],
    "other-unit": [*QUIET, (125, "temp", 98.6, "degC")],
    "lab-in-other-unit": [*QUIET, (125, "creatinine", 88, "mg/dL")],
    "ahead": [(100.0 + k, "hr", 80 + k, "/min") for k in range(20)],
    "oral": QUIET,
    "pump": [*QUIET, (125, "temp", 39.9, "degC"), (126, "context", 0, None)],
}  # fmt: skip
KEPT = {"hot", "hot-in-fahrenheit", "hyperpyrexia", "other-unit", "lab-in-other-unit", "ahead", "oral"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for patient, course in PATIENTS.items():
        for minutes, code, value, unit in course:
            at = START + int(minutes * MINUTE)
            known = at - 3 * HOUR if patient == "ahead" else at + MINUTE
            rows.append((patient, patient + "-1", code, value, unit, _text(at), _text(known)))
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(folder / "observations.parquet")
    stays = [(f"{one}-1", one, "2150-03-01T07:00:00Z", "2150-03-03T08:00:00Z") for one in PATIENTS if one != "fever"]
    pl.DataFrame(stays, schema=["stay_id", "patient_id", "admitted_at", "discharged_at"], orient="row").write_csv(
        folder / "stays.csv"
    )
    _lines(folder / "context.ndjson", [
        {"patient_id": "oral", "kind": "oral_baclofen", "event": "stopped", "at": "2150-03-01T08:00:00Z"},
        {"patient_id": "quiet", "kind": "sedation", "event": "started", "at": "2150-03-01T08:00:00Z"},
    ])  # fmt: skip
    _lines(folder / "pumps.ndjson", [{"patient_id": "pump", "event": "implanted", "at": "2149-03-01T08:00:00Z"}])
    return folder


def _text(at: int) -> str:
    return str(pl.Series([at]).cast(pl.Datetime("ms"))[0].isoformat()) + "Z"


def _lines(path: Path, events: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def opened(folder: Path, pumps: str | None, *, sieved: bool) -> Dataset:
    settings = Settings()
    return open_dataset(
        "canonical", [folder / "observations.parquet"], stays=folder / "stays.csv", pumps=pumps,
        context=folder / "context.ndjson", sieve=sieve_of(load_plan(settings), [settings], pumps) if sieved else None,
    )  # fmt: skip


def both(folder: Path, pumps: str | None) -> tuple[Outcome, Outcome]:
    whole, sieved = (replay(opened(folder, pumps, sieved=one), Settings()) for one in (False, True))
    return whole, sieved


@pytest.mark.parametrize(
    ("pumps", "skipped", "syndromes"),
    [
        ("none", {"quiet", "fever", "pump"}, {"hyperpyrexia", "data_quality", "technical"}),
        ("pumps.ndjson", {"quiet", "fever"}, {"hyperpyrexia", "data_quality", "technical"}),
        (None, {"quiet"}, {"hyperpyrexia", "data_quality", "technical", "pump_status_query"}),
    ],
)
def test_records_stays_and_days_are_those_of_a_replay_of_everybody(
    folder: Path, pumps: str | None, skipped: set[str], syndromes: set[str]
) -> None:
    named = str(folder / pumps) if pumps is not None and "." in pumps else pumps
    whole, sieved = both(folder, named)
    dataset = opened(folder, named, sieved=True)

    assert whole.records == sieved.records
    assert syndromes <= {record.syndrome for record in whole.records}
    assert set(PATIENTS) - skipped == set(dataset.rows_by_patient())
    assert len(skipped) == sieved.skipped_patients
    assert sorted(map(repr, whole.stays)) == sorted(map(repr, sieved.stays))


def test_every_row_that_is_skipped_is_counted(folder: Path) -> None:
    whole, sieved = (opened(folder, "none", sieved=one) for one in (False, True))
    assert sieved.skipped is not None
    declared = sieved.skipped.patients  # nobody says of them that they have no pump

    assert len(whole) == len(sieved) + sieved.skipped.rows + declared


def test_a_table_without_a_row_of_use_is_refused_not_skipped(folder: Path, tmp_path: Path) -> None:
    table = pl.read_parquet(folder / "observations.parquet").with_columns(effective_at=pl.lit("yesterday"))
    table.write_parquet(tmp_path / "observations.parquet")
    for name in ("stays.csv", "context.ndjson"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())

    with pytest.raises(InputRefused, match="none of its"):
        opened(tmp_path, "none", sieved=True)


def test_with_a_pump_for_all_nobody_is_skipped(folder: Path) -> None:
    assert opened(folder, "all", sieved=True).skipped is None


def test_the_demo_gives_the_same_records_with_a_pump_for_some(shared: Path, tmp_path: Path) -> None:
    canonical = shared / "data" / "canonical"
    everything = pl.read_parquet(canonical / "mimic_iii_demo.observations.parquet")
    patients = sorted(everything["patient_id"].unique())[::25]
    everything.filter(pl.col("patient_id").is_in(patients)).write_parquet(tmp_path / "observations.parquet")
    stays = pl.read_parquet(canonical / "mimic_iii_demo.stays.parquet").filter(pl.col("patient_id").is_in(patients))
    stays.with_columns(pl.col(pl.Datetime).dt.to_string("%Y-%m-%dT%H:%M:%SZ")).write_csv(tmp_path / "stays.csv")
    _lines(tmp_path / "pumps.ndjson", [{"patient_id": patients[1], "event": "implanted", "at": "2050-01-01T00:00:00Z"}])
    (tmp_path / "context.ndjson").touch()

    whole, sieved = both(tmp_path, str(tmp_path / "pumps.ndjson"))

    assert whole.records
    assert whole.records == sieved.records
    assert sieved.skipped > 500
    assert sum(stay.days for stay in whole.stays) == pytest.approx(sum(stay.days for stay in sieved.stays))


def test_the_rules_say_what_must_have_been_measured() -> None:
    rules = rules_of(Settings())

    assert {"temp": 40.5} == floors(rules, pump_unknown=False)
    assert {"temp": 38.5} == floors(rules, pump_unknown=True)
    assert {"temp": 38.5} == least([floors(rules, pump_unknown=True), floors(rules, pump_unknown=False)])


def test_an_overlay_that_lowers_hyperpyrexia_lowers_the_sieve_and_what_it_cannot_read_closes_it(tmp_path: Path) -> None:
    rules = rules_of(Settings())
    lower = {
        **rules,
        "C-13.yaml": {
            **rules["C-13.yaml"],
            "when": {"reading": {"signal": "temp", "at_least": 40.0, "within": "PT6H"}},
        },
    }
    strange = {
        **rules,
        "C-13.yaml": {**rules["C-13.yaml"], "when": {"context": {"kind": ["delirium"], "event": ["noted"]}}},
    }

    assert {"temp": 40.0} == floors(lower, pump_unknown=False)
    assert floors(strange, pump_unknown=False) is None
    assert least([{"temp": 40.0}, None]) is None


@pytest.mark.parametrize("unit", ["Cel", "[degF]", "°C", "F", None])
def test_a_temperature_of_40_5_tells_in_every_unit(unit: str | None) -> None:
    catalogue = load_plan(Settings()).catalogue
    sieve = Sieve(catalogue, {"temp": 40.5})
    degrees = {"[degF]": 104.9, "F": 104.9}.get(str(unit), 40.5)
    cooler = degrees - 0.5

    sieve.look(_rows(unit, {"hot": degrees, "cool": cooler}))

    assert {"hot"} == sieve.patients
    assert _tells(catalogue, "temp")
    assert not _tells(catalogue, "hr")


def _tells(catalogue: Catalogue, code: str) -> bool:
    return Sieve(catalogue, {"temp": 40.5}).tells(code)


def _rows(unit: str | None, values: dict[str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(patient, "temperature", unit, value, START, START) for patient, value in values.items()],
        schema={"patient_id": pl.String, "code": pl.String, "unit": pl.String, "value": pl.Float64, "effective_at": pl.Int64, "available_at": pl.Int64},
        orient="row",
    )  # fmt: skip


def test_a_parquet_copy_of_mimic_iv_is_sieved_as_its_csv_and_as_everybody_cut_down(
    shared: Path, tmp_path: Path
) -> None:
    sample = shared / "data" / "raw" / "mimic-iv-demo-2.2-sample"
    for table in sample.glob("*/*.csv.gz"):
        (tmp_path / table.parent.name).mkdir(exist_ok=True)
        typed = pl.read_csv(table, infer_schema_length=None, try_parse_dates=True)
        typed.write_parquet(tmp_path / table.parent.name / f"{table.name.removesuffix('.csv.gz')}.parquet")
    subjects = pl.read_csv(sample / "icu" / "icustays.csv.gz", infer_schema=False)["subject_id"].unique(
        maintain_order=True
    )
    _lines(tmp_path / "pumps.ndjson", [
        {"patient_id": one, "event": "implanted", "at": "2050-01-01T00:00:00Z"} for one in subjects[:3]
    ])  # fmt: skip
    settings, pumps = Settings(), str(tmp_path / "pumps.ndjson")

    def read(folder: Path, *, sieved: bool) -> Dataset:
        sieve = sieve_of(load_plan(settings), [settings], pumps) if sieved else None
        return open_dataset("mimic-iv", [folder], stays=None, pumps=pumps, context=None, sieve=sieve)

    whole, text, typed = read(sample, sieved=False), read(sample, sieved=True), read(tmp_path, sieved=True)
    kept = set(text.rows_by_patient())

    assert set(subjects[:3]) <= kept < set(whole.rows_by_patient())
    content = [name for name in whole.observations.columns if name != "row"]
    assert text.observations.equals(whole.of(kept).observations)
    assert text.observations.select(content).equals(typed.observations.select(content))
    assert text.skipped is not None
    assert typed.skipped is not None
    assert text.skipped.rows == typed.skipped.rows > 1_000
    assert {key: n for key, n in text.rejected.items() if key[1] == "other_item"} == {
        key: n for key, n in typed.rejected.items() if key[1] == "other_item"
    }
