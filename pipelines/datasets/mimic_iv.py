"""MIMIC-IV 2.2 or later: its folder, with hosp/ and icu/ in it, as CSV, CSV.gz or Parquet.

Read: icu/icustays, hosp/patients; icu/chartevents, hosp/labevents, icu/outputevents for observations;
icu/inputevents, icu/procedureevents, hosp/emar, hosp/prescriptions for context, and the latter two for the pump where
intrathecal baclofen was given or ordered. Each of the latter two groups may be left out, table by table; what is missing is remarked.
Times are those of the data set, shifted into 2100 to 2200 and taken as UTC. ``storetime`` is when the record had a row.
A result belongs to the stay in which it was drawn, or the day before. Ages over 89 are 91 in the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipelines.collecting.collector import Collector
from pipelines.collecting.intrathecal import baclofen_orders
from pipelines.collecting.item_maps import ItemMap, item_map
from pipelines.collecting.mimic import file_of, observe, result_columns, with_gcs_total
from pipelines.collecting.scans import Folder, Table
from pipelines.collecting.treatments import given, kinds, running
from pipelines.dataset import InputRefused
from pipelines.tables import NUMBER, TEXT, TIME, Columns
from pipelines.terms import drug_kinds

NAME = "mimic-iv"
DERIVE = with_gcs_total
STAYS = Columns({"subject_id": TEXT, "stay_id": TEXT, "intime": TIME, "outtime": TIME}, {"first_careunit": TEXT})
PATIENTS = Columns({"subject_id": TEXT, "gender": TEXT, "anchor_age": NUMBER, "anchor_year": NUMBER}, {})
LABS = result_columns(None, storetime=True, optional={"ref_range_upper": NUMBER, "comments": TEXT})
RAN = Columns(
    {"subject_id": TEXT, "stay_id": TEXT, "itemid": TEXT, "starttime": TIME, "endtime": TIME}, {"storetime": TIME}
)
EMAR = Columns({"subject_id": TEXT, "charttime": TIME, "medication": TEXT, "event_txt": TEXT}, {"storetime": TIME})
PRESCRIPTIONS = Columns({"subject_id": TEXT, "starttime": TIME, "stoptime": TIME, "drug": TEXT, "route": TEXT}, {"ndc": TEXT})  # fmt: skip
ADMINISTERED = r"(?i)^(?:partial |delayed )?administered"


def load(inputs: Sequence[Path], collect: Collector) -> None:
    """Hand every row of ours to ``collect``."""
    folder = Folder(inputs, NAME, "icu", "hosp")
    icustays, patients = folder.required("icustays", STAYS), folder.required("patients", PATIENTS)
    results = {
        "chartevents": folder.table("chartevents", result_columns("stay_id", storetime=True), required=False),
        "labevents": folder.table("labevents", LABS, required=False),
        "outputevents": folder.table("outputevents", result_columns("stay_id", storetime=True), required=False),
    }
    ran = {name: folder.table(name, RAN, required=False) for name in ("inputevents", "procedureevents")}
    emar = folder.table("emar", EMAR, required=False)
    prescriptions = folder.table("prescriptions", PRESCRIPTIONS, required=False)
    tables = results | ran | {"emar": emar, "prescriptions": prescriptions}
    collect.missing([name for name, table in tables.items() if table is None])
    if not any(results.values()):
        raise InputRefused(f"{folder.root}: none of {', '.join(results)}; expected at least one table of results")
    items = item_map("mimic_iv")
    _admit(collect, icustays, patients)
    for name, table in results.items():
        if table is not None:
            observe(collect, table, items, None if name == "labevents" else "stay_id")
    for table in ran.values():
        if table is not None:
            _ran(collect, table, items)
    if emar is not None:
        _emar(collect, emar)
    if prescriptions is not None:
        _prescriptions(collect, prescriptions)


def _admit(collect: Collector, icustays: Table, patients: Table) -> None:
    known = collect.whole(icustays).join(collect.whole(patients).unique("subject_id"), on="subject_id", how="left")
    year = pl.from_epoch("intime", time_unit="ms").dt.year()
    collect.admit(
        file_of(icustays),
        known.select(
            "row", "stay_id", patient_id="subject_id", admitted_at="intime", discharged_at="outtime",
            unit="first_careunit", age_years=pl.col("anchor_age") + year - pl.col("anchor_year"), sex="gender",
            weight_kg=pl.lit(None, pl.Float64),
        ),
    )  # fmt: skip


def _ran(collect: Collector, table: Table, items: ItemMap) -> None:
    """Infusions and procedures: what has an event in the map is one, the rest runs from start to end."""
    mapped = kinds(items.context[table.name])
    parts = []
    for _, rows in collect.rows(table, ("itemid", frozenset(mapped["item"])), "context", "subject_id"):
        stored = "storetime" if "storetime" in rows.columns else pl.lit(None, pl.Int64)
        parts.append(
            rows.select(
                "row", "itemid", "stay_id", patient_id="subject_id", start="starttime", end="endtime", stored=stored
            )
        )
    if parts:
        found = pl.concat(parts).join(mapped, left_on="itemid", right_on="item", maintain_order="left")
        collect.treat(file_of(table), given(found.filter(pl.col("event").is_not_null())))
        collect.treat(file_of(table), running(found.filter(pl.col("event").is_null() & pl.col("start").is_not_null())))


def _emar(collect: Collector, table: Table) -> None:
    """Doses that were administered; what runs is in inputevents, with its start and its stop.

    A dose of a product for pumps, by its name, says that there is one: the route of a dose stands in emar_detail.
    """
    for path, rows in collect.every_row(table, "context"):
        doses = rows.filter(pl.col("event_txt").str.contains(ADMINISTERED).fill_null(False))
        for row in doses.filter(baclofen_orders(doses, ["medication"]) == "intrathecal").iter_rows(named=True):
            known = max((at for at in (row["charttime"], row["storetime"]) if at is not None), default=None)
            collect.pump(path, row["row"], row["subject_id"], row["charttime"], known=known)
        known = {name: drug_kinds([name]) for name in doses["medication"].unique() if name}
        for kind in sorted({one.name for found in known.values() for one in found if not one.runs}):
            names = [name for name, found in known.items() if kind in (one.name for one in found)]
            collect.treat(
                path,
                doses.filter(pl.col("medication").is_in(names)).select(
                    "row", patient_id="subject_id", stay_id=pl.lit(None, pl.String), kind=pl.lit(kind),
                    event=pl.lit("given"), at="charttime", available_at="storetime", detail="medication",
                ),
            )  # fmt: skip


def _prescriptions(collect: Collector, table: Table) -> None:
    """Oral baclofen runs while it is prescribed; baclofen for a pump says that there is one."""
    parts = []
    for path, rows in collect.every_row(table, "context"):
        told = rows.with_columns(told=baclofen_orders(rows, ["drug"], "route", "ndc"))
        for row in told.filter(pl.col("told") == "intrathecal").iter_rows(named=True):
            collect.pump(path, row["row"], row["subject_id"], row["starttime"])
        parts.append(
            told.filter((pl.col("told") == "oral") & pl.col("starttime").is_not_null()).select(
                "row", patient_id="subject_id", stay_id=pl.lit(None, pl.String), kind=pl.lit("oral_baclofen"),
                start="starttime", end="stoptime", stored=pl.lit(None, pl.Int64), detail="drug",
            )
        )  # fmt: skip
    if parts:
        collect.treat(file_of(table), running(pl.concat(parts)))
