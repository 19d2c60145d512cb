"""A whole cohort: courses, look-alikes, artefacts and twins over the stays of one part of a study, all with a pump.

Patients are split by a hash of their id, so that a stay never has a course in one part and its twin in another. As
files it is what ``replay`` reads; in memory it is a ``Dataset``. Courses of one cohort depend on nothing but the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from detector.errors import ConfigError, InputError
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, SEXES, Dataset, Placed
from pipelines.formats.canonical import encode
from pipelines.simulate import published
from pipelines.simulate.artefacts import spoil
from pipelines.simulate.backgrounds import IMPLANTED_BEFORE, Background, Split, split, unsuitable
from pipelines.simulate.body import ARTEFACTS, KINDS, severities
from pipelines.simulate.distributions import generator
from pipelines.simulate.inject import TWIN, TWIN_SUFFIX, Injected, inject, twin
from pipelines.simulate.truth import Truth

FILES = ("observations.parquet", "stays.parquet", "pumps.ndjson", "context.ndjson", "truth.parquet", "flagged.ndjson")

Case = tuple[str, str | None]
"""A kind of course or artefact and its severity."""

ALL_CASES: tuple[Case, ...] = (
    *((kind, severity) for kind in KINDS for severity in severities(kind)),
    *((kind, None) for kind in ARTEFACTS),
)

PUBLISHED_CASES: tuple[Case, ...] = tuple((published.KIND, severity) for severity in published.SEVERITIES)
"""By another generator, for testing only: no part of ``ALL_CASES``, on which models are fitted."""

_TEXTS = ("stay_id", "patient_id", "twin_of", "kind", "severity", "data_set", "generator")
_TIMES = ("first_at", "last_at", "onset_at", "interrupted_at", "first_visible_at", "organ_failure_at", "restored_at")
TRUTH_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(_TEXTS, pl.String), "with_tone": pl.Boolean, **dict.fromkeys(_TIMES, pl.Int64),
}  # fmt: skip


@dataclass
class Cohort:
    """Stays as their stream would have carried them, and what was really going on in each."""

    stays: list[tuple[Background, Injected]] = field(default_factory=list)

    @property
    def truth(self) -> list[Truth]:
        return [made.truth for _, made in self.stays]

    def truth_table(self, data_set: str | None = None) -> pl.DataFrame:
        """One row a stay, in the columns of ``pipelines.evaluation.truth.TRUTH`` and ``onset_at``; times as ms UTC.

        A twin is a background of its own there, and ``twin_of`` names the twin of a course.
        """
        rows = []
        for one in self.truth:
            twin = one.kind == TWIN
            rows.append({
                "stay_id": one.stay_id, "patient_id": one.patient_id,
                "twin_of": None if twin else f"{one.twin_of}{TWIN_SUFFIX}",
                "kind": "background" if twin else one.kind, "severity": one.severity, "data_set": data_set,
                "generator": one.generator, "with_tone": one.with_tone, "first_at": one.watched_from,
                "last_at": one.watched_until, "onset_at": one.onset_at, "interrupted_at": one.interrupted_at,
                "first_visible_at": one.first_visible_at, "organ_failure_at": one.organ_failure_at,
                "restored_at": one.restored_at,
            })  # fmt: skip
        return pl.DataFrame(rows, schema=TRUTH_COLUMNS)

    def observations(self) -> pl.DataFrame:
        """Every observation, in ``OBSERVATION_COLUMNS``; rows are numbered in this order."""
        tables = [made.observations.select(*OBSERVATION_COLUMNS) for _, made in self.stays]
        table = pl.concat(tables) if tables else pl.DataFrame(schema=OBSERVATION_COLUMNS)
        return table.with_columns(file=pl.lit(0, pl.UInt32), row=pl.int_range(pl.len(), dtype=pl.Int64))

    def dataset(self) -> Dataset:
        """The cohort as the events that the stream would have carried."""
        events: list[Encounter | Pump | Context | Observation] = [
            *self.encounters(), *self.pumps(), *self.context(), *self.flagged(),
        ]  # fmt: skip
        others: list[Placed] = [((one.available_at, RANK[type(one)], 1, row), one) for row, one in enumerate(events)]
        return Dataset(("observations.parquet", "others.ndjson"), self.observations(), others)

    def encounters(self) -> Iterator[Encounter]:
        for background, made in self.stays:
            patient, stay = made.truth.patient_id, made.truth.stay_id
            start, end = _bounds(background, made)
            yield Encounter(
                patient_id=patient, stay_id=stay, event="admitted", at=start, available_at=start,
                unit=background.unit, age_years=background.age_years, sex=SEXES.get(background.sex or "", "unknown"),
                weight_kg=background.weight_kg,
            )  # fmt: skip
            yield Encounter(patient_id=patient, stay_id=stay, event="discharged", at=end, available_at=end)

    def pumps(self) -> Iterator[Pump]:
        for background, made in self.stays:
            oldest = int(made.observations["available_at"].min() or made.truth.watched_from)  # type: ignore[arg-type]
            start = min(_bounds(background, made)[0], oldest)  # known before anything else is
            yield Pump(
                patient_id=made.truth.patient_id, event="implanted", at=start - IMPLANTED_BEFORE, available_at=start
            )
            yield from made.pumps

    def context(self) -> Iterator[Context]:
        for _, made in self.stays:
            yield from made.context

    def flagged(self) -> Iterator[Observation]:
        for _, made in self.stays:
            yield from made.flagged


def build(
    stays: Iterable[Background], courses: int, *, seed: int, part: Split | None = None, with_tone: bool = True,
    cases: Sequence[Case] = ALL_CASES, alarm_chance: float = 0.0, twins: bool = True,
    progress: Callable[[int], object] = int,
) -> Cohort:  # fmt: skip
    """``courses`` of each case over the usable stays of one ``part`` (None = all), and the twin of every usable stay.

    Stays are dealt out case by case in a drawn order, again from the start when they run out. ``progress`` is told of
    each stay made.

    Raises:
        ConfigError: a case does not exist.
        InputError: no stay of this part is long and dense enough.
    """
    usable = [one for one in stays if (part is None or split(one.patient_id, seed) == part) and unsuitable(one) is None]
    if not usable:
        raise InputError(
            "unsuitable_stay",
            f"no stay{'' if part is None else f' of the part {part!r}'} can carry a course; "
            "expected 30 h of readings with 4 temperatures and 12 heart rates or more",
        )
    cohort = Cohort()
    for kind, severity in cases:
        order = generator(seed, "deal", kind, severity).permutation(len(usable))
        made, tried = 0, 0
        while made < courses and tried < courses + len(usable):
            background = usable[int(order[tried % len(order)])]
            draw, tried = tried // len(order), tried + 1
            try:
                if kind in ARTEFACTS:
                    one = spoil(background, kind, seed=seed, draw=draw, with_tone=with_tone)
                else:
                    one = inject(background, kind, severity, seed=seed, draw=draw, with_tone=with_tone, alarm_chance=alarm_chance)  # fmt: skip
            except InputError:  # this stay has nothing that the artefact could spoil: the next one
                continue
            if one.truth.severity is not None and one.truth.first_visible_at is None:
                continue  # nobody could have seen it: there is nothing to be found
            cohort.stays.append((background, one))
            made += 1
            progress(1)
    if twins:
        for background in usable:
            cohort.stays.append((background, twin(background, seed=seed, with_tone=with_tone)))
            progress(1)
    return cohort


def write(cohort: Cohort, out: Path) -> None:
    """Write ``FILES`` into a folder, made if need be.

    Raises:
        ConfigError: ``out`` is a file.
        OSError: it cannot be written.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder, --out DIR"])
    out.mkdir(parents=True, exist_ok=True)
    _as_times(cohort.observations().drop("file", "row")).write_parquet(out / "observations.parquet")
    _as_times(_stays_table(cohort)).write_parquet(out / "stays.parquet")
    _as_times(cohort.truth_table(out.name)).write_parquet(out / "truth.parquet")
    _lines(out / "pumps.ndjson", cohort.pumps())
    _lines(out / "context.ndjson", cohort.context())
    _lines(out / "flagged.ndjson", cohort.flagged())


