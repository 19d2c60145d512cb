"""OMOP Common Data Model 5.3 and 5.4: a folder of its tables as CSV, CSV.gz or Parquet.

Read: person, visit_detail, visit_occurrence; measurement and observation; drug_exposure, device_exposure and, with the
concept table, procedure_occurrence for the pump, and drug_exposure for oral baclofen. The concept table also says which
concepts of drugs are baclofen for a pump. Of measurement and observation one
must be there; the others may be left out, and what is missing is remarked. A stay is a visit_detail of intensive care; where there is none, a visit_occurrence. A
result needs its time of day (``measurement_datetime``): a date alone is counted and left out. The CDM keeps no time at
which a result was filed: laboratory results are known after the usual time of their test (``omop.yaml``). A result with
an operator (``<``) keeps it, as text. Times are taken as UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from detector.events import PumpKind
from pipelines.collecting.collector import Collector, joined
from pipelines.collecting.intrathecal import baclofen_orders, pump_devices
from pipelines.collecting.item_maps import item_map
from pipelines.collecting.mimic import with_gcs_total
from pipelines.collecting.scans import Folder, Table
from pipelines.collecting.treatments import running
from pipelines.dataset import InputRefused
from pipelines.tables import NUMBER, TEXT, TIME, Columns
from pipelines.terms import pump_codes, pump_events, pump_products
from pipelines.yaml_files import read_yaml

NAME = "omop"
DERIVE = with_gcs_total
PERSON = Columns({"person_id": TEXT, "gender_concept_id": TEXT, "year_of_birth": NUMBER}, {})
DRUG = Columns(
    {"person_id": TEXT, "drug_concept_id": TEXT, "drug_exposure_start_datetime": TIME, "drug_exposure_end_datetime": TIME},
    {"drug_source_value": TEXT, "route_source_value": TEXT, "route_concept_id": TEXT},
)  # fmt: skip
DEVICE = Columns({"person_id": TEXT, "device_concept_id": TEXT, "device_exposure_start_datetime": TIME}, {"device_source_value": TEXT})  # fmt: skip
PROCEDURE = Columns(
    {"person_id": TEXT, "procedure_concept_id": TEXT}, {"procedure_datetime": TIME, "procedure_source_concept_id": TEXT}
)
CONCEPT = Columns({"concept_id": TEXT, "concept_code": TEXT, "vocabulary_id": TEXT}, {})
VOCABULARIES = {"CPT4": "CPT", "SNOMED": "SNOMED CT"}
"""The vocabularies of procedures that say something about a pump, as the CDM and as ``pipelines.terms`` name them."""

PREFIX = {"visit_detail": "visit_detail", "visit_occurrence": "visit"}
"""Of the columns of visits that are not their id."""

SEX = {"8507": "male", "8532": "female"}


def load(inputs: Sequence[Path], collect: Collector) -> None:
    """Hand every row of ours to ``collect``."""
    folder = Folder(inputs, NAME)
    results = {name: folder.table(name, _results(name), required=False) for name in ("measurement", "observation")}
    visits = {name: folder.table(name, _visits(name), required=False) for name in ("visit_detail", "visit_occurrence")}
    person = folder.table("person", PERSON, required=False)
    drugs = folder.table("drug_exposure", DRUG, required=False)
    devices = folder.table("device_exposure", DEVICE, required=False)
    procedures = folder.table("procedure_occurrence", PROCEDURE, required=False)
    others = {"drug_exposure": drugs, "device_exposure": devices, "procedure_occurrence": procedures}
    tables = results | visits | {"person": person} | others
    collect.missing([name for name, table in tables.items() if table is None])
    if not any(results.values()):
        raise InputRefused(f"{folder.root}: neither measurement nor observation; expected at least one of them")
    _admit(collect, visits, person)
    items = item_map("omop")
    for name, table in results.items():
        if table is not None:
            _observe(collect, table, items.frame(name))
    concepts = folder.table("concept", CONCEPT, required=False)
    if drugs is not None:
        _drugs(collect, drugs, _rxnorm(concepts))
    if devices is not None:
        for path, rows in collect.every_row(devices, "pumps"):
            for row in rows.filter(pump_devices(rows["device_source_value"])).iter_rows(named=True):
                collect.pump(path, row["row"], row["person_id"], row["device_exposure_start_datetime"])
    if procedures is not None:
        _procedures(collect, procedures, concepts)


def _results(name: str) -> Columns:
    required = {"person_id": TEXT, f"{name}_concept_id": TEXT, f"{name}_datetime": TIME, "value_as_number": NUMBER}
    optional = {"unit_concept_id": TEXT, "unit_source_value": TEXT, "visit_detail_id": TEXT}
    own = {"operator_concept_id": TEXT, "range_high": NUMBER} if name == "measurement" else {}
    text = "value_source_value" if name == "measurement" else "value_as_string"
    return Columns(required, optional | own | {text: TEXT})


def _visits(name: str) -> Columns:
    prefix = PREFIX[name]
    times = {f"{prefix}_start_datetime": TIME, f"{prefix}_end_datetime": TIME}
    return Columns({f"{name}_id": TEXT, "person_id": TEXT, f"{prefix}_concept_id": TEXT, **times}, {})


def _admit(collect: Collector, visits: dict[str, Table | None], person: Table | None) -> None:
    """Admit the stays of intensive care, else all visits, else nobody."""
    for name, table in visits.items():
        if table is None:
            continue
        known = collect.whole(table)
        if name == "visit_detail":
            known = known.filter(pl.col("visit_detail_concept_id") == _vocabulary()["intensive_care"])
        else:
            collect.remarks.append("no visit_detail of intensive care: every visit_occurrence is a stay")
        if not len(known):
            continue
        people = pl.DataFrame(
            schema={"person_id": pl.String, "gender_concept_id": pl.String, "year_of_birth": pl.Float64}
        )
        if person is not None:
            people = collect.whole(person).select(*people.columns).unique("person_id")
        known = known.join(people, on="person_id", how="left", maintain_order="left")
        start = f"{PREFIX[name]}_start_datetime"
        collect.admit(
            table.parts[0],
            known.select(
                "row", stay_id=f"{name}_id", patient_id="person_id", admitted_at=start,
                discharged_at=f"{PREFIX[name]}_end_datetime", unit=pl.lit("ICU" if name == "visit_detail" else None, pl.String),
                age_years=pl.from_epoch(start, time_unit="ms").dt.year() - pl.col("year_of_birth"),
                sex=pl.col("gender_concept_id").replace_strict(SEX, default=None), weight_kg=pl.lit(None, pl.Float64),
            ),
        )  # fmt: skip
        return
    collect.remarks.append("neither visit_detail nor visit_occurrence has a stay: every row is read")


def _observe(collect: Collector, table: Table, mapped: pl.DataFrame) -> None:
    name = table.name
    units = {one["concept"]: one["unit"] for one in _vocabulary()["units"]}
    operators = {one["concept"]: one["text"] for one in _vocabulary()["operators"]}
    for path, rows in collect.rows(table, (f"{name}_concept_id", frozenset(mapped["item"]))):
        number = pl.col("value_as_number")
        if name == "measurement":
            compared = pl.col("operator_concept_id").replace_strict(operators, default=None, return_dtype=pl.String)
            text = pl.coalesce(pl.concat_str(compared, number), "value_source_value")
        else:
            text = pl.col("value_as_string")
        concept = pl.col("unit_concept_id").replace_strict(units, default=None, return_dtype=pl.String)
        unknown = pl.format("concept {}", pl.col("unit_concept_id").replace({"0": None}))
        found = rows.select(
            "row", item=f"{name}_concept_id",
            patient_id="person_id",
            effective_at=f"{name}_datetime",
            value=number,
            value_text=text,
            unit=pl.coalesce(concept, "unit_source_value", unknown),
            reference_high="range_high" if name == "measurement" else pl.lit(None, pl.Float64),
        )  # fmt: skip
        collect.observe(path, joined(found, mapped, "item"))


def _rxnorm(concepts: Table | None) -> dict[str, str]:
    """The concepts of our drugs with an RxNorm code, where the export says which they are: concept id -> code."""
    if concepts is None:
        return {}
    batches = concepts.batches(("concept_code", pump_products()))
    found = pl.concat([rows for _, rows in batches] or [pl.DataFrame(schema=dict.fromkeys(CONCEPT.required, pl.String))], how="diagonal")  # fmt: skip
    ours = found.filter((pl.col("vocabulary_id") == "RxNorm") & pl.col("concept_id").is_not_null())
    return dict(ours.select("concept_id", "concept_code").iter_rows())


def _drugs(collect: Collector, table: Table, rxnorm: dict[str, str]) -> None:
    """Oral baclofen runs while it is taken; baclofen for a pump says that there is one."""
    known = _vocabulary()
    parts = []
    # The standard concept and route have no words of their own in the table: they are given theirs.
    drug = pl.when(pl.col("drug_concept_id") == known["baclofen"]).then(pl.lit("baclofen"))
    into_pump = pl.when(pl.col("route_concept_id") == known["intrathecal_route"]).then(pl.lit("intrathecal"))
    for path, rows in collect.every_row(table, "context"):
        source = "drug_source_value"
        coded = pl.col("drug_concept_id").replace_strict(rxnorm, default=None, return_dtype=pl.String)
        named = rows.with_columns(drug=drug, way=pl.coalesce(into_pump, "route_source_value"), code=pl.coalesce(coded, source))  # fmt: skip
        told = named.with_columns(told=baclofen_orders(named, ["drug", source], "way", source, "code"))
        for row in told.filter(pl.col("told") == "intrathecal").iter_rows(named=True):
            collect.pump(path, row["row"], row["person_id"], row["drug_exposure_start_datetime"])
        parts.append(
            told.filter((pl.col("told") == "oral") & pl.col("drug_exposure_start_datetime").is_not_null()).select(
                "row", patient_id="person_id", stay_id=pl.lit(None, pl.String), kind=pl.lit("oral_baclofen"),
                start="drug_exposure_start_datetime", end="drug_exposure_end_datetime",
                stored=pl.lit(None, pl.Int64), detail=source,
            )
        )  # fmt: skip
    if parts:
        collect.treat(table.parts[0], running(pl.concat(parts)))


def _procedures(collect: Collector, table: Table, concepts: Table | None) -> None:
    """What was done to a pump. A concept id says nothing by itself, and a source value not of which system it is: only the
    concept table of the same export does.
    """
    if concepts is None:
        collect.remarks.append(
            "table concept is not there: procedure_occurrence has no codes, and nothing of it is read"
        )
        return
    said: dict[str, tuple[PumpKind, ...]] = {}
    for _, rows in concepts.batches(("concept_code", pump_codes())):
        for row in rows.iter_rows(named=True):
            events = pump_events(VOCABULARIES.get(row["vocabulary_id"] or "", ""), row["concept_code"])
            if events and row["concept_id"]:
                said[row["concept_id"]] = events
    for path, rows in collect.every_row(table, "pumps"):
        columns = [name for name in ("procedure_concept_id", "procedure_source_concept_id") if name in rows.columns]
        for row in rows.filter(pl.any_horizontal(pl.col(columns).is_in(list(said)))).iter_rows(named=True):
            told = next(said[row[name]] for name in columns if row[name] in said)
            for event in told:
                collect.pump(path, row["row"], row["person_id"], row.get("procedure_datetime"), event)


@cache
def _vocabulary() -> dict[str, Any]:
    read: dict[str, Any] = read_yaml(Path(__file__).with_name("omop_vocabulary.yaml"))
    return read
