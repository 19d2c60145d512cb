"""Pass 1: the picture of each patient, and a Step wherever something to decide on changed."""

from __future__ import annotations

from detector.clock import DAY, HOUR, NEVER, minute_ceil
from detector.episode import Episode
from detector.errors import InputError
from detector.events import Acknowledgement, Context, Encounter, Merged, Observation, PatientEvent, Pump
from detector.facts import refresh_facts
from detector.features import feature_row, vitals_between
from detector.fold import Fold
from detector.forgetting import forgetting_due, hour_passed
from detector.ledger import Ledger
from detector.merging import MERGED, Absorbed, Leaving, absorb, leaving
from detector.patient import Patient, Stay
from detector.plan import CLOSE_AFTER, QUALITY_FOR, SCORE_EVERY, Plan
from detector.records import Rejected
from detector.rules.asking import Moved, ask, remember
from detector.rules.happenings import pump_status
from detector.rules.truth import TRUE
from detector.rules.view import View
from detector.scoring import FeatureRow
from detector.stays import begin_anew, close
from detector.steps import Step, Suspect


class Picture:
    """Folds the events of one batch; ``steps`` is what pass 2 has to decide on."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan = plan
        self.ledger = ledger
        self.folding = Fold(plan, ledger)
        self.steps: list[Step] = []

    @property
    def rejected(self) -> list[Rejected]:
        return self.folding.rejected

    def advance(self, patient: Patient, upto: int) -> None:
        """Let time pass for a patient: visit each whole minute up to ``upto`` at which an answer could change."""
        if patient.now <= upto and (patient.score_due <= patient.now or _is_silent(patient)):
            self._look(patient, set(), None)  # every record of that minute is folded now
        while patient.due <= upto:
            at = minute_ceil(max(patient.due, patient.now + 1))
            if at > upto:
                return
            self._look(patient, set(), None, passed=self._begin(patient, at))

    def _begin(self, patient: Patient, at: int) -> frozenset[str]:
        """Time reaches an instant. What that means for readings and for the learner happens before anything of the
        instant is folded, so that the order within it cannot matter; the answer is the signals whose history became
        shorter.
        """
        patient.begin(at)
        self._learn(patient)
        return hour_passed(self.plan.catalogue, patient) if patient.now >= patient.next_hour else frozenset()

    def fold(self, patient: Patient, event: PatientEvent, at: int) -> None:
        """Fold one event at the patient's now (time never goes back)."""
        passed = self._begin(patient, at)
        changed: set[str] = set()
        closes: str | None = None
        answers: tuple[Acknowledgement, ...] = ()
        merged = Absorbed()
        match event:
            case Observation():
                changed |= self.folding.observation(patient, event)
            case Pump():
                changed |= self.folding.pump(patient, event)
            case Context():
                changed |= self.folding.context(patient, event)
            case Encounter() if event.event == "merged":
                self._merged_away(patient, event)
                return
            case Encounter():
                more, closes = self.folding.encounter(patient, event)
                changed |= more
                if "stay" in more and patient.stay is not None:
                    patient.merged_into = None  # the id is in use again
            case Acknowledgement():
                answers = (event,)
            case Merged():
                try:
                    merged = absorb(self.folding, patient, event)
                    changed |= merged.changed
                    answers = merged.answers
                except InputError as error:
                    self.ledger.add("events_ignored_total", "merge", error.reason)
                    self.rejected.append(Rejected(error.reason, None, event.position, quarantined=True))
        if patient.merged_into is not None:
            if changed or answers or patient.unsaved:  # a repair of what is not here is news to the surviving id
                self._hand_on(patient, event, merged, answers)
            return
        if closes is not None:
            self._closed(patient, closes, event)
            return
        self._look(patient, changed, event, answers, merged.episodes, passed)

    def _look(
        self, patient: Patient, changed: set[str], event: PatientEvent | None,
        answers: tuple[Acknowledgement, ...] = (), moved_in: dict[str, Episode] | None = None,
        passed: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        """Ask what may have changed since the last look, and keep a step when an answer did."""
        came = bool(changed)
        changed |= passed
        if patient.next_fact <= patient.now:
            refresh_facts(patient)
            changed |= {"pump", "context"}
        stay = patient.stay
        if stay is None:
            patient.due = forgetting_due(self.plan.catalogue, patient)
            if answers:  # a stay may yet open in this instant; without one they are counted
                self.steps.append(
                    Step(patient_id=patient.patient_id, at=patient.now, found={}, stay=None, pump=patient.looked[0],
                         acknowledgements=answers, position=event.position if event is not None else None)
                )  # fmt: skip
            return
        if event is None and _is_silent(patient):  # a tick's to say: a record of the same minute must not come too late
            self._closed(patient, "silent_for_48h", event)
            return
        view = View(self.plan.catalogue, self.plan.book.masks, self.plan.book.tables, patient, patient.now)
        moved = ask(self.plan.book, view, changed, self.ledger)
        row = self._row(patient, view, came=came, ticked=event is None)
        looked = self._looked(patient, view, stay)
        decides = moved == Moved.ANSWERS or answers or changed & {"stay", "corrected"} or looked != patient.looked
        if decides or moved or row is not None:
            patient.looked = looked
            step = self._step(patient, view, changed, event, answers)
            step.row = row
            step.moved_in = moved_in or {}
            step.decides = bool(decides)
            self.steps.append(step)

    def _learn(self, patient: Patient) -> None:
        """Tell the learner of each hour that is over, one hour later: by then most of it is filed."""
        learner = self.plan.learner
        if learner is None or patient.now < patient.learn_due:
            return
        while patient.learn_due <= patient.now:
            start = patient.learn_due - 2 * HOUR
            readings = vitals_between(learner, patient, start - 1, start + HOUR - 1)
            if readings:
                hours = (start - patient.learned_at) / HOUR if patient.learned else 1.0
                patient.learned = learner.learn(patient.learned, hours, readings)
                patient.learned_at = start
            patient.learn_due += HOUR
            if not readings and patient.now - patient.learn_due > 30 * DAY:  # nobody was here for long
                patient.learn_due += (patient.now - patient.learn_due) // HOUR * HOUR

    def _row(self, patient: Patient, view: View, *, came: bool, ticked: bool) -> FeatureRow | None:
        """The row of a gated patient, at the end of each of its hours in which something came.

        It is a tick's to take it: a record of the same minute must not miss it.
        """
        gated = bool(self.plan.features) and patient.found[self.plan.book.gate].truth == TRUE
        row = None
        if ticked and patient.score_due <= patient.now:
            patient.score_due = NEVER
            row = feature_row(self.plan, view) if gated else None
        if not gated:
            patient.score_due = patient.score_due if patient.score_due <= patient.now else NEVER
            return None
        if came and patient.score_due == NEVER:
            slots = (patient.now - patient.anchor) // SCORE_EVERY + 1
            patient.score_due = patient.anchor + slots * SCORE_EVERY
        return row

    def wake(self, patient: Patient) -> None:
        """Ask everything of a patient that was just loaded, at its own now; nothing is decided by it."""
        refresh_facts(patient)
        if patient.stay is None:
            patient.due = forgetting_due(self.plan.catalogue, patient)
            return
        view = View(self.plan.catalogue, self.plan.book.masks, self.plan.book.tables, patient, patient.now)
        memory = patient.memory
        ask(self.plan.book, view, set(), self.ledger)
        patient.memory = memory
        patient.looked = self._looked(patient, view, patient.stay)
        patient.shown = self._step(patient, view, set(), None, ())
        patient.shown.points = patient.points

    def _looked(self, patient: Patient, view: View, stay: Stay) -> tuple[str, tuple[Suspect, ...], bool]:
        """What is decided on beside the answers; the patient's next due time takes in all there is to wait for."""
        suspects, quality_due = self._suspects(patient)
        patient.due = min(patient.due, patient.next_fact, stay.newest_at + CLOSE_AFTER, quality_due, patient.score_due)
        return pump_status(view), suspects, self.folding.clock_is_off(patient.ahead_base)

    def _step(
        self, patient: Patient, view: View, changed: set[str], event: PatientEvent | None,
        answers: tuple[Acknowledgement, ...],
    ) -> Step:  # fmt: skip
        pump, suspects, clock_off = patient.looked
        scores = self.plan.book.scores if patient.true_rules else ()
        return Step(
            patient_id=patient.patient_id, at=patient.now, found=dict(patient.found), stay=patient.stay, pump=pump,
            suspects=suspects, clock_off=clock_off, points=tuple((name, term.total(view)[0]) for name, term in scores),
            corrected=frozenset(changed - {"corrected"}) if "corrected" in changed else frozenset(),
            acknowledgements=answers, position=event.position if event is not None else None,
        )  # fmt: skip

    def _suspects(self, patient: Patient) -> tuple[tuple[Suspect, ...], int]:
        """Values that look like another unit and came in the last day, and when the first of them is forgotten."""
        due = NEVER
        suspects = []
        for name, (effective_at, value, available_at) in sorted(patient.suspects.items()):
            if available_at + QUALITY_FOR <= patient.now:
                continue
            due = min(due, available_at + QUALITY_FOR)
            signal = self.plan.catalogue.signals[name]
            looks = next((s.looks_like for s in signal.suspect if s.low <= value <= s.high), "another unit")
            suspects.append(Suspect(name, value, signal.unit, effective_at, available_at, looks))
        return tuple(suspects), due

    def _closed(self, patient: Patient, why: str, event: PatientEvent | None) -> None:
        """The stay ended: its alerts end with it. Nothing is asked until the next one opens."""
        self.ledger.add("stays_closed_total", why)
        if patient.next_fact <= patient.now:
            refresh_facts(patient)
        if why == "silent_for_48h":
            close(patient, patient.now, silent=True)
            begin_anew(patient)
        self.steps.append(
            Step(
                patient_id=patient.patient_id, at=patient.now, found={}, stay=None, pump=patient.looked[0], closed=why,
                position=event.position if event is not None else None,
            )
        )  # fmt: skip
        patient.forget_answers()
        patient.due = forgetting_due(self.plan.catalogue, patient)
        remember(self.plan.book, patient, patient.now)

    def _merged_away(self, patient: Patient, event: Encounter) -> None:
        """The patient is somebody else from here on: everything known goes to the surviving id (pass 2 adds alerts)."""
        assert event.into is not None
        if event.into in (patient.patient_id, patient.merged_into):
            why = "into_itself" if event.into == patient.patient_id else "duplicate"
            self.ledger.add("events_ignored_total", "merge", why)
            return
        self.ledger.add("stays_closed_total", MERGED)
        patient.merged_into, patient.merged_at = event.into, event.available_at
        had = patient.stay
        left = leaving(patient, event.available_at)
        patient.stay = had
        close(patient, event.available_at)
        begin_anew(patient)
        self._left(patient, event, left)

    def _hand_on(
        self, patient: Patient, event: PatientEvent, merged: Absorbed, answers: tuple[Acknowledgement, ...]
    ) -> None:
        """Something came for an id that is somebody else: it goes to the surviving id at once."""
        left = leaving(patient, patient.now, merged.via, answers)
        self._left(patient, event, left, merged.episodes)

    def _left(
        self, patient: Patient, event: PatientEvent, left: Leaving, moved_in: dict[str, Episode] | None = None
    ) -> None:
        self.steps.append(
            Step(patient_id=patient.patient_id, at=patient.now, found={}, stay=None, pump=patient.looked[0], closed=MERGED,
                 position=event.position, leaving=left, moved_in=moved_in or {})
        )  # fmt: skip
        patient.forget_answers()
        patient.due = forgetting_due(self.plan.catalogue, patient)
        remember(self.plan.book, patient, patient.now)


def _is_silent(patient: Patient) -> bool:
    return patient.stay is not None and patient.now >= patient.stay.newest_at + CLOSE_AFTER
