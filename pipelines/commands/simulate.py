"""``itbwatch simulate``: a synthetic ward as files that replay and publish read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import polars as pl

from detector.clock import from_datetime, to_datetime
from detector.errors import ConfigError
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.formats.canonical import encode
from pipelines.simulate import Bed, events, random_ward

START = datetime(2030, 1, 7, tzinfo=UTC)  # a Monday; nothing in it depends on the date
TABLE = (
    "patient_id",
    "stay_id",
    "code",
    "value",
    "value_text",
    "unit",
    "effective_at",
    "available_at",
    "status",
    "observation_id",
    "source",
)
STAYS = ("stay_id", "patient_id", "admitted_at", "discharged_at", "unit", "age_years", "sex", "weight_kg")


@click.command("simulate", short_help="A synthetic ward with courses of withdrawal, as files for replay and publish.")
@click.option("--beds", type=click.IntRange(1, 5_000), default=8, show_default=True, help="Patients, one a bed.")
@click.option("--days", type=click.FloatRange(0.1, 365), default=3.0, show_default=True, help="How long the ward runs.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Equal seeds give equal wards.")
@click.option("--published-case", is_flag=True, help="One more bed: the case of BMC Clin Pharmacol 2004;4:6.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the files; made if need be.")
def command(*, beds: int, days: float, seed: int, published_case: bool, out: Path) -> None:
    """Make a synthetic ward. Every third patient has a pump and goes through withdrawal in one of three severities,
    sepsis, or nothing at all.

    \b
    OUT/ward.ndjson           every event in the order it became known: replay, publish and `source: file` read it
    OUT/observations.parquet  the same as tables, for replay with --stays, --pumps and --context
    OUT/stays.parquet, pumps.ndjson, context.ndjson
    OUT/truth.json            what was really going on: course and first sign of each patient

    \b
    Try: itbwatch simulate --out ward
         itbwatch replay ward/ward.ndjson --out ward-alerts
    """
    ward = random_ward(beds, days, seed)
    if published_case:
        ward.append(Bed(beds + 1, pump=True, course="published", arrives_h=2))
    start = from_datetime(START)
    made = events(ward, start, days * 24, seed)
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder, --out DIR"])
    out.mkdir(parents=True, exist_ok=True)
    _write_lines(out / "ward.ndjson", made)
    _write_lines(out / "pumps.ndjson", (one for one in made if isinstance(one, Pump)))
    _write_lines(out / "context.ndjson", (one for one in made if isinstance(one, Context)))
    observations = [[getattr(one, name) for name in TABLE] for one in made if isinstance(one, Observation)]
    _write_table(out / "observations.parquet", observations, TABLE)
    _write_table(out / "stays.parquet", _stays(made), STAYS)
    (out / "truth.json").write_bytes(msgspec.json.format(msgspec.json.encode(_truth(ward, start)), indent=2) + b"\n")
    click.echo(f"{len(made):,} synthetic events of {len(ward)} patients over {days:g} days, seed {seed}, in {out}")


def _stays(made: Iterable[PatientEvent]) -> list[list[object]]:
    rows: dict[str, list[object]] = {}
    for one in made:
        if isinstance(one, Encounter) and one.event == "admitted":
            rows[one.stay_id] = [
                one.stay_id,
                one.patient_id,
                one.at,
                None,
                one.unit,
                one.age_years,
                one.sex,
                one.weight_kg,
            ]
        elif isinstance(one, Encounter):
            rows[one.stay_id][3] = one.at
    return list(rows.values())


def _truth(ward: Iterable[Bed], start: int) -> list[dict[str, object]]:
    return [
        {
            "patient_id": bed.patient_id, "pump": bed.pump, "course": bed.course,
            "first_sign": to_datetime(start + int(bed.onset_h * 3_600_000)) if bed.course not in (None, "published") else None,
        }
        for bed in ward
    ]  # fmt: skip


def _write_lines(path: Path, made: Iterable[PatientEvent]) -> None:
    with path.open("wb") as file:
        file.writelines(encode(one) + b"\n" for one in made)


def _write_table(path: Path, rows: Sequence[Sequence[object]], names: Sequence[str]) -> None:
    table = pl.DataFrame(rows, schema=list(names), orient="row", infer_schema_length=None)
    times = [name for name in names if name.endswith("_at")]
    table = table.with_columns(pl.from_epoch(pl.col(name), "ms").cast(pl.Datetime("us", "UTC")) for name in times)
    table.with_columns(pl.col(pl.Null).cast(pl.String)).write_parquet(path)
