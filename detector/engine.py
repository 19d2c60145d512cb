"""The engine: events in, alert records out. The stages in order are on this screen.

    pass 1, event by event      clean -> fold -> ask the rules -> keep what changed as a Step
    between                     score every row in one call
    pass 2, step by step        fuse -> life cycle -> records

Pass 2 must never look at a window: by then it holds the rest of the batch. What a batch was does not matter, nor who
else is in it: each patient is a function of its own events and of time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from detector.clock import NEVER, last_tick_before, minute_ceil
from detector.deciding import Deciding
from detector.episode import Episode
from detector.events import Event, PatientEvent, Ticked
from detector.ledger import Ledger
from detector.patient import Patient
from detector.picture import Picture
from detector.plan import Plan
from detector.records import Batch
from detector.scoring import NoScorer, Scorer


class StayView(NamedTuple):
    """What metrics may know of an open stay. ``now`` goes on with the ticks, whether or not they changed anything."""

    patient_id: str
    stay_id: str | None
    unit: str | None
    pump: str
    newest_observation_at: int | None
    now: int
    opened_at: int


class Agenda:
    """Which patients have a whole minute due, earliest first. Entries may be outdated; whoever is visited looks."""

    def __init__(self) -> None:
        self._minutes: list[tuple[int, str]] = []
        self._noted: dict[str, int] = {}

    def note(self, patient_id: str, at: int) -> None:
        """Something is due for a patient at the first whole minute not before ``at``."""
        minute = minute_ceil(at)
        if at < NEVER and self._noted.get(patient_id) != minute:
            self._noted[patient_id] = minute
            heapq.heappush(self._minutes, (minute, patient_id))

    def take(self, upto: int) -> list[str]:
        """Every patient with a minute due up to ``upto``, once, in a fixed order."""
        taken = set()
        while self._minutes and self._minutes[0][0] <= upto:
            minute, patient_id = heapq.heappop(self._minutes)
            if self._noted.get(patient_id) == minute:
                del self._noted[patient_id]
                taken.add(patient_id)
        return sorted(taken)

    def drop(self, patient_id: str) -> None:
        """Nothing is due for a patient any more."""
        self._noted.pop(patient_id, None)


class Ward:
    """The patients of one partition, and when time alone has something to do for each.

    ``ticked_at`` is the newest tick: a record that comes later with an earlier ``available_at`` is decided at it. It is
    stored beside the positions.
    """

    def __init__(self, plan: Plan, ticked_at: int | None = None) -> None:
        self.plan = plan
        self.patients: dict[str, Patient] = {}
        self.ticked_at = ticked_at if ticked_at is not None else -NEVER
        self.answers = Agenda()
        self.timers = Agenda()

    def adopt(self, patient: Patient) -> None:
        """Take in a patient that was loaded from the store."""
        self.patients[patient.patient_id] = patient
        self.answers.note(patient.patient_id, patient.due)
        self.timers.note(patient.patient_id, patient.timer)

    def let_rest(self, patient_id: str) -> None:
        """Let go of a patient for whom nothing is or will be due: it is as it was stored until its next event.

        What its pump and its treatments are stays in the store; whoever sends its next event adopts it first.
        """
        patient = self.patients.get(patient_id)
        if patient is not None and patient.rests:
            del self.patients[patient_id]
            self.answers.drop(patient_id)
            self.timers.drop(patient_id)

    def open_alerts(self) -> Iterator[tuple[str, Episode]]:
        """(patient id, alert) of every alert that is not resolved."""
        for patient in self.patients.values():
            for episode in patient.episodes.values():
                if not episode.resolved:
                    yield patient.patient_id, episode

    def stays(self) -> Iterator[StayView]:
        """Every open stay."""
        for patient in self.patients.values():
            if patient.stay is not None:
                yield StayView(
                    patient.patient_id, patient.stay.stay_id, patient.stay.unit,
                    patient.looked[0],
                    patient.newest_observation_at, max(patient.now, self.ticked_at), patient.stay.opened_at,
                )  # fmt: skip


def run(
    plan: Plan, ward: Ward, events: Sequence[Event], scorer: Scorer | None = None, ledger: Ledger | None = None
) -> Batch:
    """Fold a batch of events, in order, into a ward; the ward is changed in place.

    Args:
        plan: what is known.
        ward: the patients.
        events: in the one order (DESIGN.md section 2), ``Ticked`` among them.
        scorer: called once for the whole batch; None = no model.
        ledger: where counts go; None = they are not wanted.
    """
    ledger = ledger if ledger is not None else Ledger()
    picture = Picture(plan, ledger)
    touched: dict[str, Patient] = {}
    ticks: list[tuple[int, int]] = []

    for event in events:  # pass 1
        if isinstance(event, Ticked):
            ward.ticked_at = max(ward.ticked_at, event.at)
            for patient_id in ward.answers.take(event.at):
                patient = touched[patient_id] = ward.patients[patient_id]
                picture.advance(patient, event.at)
                ward.answers.note(patient_id, patient.due)
            ticks.append((len(picture.steps), event.at))
        else:
            patient = touched[event.patient_id] = _patient(ward, event)
            picture.advance(patient, max(last_tick_before(event.available_at), ward.ticked_at))
            picture.fold(patient, event, max(event.available_at, ward.ticked_at))
            ward.answers.note(event.patient_id, patient.due)

    rows = [step.row for step in picture.steps if step.row is not None]
    scores = iter((scorer or NoScorer()).score(rows) if rows else ())

    deciding = Deciding(plan, ledger)  # pass 2
    ticks.append((len(picture.steps), -NEVER))
    done = 0
    for reached, at in ticks:
        for step in picture.steps[done:reached]:
            patient = touched[step.patient_id]
            deciding.step(patient, step, next(scores) if step.row is not None else None)
            ward.timers.note(step.patient_id, patient.timer)
        done = reached
        for patient_id in ward.timers.take(at):
            patient = touched[patient_id] = ward.patients[patient_id]
            deciding.timers(patient, at)
            ward.timers.note(patient_id, patient.timer)

    return Batch(deciding.records, picture.rejected, deciding.merges, deciding.labels, set(touched))


def _patient(ward: Ward, event: PatientEvent) -> Patient:
    patient = ward.patients.get(event.patient_id)
    if patient is None:
        patient = ward.patients[event.patient_id] = Patient(event.patient_id, max(event.available_at, ward.ticked_at))
    return patient
