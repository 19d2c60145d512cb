"""A data set: past stays as the events that the stream would have carried, in the one order.

Observations are nearly all of the rows and stay columnar; every other event is an object in a list. The order is the
stream's (DESIGN.md section 2): ``available_at``, then topic, then file and row. No file format is known here.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import polars as pl

from detector.clock import DAY
from detector.errors import ConfigError, InputError
from detector.events import EARLIEST, Acknowledgement, Context, Encounter, Observation, PatientEvent, Position, Pump
from pipelines.burden import Exposure, exposures
from pipelines.outages import ModelEvent

TOPIC_ORDER: tuple[str, ...] = ("encounters", "pumps", "context", "observations", "acknowledgements")
_TYPES = (Encounter, Pump, Context, Observation, Acknowledgement)
RANK: dict[type, int] = {kind: rank for rank, kind in enumerate(_TYPES)}

OBSERVATION_COLUMNS: dict[str, type[pl.DataType]] = {
    "patient_id": pl.String,
    "stay_id": pl.String,
    "code": pl.String,
    "value": pl.Float64,
    "value_text": pl.String,
    "unit": pl.String,
    "effective_at": pl.Int64,
    "available_at": pl.Int64,
    "status": pl.String,
    "observation_id": pl.String,
    "site": pl.String,
    "reference_high": pl.Float64,
    "source": pl.String,
    "file": pl.UInt32,
    "row": pl.Int64,
}
"""What a format makes of its observations: times in ms UTC, ``file`` an index into ``Dataset.files``."""

SYNTHETIC = "synthetic"
"""The ``source`` of an observation that no patient ever had."""

_ROWS_AT_ONCE = 50_000  # turning a column into Python objects: large enough to be fast, small beside the table

SEXES: dict[str, Any] = {"F": "female", "M": "male", "female": "female", "male": "male", "other": "other"}
"""How tables write a sex; any other word is unknown."""

Place = tuple[int, int, int, int]
"""Where an event stands in the one order: available_at, topic rank, file, row."""
Placed = tuple[Place, PatientEvent]


class InputRefused(InputError):
    """A whole file cannot be used (exit 65); the message names it, what was found and what was expected."""

    def __init__(self, message: str) -> None:
        super().__init__("file", message)


@dataclass
class Skipped:
    """Patients of whom nothing can be alerted (``pipelines.sieve``), and who were left out for it.

    ``rows`` that were not even judged, those of ``events`` among them; ``stays`` count for every rate all the same.
    """

    rows: int = 0
    patients: int = 0
    stays: list[Exposure] = field(default_factory=list)
    synthetic: bool = False


@dataclass
class Dataset:
    """Events of past stays. ``rejected`` counts the rows that cannot be events, by (topic, reason); ``remarks`` says in
    words what else a person who runs it should know; ``outages`` say when the service that had these events kept a
    model out; ``skipped`` None = nobody was left out.
    """

    files: tuple[str, ...]
    observations: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=OBSERVATION_COLUMNS))
    others: list[Placed] = field(default_factory=list)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)
    outages: list[ModelEvent] = field(default_factory=list)
    skipped: Skipped | None = None

    def __post_init__(self) -> None:
        self.observations = self.observations.sort("available_at", "file", "row")
        self.others.sort(key=itemgetter(0))

    def __len__(self) -> int:
        return len(self.observations) + len(self.others)

    @property
    def synthetic(self) -> bool:
        """Whether any observation says of itself that it was made up (``simulate`` marks every one)."""
        return (
            bool((self.observations["source"] == SYNTHETIC).any())
            or (self.skipped is not None and self.skipped.synthetic)
            or any(isinstance(event, Observation) and event.source == SYNTHETIC for _, event in self.others)
        )

    def rows_by_patient(self) -> dict[str, int]:
        """Number of events of each patient, patients in the order of their ids."""
        rows = Counter(dict(self.observations.group_by("patient_id").len().iter_rows()))
        rows.update(event.patient_id for _, event in self.others)
        return dict(sorted(rows.items()))

    def first_available(self) -> dict[str, int]:
        """When the record had the first observation of each patient that has one, ms."""
        return dict(self.observations.group_by("patient_id").agg(pl.col("available_at").min()).iter_rows())

    def in_order(self) -> Iterator[PatientEvent]:
        """Every event in the one order, all patients together."""
        for _, event in heapq.merge(self.others, self.placed(self.observations), key=itemgetter(0)):
            yield event

    def same_person(self) -> dict[str, str]:
        """Patient ids that merges make one, each with the id that stands for them (the least); others are left out."""
        stands: dict[str, str] = {}

        def find(patient: str) -> str:
            while stands.get(patient, patient) != patient:
                patient = stands[patient]
            return patient

        for _, event in self.others:
            if isinstance(event, Encounter) and event.into is not None:
                pair = sorted((find(event.patient_id), find(event.into)))
                stands[pair[1]] = stands[pair[0]] = pair[0]
        return {patient: find(patient) for patient in stands}

    def by_person(self) -> Iterator[list[PatientEvent]]:
        """All events of each person in the one order: of one patient id, or of those that merges make one."""
        person = self.same_person()
        together: defaultdict[str, list[list[PatientEvent]]] = defaultdict(list)
        for patient, events in self.by_patient():
            if patient in person:
                together[person[patient]].append(events)
            else:
                yield events
        for parts in together.values():
            yield sorted((e for part in parts for e in part), key=lambda e: (e.available_at, RANK[type(e)]))

    def by_patient(self) -> Iterator[tuple[str, list[PatientEvent]]]:
        """Each patient with all its events in the one order; patients in the order of their ids."""
        tables = self.observations.partition_by("patient_id", as_dict=True, include_key=True)
        others: defaultdict[str, list[Placed]] = defaultdict(list)
        for placed in self.others:
            others[placed[1].patient_id].append(placed)
        for patient in sorted({key[0] for key in tables} | others.keys()):
            table = tables.get((patient,))
            observed = () if table is None else self.placed(table)
            placed_events = sorted([*others[patient], *observed], key=itemgetter(0))
            yield patient, [event for _, event in placed_events]

    def shares(self, count: int) -> Iterator[Dataset]:
        """Cut into about ``count`` data sets of whole patients and nearly equal size, in the order of patient ids."""
        wanted = max(1, len(self) // count)
        person = self.same_person()
        rows_of = self.rows_by_patient()
        patients: list[str] = []
        size = 0
        for patient in sorted(rows_of, key=lambda patient: (person.get(patient, patient), patient)):
            patients.append(patient)
            size += rows_of[patient]
            if size >= wanted and patient not in person:
                yield self.of(patients)
                patients, size = [], 0
        if patients:
            yield self.of(patients)

    def of(self, patients: Iterable[str]) -> Dataset:
        """The events of some patients; what was rejected stays with the whole."""
        chosen = set(patients)
        observations = self.observations.filter(pl.col("patient_id").is_in(list(chosen)))
        return Dataset(
            self.files, observations, [one for one in self.others if one[1].patient_id in chosen], outages=self.outages
        )

    def placed(self, table: pl.DataFrame) -> Iterator[Placed]:
        """The rows of a table of observations as events, each with its place in the one order."""
        rank = RANK[Observation]
        for part in table.iter_slices(_ROWS_AT_ONCE):
            columns = {name: part[name].to_list() for name in OBSERVATION_COLUMNS}
            places = zip(columns["available_at"], repeat(rank), columns["file"], columns["row"], strict=False)
            for place, patient, stay, code, value, text, unit, effective, status, own_id, site, high, source in zip(
                places, columns["patient_id"], columns["stay_id"], columns["code"], columns["value"],
                columns["value_text"], columns["unit"], columns["effective_at"], columns["status"],
                columns["observation_id"], columns["site"], columns["reference_high"], columns["source"], strict=True,
            ):  # fmt: skip
                yield place, Observation(
                    patient_id=patient, stay_id=stay, code=code, value=value, value_text=text, unit=unit,
                    effective_at=effective, available_at=place[0], status=status, observation_id=own_id, site=site,
                    reference_high=high, source=source, position=Position(self.files[place[2]], 0, place[3]),
                )  # fmt: skip


def leave_out(dataset: Dataset, kept: Container[str], spans: pl.DataFrame) -> None:
    """Take the events other than observations of everybody who is not ``kept`` out of a data set, as skipped.

    ``spans``: when the first and the last observation of a stay (patient_id, stay_id) was known, ms UTC; a stay that is
    not among them lasts from its admission to its discharge.
    """
    skipped = dataset.skipped = dataset.skipped or Skipped()
    gone: defaultdict[str, list[Placed]] = defaultdict(list)
    for placed in dataset.others:
        if placed[1].patient_id not in kept:
            gone[placed[1].patient_id].append(placed)
    dataset.others = [placed for placed in dataset.others if placed[1].patient_id in kept]
    skipped.rows += sum(map(len, gone.values()))
    for patient, stay, first, last in spans.select("patient_id", "stay_id", "first", "last").iter_rows():
        if patient not in kept:
            for at in sorted({first, last}):
                seen = Observation(patient_id=patient, stay_id=stay, code="", effective_at=at, available_at=at)
                gone[patient].append(((at, RANK[Observation], 0, 0), seen))
    for _, events in sorted(gone.items()):
        skipped.patients += 1
        skipped.stays += exposures([event for _, event in sorted(events, key=itemgetter(0))])


def forget_pumps(dataset: Dataset) -> None:
    """Keep the pump events of a data set out, and count them: somebody else says who has a pump."""
    kept = [one for one in dataset.others if not isinstance(one[1], Pump)]
    dataset.rejected["pumps", "overridden"] += len(dataset.others) - len(kept)
    dataset.rejected += Counter()  # without what was counted zero times
    dataset.others = kept


def declare_pumps(dataset: Dataset, known: str | set[str]) -> None:
    """Say of every patient whether a pump is there, before anything else is known of it.

    ``"all"`` implants one a year before the first admission with nothing known since; ``"none"`` declares it absent;
    a set holds the patients whose pump events the data set has already: the others have none.
    """
    first = dataset.first_available()
    admitted: dict[str, int] = {}
    for (available_at, *_), event in dataset.others:
        first[event.patient_id] = min(available_at, first.get(event.patient_id, available_at))
        if isinstance(event, Encounter) and event.event == "admitted":
            admitted.setdefault(event.patient_id, event.at)
    for patient, start in first.items():
        if isinstance(known, set) and patient in known:
            continue
        at = max(EARLIEST, admitted.get(patient, start) - 365 * DAY) if known == "all" else start
        kind: Literal["implanted", "absent"] = "implanted" if known == "all" else "absent"
        pump = Pump(patient_id=patient, event=kind, at=at, available_at=start)
        # row -1: before any pump event that a file has at the same instant
        dataset.others.append(((start, RANK[Pump], 0, -1), pump))
    dataset.others.sort(key=itemgetter(0))


def existing(path: Path) -> Path:
    """The path itself.

    Raises:
        ConfigError: there is no such file.
    """
    if path.is_dir():
        raise ConfigError([f"{path}: is a folder; expected a file: a table, or NDJSON of events; name a file in it"])
    if not path.exists():
        raise ConfigError([f"{path}: no such file; expected a table, or NDJSON of events; correct the path"])
    return path
