"""MEDS (Medical Event Data Standard) 0.3 and 0.4: a folder with data/ and in it Parquet files, one row an event.

Read: ``subject_id``, ``time``, ``code``, ``numeric_value``, and where the data set has them ``text_value``, ``unit`` and
an id of the ICU stay. Codes are those of the MIMIC-IV extraction (``LAB//50912//mg/dL``) or LOINC (``LOINC//2160-0``,
``LOINC/2160-0``). A drug is known by its name (``MEDICATION//START//Gablofen``, with ``route`` where the data set has it)
or by its code (``RxNorm/1047437``, ``NDC/25021067967``). Stays are ICU_ADMISSION and ICU_DISCHARGE; without any, nobody's stays are known and every row is
read. MEDS has one time for an event: a laboratory result is known after the usual time of its test (``meds.yaml``).
Times are taken as UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from detector.clock import DAY
from pipelines.collecting.collector import STAY_COLUMNS, Collector, joined
from pipelines.collecting.intrathecal import baclofen_orders
from pipelines.collecting.item_maps import item_map
from pipelines.collecting.mimic import with_gcs_total
from pipelines.collecting.scans import Folder, Table
from pipelines.tables import NUMBER, TEXT, TIME, Columns

NAME = "meds"
DERIVE = with_gcs_total
EVENTS = Columns(
    {"subject_id": TEXT, "time": TIME, "code": TEXT, "numeric_value": NUMBER},
    {"text_value": TEXT, "unit": TEXT, "route": TEXT, "icustay_id": TEXT, "stay_id": TEXT},
)
PREFIXES = ("LAB", "SUBJECT_FLUID_OUTPUT", "LOINC")
OF_STAYS = ("ICU_ADMISSION", "ICU_DISCHARGE", "MEDS_BIRTH", "GENDER")
YEAR = 365.25 * DAY


def load(inputs: Sequence[Path], collect: Collector) -> None:
    """Hand every row of ours to ``collect``; the files are read twice, because a stay may stand in any of them."""
    table = Folder(inputs, NAME).required("data", EVENTS)
    found = _stays(table)
    if len(found):
        collect.admit(table.parts[0], found)
    else:
        collect.remarks.append("no ICU_ADMISSION in the data: stays are not known, and every row is read")
    items = item_map("meds")
    mapped = pl.concat([items.frame(prefix).with_columns(prefix=pl.lit(prefix)) for prefix in PREFIXES])
    keys = mapped.with_columns(item=pl.format("{}//{}", "prefix", "item")).drop("prefix")
    for path, rows in collect.every_row(table, "observations"):
        parts = pl.col("code").str.replace("^LOINC/([^/])", "LOINC//$1").str.splitn("//", 3)
        split = rows.with_columns(
            prefix=parts.struct.field("field_0"),
            number=parts.struct.field("field_1"),
            item=pl.format("{}//{}", parts.struct.field("field_0"), parts.struct.field("field_1")),
            written=parts.struct.field("field_2").replace({"UNK": None, "": None}),
        )
        for row in _pumps(rows).iter_rows(named=True):
            collect.pump(path, row["row"], row["subject_id"], row["time"])
        ours = split.filter(pl.col("item").is_in(keys["item"].implode()))
        collect.count("other_item", len(rows) - len(ours))
        for prefix, part in split.partition_by("prefix", as_dict=True).items():
            seen = part["number"].fill_null("").value_counts()
            collect.saw(str(prefix[0]), Counter(dict(seen.iter_rows())))
        if len(ours):
            collect.observe(path, joined(_observations(ours), keys, "item"))


def _pumps(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of baclofen for a pump."""
    drug = pl.when(pl.col("code").str.starts_with("MEDICATION//")).then(pl.col("code").str.replace_all("//", " "))
    coded = {name: pl.col("code").str.extract(rf"(?i)^{name}//?([^/].*)$") for name in ("rxnorm", "ndc")}
    drugs = rows.with_columns(drug=drug, **coded).filter(~pl.all_horizontal(pl.col("drug", *coded).is_null()))
    return drugs.filter(baclofen_orders(drugs, ["drug"], "route", "ndc", "rxnorm") == "intrathecal")


def _observations(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        "row", "item",
        patient_id="subject_id",
        stay_id=_stay_id(),
        effective_at="time",
        value="numeric_value",
        value_text=pl.when(pl.col("text_value") != "___").then("text_value"),
        unit=pl.coalesce("unit", "written"),
    )  # fmt: skip


def _stay_id() -> pl.Expr:
    return pl.coalesce("stay_id", "icustay_id")


def _stays(table: Table) -> pl.DataFrame:
    """ICU admissions, each with the first discharge after it of the same stay, or of the same patient without an id."""
    kept = []
    for _, rows in table.batches():
        kind = pl.col("code").str.splitn("//", 2)
        marked = rows.with_columns(kind=kind.struct.field("field_0"), rest=kind.struct.field("field_1"))
        kept.append(
            marked.filter(pl.col("kind").is_in(OF_STAYS)).select(
                "row", "subject_id", "time", "kind", "rest", stay=_stay_id()
            )
        )
    whole = pl.concat(kept) if kept else pl.DataFrame()
    if not len(whole):
        return pl.DataFrame(schema=STAY_COLUMNS)
    admitted = whole.filter((pl.col("kind") == "ICU_ADMISSION") & pl.col("time").is_not_null()).sort(
        "subject_id", "time"
    )
    number = pl.int_range(pl.len()).over("subject_id") + 1
    admitted = admitted.with_columns(stay_id=pl.coalesce("stay", pl.format("{}-{}", "subject_id", number)))
    left = whole.filter(pl.col("kind") == "ICU_DISCHARGE").select("subject_id", "stay", out="time")
    ends = (
        admitted.select("subject_id", "stay", "stay_id", "time").join(left, on="subject_id", suffix="_left")
        .filter((pl.col("out") >= pl.col("time")) & pl.col("stay").eq_missing(pl.col("stay_left")))
        .group_by("stay_id").agg(pl.col("out").min())
    )  # fmt: skip
    born = whole.filter(pl.col("kind") == "MEDS_BIRTH").group_by("subject_id").agg(born=pl.col("time").first())
    sex = whole.filter(pl.col("kind") == "GENDER").group_by("subject_id").agg(sex=pl.col("rest").first())
    return (
        admitted.join(ends, on="stay_id", how="left", maintain_order="left")
        .join(born, on="subject_id", how="left", maintain_order="left")
        .join(sex, on="subject_id", how="left", maintain_order="left")
        .select(
            "row", "stay_id", "sex", patient_id="subject_id", admitted_at="time", discharged_at="out", unit="rest",
            age_years=((pl.col("time") - pl.col("born")) / YEAR).floor(), weight_kg=pl.lit(None, pl.Float64),
        )
    )  # fmt: skip