def _stays_table(cohort: Cohort) -> pl.DataFrame:
    rows = [
        (made.truth.stay_id, made.truth.patient_id, *_bounds(background, made), background.unit, background.age_years, background.sex, background.weight_kg)
        for background, made in cohort.stays
    ]  # fmt: skip
    schema = {
        "stay_id": pl.String, "patient_id": pl.String, "admitted_at": pl.Int64, "discharged_at": pl.Int64,
        "unit": pl.String, "age_years": pl.Float64, "sex": pl.String, "weight_kg": pl.Float64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=schema, orient="row")


def _bounds(background: Background, made: Injected) -> tuple[int, int]:
    """Admission and discharge of an injected stay: it ends where its course is no longer followed."""
    newest = int(made.observations["available_at"].max() or made.truth.watched_until)  # type: ignore[arg-type]
    end = background.discharged_at if background.discharged_at is not None else newest
    if made.truth.watched_until < background.last:
        end = min(end, made.truth.watched_until)
    return background.admitted_at, max(end, background.admitted_at)


def _as_times(table: pl.DataFrame, *more: str) -> pl.DataFrame:
    names = [name for name in table.columns if name.endswith("_at") or name in more]
    return table.with_columns(pl.from_epoch(name, "ms").cast(pl.Datetime("us", "UTC")) for name in names)


def _lines(path: Path, events: Iterable[PatientEvent]) -> None:
    with path.open("wb") as file:
        file.writelines(encode(one) + b"\n" for one in events)
