"""``itbwatch simulate``: a synthetic ward, or courses injected into stays, as files that replay and publish read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import polars as pl

from detector.clock import from_datetime, to_datetime
from detector.errors import ConfigError, nearest
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.formats.canonical import encode
from pipelines.progress import bar
from pipelines.simulate import Bed, events, random_ward
from pipelines.simulate.backgrounds import Split
from pipelines.usage import Number

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


@click.command(
    "simulate", short_help="A synthetic ward, or courses injected into stays, as files for replay and publish."
)
@click.option("--beds", type=click.IntRange(1, 5_000), default=8, show_default=True, help="Patients, one a bed.")
@click.option("--days", type=Number(0.1, 365), default=3.0, show_default=True, help="How long the ward runs.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Equal seeds give equal results.")
@click.option("--published-case", is_flag=True, help="One more bed: the case of BMC Clin Pharmacol 2004;4:6.")
@click.option("--courses", type=click.IntRange(1, 2_000), help="Inject this many courses of each kind and severity.")
@click.option(
    "--inject",
    type=click.Path(path_type=Path),
    metavar="OBSERVATIONS",
    help="Real stays to inject into, a canonical table; without it, synthetic stays of --beds patients.",
)
@click.option(
    "--stays", type=click.Path(path_type=Path), help="Table of the stays of --inject: admissions and discharges."
)
@click.option(
    "--part",
    type=click.Choice(["train", "tune", "test"]),
    help="Only the patients of this part (a hash of their id and the seed).",
)
@click.option(
    "--kinds",
    metavar="KIND,...",
    help="Only these kinds of courses and artefacts; default all but published_withdrawal.",
)
@click.option("--without-tone", is_flag=True, help="Nobody charts tone, spasticity, pruritus or dysaesthesia.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the files; made if need be.")
def command(
    *, beds: int, days: float, seed: int, published_case: bool, courses: int | None, inject: Path | None,
    stays: Path | None, part: Split | None, kinds: str | None, without_tone: bool, out: Path,
) -> None:  # fmt: skip
    """Make a synthetic ward, or with --courses inject withdrawals and their look-alikes into stays.

    A ward: every third patient has a pump and goes through withdrawal in one of three severities, sepsis, or nothing
    at all.

    \b
    OUT/ward.ndjson           every event in the order it became known: replay, publish and `source: file` read it
    OUT/observations.parquet  the same as tables, for replay with --stays, --pumps and --context
    OUT/stays.parquet, pumps.ndjson, context.ndjson
    OUT/truth.json            what was really going on: course and first sign of each patient

    Injected courses: effects at the times at which a stay was really measured, tests ordered as a clinician would, the
    same stay without a course as its twin, every stay with a pump and nothing known of its failure. Kind
    published_withdrawal is another generator's, published cases joined by straight lines: a test of what was fitted here.

    \b
    OUT/observations.parquet, stays.parquet, pumps.ndjson, context.ndjson   as above
    OUT/flagged.ndjson        results flagged as haemolysed, one more INPUT of replay
    OUT/truth.parquet         of each stay: kind, severity, onset, first visible sign, first organ sign, its twin

    \b
    Try: itbwatch simulate --out ward
         itbwatch replay ward/ward.ndjson --out ward-alerts
         itbwatch simulate --courses 2 --beds 20 --out courses
         itbwatch simulate --courses 5 --inject stays.observations.parquet --stays stays.stays.parquet --out courses
         itbwatch replay courses/observations.parquet courses/flagged.ndjson --stays courses/stays.parquet
             --pumps courses/pumps.ndjson --context courses/context.ndjson --out course-alerts
    """
    if courses is not None:
        _inject(courses, inject, stays, part, kinds, beds=beds, seed=seed, with_tone=not without_tone, out=out)
        return
    given = {"--inject": inject, "--stays": stays, "--part": part, "--kinds": kinds, "--without-tone": without_tone}
    for option, value in given.items():
        if value:
            raise click.UsageError(
                f"{option}: given without --courses; expected --courses N, how many of each kind to inject"
            )
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


def _inject(
    courses: int, observations: Path | None, stays: Path | None, part: Split | None, kinds: str | None, *, beds: int,
    seed: int, with_tone: bool, out: Path,
) -> None:  # fmt: skip
    from pipelines.datasets.canonical import read
    from pipelines.simulate.backgrounds import backgrounds, split, synthetic_backgrounds, unsuitable
    from pipelines.simulate.cohort import build, write

    if stays is not None and observations is None:
        raise click.UsageError(f"--stays {stays}: given without --inject; expected --inject OBSERVATIONS")
    cases = _cases(kinds)
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder, --out DIR"])
    found = (
        list(synthetic_backgrounds(beds, seed))
        if observations is None
        else list(backgrounds(read([observations], stays, None)))
    )
    usable = [one for one in found if part in (None, split(one.patient_id, seed)) and unsuitable(one) is None]
    with bar(courses * len(cases) + len(usable), "stays", "stays/s") as advance:
        cohort = build(usable, courses, seed=seed, with_tone=with_tone, cases=cases, progress=advance)
    write(cohort, out)
    made = len(cohort.stays) - len(usable)
    where = f" of the part {part}" if part else ""
    click.echo(
        f"{made:,} courses and artefacts of {len(cases)} kinds over {len(usable):,} of {len(found):,} stays{where}, with "
        f"{len(usable):,} twins, seed {seed}, in {out}; all that was made says source: synthetic"
    )


def _cases(kinds: str | None) -> list[tuple[str, str | None]]:
    from pipelines.simulate.cohort import ALL_CASES, PUBLISHED_CASES

    if kinds is None:
        return list(ALL_CASES)
    cases = (*ALL_CASES, *PUBLISHED_CASES)
    known = list(dict.fromkeys(kind for kind, _ in cases))
    asked = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    for kind in asked:
        if kind not in known:
            raise ConfigError([f"--kinds {kind!r}: expected some of {', '.join(known)}{nearest(kind, known)}"])
    return [case for case in cases if case[0] in asked]


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
