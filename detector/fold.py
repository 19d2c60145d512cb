"""Pass 1, one event at a time: what an event adds to the picture of its patient.

Each method returns the names of what changed (signals, ``pump``, ``context``, ``stay``): only rules that need one
of them are asked again. Facts are kept so that the order of arrival within an instant cannot matter: readings and
facts are ordered by their own content, and versions of an observation by rank.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detector import stays, versions
from detector.clean import QUARANTINED, RANKS, WITHDRAWN, Refused, clean, name_of
from detector.events import Context, Encounter, Observation, Pump
from detector.facts import add_context, add_pump, context_fact, pump_fact, refresh_facts
from detector.forgetting import kept_since
from detector.ledger import Ledger
from detector.patient import Patient
from detector.records import Rejected
from detector.windows import Series

if TYPE_CHECKING:
    from detector.plan import Plan

NOTHING: frozenset[str] = frozenset()
STAY = frozenset({"stay"})
MOST_UNMATCHED = 16
LOOKS_AHEAD = 16
"""So many readings are needed before 'most look like the future' says that our clock is wrong."""


class Fold:
    """Folds events into patients for one batch; what could not be used is counted and listed."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan = plan
        self.catalogue = plan.catalogue
        self.ledger = ledger
        self.rejected: list[Rejected] = []

    def observation(self, patient: Patient, event: Observation) -> frozenset[str]:
        """Fold one observation; a rejected one changes nothing but the counts (and the suspects of G-1)."""
        patient.newest_observation_at = max(patient.newest_observation_at or event.available_at, event.available_at)
        changed = STAY if patient.merged_into is None and stays.seen(patient, event) else NOTHING
        named = name_of(self.catalogue, event)
        if named is None:
            return self._refuse("unknown_code", None, event) | changed
        signal = self.catalogue.signals[named.signal]
        if patient.now - min(event.effective_at, event.available_at) > signal.late_limit:
            repairs = RANKS[event.status] >= versions.CORRECTED and versions.is_kept(patient, signal.name, event)
            if not repairs:  # what is known to be wrong goes as long as it is kept
                self.ledger.add("late_observations_total", signal.name)
                return self._refuse("late", signal.name, event) | changed
        if self._is_future(patient, event, signal.name):
            return self._refuse("future", signal.name, event) | changed
        if RANKS[event.status] == WITHDRAWN:
            return self._withdraw(patient, event, signal.name) | changed
        weight = patient.stay.weight_kg if patient.stay is not None else None
        cleaned = clean(self.catalogue, named, event, weight)
        if isinstance(cleaned, Refused):
            if cleaned.value is not None and cleaned.signal is not None:
                mark = (event.effective_at, cleaned.value, event.available_at)
                patient.suspects[cleaned.signal] = max(patient.suspects.get(cleaned.signal, mark), mark)
                changed |= {"suspects"}
            gone = versions.retract(patient, signal.name, event)
            if cleaned.reason == "needs_weight":  # it may yet be told in this instant
                patient.unmatched = (*patient.unmatched, event)[-MOST_UNMATCHED:]
            self._refuse(cleaned.reason, cleaned.signal, event)
            return changed | ({gone, "corrected"} if gone is not None else NOTHING)
        name, reading = cleaned
        if reading.at < kept_since(self.catalogue, patient, name):  # its id is known; its new time is long over
            gone = versions.retract(patient, name, event)
            self.ledger.add("late_observations_total", name)
            self._refuse("late", name, event)
            return changed | ({gone, "corrected"} if gone is not None else NOTHING)
        outcome, moved = versions.put(patient, name, self.series(patient, name), reading)
        if outcome == "ambiguous_correction":
            return self._unmatched(patient, event, name) | changed
        self.ledger.add("observations_total", name, outcome)
        changed |= moved | ({"corrected"} if outcome == "corrected" or len(moved) > 1 else NOTHING)
        if outcome not in ("accepted", "corrected"):
            return changed
        self.ledger.delays.append((name, (event.available_at - event.effective_at) / 1000))
        return changed | self._repaired(patient, event, name)

    def series(self, patient: Patient, name: str) -> Series:
        """The series of a signal, begun when it is first needed."""
        found = patient.series.get(name)
        if found is None:
            found = patient.series[name] = Series(patient.anchor, self.catalogue.signals[name].jump)
        return found

    def pump(self, patient: Patient, event: Pump) -> frozenset[str]:
        """Fold a pump event."""
        if not add_pump(patient, pump_fact(event)):
            self.ledger.add("events_ignored_total", "pump", "duplicate")
            return NOTHING
        return self._said(patient, event.available_at, "pump")

    def context(self, patient: Patient, event: Context) -> frozenset[str]:
        """Fold a treatment or a note."""
        if not add_context(patient, context_fact(event)):
            self.ledger.add("events_ignored_total", "context", "duplicate")
            return NOTHING
        return self._said(patient, event.available_at, "context")

    def encounter(self, patient: Patient, event: Encounter) -> tuple[frozenset[str], str | None]:
        """Fold an encounter event; the second value says why the stay closed (None = it did not)."""
        event, unusable = stays.unusable(self.catalogue, event)
        for why in unusable:
            self.ledger.add("events_ignored_total", "encounter", why)
        was_open = patient.stay is not None
        ignored, superseded = stays.encounter(patient, event)
        if superseded:
            self.ledger.add("stays_closed_total", "superseded")
        if ignored is not None:
            self.ledger.add("events_ignored_total", "encounter", ignored)
            return NOTHING, None
        changed = STAY
        if patient.stay is not None and patient.stay.weight_kg is not None:
            changed |= self._again(patient, [one for one in patient.unmatched if not _is_repair(one)])
        return changed, "discharged" if was_open and patient.stay is None else None

    @staticmethod
    def clock_is_off(ahead: tuple[int, int]) -> bool:
        """Whether most observations look like the future: then it is our clock."""
        return ahead[1] >= LOOKS_AHEAD and 2 * ahead[0] > ahead[1]

    def _refuse(self, reason: str, signal: str | None, event: Observation) -> frozenset[str]:
        self.ledger.add("observations_total", signal or "unknown", reason)
        self.rejected.append(
            Rejected(reason, signal, event.position, reason in QUARANTINED, code=event.code, unit=event.unit)
        )
        return NOTHING

    def _is_future(self, patient: Patient, event: Observation, name: str) -> bool:
        """Charted further ahead than allowed, unless most records look like the future: then it is our clock."""
        ahead = event.effective_at - event.available_at > self.catalogue.future_limit
        patient.look(name, event.effective_at, ahead=ahead)
        return ahead and not self.clock_is_off(patient.ahead_base)

    def _unmatched(self, patient: Patient, event: Observation, name: str) -> frozenset[str]:
        """A repair that found nothing to repair; its original may yet come in this very instant."""
        patient.unmatched = (*patient.unmatched, event)[-MOST_UNMATCHED:]
        return self._refuse("ambiguous_correction", name, event)

    def _repaired(self, patient: Patient, event: Observation, name: str) -> frozenset[str]:
        """What repairs that came earlier in this instant do to the reading that came now."""
        mine = [one for one in patient.unmatched
                if one.effective_at == event.effective_at and _is_repair(one) and self._names(one) == name]  # fmt: skip
        return self._again(patient, mine)

    def _again(self, patient: Patient, mine: list[Observation]) -> frozenset[str]:
        if not mine:
            return NOTHING
        patient.unmatched = tuple(one for one in patient.unmatched if one not in mine)
        uncounted = Fold(self.plan, Ledger())  # they were counted and listed when they came
        return NOTHING.union(*(uncounted.observation(patient, one) for one in mine))

    def _names(self, event: Observation) -> str | None:
        named = name_of(self.catalogue, event)
        return None if named is None else named.signal

    def _withdraw(self, patient: Patient, event: Observation, name: str) -> frozenset[str]:
        outcome, gone = versions.withdraw(patient, name, self.series(patient, name), event)
        if outcome == "ambiguous_correction":
            return self._unmatched(patient, event, name)
        self.ledger.add("observations_total", name, outcome)
        return frozenset({gone, "corrected"}) if gone is not None else NOTHING

    @staticmethod
    def _said(patient: Patient, available_at: int, what: str) -> frozenset[str]:
        stays.touch(patient, available_at)
        came_true = patient.next_fact <= patient.now  # something that was told ahead of time
        refresh_facts(patient)
        return frozenset({"pump", "context"}) if came_true else frozenset({what})


def _is_repair(event: Observation) -> bool:
    return RANKS[event.status] >= versions.CORRECTED
