"""Technical alerts of the service itself, let out with the work of a partition number: models that are kept out, readings
unlike the reference, and what was noted between two commits (``alarms``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from detector.plan import Plan
from detector.records import AlertRecord
from models.quarantine import QUARANTINED, GuardedLearner
from pipelines.alarms import CLOCK, CUT_IN_TWO, OUTBOX, STALLED, Alarms
from pipelines.decided import Decided
from pipelines.drift_watch import DriftWatch
from pipelines.owned import Owned
from pipelines.ports import Metrics
from pipelines.sources import RawRecord
from pipelines.store import OUTGOING
from pipelines.technical import Subject, opened, resolved
from pipelines.ticks import NO_TIME

PERSONAL = "personal"
HOST = "host"
MODEL_CHECKS = ("look at the log for models_quarantined", "train again, or start with --restore-models")


class OwnAlerts:
    """``roles`` are those of the input topics by name; ``drift`` None = there is no reference."""

    def __init__(
        self, plan: Plan, alarms: Alarms, metrics: Metrics, roles: Mapping[str, str], drift: DriftWatch | None
    ) -> None:
        self._plan, self._alarms, self._metrics, self._roles, self._drift = plan, alarms, metrics, roles, drift

    def role(self, topic: str) -> str:
        """What a topic is to us."""
        return self._roles.get(topic, "file")

    def models(self, owned: Owned, decided: Decided) -> None:
        """Store which models went out or came back, with an alert: one a model, whoever else it is out for."""
        partition = decided.work.partition
        learner = self._plan.learner
        if isinstance(learner, GuardedLearner) and learner.why is not None:
            owned.quarantine.learner_failed(PERSONAL, learner.why, owned.ward.ticked_at)
        for event in owned.quarantine.take():
            decided.work.model_events.append(event)
            about = ("model", event.model)
            if event.event == QUARANTINED:
                self._metrics.model_quarantined(event.model, quarantined=True)
                if about not in self._alarms.standing():
                    self._let_out(decided, opened(
                        self._plan, partition, about, event.after + 1, because=event.reason,
                        headline=f"model {event.model} is kept out, the rules go on", checks=MODEL_CHECKS,
                    ))  # fmt: skip
            elif (begun := self._alarms.of(partition).get(about)) is not None:
                self._let_out(decided, resolved(begun, event.after + 1, event.reason))

    def drift(self, ours: Mapping[int, Owned], decided: Sequence[Decided]) -> None:
        """Once an hour of the first partition's time; what comes of it is stored with that partition."""
        if self._drift is None or not decided:
            return
        first = decided[0]
        partition = first.work.partition
        wards = [one.ward for one in ours.values()]
        seen = self._drift.look(wards, ours[partition].ward.ticked_at, partition, self._alarms.standing())
        if seen is None:
            return
        self._metrics.input_drift(seen.indices, seen.limits)
        first.work.drift = seen.high
        for alert in seen.alerts:
            self._let_out(first, alert)

    def noted(
        self, decided: Decided, raws: Sequence[RawRecord], ticked: int, *, clock_is_off: bool, stuck: Collection[str]
    ) -> None:
        """Let out what was noted since the last commit, and what is over, at the time ``ticked``. ``stuck`` are the topics
        (roles) of which nothing leaves.
        """
        partition = decided.work.partition
        for topic, reason in decided.rejected:
            if reason == CUT_IN_TWO:
                self._alarms.note(partition, CUT_IN_TWO, self.role(topic))
        over = set[Subject]()
        if raws and clock_is_off:
            if (CLOCK, HOST) not in self._alarms.standing():  # there is one clock, whoever notices
                self._alarms.note(partition, CLOCK, HOST)
        elif raws and self._alarms.of(partition):
            over = {(CLOCK, HOST), *((STALLED, self.role(raw.topic)) for raw in raws)}
        if self._alarms.of(partition):
            over |= {(OUTBOX, topic) for topic in OUTGOING if topic not in stuck}
        for record in self._alarms.due(partition, None if ticked == NO_TIME else ticked, over):
            self._let_out(decided, record)

    def _let_out(self, decided: Decided, record: AlertRecord) -> None:
        decided.batch.records.append(record)
        self._alarms.let_out(decided.work.partition, record)
