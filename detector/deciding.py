"""Pass 2: the decisions on one patient, from the answers that pass 1 kept.

Within one instant the decision is taken again from the state before the instant each time another of its records
arrives, and what is published is the difference to what was published already. So the order of an instant's records
can change the steps within it, never where it ends.
"""

from __future__ import annotations

import msgspec

from detector.alerts import Known, answer, next_due, published_steps, run_clocks, settle
from detector.clock import NEVER, last_tick_before, minute_ceil, rfc3339
from detector.episode import Episode
from detector.events import Acknowledgement
from detector.fuse import HYPERPYREXIA, OPENS_AT, QUALITY, QUERY, TECHNICAL, WITHDRAWAL, fuse
from detector.ledger import Ledger
from detector.merging import MERGED, handover
from detector.patient import Patient
from detector.plan import Plan
from detector.records import AlertRecord, LabelGiven, MergeOut, Severity
from detector.rules.scored import ask_late, of_stay, stands_until
from detector.rules.truth import TRUE, WORDS
from detector.scoring import Scores
from detector.steps import Step
from detector.verdict import Verdict, Verdicts
from detector.writing import citing, evidence_keys, onset, write


class Deciding:
    """Decides for one batch; records leave in the order in which they were decided."""

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan = plan
        self.ledger = ledger
        self.records: list[AlertRecord] = []
        self.labels: list[LabelGiven] = []
        self.merges: list[MergeOut] = []

    def step(self, patient: Patient, step: Step, scores: Scores | None = None) -> None:
        """Decide at a step of pass 1; timers that were due before it come first. ``scores`` None = it has no row."""
        self.timers(patient, last_tick_before(step.at))
        if step.stay is None:
            patient.late_truths = ()
        elif scores is not None:
            self._scored(patient, step.at, scores)
        self._show(patient, step)
        turned = self._ask_late(patient, step.at)
        if not step.decides and not turned and step.at > patient.decided_at:
            patient.timer = self._next_timer(patient, patient.decided_at)
            return
        self._begin(patient, step.at)
        if step.corrected:
            patient.corrected |= step.corrected
        patient.ended = step.closed or patient.ended
        if step.stay is not None and patient.ended is not None:
            # open again in this very instant: after a discharge as if superseded, whatever came first; what silence
            # ended has ended, and what was merged away has gone
            if patient.ended != "discharged":
                patient.base, patient.base_true, patient.episodes = {}, (), {}
            patient.ended = None
        if step.moved_in:
            self._move_in(patient, step)
        for given in step.acknowledgements:
            patient.acks = (*patient.acks, given)
            if all(e.alert_id != given.alert_id or e.resolved for e in patient.episodes.values()):
                self.ledger.add("events_ignored_total", "acknowledgement", "no_such_alert")
        if step.leaving is not None:
            self.merges.append(handover(patient, step.leaving))
        self._decide(patient, self.verdicts(patient, step), step.at)

    def _move_in(self, patient: Patient, step: Step) -> None:
        """Episodes of a merged patient id move here with their ids; of two of one syndrome the older lives."""
        for key, theirs in step.moved_in.items():
            mine = patient.episodes.get(key)
            if mine is not None and mine.alert_id == theirs.alert_id:
                continue
            if mine is None or mine.resolved or theirs.opened_at < mine.opened_at:
                younger, older = mine, theirs
            else:
                younger, older = theirs, mine
            if younger is not None and not younger.resolved:
                ended = msgspec.structs.replace(younger, state="resolved", resolved=True, reason=MERGED)
                self.records.append(
                    write(self.plan, step, None, ended, younger, "resolved", step.at, younger.sequence + 1)
                )
            patient.base = {**patient.base, key: older}
            patient.episodes = {**patient.episodes, key: older}

    def timers(self, patient: Patient, upto: int) -> None:
        """Let time alone move the alerts of a patient, minute by minute where something is due."""
        while patient.timer <= upto:
            at = patient.timer
            if self._ask_late(patient, at):
                assert patient.shown is not None
                self._begin(patient, at)
                self._decide(patient, self.verdicts(patient, patient.shown), at)
                continue
            self._begin(patient, at)
            self._decide(patient, patient.verdicts, at)

    @staticmethod
    def _show(patient: Patient, step: Step) -> None:
        patient.shown, patient.points = step, step.points
        if step.stay is not None:
            step.scores = of_stay(patient.scores, step.stay.opened_at)

    def wake(self, patient: Patient) -> None:
        """Work out the standing verdicts and the next timer of a patient that was just loaded."""
        step = patient.shown
        assert step is not None
        self._show(patient, step)
        self._ask_late(patient, patient.decided_at)  # a score that fades at this very minute waits for its tick
        patient.verdicts = self.verdicts(patient, step)
        patient.timer = self._next_timer(patient, patient.decided_at)

    def _scored(self, patient: Patient, at: int, scores: Scores) -> None:
        for name, score in scores.items():
            patient.scores[name] = (at, score)
            if score.value is None:
                self.ledger.add("scores_indeterminate_total", name, score.reason or "not_said")
            else:
                self.ledger.scores.append((name, score.value))

    def _ask_late(self, patient: Patient, at: int) -> bool:
        """Answer what reads a score, beside the answers of pass 1; whether a truth changed."""
        step = patient.shown
        if not self.plan.book.late or step is None or not step.found:
            return False
        truths = ask_late(self.plan.book.late, step.found, step.scores, at)
        turned, patient.late_truths = truths != patient.late_truths, truths
        if turned:
            for asked, truth in zip(self.plan.book.late, truths, strict=True):
                if asked.rule:
                    self.ledger.add("rule_evaluations_total", asked.id, WORDS[truth])
        return turned

    def _scores_fade(self, patient: Patient, after: int) -> int:
        """The first whole minute after ``after`` at which a score is not known any more."""
        step = patient.shown
        due = stands_until(step.scores, after) if self.plan.book.late and step is not None else NEVER
        return minute_ceil(due) if due < NEVER else NEVER

    @staticmethod
    def _begin(patient: Patient, at: int) -> None:
        if at <= patient.decided_at:
            return
        elapsed, verdicts = at - patient.decided_at, patient.verdicts.by_key
        patient.base = {
            key: run_clocks(episode, verdicts.get(key), elapsed)
            for key, episode in patient.episodes.items()
            if not episode.resolved
        }
        patient.base_true = tuple(sorted(key for key, verdict in verdicts.items() if verdict.true))
        patient.episodes = patient.base
        patient.decided_at = at
        patient.acks, patient.corrected, patient.ended = (), frozenset(), None

    def verdicts(self, patient: Patient, step: Step) -> Verdicts:
        open_before = WITHDRAWAL in patient.base
        verdicts = fuse(self.plan.book, step.found, withdrawal_open=open_before)
        extra: dict[str, Verdict] = {}
        for suspect in step.suspects:
            extra[f"{QUALITY}:{suspect.signal}"] = _info(QUALITY, Severity.INFO)
        if step.clock_off:
            extra[f"{TECHNICAL}:clock"] = _info(TECHNICAL, Severity.WATCH)
        for reason, severity in verdicts.withheld.items():
            if severity > patient.verdicts.withheld.get(reason, Severity.NONE):
                self.ledger.add("alerts_suppressed_total", reason)
        return Verdicts({**verdicts.by_key, **extra}, verdicts.withheld, verdicts.gate) if extra else verdicts

    def _decide(self, patient: Patient, verdicts: Verdicts, at: int) -> None:
        step = patient.shown
        assert step is not None
        if patient.ended == MERGED:  # its episodes live on under the surviving id; nothing ended for the reader
            patient.base = patient.episodes = {}
            patient.timer = NEVER
            return
        if patient.prompted is not None and patient.prompted[1] == at:
            patient.prompted = None  # asked in this very instant, which is decided again
        targets: dict[str, Episode] = {}
        for key in sorted({*patient.base, *verdicts.by_key}):
            verdict = verdicts.by_key.get(key)
            cites = citing(step, verdict, key)
            keys = evidence_keys(self.plan, cites)
            episode = patient.base.get(key)
            if episode is not None:
                superseded = key in (WITHDRAWAL, HYPERPYREXIA) and key not in verdicts.by_key and _gate_moved(
                    key, verdicts)  # fmt: skip
                known = Known(at, verdict, keys, onset(cites, at), patient.corrected, key in patient.base_true,
                              patient.ended, superseded)  # fmt: skip
                episode = settle(episode, known)
            elif verdict is not None:
                episode = self._open(patient, step, key, verdict, keys, onset(cites, at), at)
            if episode is not None:
                targets[key] = self._answered(patient, episode, at)
        self._publish(patient, targets, verdicts, at)
        patient.verdicts = verdicts
        patient.timer = self._next_timer(patient, at)

    def _next_timer(self, patient: Patient, at: int) -> int:
        living = (episode for episode in patient.episodes.values() if not episode.resolved)
        due = min((next_due(e, patient.verdicts.by_key.get(e.key), at) for e in living), default=NEVER)
        due = min(due, self._scores_fade(patient, at))
        return max(minute_ceil(due), minute_ceil(at + 1)) if due < NEVER else NEVER

    def _open(
        self, patient: Patient, step: Step, key: str, verdict: Verdict, keys: dict[str, tuple[str, ...]],
        since: int | None, at: int,
    ) -> Episode | None:  # fmt: skip
        stay = step.stay
        if stay is None or verdict.severity < OPENS_AT.get(verdict.syndrome, Severity.INFO):
            return None
        if key == QUERY:  # asked once a stay
            asked = (str(stay.opened_at), at)
            if patient.prompted is not None and patient.prompted[0] == asked[0] and patient.prompted[1] < at:
                return None
            patient.prompted = asked
        return Episode(
            key=key, syndrome=verdict.syndrome, alert_id=self.plan.alert_id(patient.patient_id, key, at), sequence=0,
            severity=verdict.severity, state="open", opened_at=at, stay_id=stay.stay_id, unit=stay.unit,
            onset_at=since, cited=keys,
            critical_rules=tuple(sorted(r for r, s in verdict.true.items() if s == Severity.CRITICAL)),
        )  # fmt: skip

    def _answered(self, patient: Patient, episode: Episode, at: int) -> Episode:
        for event in sorted(patient.acks, key=_order):
            if event.alert_id == episode.alert_id:
                episode = answer(episode, event, at)
        return episode

    def _publish(self, patient: Patient, targets: dict[str, Episode], verdicts: Verdicts, at: int) -> None:
        step = patient.shown
        assert step is not None
        published: dict[str, Episode] = {}
        for key in sorted({*targets, *patient.episodes}):
            before, after = patient.episodes.get(key), targets.get(key)
            states = published_steps(before, after)
            told = after if after is not None else before
            assert told is not None
            if after is None and states:
                told = _ended(told)
            same = before is not None and before.alert_id == told.alert_id
            sequence = before.sequence if same and before is not None else 0
            for state in states:
                sequence += 1
                self.records.append(write(self.plan, step, verdicts.by_key.get(key), told, before, state, at, sequence))
                before = told  # a second record of one decision follows the first
            self._label(patient, told, patient.episodes.get(key))
            published[key] = _sequenced(told, sequence)
        patient.episodes = published

    def _label(self, patient: Patient, episode: Episode, before: Episode | None) -> None:
        known = before.answers if before is not None and before.alert_id == episode.alert_id else ()
        fresh = set(episode.answers) - set(known)
        for ack in patient.acks:
            given = (ack.at, ack.action, ack.by)
            if ack.alert_id == episode.alert_id and given in fresh and ack.action in ("confirm", "dismiss"):
                self.labels.append(LabelGiven(ack.alert_id, ack.action, ack.reason, ack.by, rfc3339(ack.at)))


def _order(ack: Acknowledgement) -> tuple[object, ...]:
    until = ack.until if ack.until is not None else NEVER
    return ack.available_at, ack.at, ack.action, ack.by, until, ack.reason


def _gate_moved(key: str, verdicts: Verdicts) -> bool:
    """The gate decides which of the two syndromes may speak; the other one's alert ends when it moves."""
    return (verdicts.gate == TRUE) == (key == HYPERPYREXIA)


def _info(syndrome: str, severity: Severity) -> Verdict:
    stands = {syndrome: severity}
    return Verdict(syndrome, severity, severity, stands, stands, (syndrome,))


def _ended(episode: Episode) -> Episode:
    return msgspec.structs.replace(episode, state="resolved", resolved=True, reason="no_longer_true")


def _sequenced(episode: Episode, sequence: int) -> Episode:
    return episode if episode.sequence == sequence else msgspec.structs.replace(episode, sequence=sequence)
