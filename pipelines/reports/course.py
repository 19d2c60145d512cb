"""What happened in an alerted stay, read from the data set once more: its readings, pump and context events.

Only the patients of the stays that are shown are read, a few at a time, so that a replay of any size needs no more
memory for its report than its largest stays do.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from detector.catalogue.signals import Catalogue, Signal
from detector.clean import RANKS, WITHDRAWN, Refused, clean, name_of
from detector.clock import DAY
from detector.events import Context, Encounter, Observation, PatientEvent, Pump
from detector.reading import Reading
from pipelines.burden import exposures
from pipelines.dataset import Dataset
from pipelines.formats.times import parse_time
from pipelines.reports.alerted import Alerted

PATIENTS_AT_ONCE = 32  # of one reading, which costs much where a data set is spilled
PATIENTS_OF_A_PART = 8  # so that several processes share a report of a hundred stays
LOOKS_BACK = 7 * DAY
"""Evidence this much older than the stay is drawn as well: no rule looks further back (DESIGN.md section 1)."""


@dataclass
class StayCourse:
    """A stay from ``start`` to ``end`` (ms UTC; ``opened`` is its admission or first reading). ``readings`` by signal,
    in order; ``events`` are the pump and context events of the patient up to the end; ``not_drawn`` counts by
    (signal or code, reason).
    """

    opened: int
    start: int
    end: int
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    events: list[Pump | Context] = field(default_factory=list)
    encounters: list[Encounter] = field(default_factory=list)
    not_drawn: Counter[tuple[str, str]] = field(default_factory=Counter)

    def known(self, name: str) -> float | str | None:
        """The newest thing that an encounter said of age_years, sex, weight_kg, unit or bed. None = nothing."""
        return next((said for one in reversed(self.encounters) if (said := getattr(one, name)) is not None), None)


@dataclass
class Part:
    """A few patients of a data set and their stays to be drawn, by the id that stands for the person."""

    dataset: Dataset
    stays: dict[str, list[Alerted]]


def parts(dataset: Dataset, stays: Sequence[Alerted]) -> Iterator[Part]:
    """The patients of ``stays``, a few at a time."""
    person = dataset.same_person()
    merged: defaultdict[str, list[str]] = defaultdict(list)
    for patient, stands in person.items():
        merged[stands].append(patient)
    of_person: defaultdict[str, list[Alerted]] = defaultdict(list)
    for stay in stays:
        of_person[person.get(stay.patient_id, stay.patient_id)].append(stay)
    people = sorted(of_person)
    for first in range(0, len(people), PATIENTS_AT_ONCE):
        wanted = people[first : first + PATIENTS_AT_ONCE]
        chosen = dataset.of(patient for one in wanted for patient in merged.get(one, [one]))
        for begin in range(0, len(wanted), PATIENTS_OF_A_PART):
            few = wanted[begin : begin + PATIENTS_OF_A_PART]
            part = chosen.of(patient for one in few for patient in merged.get(one, [one]))
            yield Part(part, {one: of_person[one] for one in few})


def courses(part: Part, catalogue: Catalogue) -> Iterator[tuple[Alerted, StayCourse]]:
    """Each stay of a part with its course; not in the order of severity."""
    person = part.dataset.same_person()
    for events in part.dataset.by_person():
        for stay in part.stays[person.get(events[0].patient_id, events[0].patient_id)]:
            yield stay, course_of(events, stay, catalogue)


def course_of(events: Sequence[PatientEvent], stay: Alerted, catalogue: Catalogue) -> StayCourse:
    """The course of one stay among all events of its patient, which come in the one order."""
    said = [parse_time(record.at) for record in stay.records]
    cited = [
        parse_time(line.effective_at)
        for record in stay.records for line in record.evidence if line.signal in catalogue.signals
    ]  # fmt: skip
    own = [one for one in exposures(events) if one.stay_id == stay.stay_id]
    begun = min((one.start for one in own), default=min(said))
    start = max(min([begun, *cited, *said]), begun - LOOKS_BACK)
    admitted = [one.at for one in events if isinstance(one, Encounter) and _admits(one, stay)]
    opened = min(admitted, default=begun)
    course = StayCourse(opened, start, max([*(one.end for one in own), *said]))
    course.encounters = [one for one in events if isinstance(one, Encounter) and one.stay_id == stay.stay_id]
    course.events = [one for one in events if isinstance(one, Pump | Context) and one.at <= course.end]
    weight = course.known("weight_kg")
    kept = _Readings(catalogue)
    for event in events:
        if isinstance(event, Observation) and start <= min(event.effective_at, event.available_at) <= course.end:
            kept.take(event, float(weight) if weight is not None else None)
    course.readings, course.not_drawn = kept.in_order(), kept.not_drawn
    return course


def _admits(one: Encounter, stay: Alerted) -> bool:
    return one.stay_id == stay.stay_id and one.event == "admitted"


class _Readings:
    """Readings as they finally stand: what was corrected or withdrawn is not drawn, and counted."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.not_drawn: Counter[tuple[str, str]] = Counter()
        self._kept: defaultdict[str, dict[object, Reading]] = defaultdict(dict)
        self._gone: set[tuple[str, object]] = set()

    def take(self, event: Observation, weight_kg: float | None) -> None:
        named = name_of(self.catalogue, event)
        if named is None:
            self.not_drawn[event.code, "unknown_code"] += 1
            return
        signal = self.catalogue.signals[named.signal]
        why = self._out_of_time(signal, event)
        if why is not None:
            self.not_drawn[signal.name, why] += 1
            return
        rank = RANKS[event.status]
        repairs = self._repaired(signal.name, event) if rank > RANKS["final"] else None
        if rank == WITHDRAWN:
            self._remove(signal.name, repairs, "removed")
            if event.observation_id is not None:
                self._gone.add((signal.name, event.observation_id))
            return
        found = clean(self.catalogue, named, event, weight_kg)
        if isinstance(found, Refused):
            self.not_drawn[signal.name, found.reason] += 1
            return
        name, reading = found
        key = event.observation_id or (reading.effective_at, reading.value, reading.meta.site)
        before = self._kept[name].get(key)
        if (name, key) in self._gone or (before is not None and before.meta.rank > rank):
            self.not_drawn[name, "superseded"] += 1
            return
        if repairs is not None and repairs != key:
            self._remove(name, repairs, "corrected")
        elif before is not None and before.value != reading.value:
            self.not_drawn[name, "corrected"] += 1
        self._kept[name][key] = reading

    def in_order(self) -> dict[str, list[Reading]]:
        """By signal in the catalogue's order, each by time."""
        return {
            name: sorted(self._kept[name].values(), key=lambda one: (one.at, one.value))
            for name in self.catalogue.signals if self._kept.get(name)
        }  # fmt: skip

    def _repaired(self, name: str, event: Observation) -> object | None:
        """The key of the reading that a correction means: its id, else the only reading of its time. None = none."""
        if event.observation_id is not None:
            return event.observation_id if event.observation_id in self._kept[name] else None
        same = [key for key, one in self._kept[name].items() if one.effective_at == event.effective_at]
        return same[0] if len(same) == 1 else None

    def _remove(self, name: str, key: object | None, why: str) -> None:
        if key is not None and self._kept[name].pop(key, None) is not None:
            self.not_drawn[name, why] += 1

    def _out_of_time(self, signal: Signal, event: Observation) -> str | None:
        if event.available_at - event.effective_at > signal.late_limit:
            return "late"
        return "future" if event.effective_at - event.available_at > self.catalogue.future_limit else None
