"""FHIR R4 as data sets: NDJSON files of a bulk export, single resources and Bundles, each also compressed with gzip.

An input is a file or a folder with such files. They are read by the decoder of the live format
(``pipelines.formats.fhir``), so that the same course gives the same alerts by either door; without a broker's timestamp a
record was available when it was issued, else when it happened. Ages and sexes come from the Patients, wherever they stand.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
from msgspec import structs

from detector.errors import ConfigError, InputError
from detector.events import Context, Encounter, Observation, PatientEvent, Position, TimeMoved
from pipelines.collecting.collector import Kept, as_it_is
from pipelines.collecting.spill import CONTEXT_COLUMNS, SpilledDataset, numbered_context, placed_context
from pipelines.dataset import OBSERVATION_COLUMNS, RANK, Dataset, InputRefused, Placed, existing
from pipelines.datasets.canonical import add_stays_and_context
from pipelines.formats import NOTHING, Decode, Site, codes_of_topic, decoder
from pipelines.formats.fhir.encounters import age_years, sex
from pipelines.formats.fhir.resources import BUNDLE, DECODERS, ENTRY, KIND, Patient
from pipelines.plan_files import load_catalogue
from pipelines.settings import Settings
from pipelines.tables import NOT_PACKED, kind_of

LINES = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
WHOLE = (".json", ".json.gz")
LARGEST = 64 << 20  # bytes of one line, or of a Bundle: decoded it takes a few times as much
ROWS_AT_ONCE = 20_000  # held as objects before they become columns
MOST = 200_000  # rows in memory before they go to disk: with four ids of 36 characters a row weighs twice the usual

_OBSERVED, _TREATED = tuple(OBSERVATION_COLUMNS)[:-2], tuple(CONTEXT_COLUMNS)[:-2]

Read = Callable[[Sequence[Path], Path | None, Path | None], Dataset]


def reader(settings: Settings) -> Read:
    """The ``read`` of a site with codes of its own; times without an offset are UTC."""

    def read(inputs: Sequence[Path], stays: Path | None, context: Path | None) -> Dataset:
        topic = settings.file.codes_of
        site = Site(
            load_catalogue(settings),
            {*settings.code_map, *codes_of_topic(settings, topic)},
            ZoneInfo("UTC"),
            LARGEST,
            settings.limits.json_depth,
            topic=topic,
        )
        return _read(decoder("fhir", site), inputs, stays, context)

    return read


def _read(decode: Decode, inputs: Sequence[Path], stays: Path | None, context: Path | None) -> Dataset:
    """Read every file of the inputs.

    Raises:
        InputRefused: a file is no such file, or nothing in any of them is an event.
        ConfigError: an input is not there, or a folder without such files.
        OSError: a file cannot be read.
    """
    files = [file for path in inputs for file in _files(path)]
    found = _Found()
    for number, path in enumerate(files):
        _take_file(found, decode, path, number)
    if not found.events:
        said = ", ".join(f"{reason} {count}" for (_, reason), count in found.rejected.most_common(5)) or "no records"
        raise InputRefused(f"{files[0]}: nothing in the inputs is an event ({said}); expected FHIR R4 as JSON")
    return add_stays_and_context(found.dataset(tuple(path.name for path in files)), stays, context)


def _files(path: Path) -> list[Path]:
    """The file itself, or those of a folder in the order of their names."""
    if not path.is_dir():
        return [existing(path)]
    inside = sorted(one for one in path.rglob("*") if one.is_file() and kind_of(one) in (*LINES, *WHOLE))
    if not inside:
        raise ConfigError([f"{path}: no FHIR files; expected {', '.join((*LINES, *WHOLE))} in it; name another folder"])
    return inside


class _Found:
    """What was read so far; observations and treatments become columns as soon as they are many, and go to disk then."""

    def __init__(self) -> None:
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.events = 0
        self._observed, self._treated = Kept(OBSERVATION_COLUMNS, MOST), Kept(CONTEXT_COLUMNS, MOST)
        self._observations: list[tuple[object, ...]] = []
        self._treatments: list[tuple[object, ...]] = []
        self._others: list[Placed] = []
        self._patients: dict[str, Patient] = {}
        self._rows: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def person(self, patient: Patient) -> None:
        if patient.id:
            self._patients[patient.id] = patient

    def add(self, event: PatientEvent, file: int, row: int) -> None:
        self.events += 1
        if isinstance(event, Observation):
            self._observations.append((*(getattr(event, name) for name in _OBSERVED), file, row))
        elif isinstance(event, Context) and event.dose is None:
            self._treatments.append((*(getattr(event, name) for name in _TREATED), file, row))
        else:
            self._others.append(((event.available_at, RANK[type(event)], file, row), event))
            return
        self._rows[event.patient_id] += 1
        self._first[event.patient_id] = min(event.available_at, self._first.get(event.patient_id, event.available_at))
        if len(self._observations) + len(self._treatments) >= ROWS_AT_ONCE:
            self._to_columns()

    def dataset(self, files: tuple[str, ...]) -> Dataset:
        """Everything, every admission with the age and sex of its patient where they are known."""
        self._to_columns()
        others = [(place, self._described(event)) for place, event in self._others]
        if self._observed.spill is None and self._treated.spill is None:
            others += placed_context(numbered_context(self._treated.table()), files)
            return Dataset(files, self._observed.table(), others, self.rejected)
        spills = (self._observed.close(), self._treated.close())
        return SpilledDataset(files, *spills, others, self.rejected, self._rows, self._first, as_it_is, [])

    def _described(self, event: PatientEvent) -> PatientEvent:
        patient = self._patients.get(event.patient_id) if isinstance(event, Encounter) else None
        if not isinstance(event, Encounter) or patient is None or event.event == "discharged":
            return event
        return structs.replace(event, age_years=age_years(patient, event.at), sex=sex(patient))

    def _to_columns(self) -> None:
        self._observed.add(pl.DataFrame(self._observations, schema=OBSERVATION_COLUMNS, orient="row"))
        self._treated.add(pl.DataFrame(self._treatments, schema=CONTEXT_COLUMNS, orient="row"))
        self._observations, self._treatments = [], []


def _take_file(found: _Found, decode: Decode, path: Path, file: int) -> None:
    """Take one file.

    Raises:
        InputRefused: it cannot be read as what its name says, or not one of its records is a resource.
    """
    records = resources = 0
    faults: Counter[str] = Counter()
    for row, raw in _records(path):
        records += 1
        try:
            decoded = decode(raw, position=Position(path.name, 0, row))
        except InputError as error:
            found.rejected["records", error.reason] += 1
            faults[error.reason] += 1
            continue
        resources += 1
        _take_people(found, raw)
        for event in decoded.events:
            if not isinstance(event, TimeMoved):
                found.add(event, file, row)
        for part in decoded.unread or ((NOTHING,) if not decoded.events else ()):
            found.rejected["records", part.reason] += 1
    if records and not resources:
        said = ", ".join(f"{reason} {count}" for reason, count in faults.most_common())
        raise InputRefused(f"{path}: none of its {records} records is a FHIR resource ({said}); expected R4 as JSON")


def _take_people(found: _Found, raw: bytes) -> None:
    """The Patients of a record: a resource, or entries of a Bundle."""
    if b'"Patient"' not in raw:
        return
    try:
        parts = (raw, *_resources(raw))
        for part in parts:
            if KIND.decode(part).resourceType == "Patient":
                patient = DECODERS["Patient"].decode(part)
                if isinstance(patient, Patient):
                    found.person(patient)
    except msgspec.DecodeError:
        pass  # told by the decoder already


def _resources(raw: bytes) -> Iterator[msgspec.Raw]:
    for entry in BUNDLE.decode(raw).entry:
        resource = ENTRY.decode(entry).resource
        if resource:
            yield resource


def _records(path: Path) -> Iterator[tuple[int, bytes]]:
    """The records of a file by line number: one a line, or the whole file.

    Raises:
        InputRefused: it is of no such kind, no gzip file though it says so, or larger than may be read at once.
    """
    kind = kind_of(path)
    if kind not in (*LINES, *WHOLE):
        raise InputRefused(f"{path}: unknown kind of file {kind!r}; expected {', '.join((*LINES, *WHOLE))}")
    try:
        with gzip.open(path) if kind.endswith(".gz") else path.open("rb") as file:
            if kind in WHOLE:
                whole = file.read(LARGEST + 1)
                if len(whole) > LARGEST:
                    raise InputRefused(f"{path}: over {LARGEST} bytes; expected a smaller Bundle, or NDJSON")
                yield 0, whole
                return
            yield from _lines(path, file)
    except NOT_PACKED as error:
        raise InputRefused(f"{path}: no readable gzip file; expected a whole one") from error


def _lines(path: Path, file: BinaryIO | gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
    row = 0
    while line := file.readline(LARGEST + 1):
        if len(line) > LARGEST:
            raise InputRefused(f"{path}: line {row + 1} is over {LARGEST} bytes; expected a resource on every line")
        if line.strip():
            yield row, line
        row += 1
