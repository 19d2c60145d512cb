"""A SYNTHETIC data set in the shape of MIMIC-IV, of any size, as Parquet: nobody in it ever lived.

    .venv/bin/python benchmarks/generate_mimic_iv.py OUT --rows 50000000 --data ../shared/data/raw

What a row looks like (item, value, unit, filing delay), how long stays are and how many rows an hour has are drawn at
run time, each for itself, from the open demos of MIMIC-III (chartevents; its MetaVision items are those of MIMIC-IV) and
MIMIC-IV (everything else) in ``--data``. Rows are drawn independently: marginal distributions are real, courses are not,
and alerts mean nothing. Written: hosp/patients, icu/icustays, icu/chartevents, hosp/labevents, and pumps.ndjson, which
names ``--pumps`` of the patients (default one in a hundred).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

EPOCH = np.datetime64("2110-01-01T00:00:00", "s")
DAYS = 30_000  # over which the stays begin, as the authors of MIMIC shift theirs
STAYS_AT_ONCE = 250
FIRST_SUBJECT, FIRST_STAY = 10_000_000, 30_000_000
METAVISION = 220_000  # the least item of MIMIC-III that is one of MIMIC-IV
TEXTS = pl.String


def read(folder: Path, *parts: str) -> pl.DataFrame:
    """Tables of a demo, all cells as text."""
    return pl.concat([pl.read_csv(folder / part, infer_schema=False) for part in parts], how="diagonal")


def with_delay(table: pl.DataFrame) -> pl.DataFrame:
    """The rows that say when they were stored, with the delay in s."""
    at = {name: pl.col(name).str.slice(0, 19).str.replace("T", " ").str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
          for name in ("charttime", "storetime")}  # fmt: skip
    table = table.with_columns(delay=(at["storetime"] - at["charttime"]).dt.total_seconds())
    return table.filter(pl.col("delay").is_not_null())


class Demo:
    """What is drawn from: rows of chart and laboratory, lengths of stay, units, ages and sexes."""

    def __init__(self, data: Path) -> None:
        iii, iv = data / "mimic-iii-demo-1.4", data / "mimic-iv-demo-2.2-sample"
        charted = read(iii, "chartevents/1.csv.gz", "chartevents/2.csv.gz").filter(
            pl.col("itemid").cast(pl.Int64) >= METAVISION
        )
        stays = charted["icustay_id"].drop_nulls().unique()
        lengths = (
            read(iii, "icustays.csv.gz").filter(pl.col("icustay_id").is_in(stays.implode()))["los"].cast(pl.Float64)
        )
        hours = float(lengths.sum()) * 24
        self.chart_an_hour = len(charted) / hours
        self.charted = with_delay(charted).select(
            pl.col("itemid").cast(pl.Int64), "value", pl.col("valuenum").cast(pl.Float64), "valueuom", "delay"
        )
        labs = read(iv, "hosp/labevents.csv.gz")
        icustays = read(iv, "icu/icustays.csv.gz")
        self.los = icustays["los"].cast(pl.Float64).to_numpy()
        self.units = icustays["first_careunit"].to_list()
        taken = labs.join(icustays.select("subject_id", "intime", "outtime"), on="subject_id")
        taken = taken.filter(pl.col("charttime").is_between("intime", "outtime"))  # the texts sort as the times do
        self.labs_an_hour = len(taken) / (float(self.los.sum()) * 24)
        self.labs = with_delay(labs).select(
            pl.col("itemid").cast(pl.Int64), "value", pl.col("valuenum").cast(pl.Float64), "valueuom",
            pl.col("ref_range_upper").cast(pl.Float64), "comments", "delay",
        )  # fmt: skip
        patients = read(iv, "hosp/patients.csv.gz")
        self.ages = patients["anchor_age"].cast(pl.Int64).to_numpy()
        self.sexes = patients["gender"].to_list()


def drawn(rng: np.random.Generator, table: pl.DataFrame, stays: pl.DataFrame, an_hour: float) -> pl.DataFrame:
    """Rows of a table for each of some stays, by subject and time."""
    hours = stays["hours"].to_numpy()
    of = np.repeat(np.arange(len(stays)), rng.poisson(hours * an_hour))
    rows = table[rng.integers(len(table), size=len(of))]
    start = stays["intime"].to_numpy().astype("datetime64[s]")[of]
    minutes = np.floor(rng.uniform(0, 1, len(of)) * hours[of] * 60).astype(np.int64)
    charted = start + (minutes * 60).astype("timedelta64[s]")
    stored = charted + rows["delay"].to_numpy().astype("timedelta64[s]")
    ids = stays.select("subject_id", "hadm_id", "stay_id")[of]
    times = {"charttime": charted.astype("datetime64[us]"), "storetime": stored.astype("datetime64[us]")}
    return pl.concat([ids, rows.drop("delay")], how="horizontal").with_columns(
        **{name: pl.Series(values) for name, values in times.items()}
    ).sort("subject_id", "charttime")  # fmt: skip


def some_stays(rng: np.random.Generator, demo: Demo, first: int, count: int) -> pl.DataFrame:
    """So many stays, each of a subject of its own."""
    los = demo.los[rng.integers(len(demo.los), size=count)]
    start = EPOCH + rng.integers(0, DAYS * 86_400, size=count).astype("timedelta64[s]")
    end = start + np.maximum(3600, los * 86_400).astype(np.int64).astype("timedelta64[s]")
    number = np.arange(first, first + count)
    return pl.DataFrame({
        "subject_id": FIRST_SUBJECT + number, "hadm_id": FIRST_STAY - number - 1, "stay_id": FIRST_STAY + number,
        "first_careunit": [demo.units[k] for k in rng.integers(len(demo.units), size=count)],
        "intime": start.astype("datetime64[us]"), "outtime": end.astype("datetime64[us]"), "los": los, "hours": np.maximum(los * 24, 1),
    })  # fmt: skip


class Parquet:
    """A table that grows by row groups."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._writer, self.rows = path, None, 0  # type: tuple[Path, Any, int]

    def add(self, table: pl.DataFrame) -> None:
        arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
        self._writer = self._writer or pq.ParquetWriter(self._path, arrow.schema, compression="zstd")
        self._writer.write_table(arrow)
        self.rows += len(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def generate(out: Path, data: Path, rows: int, pumps: float, seed: int) -> None:
    rng, demo = np.random.default_rng(seed), Demo(data)
    chart, labs = Parquet(out / "icu/chartevents.parquet"), Parquet(out / "hosp/labevents.parquet")
    icustays, patients = Parquet(out / "icu/icustays.parquet"), Parquet(out / "hosp/patients.parquet")
    first = 0
    with (out / "pumps.ndjson").open("w") as named:
        while chart.rows + labs.rows < rows:
            stays = some_stays(rng, demo, first, STAYS_AT_ONCE)
            first += len(stays)
            chart.add(drawn(rng, demo.charted, stays, demo.chart_an_hour))
            labs.add(drawn(rng, demo.labs, stays, demo.labs_an_hour).drop("stay_id"))
            icustays.add(stays.drop("hours"))
            patients.add(pl.DataFrame({
                "subject_id": stays["subject_id"], "gender": [demo.sexes[k] for k in rng.integers(len(demo.sexes), size=len(stays))],
                "anchor_age": demo.ages[rng.integers(len(demo.ages), size=len(stays))], "anchor_year": stays["intime"].dt.year().cast(pl.Int64),
            }))  # fmt: skip
            with_pump = stays.filter(pl.Series(rng.uniform(size=len(stays)) < pumps))
            for subject, start in with_pump.select("subject_id", "intime").iter_rows():
                event = {"patient_id": str(subject), "event": "implanted", "at": f"{start.year - 1}-01-01T00:00:00Z"}
                named.write(json.dumps(event) + "\n")
    for table in (chart, labs, icustays, patients):
        table.close()
    print(f"SYNTHETIC: {chart.rows:,} chartevents, {labs.rows:,} labevents, {first:,} stays in {out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pumps", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    generate(asked.out, asked.data, asked.rows, asked.pumps, asked.seed)
