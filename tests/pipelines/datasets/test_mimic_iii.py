"""MIMIC-III read from its own tables gives what its canonical form gives."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from detector.clock import rfc3339
from detector.events import Encounter, Pump
from pipelines.dataset import Dataset, declare_pumps
from pipelines.datasets import open_dataset
from pipelines.replay import replay
from pipelines.settings import Settings

ON_THE_GRID = {"43735", "40286"}
"""With the fixed delays their first alert is another: the hour grid of their scores begins with another minute."""
SAME = ["patient_id", "stay_id", "code", "value", "unit", "effective_at"]
MORE_THAN_CANONICAL = ("gcs_eye", "gcs_verbal", "gcs_motor", "fibrinogen", "ddimer")
"""What the canonical form, which holds a total where these are, was made without."""


@pytest.fixture(scope="module")
def raw(shared: Path) -> Dataset:
    return read(shared / "data" / "raw" / "mimic-iii-demo-1.4")


@pytest.fixture(scope="module")
def canonical(shared: Path) -> Dataset:
    folder = shared / "data" / "canonical"
    inputs, stays = [folder / "mimic_iii_demo.observations.parquet"], folder / "mimic_iii_demo.stays.parquet"
    return open_dataset("canonical", inputs, stays=stays, pumps=None, context=None)


def read(folder: Path) -> Dataset:
    return open_dataset("mimic-iii", [folder], stays=None, pumps=None, context=None)


def rows(dataset: Dataset) -> set[tuple[Any, ...]]:
    table = dataset.observations.filter(~pl.col("code").is_in(MORE_THAN_CANONICAL))
    return set(table.select(SAME).filter(pl.col("value").is_not_null()).iter_rows())


def test_the_raw_tables_give_every_result_of_the_canonical_form_and_no_other(raw: Dataset, canonical: Dataset) -> None:
    assert rows(canonical) == rows(raw)
    assert len(rows(raw)) > 120_000


def test_the_raw_tables_give_the_stays_of_the_canonical_form(raw: Dataset, canonical: Dataset) -> None:
    def stays(dataset: Dataset) -> set[tuple[Any, ...]]:
        return {
            (e.patient_id, e.stay_id, e.event, round(e.at, -3), e.unit, e.age_years, e.sex)
            for _, e in dataset.others
            if isinstance(e, Encounter)
        }

    assert 272 == len(stays(raw))
    assert {(*one[:3], *one[4:]) for one in stays(canonical)} == {(*one[:3], *one[4:]) for one in stays(raw)}


def test_charted_values_are_known_when_they_were_stored_and_results_after_the_usual_time(
    raw: Dataset, canonical: Dataset
) -> None:
    def charted(dataset: Dataset) -> set[tuple[Any, ...]]:
        vitals = dataset.observations.filter(pl.col("code").is_in(["temp", "hr", "sbp", "uop"]))
        return set(vitals.select(*SAME, "available_at").iter_rows())

    assert charted(canonical) == charted(raw)
    labs = raw.observations.filter(pl.col("source") == "Creatinine", pl.col("unit") == "mg/dL")
    assert labs.filter(pl.col("available_at") - pl.col("effective_at") == 67 * 60_000).height > 1_000


ORDERS = (
    "row_id,subject_id,hadm_id,icustay_id,startdate,enddate,drug_type,drug,drug_name_poe,drug_name_generic,ndc,route\n"
    "1,10006,1,,2164-10-20 00:00:00,2164-10-25 00:00:00,MAIN,Baclofen,,,,PO\n"
    "2,10006,1,,2164-10-23 00:00:00,2164-10-25 00:00:00,MAIN,Baclofen,Baclofen,,,IT\n"
    "3,10006,1,,2164-10-23 09:30:00,2164-10-25 00:00:00,MAIN,*nf* drug,Gablofen,,,\n"
    "4,10006,1,,,,MAIN,Baclofen,,,,IT\n"
    "5,1,1,,2164-10-23 00:00:00,,MAIN,Baclofen,,,66794015702,\n"
)


def test_an_order_for_a_pump_is_known_at_the_end_of_its_day_because_its_hour_is_not_kept(
    shared: Path, tmp_path: Path
) -> None:
    for table in (shared / "data" / "raw" / "mimic-iii-demo-1.4").iterdir():
        (tmp_path / table.name).symlink_to(table)
    (tmp_path / "PRESCRIPTIONS.csv").write_text(ORDERS)

    dataset = read(tmp_path)

    assert [
        ("10006", "implanted", "2164-10-23T09:30:00.000Z", "2164-10-23T09:30:00.000Z"),
        ("10006", "implanted", "2164-10-23T00:00:00.000Z", "2164-10-24T00:00:00.000Z"),
    ] == [(e.patient_id, e.event, rfc3339(e.at), rfc3339(e.available_at)) for _, e in dataset.others if isinstance(e, Pump)]  # fmt: skip
    assert (1, 1) == (dataset.rejected["pumps", "bad_time"], dataset.rejected["pumps", "outside_stay"])


def alerts(dataset: Dataset, patients: set[str]) -> list[Any]:
    some = dataset.of(sorted(patients)).shares(1)
    return [record for share in some for record in replay(share, Settings()).records]


@pytest.fixture(scope="module")
def few(canonical: Dataset) -> set[str]:
    """Patients with short stays: enough alerts, few rows; and two in whom minutes of filing decide."""
    return {patient for patient, size in canonical.rows_by_patient().items() if size < 450} | ON_THE_GRID


def verdicts(records: list[Any]) -> dict[tuple[str, str], tuple[int, Any]]:
    found: dict[tuple[str, str], tuple[int, Any]] = {}
    order = ("info", "watch", "warning", "critical")
    for record in records:
        key = (record.stay_id, record.syndrome)
        rank, onset = found.get(key, (0, record.onset_at))
        found[key] = max(rank, order.index(record.severity)), min(onset, record.onset_at)
    return found


def with_drawn_delays(raw: Dataset, canonical: Dataset) -> Dataset:
    """The raw form with the times of filing that were drawn for the laboratory results of the canonical form.

    A result that is known some minutes earlier or later can open a score's watch (S-01) or move the hour grid of a usual
    pressure: only with the same times must the verdicts be the same.
    """
    drawn = canonical.observations.group_by(SAME).agg(drawn=pl.col("available_at").min())
    known = raw.observations.join(drawn, on=SAME, how="left", nulls_equal=True, maintain_order="left")
    raw.observations = known.with_columns(available_at=pl.coalesce("drawn", "available_at")).drop("drawn")
    raw.__post_init__()
    return raw


def test_the_raw_form_gives_the_same_stays_syndromes_severities_and_onsets(shared: Path, few: set[str]) -> None:
    data = shared / "data"
    stays = data / "canonical" / "mimic_iii_demo.stays.parquet"
    inputs = [data / "canonical" / "mimic_iii_demo.observations.parquet"]
    as_canonical = open_dataset("canonical", inputs, stays=stays, pumps=None, context=None)
    as_raw = with_drawn_delays(read(data / "raw" / "mimic-iii-demo-1.4"), as_canonical)
    for dataset in (as_canonical, as_raw):
        declare_pumps(dataset, "all")  # with the first record that is known, hence after the times of filing

    expected = verdicts(alerts(as_canonical, few))

    assert len(few) > 15
    assert len(expected) > 5
    assert expected == verdicts(alerts(as_raw, few))
