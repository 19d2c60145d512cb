"""What MIMIC-III and MIMIC-IV have in common: their columns, and the total of the Glasgow Coma Scale."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from pipelines.collecting.collector import Collector, as_written, joined
from pipelines.collecting.item_maps import ItemMap
from pipelines.collecting.scans import Table
from pipelines.dataset import OBSERVATION_COLUMNS
from pipelines.tables import NUMBER, TEXT, TIME, Columns

GCS_PARTS = ("gcs_eye", "gcs_verbal", "gcs_motor")
UNTESTED = "No Response-ETT"
GCS_FROM_PARTS = "total of eye, verbal and motor response"


def result_columns(stay: str | None, *, storetime: bool, optional: dict[str, str] | None = None) -> Columns:
    """The columns of a table of results; ``stay`` is the name of its column, None = it has none."""
    required = {"subject_id": TEXT, "itemid": TEXT, "charttime": TIME, "value": TEXT}
    required |= {stay: TEXT} if stay else {}
    required |= {"storetime": TIME} if storetime else {}
    return Columns(required, {"valuenum": NUMBER, "valueuom": TEXT, **(optional or {})})


def observe(collect: Collector, table: Table, items: ItemMap, stay: str | None) -> None:
    """Take the rows of a table of results whose item is one of ours."""
    mapped = collect.asked(items.frame(table.name))
    for path, rows in collect.rows(
        table, ("itemid", frozenset(mapped["item"])), patient="subject_id", times=("charttime", "storetime")
    ):
        found = rows.select(
            "row", "itemid",
            patient_id="subject_id",
            stay_id=pl.col(stay) if stay else pl.lit(None, pl.String),
            effective_at="charttime",
            available_at="storetime" if "storetime" in rows.columns else pl.lit(None, pl.Int64),
            value=as_written("value", "valuenum"),
            value_text=_text(rows),
            unit="valueuom",
            reference_high="ref_range_upper" if "ref_range_upper" in rows.columns else pl.lit(None, pl.Float64),
        )  # fmt: skip
        collect.observe(path, joined(found, mapped, "itemid"))


def _text(rows: pl.DataFrame) -> pl.Expr:
    """The result as written; where it was taken out of the data ("___"), what the laboratory remarked."""
    written = pl.when(pl.col("value") != "___").then("value")
    return pl.coalesce(written, "comments") if "comments" in rows.columns else written


def with_gcs_total(table: pl.DataFrame, *, tube: int | None = None) -> pl.DataFrame:
    """Observations of whole patients with the GCS total where one stay charted all three parts at one time.

    It is known when the last of them was stored. ``tube``: what a verbal response that could not be tested counts in the
    total; None = it leaves the total out. A total that was charted itself stays as it is.
    """
    parts = table.filter(pl.col("code").is_in(GCS_PARTS) & pl.col("source").str.starts_with("GCS"))
    untested = (pl.col("code") == "gcs_verbal") & pl.col("value").is_null() & (pl.col("value_text") == UNTESTED)
    parts = parts.with_columns(value=pl.when(untested).then(pl.lit(tube, pl.Float64)).otherwise("value"))
    newest = parts.sort("available_at", "file", "row").group_by("patient_id", "stay_id", "effective_at", "code", maintain_order=True).last()  # fmt: skip
    totals = (
        newest.group_by("patient_id", "stay_id", "effective_at", maintain_order=True)
        .agg(
            pl.col("value").sum(), pl.col("available_at").max(), pl.col("file").last(), pl.col("row").last(),
            tested=pl.col("value").count(), status=pl.lit("final"),
        )
        .filter(pl.col("tested") == len(GCS_PARTS)).sort("patient_id", "effective_at", "row")
        .with_columns(code=pl.lit("gcs"), unit=pl.lit("points"), source=pl.lit(GCS_FROM_PARTS))
    )  # fmt: skip
    missing = [
        pl.lit(None, kind).alias(name) for name, kind in OBSERVATION_COLUMNS.items() if name not in totals.columns
    ]
    return pl.concat([table, totals.with_columns(missing).select(*OBSERVATION_COLUMNS)], how="vertical_relaxed")


def file_of(table: Table) -> Path:
    return table.parts[0]
