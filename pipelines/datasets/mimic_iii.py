"""MIMIC-III Clinical Database 1.4: a folder of its tables as CSV, CSV.gz or Parquet.

Read: icustays, patients, chartevents, labevents, outputevents; prescriptions, where it is there, for the pump. Times are those of the data set, shifted into 2100 to
2200 and taken as UTC. ``storetime`` is when the record had a charted value; laboratory results have none, and are known
after the usual time of their test (``mimic_iii.yaml``). A result belongs to the stay in which it was drawn, or the day
before. A row that was marked as wrong (``error``, ``iserror``) is read as it was stored: when it was marked is not
kept, and until then everybody saw it. Ages over 89 are shifted to 300 in the data: they are read as 90.
A prescription has days and no times: what it says is known at the end of its first day.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import polars as pl

from detector.clock import DAY
from pipelines.collecting.collector import Collector
from pipelines.collecting.intrathecal import baclofen_orders
from pipelines.collecting.item_maps import item_map
from pipelines.collecting.mimic import file_of, observe, result_columns, with_gcs_total
from pipelines.collecting.scans import Folder, Table
from pipelines.tables import TEXT, TIME, Columns

NAME = "mimic-iii"
DERIVE = partial(with_gcs_total, tube=1)
STAYS = Columns({"subject_id": TEXT, "icustay_id": TEXT, "intime": TIME, "outtime": TIME}, {"first_careunit": TEXT})
PATIENTS = Columns({"subject_id": TEXT, "gender": TEXT, "dob": TIME}, {})
PRESCRIPTIONS = Columns(
    {"subject_id": TEXT, "startdate": TIME, "drug": TEXT, "route": TEXT},
    {"drug_name_poe": TEXT, "drug_name_generic": TEXT, "ndc": TEXT},
)
YEAR = 365.25 * DAY
OLDEST = 90


def load(inputs: Sequence[Path], collect: Collector) -> None:
    """Hand every row of ours to ``collect``."""
    folder = Folder(inputs, NAME)
    icustays = folder.required("icustays", STAYS)
    patients = folder.required("patients", PATIENTS)
    charted = folder.required("chartevents", result_columns("icustay_id", storetime=True))
    labs = folder.required("labevents", result_columns(None, storetime=False))
    outputs = folder.required("outputevents", result_columns("icustay_id", storetime=True))
    prescriptions = folder.table("prescriptions", PRESCRIPTIONS, required=False)
    collect.missing(["prescriptions"] if prescriptions is None else [])
    items = item_map("mimic_iii")
    known = collect.whole(icustays).join(collect.whole(patients).unique("subject_id"), on="subject_id", how="left")
    age = ((pl.col("intime") - pl.col("dob")) / YEAR).floor()
    collect.admit(
        file_of(icustays),
        known.select(
            "row", stay_id="icustay_id", patient_id="subject_id", admitted_at="intime", discharged_at="outtime",
            unit="first_careunit", age_years=pl.min_horizontal(age, pl.lit(float(OLDEST))), sex="gender",
            weight_kg=pl.lit(None, pl.Float64),
        ),
    )  # fmt: skip
    observe(collect, charted, items, "icustay_id")
    observe(collect, labs, items, None)
    observe(collect, outputs, items, "icustay_id")
    if prescriptions is not None:
        _pumps(collect, prescriptions)


def _pumps(collect: Collector, table: Table) -> None:
    """An order of baclofen for a pump says that there is one; at which hour of its day it was written is not kept."""
    for path, rows in collect.every_row(table, "pumps"):
        names = [name for name in ("drug", "drug_name_poe", "drug_name_generic") if name in rows.columns]
        for row in rows.filter(baclofen_orders(rows, names, "route", "ndc") == "intrathecal").iter_rows(named=True):
            at = row["startdate"]
            known = at + DAY if at is not None and at % DAY == 0 else at
            collect.pump(path, row["row"], row["subject_id"], at, known=known)
