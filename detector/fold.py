"""Pass 1, one event at a time: what an event adds to the picture of its patient.

Each function returns the names of what changed (signals, ``pump``, ``context``, ``stay``): only rules that need one
of them are asked again. Facts are kept so that the order of arrival within an instant cannot matter: readings and
facts are ordered by their own content, and versions of an observation by rank.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from detector.clean import QUARANTINED, RANKS, WITHDRAWN, Refused, clean, kept_for, name_of
from detector.clock import HOUR, NEVER
from detector.events import Context, Encounter, Observation, Position, Pump
from detector.ledger import Ledger
from detector.patient import MOST_FACTS, ContextFact, Patient, PumpFact, Stay, Version
from detector.reading import Reading
from detector.records import Rejected
from detector.windows import Series

if TYPE_CHECKING:
    from detector.plan import Plan

F = TypeVar("F", PumpFact, ContextFact)
NOTHING: frozenset[str] = frozenset()
MOST_CLOSED = 16
LOOKS_AHEAD = 16
"""So many observations are needed before 'most look like the future' says that our clock is wrong."""


class Fold:
    """Folds events into patients for one batch; what could not be used is counted and listed."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan = plan
        self.catalogue = plan.catalogue
        self.ledger = ledger
        self.rejected: list[Rejected] = []

    # --- observations --------------------------------------------------------------------------------------------

    def observation(self, patient: Patient, event: Observation) -> frozenset[str]:
        """Fold one observation; a rejected one changes nothing but the counts (and the suspects of G-1)."""
        patient.newest_observation_at = max(patient.newest_observation_at or event.available_at, event.available_at)
        changed = self._seen(patient, event)
        named = name_of(self.catalogue, event)
        if named is None:
            return self._refuse("unknown_code", None, event.position) | changed
        signal = self.catalogue.signals[named.signal]
        if patient.now - min(event.effective_at, event.available_at) > signal.late_limit:
            self.ledger.add("late_observations_total", signal.name)
            return self._refuse("late", signal.name, event.position) | changed
        if self._is_future(patient, event):
            return self._refuse("future", signal.name, event.position) | changed
        if RANKS[event.status] == WITHDRAWN:
            return self._withdraw(patient, event, signal.name) | changed
        weight = patient.stay.weight_kg if patient.stay is not None else None
        cleaned = clean(self.catalogue, named, event, weight)
        if isinstance(cleaned, Refused):
            if cleaned.value is not None and cleaned.signal is not None:
                mark = (event.effective_at, cleaned.value, event.available_at)
                patient.suspects[cleaned.signal] = max(patient.suspects.get(cleaned.signal, mark), mark)
                changed |= {"suspects"}
            return (
                self._refuse(cleaned.reason, cleaned.signal, event.position)
                | self._retract(patient, event, signal.name)
                | changed
            )
        name, reading = cleaned
        outcome = self._put(patient, name, reading)
        self.ledger.add("observations_total", name, outcome)
        if outcome in ("accepted", "corrected"):
            self.ledger.delays.append((name, (event.available_at - event.effective_at) / 1000))
            return changed | ({name} if outcome == "accepted" else {name, "corrected"})
        if outcome == "ambiguous_correction":
            self.rejected.append(Rejected(outcome, name, event.position))
        return changed

    def _refuse(self, reason: str, signal: str | None, position: Position | None) -> frozenset[str]:
        self.ledger.add("observations_total", signal or "unknown", reason)
        self.rejected.append(Rejected(reason, signal, position, quarantined=reason in QUARANTINED))
        return NOTHING

    def _is_future(self, patient: Patient, event: Observation) -> bool:
        """Charted further ahead than allowed, unless most records look like the future: then it is our clock."""
        ahead = event.effective_at - event.available_at > self.catalogue.future_limit
        if patient.ahead[1] >= 2 * LOOKS_AHEAD:  # forget by halves: a clock may go wrong late in a long stay
            patient.ahead = (patient.ahead[0] // 2, patient.ahead[1] // 2)
        patient.ahead = (patient.ahead[0] + ahead, patient.ahead[1] + 1)
        return ahead and not self.clock_is_off(patient.ahead_base)

    @staticmethod
    def clock_is_off(ahead: tuple[int, int]) -> bool:
        return ahead[1] >= LOOKS_AHEAD and 2 * ahead[0] > ahead[1]

    def series(self, patient: Patient, name: str) -> Series:
        """The series of a signal, begun when it is first needed."""
        found = patient.series.get(name)
        if found is None:
            found = patient.series[name] = Series(patient.anchor, self.catalogue.signals[name].jump)
        return found

    def _put(self, patient: Patient, name: str, reading: Reading) -> str:
        if reading.observation_id is not None:
            return self._put_version(patient, name, reading)
        if reading.meta.rank == RANKS["corrected"]:
            return self._put_correction(patient, name, reading)
        series = self.series(patient, name)
        if series.told_before(reading) or not series.insert(reading):
            return "duplicate"
        patient.unsaved.append(("r", name, *reading))
        return "accepted"

    def _put_version(self, patient: Patient, name: str, reading: Reading) -> str:
        identity = reading.observation_id
        assert identity is not None
        version = Version(name, reading.at, reading.value, reading.meta.rank, reading.available_at)
        known = patient.versions.get(identity)
        if known is not None:
            if known == version:
                return "duplicate"
            if (version.rank, version.available_at, version.value) <= (known.rank, known.available_at, known.value):
                return "duplicate" if (version.rank, version.value) == (known.rank, known.value) else "superseded"
            if (version.signal, version.value) == (known.signal, known.value) and self._same_time(
                patient, identity, reading
            ):
                patient.versions[identity] = version._replace(at=known.at)
                patient.unsaved.append(("v", identity, *patient.versions[identity]))
                return "duplicate"
            self._take_out(patient, identity, known)
        patient.versions[identity] = version
        inserted = self.series(patient, name).insert(reading)
        patient.unsaved.append(("r", name, *reading))
        if not inserted:
            return "duplicate"
        return "accepted" if known is None else "corrected"

    @staticmethod
    def _same_time(patient: Patient, identity: str, reading: Reading) -> bool:
        known = patient.versions[identity]
        series = patient.series[known.signal]
        return any(
            series.ids[k] == identity and series.effective[k] == reading.effective_at
            for k in series.between(known.at - 1, known.at)
        )

    def _put_correction(self, patient: Patient, name: str, reading: Reading) -> str:
        """A correction without an id replaces the only reading of its instant; two or none are ambiguous."""
        series = self.series(patient, name)
        there = series.find(reading.effective_at)
        if len(there) != 1:
            return "ambiguous_correction"
        if series.value[there[0]] == reading.value:
            return "duplicate"
        patient.unsaved.append(("x", name, series.at[there[0]], series.value[there[0]], series.ids[there[0]]))
        series.remove(there[0])
        series.insert(reading)
        patient.unsaved.append(("r", name, *reading))
        return "corrected"

    def _withdraw(self, patient: Patient, event: Observation, name: str) -> frozenset[str]:
        """Entered in error or cancelled: the reading goes, and an original that arrives later stays out."""
        series = self.series(patient, name)
        if event.observation_id is None:
            there = series.find(event.effective_at)
            if len(there) != 1:
                return self._refuse("ambiguous_correction", name, event.position)
            patient.unsaved.append(("x", name, series.at[there[0]], series.value[there[0]], series.ids[there[0]]))
            series.remove(there[0])
            changed = frozenset({name, "corrected"})
        else:
            known = patient.versions.get(event.observation_id)
            at = min(event.effective_at, event.available_at)
            version = Version(known.signal if known else name, at, 0.0, WITHDRAWN, event.available_at)
            if known is not None and known.rank == WITHDRAWN:
                self.ledger.add("observations_total", name, "duplicate")
                return NOTHING
            if known is not None:
                self._take_out(patient, event.observation_id, known)
            patient.versions[event.observation_id] = version
            patient.unsaved.append(("v", event.observation_id, *version))
            changed = frozenset({version.signal, "corrected"}) if known is not None else NOTHING
        self.ledger.add("observations_total", name, "removed")
        return changed

    def _retract(self, patient: Patient, event: Observation, name: str) -> frozenset[str]:
        """A correction to something that cannot be used still says that the value before it was wrong: that goes."""
        identity = event.observation_id
        if identity is None or RANKS[event.status] != RANKS["corrected"]:
            return NOTHING
        known = patient.versions.get(identity)
        if known is not None and (known.rank, known.available_at) >= (RANKS["corrected"], event.available_at):
            return NOTHING
        if known is not None:
            self._take_out(patient, identity, known)
        at = min(event.effective_at, event.available_at)
        version = Version(known.signal if known else name, at, 0.0, RANKS["corrected"], event.available_at)
        patient.versions[identity] = version
        patient.unsaved.append(("v", identity, *version))
        return frozenset({version.signal, "corrected"}) if known is not None else NOTHING

    def _take_out(self, patient: Patient, identity: str, known: Version) -> None:
        series = patient.series.get(known.signal)
        if series is None:
            return
        for k in series.between(known.at - 1, known.at):
            if series.ids[k] == identity:
                patient.unsaved.append(("x", known.signal, series.at[k], series.value[k], identity))
                series.remove(k)
                return

    def _seen(self, patient: Patient, event: Observation) -> frozenset[str]:
        """An observation opens a stay, unless it belongs to one that is closed."""
        stay = patient.stay
        if stay is not None:
            patient.stay = _touched(stay, event.available_at)
            return NOTHING
        closed_at = max(patient.closed.values(), default=None)
        if event.stay_id is not None and event.stay_id in patient.closed:
            return NOTHING
        if event.stay_id is None and closed_at is not None and event.effective_at <= closed_at:
            return NOTHING
        patient.stay = self._opened(patient, event.stay_id, event.available_at)
        return frozenset({"stay"})

    @staticmethod
    def _opened(patient: Patient, stay_id: str | None, available_at: int) -> Stay:
        """A new stay; one that was closed by silence alone goes on with what was known of it."""
        known, patient.silent_stay = patient.silent_stay, None
        if known is None or (stay_id is not None and stay_id != known.stay_id):
            return Stay(stay_id, patient.now, available_at)
        return structs.replace(known, opened_at=patient.now, newest_at=available_at)

    # --- pump, context, encounters -------------------------------------------------------------------------------

    def pump(self, patient: Patient, event: Pump) -> frozenset[str]:
        fact = PumpFact(
            event.at, event.event, event.level or "", event.reason or "", event.result or "",
            event.volume_expected_ml, event.volume_aspirated_ml, event.date, event.available_at,
        )  # fmt: skip
        if any(known[:-1] == fact[:-1] for known in patient.pump):
            self.ledger.add("events_ignored_total", "pump", "duplicate")
            return NOTHING
        insort(patient.pump, fact, key=_order)
        _bound(patient.pump, fact, lambda known: known[1:5])
        return self._said(patient, event.available_at, "pump")

    def context(self, patient: Patient, event: Context) -> frozenset[str]:
        fact = ContextFact(event.at, event.kind, event.event, event.dose, event.available_at)
        if any(known[:-1] == fact[:-1] for known in patient.context):
            self.ledger.add("events_ignored_total", "context", "duplicate")
            return NOTHING
        insort(patient.context, fact, key=_order)
        _bound(patient.context, fact, lambda known: known[1:3])
        return self._said(patient, event.available_at, "context")

    def take_facts(self, patient: Patient, pump: list[PumpFact], context: list[ContextFact]) -> None:
        """Add the pump and treatment facts of a patient id that was merged into this one."""
        for fact in pump:
            if fact not in patient.pump:
                insort(patient.pump, fact, key=_order)
        for known in context:
            if known not in patient.context:
                insort(patient.context, known, key=_order)
        refresh_facts(patient)

    def _said(self, patient: Patient, available_at: int, what: str) -> frozenset[str]:
        if patient.stay is not None:
            patient.stay = _touched(patient.stay, available_at)
        refresh_facts(patient)
        return frozenset({what})

    def _known_baseline(self, event: Encounter) -> Encounter:
        """Only signals of the catalogue have a baseline; whatever else is sent cannot grow a patient."""
        if all(name in self.catalogue.signals for name in event.baseline):
            return event
        self.ledger.add("events_ignored_total", "encounter", "unknown_baseline")
        known = {name: value for name, value in event.baseline.items() if name in self.catalogue.signals}
        return structs.replace(event, baseline=known)

    def encounter(self, patient: Patient, event: Encounter) -> tuple[frozenset[str], str | None]:
        """Fold an encounter event; the second value says why the stay closed (None = it did not)."""
        stay = patient.stay
        event = self._known_baseline(event)
        if event.event == "admitted":
            closed_at = patient.closed.get(event.stay_id)
            if closed_at is not None and event.available_at <= closed_at:
                self.ledger.add("events_ignored_total", "encounter", "stay_closed")
                return NOTHING, None
            if stay is not None and stay.stay_id not in (None, event.stay_id) and event.at < stay.opened_at:
                # an older stay, told late: it must not end the one that is watched
                self.ledger.add("events_ignored_total", "encounter", "older_stay")
                _remember_closed(patient, event.stay_id, event.available_at)
                return NOTHING, None
            patient.closed.pop(event.stay_id, None)  # a discharge that was taken back, or a stay gone back to
            if stay is not None and stay.stay_id not in (None, event.stay_id):
                # admitted again without a discharge: the stay changes, an open alert goes on
                _remember_closed(patient, stay.stay_id, event.available_at)
                self.ledger.add("stays_closed_total", "superseded")
                stay = None
            patient.stay = _described(stay or self._opened(patient, event.stay_id, event.available_at), event)
            return frozenset({"stay"}), None
        if stay is None or stay.stay_id not in (None, event.stay_id):
            self.ledger.add("events_ignored_total", "encounter", "no_such_stay")
            if event.event == "discharged":
                patient.silent_stay = None
                _remember_closed(patient, event.stay_id, event.available_at)
            return NOTHING, None
        if event.event == "transferred":
            patient.stay = _described(stay, event)
            return frozenset({"stay"}), None
        patient.stay = _described(stay, event)
        close(patient, event.available_at)
        return frozenset({"stay"}), "discharged"

    def forgetting_due(self, patient: Patient) -> int:
        """When the readings of a patient without a stay are all old enough to be forgotten; NEVER = it has none."""
        newest = [series.at[-1] for series in patient.series.values() if len(series)]
        newest += [series.older[-1].start for series in patient.series.values() if series.older]
        return max(newest) + self.catalogue.keep + 2 * HOUR if newest else NEVER

    # --- time ----------------------------------------------------------------------------------------------------

    def hour_passed(self, patient: Patient) -> frozenset[str]:
        """Summarise and forget what is old enough; called whenever the patient's own hour is over.

        Counted from the beginning of the patient's hour, so that the moment of the call cannot matter.
        """
        hour = patient.next_hour - HOUR
        patient.unsaved.append(("c", hour))
        return self.summarise(patient, hour)

    def summarise(self, patient: Patient, hour: int) -> frozenset[str]:
        """What :meth:`hour_passed` does at the hour that begins at ``hour``."""
        changed = set()
        for name, series in patient.series.items():
            signal = self.catalogue.signals[name]
            if signal.is_vital:
                series.summarise(hour - self.catalogue.keep_vitals)
                changed.add(name)
            series.forget(hour - self.catalogue.keep)
        if patient.versions:
            oldest = {name: hour - kept_for(signal, self.catalogue) - signal.late_limit
                      for name, signal in self.catalogue.signals.items()}  # fmt: skip
            patient.versions = {k: v for k, v in patient.versions.items() if v.at >= oldest[v.signal]}
        return frozenset(changed)


def close(patient: Patient, at: int, *, silent: bool = False) -> None:
    """End the stay. The history stays: a pump registered later, or the next stay, is judged on it.

    A stay that ended by silence alone (a feed may have failed) goes on with its next observation.
    """
    if silent:
        patient.silent_stay = patient.stay
    elif patient.stay is not None:
        _remember_closed(patient, patient.stay.stay_id, at)
    patient.stay = None


def refresh_facts(patient: Patient) -> None:
    """What runs now, and when the next fact that lies in the future becomes true."""
    running: dict[str, ContextFact] = {}
    restarted: dict[str, int] = {}
    following = NEVER
    for fact in patient.context:
        if fact.at > patient.now:
            following = min(following, fact.at)
        elif fact.event == "started" and fact.kind in running:
            restarted[fact.kind] = fact.at
        elif fact.event == "started":
            running[fact.kind] = fact
        elif fact.event == "stopped" and restarted.get(fact.kind) != fact.at:
            running.pop(fact.kind, None)  # stopped and started at one instant is a change of rate: it runs on
    for known in patient.pump:
        if known.at > patient.now:
            following = min(following, known.at)
    patient.running, patient.next_fact = running, following


def _remember_closed(patient: Patient, stay_id: str | None, at: int) -> None:
    patient.closed[stay_id or ""] = max(at, patient.closed.get(stay_id or "", at))
    while len(patient.closed) > MOST_CLOSED:
        patient.closed.pop(min(patient.closed, key=lambda known: (patient.closed[known], known)))


def _touched(stay: Stay, at: int) -> Stay:
    if at <= stay.newest_at:
        return stay
    return structs.replace(stay, newest_at=at)


def _described(stay: Stay, event: Encounter) -> Stay:
    """A stay with what an encounter event says of it; what the event leaves out stays as it was."""
    return Stay(
        stay_id=event.stay_id,
        opened_at=stay.opened_at,
        newest_at=max(stay.newest_at, event.available_at),
        unit=event.unit or stay.unit,
        age_years=event.age_years if event.age_years is not None else stay.age_years,
        sex=event.sex or stay.sex,
        weight_kg=event.weight_kg if event.weight_kg is not None else stay.weight_kg,
        baseline={**stay.baseline, **event.baseline},
        conditions=tuple({known.code: known for known in (*stay.conditions, *event.conditions)}.values())[-MOST_FACTS:],
    )


def _order(fact: PumpFact | ContextFact) -> tuple[tuple[bool, float, str], ...]:
    """A total order of facts of one kind: time first, then content; None sorts before any value."""
    return tuple(
        (value is not None, value if isinstance(value, int | float) else 0, value if isinstance(value, str) else "")
        for value in fact
    )


def _bound(facts: list[F], newest: F, alike: Callable[[F], tuple[object, ...]]) -> None:
    """Keep the newest of facts that say the same, so that notes cannot push out a start, nor beeps an alarm."""
    same = [fact for fact in facts if alike(fact) == alike(newest)]
    if len(same) > MOST_FACTS:
        facts.remove(same[0])
