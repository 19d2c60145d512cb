"""eICU Collaborative Research Database 2.0: a folder of its tables as CSV, CSV.gz or Parquet.

Read: patient; vitalPeriodic, vitalAperiodic, lab, nurseCharting and intakeOutput, and medication for the pump, each of
which may be left out; what is missing is remarked. The data give minutes from the admission to the unit and no dates. They are laid on a made-up date:
the hospital stay begins on 2150-01-01 at its own time of day, and its unit stays follow at their offsets. When a person
came back is not known, so every hospital stay is a patient of its own (``patienthealthsystemstayid``). A result is known
at its charted offset, or when it was entered or last revised, if that is later. Ages "> 89" are read as 90.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from detector.clock import HOUR, MINUTE, SECOND, from_datetime
from pipelines.collecting.collector import Collector, as_written, joined
from pipelines.collecting.intrathecal import baclofen_orders
from pipelines.collecting.item_maps import ItemMap, item_map
from pipelines.collecting.scans import Folder, Table
from pipelines.dataset import InputRefused
from pipelines.tables import NUMBER, TEXT, Columns

NAME = "eicu"
MADE_UP_DAY = from_datetime(datetime(2150, 1, 1, tzinfo=UTC))
STAY = "patientunitstayid"
PATIENT = Columns(
    {STAY: TEXT, "patienthealthsystemstayid": TEXT, "unitadmittime24": TEXT, "unitdischargeoffset": NUMBER},
    {"gender": TEXT, "age": TEXT, "hospitaladmittime24": TEXT, "hospitaladmitoffset": NUMBER, "unittype": TEXT, "admissionweight": NUMBER},
)  # fmt: skip
LAB = Columns(
    {STAY: TEXT, "labresultoffset": NUMBER, "labname": TEXT, "labresult": NUMBER},
    {"labresulttext": TEXT, "labmeasurenamesystem": TEXT, "labmeasurenameinterface": TEXT, "labresultrevisedoffset": NUMBER},
)  # fmt: skip
CHARTED = Columns(
    {STAY: TEXT, "nursingchartoffset": NUMBER, "nursingchartcelltypevalname": TEXT, "nursingchartvalue": TEXT},
    {"nursingchartentryoffset": NUMBER},
)
OUTPUT = Columns(
    {STAY: TEXT, "intakeoutputoffset": NUMBER, "celllabel": TEXT, "cellvaluenumeric": NUMBER},
    {"intakeoutputentryoffset": NUMBER},
)
MEDICATION = Columns(
    {STAY: TEXT, "drugname": TEXT, "drugstartoffset": NUMBER},
    {"routeadmin": TEXT, "drugorderoffset": NUMBER, "drugordercancelled": TEXT},
)


def load(inputs: Sequence[Path], collect: Collector) -> None:
    """Hand every row of ours to ``collect``."""
    folder = Folder(inputs, NAME)
    items = item_map("eicu")
    patient = folder.required("patient", PATIENT)
    wide = {name: _wide(folder, items, name) for name in ("vitalPeriodic", "vitalAperiodic")}
    long = {
        "lab": folder.table("lab", LAB, required=False, also="lab_subset"),
        "nurseCharting": folder.table("nurseCharting", CHARTED, required=False),
        "intakeOutput": folder.table("intakeOutput", OUTPUT, required=False),
    }
    medication = folder.table("medication", MEDICATION, required=False)
    collect.missing([name for name, table in (wide | long | {"medication": medication}).items() if table is None])
    if not any((wide | long).values()):
        raise InputRefused(f"{folder.root}: none of {', '.join(wide | long)}; expected at least one table of results")
    origin = _admit(collect, patient)
    for name, table in wide.items():
        if table is not None:
            _vitals(collect, table, items.frame(name), origin)
    _long(collect, long["lab"], items.frame("lab"), origin, "labname", "labresult", ("labresultoffset", "labresultrevisedoffset"))  # fmt: skip
    _long(collect, long["nurseCharting"], items.frame("nurseCharting"), origin, "nursingchartcelltypevalname", None, ("nursingchartoffset", "nursingchartentryoffset"))  # fmt: skip
    _long(collect, long["intakeOutput"], items.frame("intakeOutput"), origin, "celllabel", "cellvaluenumeric", ("intakeoutputoffset", "intakeoutputentryoffset"))  # fmt: skip
    if medication is not None:
        _pumps(collect, medication, origin)


def _pumps(collect: Collector, table: Table, origin: pl.DataFrame) -> None:
    """An order of baclofen for a pump says that there is one, once it was written and had begun."""
    began, ordered = (pl.col("origin") + _ms(name) for name in ("drugstartoffset", "drugorderoffset"))
    for path, rows in collect.every_row(table, "pumps"):
        orders = rows.filter(baclofen_orders(rows, ["drugname"], "routeadmin") == "intrathecal")
        kept = orders.filter(pl.col("drugordercancelled").str.to_lowercase().ne_missing("yes"))
        collect.count("cancelled", len(orders) - len(kept), "pumps")
        laid = kept.join(origin, on=STAY, how="inner", maintain_order="left").with_columns(began=began, ordered=ordered)
        collect.count("outside_stay", len(kept) - len(laid), "pumps")
        for row in laid.iter_rows(named=True):
            known = max((at for at in (row["began"], row["ordered"]) if at is not None), default=None)
            collect.pump(path, row["row"], row["patient_id"], row["began"], known=known)


def _wide(folder: Folder, items: ItemMap, name: str) -> Table | None:
    signals = dict.fromkeys((one.item for one in items.observations[name]), NUMBER)
    return folder.table(name, Columns({STAY: TEXT, "observationoffset": NUMBER, **signals}, {}), required=False)


def _admit(collect: Collector, patient: Table) -> pl.DataFrame:
    """Admit the unit stays; returns the time of each unit admission, from which its offsets count."""
    known = collect.whole(patient)
    for name in ("hospitaladmittime24", "unitadmittime24"):
        known = known.with_columns(_of_day(name).alias(f"{name}@"))
    from_hospital = MADE_UP_DAY + pl.col("hospitaladmittime24@") - _ms("hospitaladmitoffset")
    known = known.with_columns(admitted_at=pl.coalesce(from_hospital, MADE_UP_DAY + pl.col("unitadmittime24@")))
    age = pl.when(pl.col("age").str.contains(r"^\s*>\s*89\s*$")).then(90.0).otherwise(pl.col("age").cast(pl.Float64, strict=False))  # fmt: skip
    collect.admit(
        patient.parts[0],
        known.select(
            "row", "admitted_at", stay_id=STAY, patient_id="patienthealthsystemstayid",
            discharged_at=pl.col("admitted_at") + _ms("unitdischargeoffset"), unit="unittype", age_years=age,
            sex=pl.col("gender").str.to_lowercase(), weight_kg="admissionweight",
        ),
    )  # fmt: skip
    return collect.stays.select(pl.col("stay_id").alias(STAY), "patient_id", origin="admitted_at")


def _of_day(column: str) -> pl.Expr:
    """A time of day such as 13:14:00 as ms."""
    parts = pl.col(column).str.extract_groups(r"^(\d\d):([0-5]\d):([0-5]\d)$")
    hour, minute, second = (parts.struct.field(str(n)).cast(pl.Int64) for n in (1, 2, 3))
    return hour * HOUR + minute * MINUTE + second * SECOND


def _ms(minutes: str) -> pl.Expr:
    return (pl.col(minutes) * MINUTE).round().cast(pl.Int64)


def _vitals(collect: Collector, table: Table, mapped: pl.DataFrame, origin: pl.DataFrame) -> None:
    """A table with one column for each signal."""
    for path, rows in collect.every_row(table, "observations"):
        found = (
            rows.select("row", STAY, "observationoffset", *mapped["item"])
            .unpivot(on=list(mapped["item"]), index=["row", STAY, "observationoffset"], variable_name="item")
            .filter(pl.col("value").is_not_null())
        )
        laid = _laid(collect, found, origin).with_columns(
            effective_at=pl.col("origin") + _ms("observationoffset"), value_text=pl.lit(None, pl.String)
        )
        collect.observe(path, joined(laid, mapped, "item"))


def _long(collect: Collector, table: Table | None, mapped: pl.DataFrame, origin: pl.DataFrame, item: str, number: str | None, offsets: tuple[str, str]) -> None:  # fmt: skip
    """A table with one row for each result; ``offsets``: when it was taken, and when it was entered."""
    if table is None:
        return
    text = "labresulttext" if item == "labname" else "nursingchartvalue" if number is None else None
    unit = (
        pl.coalesce("labmeasurenamesystem", "labmeasurenameinterface") if item == "labname" else pl.lit(None, pl.String)
    )
    for path, rows in collect.rows(table, (item, frozenset(mapped["item"]))):
        taken, entered = pl.col("origin") + _ms(offsets[0]), pl.col("origin") + _ms(offsets[1])
        laid = _laid(collect, rows, origin).select(
            "row", "patient_id", item=item,
            # Results of the whole hospital stay are filed under each unit stay: only those of its own time are read.
            stay_id=pl.lit(None, pl.String) if item == "labname" else "stay_id",
            effective_at=taken,
            available_at=pl.max_horizontal(taken, entered),
            value=as_written(text, number) if text else pl.col(number or ""),
            value_text=text or pl.lit(None, pl.String),
            unit=unit,
        )  # fmt: skip
        collect.observe(path, joined(laid, mapped, "item"))


def _laid(collect: Collector, rows: pl.DataFrame, origin: pl.DataFrame) -> pl.DataFrame:
    """Rows with the time their offsets count from; those of stays that were not admitted are counted."""
    laid = rows.join(origin, on=STAY, how="inner", maintain_order="left")
    collect.count("outside_stay", len(rows) - len(laid))
    return laid.with_columns(stay_id=STAY)
