"""The run loop: the one place where records, the detector, the store and the sinks meet.

Each step does, in this order:

1. poll     records of every owned partition, each partition in its one order
2. decide   decode, put in the ticks, run the detector; all of it in memory
3. commit   one transaction: patients, alerts, outbox, dead letters, journal, and the input positions (compare-and-set)
4. publish  what the outbox holds, and mark it
5. hint     commit the offsets in Kafka, for tools that show lag; nothing reads them back

What a crash does in each gap:

- before 3: nothing has happened; the same records are read again and give the same alerts
- in 3: the database keeps all of the transaction or nothing of it
- between 3 and 4, or in 4: the records wait in the outbox and are sent after the restart, some perhaps a second time
- between 4 and 5: the broker's offsets are old; positions come from our store, so nothing is read twice

A worker that lost a partition fails in 3 (``Fenced``), drops its picture of that partition and publishes nothing of it.
After an error of the store what is in memory is ahead of what is kept. A database that does not answer is waited for
(``store.outage_ms``), and all partitions are loaded from it again; any other error ends the process.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from detector.engine import run
from detector.events import Acknowledgement, Event, TimeMoved
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import AlertRecord, Batch
from models.quarantine import GuardedModel
from pipelines.alarms import GAP, OUTBOX, STALLED, Alarms
from pipelines.canary.course import fly
from pipelines.canary.trips import Canaries
from pipelines.decided import Decided, to_store
from pipelines.drift import Reference
from pipelines.drift_watch import DriftWatch
from pipelines.errors import StoreError
from pipelines.exports import exporter
from pipelines.fencing import Spells
from pipelines.horizon import Horizon
from pipelines.intake import decoders, take_in
from pipelines.journal import journal
from pipelines.merges import run_with_merges
from pipelines.outbox import Publisher
from pipelines.own_alerts import OwnAlerts
from pipelines.owned import Found, Owned, find, meet
from pipelines.ports import Board, Metrics
from pipelines.publishing import Publishing
from pipelines.settings import Settings
from pipelines.shadow import Shadow
from pipelines.sources import Owner, RawRecord, Source
from pipelines.store import TICK, Fenced, Store, Work
from pipelines.store.audit import Detail
from pipelines.store_outage import Outages
from pipelines.telling import Telling
from pipelines.ticks import NO_TIME, Ticks, wall_ms

log = logging.getLogger(__name__)


class Service:
    """Runs until it is told to stop. ``connect`` makes the source that will call us back as its owner.

    ``restore_models`` takes back what was kept out; ``shadow`` is the plan that is tried beside, ``reference``
    what readings should look like, ``canaries`` who sends them.
    """

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        models: Mapping[str, GuardedModel],
        store: Store,
        publisher: Publisher,
        metrics: Metrics,
        board: Board,
        connect: Callable[[Owner], Source],
        *,
        restore_models: bool = False,
        shadow: Shadow | None = None,
        reference: Reference | None = None,
        canaries: Canaries | None = None,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._exports = {
            name: exporter(name, plan.catalogue, settings.hl7v2)
            for name, where in settings.exports.model_dump().items()
            if where is not None
        }
        self._models = models
        self._restore_models = restore_models
        self._shadow = shadow
        self._canaries = canaries
        self._drift = DriftWatch(reference, plan, settings.drift.patients) if reference is not None else None
        self._store = store
        self._publisher = publisher
        self._metrics = metrics
        self._board = board
        self._telling = Telling(settings, metrics, board)
        self._alarms = Alarms(plan, lambda alert_id: bool(store.alert(alert_id)))
        roles = {name: role for role, name in settings.kafka.topics.model_dump().items()}
        self._own = OwnAlerts(plan, self._alarms, metrics, roles, self._drift)
        self._decode = decoders(settings, plan.catalogue)
        self._ticks = Ticks(settings.time)
        self._horizon = Horizon(settings.time, plan.catalogue.future_limit)
        self._owned: dict[int, Owned] = {}
        self._stopping = False
        self._spells = Spells(settings.kafka.session_timeout_ms)
        self._outages = Outages(store, metrics, settings.store.outage_ms, lambda: self._stopping)
        self._source = connect(self)
        self._publishing = Publishing(
            store, publisher, metrics, settings.kafka.stall_ms / 1_000, answers=self._source.up
        )

    def run(self) -> None:
        """Work until ``stop``; then finish the batch, publish, and leave.

        Raises:
            StoreError: the database cannot be read or written.
            SourceError: the broker or the file cannot be read.
            StateError: what is stored does not fit this program.
            NoProgress: another worker keeps moving our partitions, or reading stands still whatever is tried.
        """
        try:
            while not self._stopping:
                self.step()
        finally:
            if self._canaries is not None:
                self._canaries.end()
            self._publisher.close()
            self._source.close()

    def stop(self) -> None:
        """End ``run`` after the present batch; safe in a signal handler and from any thread."""
        self._stopping = True

    def ready(self) -> list[str]:
        """What keeps the service from working; empty = it is ready."""
        reasons = {
            "stopping": self._stopping,
            "no partition is assigned": not self._owned,
            "the source does not answer": not self._source.up(),
            "the store cannot be written": not self._outages.up,
        }
        told = [reason for reason, holds in reasons.items() if holds]
        if self._publishing.parked:
            told.append(f"the broker refused {self._publishing.parked} records for good")
        told += [f"no record of {topic} leaves" for topic in sorted(self._publishing.stalled)]
        return told

    def step(self) -> int:
        """One round; returns the number of records it took, 0 in an outage of the store."""
        began_s = time.monotonic()
        try:
            raws = self._source.poll(self._settings.poll.max_records, self._settings.poll.timeout_ms)
            stored = self._work(raws)
            for topic in sorted(self._publishing.publish(self._owned)):
                self._alarms.note(min(self._owned), OUTBOX, topic)
        except StoreError as error:
            # Nobody knows what became of the transaction it was in: everything that is ours goes on from what is stored.
            ours = sorted(self._owned)
            self._outages.outlast(error, began_s, lambda: self._load(*ours))
            return 0
        if not self._outages.up:
            self._outages.over()
            self._count_parked()
        for one in stored:
            offsets = {topic: offset for topic, offset in one.work.moved.items() if topic != TICK}
            if offsets:
                self._source.done(one.work.partition, offsets)
        self._show(stored)
        return len(raws)

    # -- what the source tells us ----------------------------------------------------------------------------------

    def gained(self, partition: int) -> Mapping[str, int]:
        return self._take(partition, self._find(partition))

    def lost(self, partition: int) -> None:
        self._spells.lost(partition)
        self._drop(partition)

    def gap(self, topic: str, partition: int, wanted: int, earliest: int | None) -> None:
        log.error("offset_out_of_range topic=%s partition=%d wanted=%d earliest=%s", topic, partition, wanted, earliest)
        self._metrics.rejected(topic, "offset_out_of_range")
        lost = f"the records from offset {wanted} on"
        if earliest is not None and earliest > wanted:
            lost = f"offsets {wanted} to {earliest - 1}"
        self._alarms.note(partition, GAP, self._own.role(topic), lost)

    def stalled(self, topic: str, partition: int) -> None:
        log.error("consumer_stalled topic=%s partition=%d", topic, partition)
        self._alarms.note(partition, STALLED, self._own.role(topic))

    def recreated(self) -> None:
        log.error("consumer_recreated")
        self._metrics.consumer_recreated()

    # -- one partition -------------------------------------------------------------------------------------------------

    def _find(self, partition: int) -> Found:
        return find(self._store, self._plan, self._models, partition, restore=self._restore_models)

    def _take(self, partition: int, found: Found) -> Mapping[str, int]:
        """Have a partition in memory; returns the positions from which it is read on."""
        owned = self._owned[partition] = found.owned
        self._alarms.gained(partition, found.alarms)
        self._count_parked()
        self._ticks.resume(partition, owned.ticked)
        self._horizon.resume(owned.ticked)
        self._board.take(found.alerts)
        self._board.take(found.alarms)
        if self._drift is not None:
            self._drift.resume(found.drift)
        if self._shadow is not None:
            self._shadow.gained(partition, owned.positions, found.patients)
        log.info("partition_gained partition=%d patients=%d", partition, len(found.patients))
        return {topic: offset for topic, offset in owned.positions.items() if topic != TICK}

    def _drop(self, partition: int) -> None:
        """Have a partition in memory no more."""
        owned = self._owned.pop(partition)
        self._count_parked()
        self._board.forget(episode.alert_id for _, episode in owned.ward.open_alerts())
        self._board.forget(self._alarms.lost(partition))
        if self._shadow is not None:
            self._shadow.lost(partition)
        log.info("partition_lost partition=%d", partition)

    def _load(self, *partitions: int) -> None:
        """Have these in memory as they are stored, whatever was there; what cannot be read stays as it was."""
        for partition in partitions:
            found = self._find(partition)
            self._drop(partition)
            self._source.seek(partition, self._take(partition, found))

    def _meet(self, partition: int, patient_ids: set[str]) -> set[str]:
        return meet(self._store, self._plan, self._owned, partition, patient_ids)

    def _work(self, raws: Sequence[RawRecord]) -> list[Decided]:
        """Decide and commit; returns what was stored."""
        by_partition: defaultdict[int, list[RawRecord]] = defaultdict(list)
        for raw in raws:
            by_partition[raw.partition].append(raw)
        decided = [self._decide(partition, by_partition[partition]) for partition in sorted(self._owned)]
        works = [one for one in decided if one is not None]
        self._own.drift(self._owned, works)
        for one in works:
            ward, hand_over = self._owned[one.work.partition].ward, self._settings.source == "kafka"
            to_store(one, ward, self._exports, hand_over=hand_over)
        return self._commit(works)

    def _decide(self, partition: int, raws: Sequence[RawRecord]) -> Decided | None:
        """Fold the records and the ticks that are due. None = nothing came and nothing changed."""
        owned = self._owned[partition]
        moved = {raw.topic: raw.next_offset for raw in raws} | (dict(self._source.marks(partition)) if raws else {})
        work = Work(partition, read=dict(owned.positions), moved=moved)
        decided = Decided(work, Batch(), Ledger())
        ticked_before = self._ticks.ticked(partition)
        events: list[Event] = []
        patients = [raw for raw in raws if raw.trip is None]
        usable, decided.rejected, decided.remarks = take_in(
            patients, work, self._settings.limits, lambda patient_ids: self._meet(partition, patient_ids), self._decode,
            self._horizon,
        )  # fmt: skip
        stamps = [
            raw.timestamp for raw in patients if raw.timestamp is not None and not self._horizon.refuses(raw.timestamp)
        ]
        for raw, event in usable:
            at = event.at if isinstance(event, TimeMoved) else event.available_at
            stamps.append(at if raw.timestamp is None else raw.timestamp)
            events += self._ticks.before(partition, raw.timestamp, at)
            if not isinstance(event, TimeMoved):
                events.append(event)
                if isinstance(event, Acknowledgement):
                    work.audit.append(("acknowledgement", _answer(event)))
                decided.came[raw.position] = raw
        decided.newest = max(stamps, default=None)
        events += self._ticks.after(partition, caught_up=self._source.idle(partition))
        if events:
            decided.batch, folded = self._run(partition, events, decided.ledger)
            work.journal += journal(folded, ticked_before)
            self._own.models(self._owned[partition], decided)
        self._own.noted(
            decided, raws, self._ticks.ticked(partition), clock_is_off=self._horizon.clock_is_off,
            stuck=self._publishing.stalled,
        )  # fmt: skip
        decided.canary = self._fly(partition, raws)
        if self._shadow is not None:
            decided.shadow = self._shadow.follow(partition, events, work)
        if not raws and not (decided.batch.touched or decided.batch.records or decided.shadow.touched):
            return None
        work.moved = {**work.moved, TICK: self._ticks.ticked(partition)}
        return decided

    def _run(self, partition: int, events: list[Event], ledger: Ledger) -> tuple[Batch, list[Event]]:
        ward, scorer = self._owned[partition].ward, self._owned[partition].quarantine
        if self._settings.source == "kafka":  # who survives a merge is told through the topic of merges
            return run(self._plan, ward, events, scorer, ledger), events
        return run_with_merges(
            self._plan, ward, events, scorer, ledger, lambda patient_ids: self._meet(partition, patient_ids)
        )

    def _fly(self, partition: int, raws: Sequence[RawRecord]) -> list[AlertRecord]:
        """What is said of a canary that has arrived, at the partition's time."""
        whole = self._owned[partition].flock.take(raws)
        ticked = self._ticks.ticked(partition)
        return fly(self._plan, whole, wall_ms() if ticked == NO_TIME else ticked) if whole else []

    # -- after deciding ------------------------------------------------------------------------------------------------

    def _commit(self, decided: list[Decided]) -> list[Decided]:
        """Store what was decided; a partition that another worker has moved on is dropped and loaded anew."""
        while decided:
            started = time.monotonic()
            try:
                self._store.commit([one.work for one in decided])
            except Fenced as fenced:
                decided = [one for one in decided if one.work.partition != fenced.partition]
                self._load_anew(fenced.partition)
                continue
            self._metrics.commit_seconds(time.monotonic() - started)
            break
        for one in decided:
            owned = self._owned[one.work.partition]
            owned.positions.update(one.work.moved)
            for patient_id in one.batch.touched:
                owned.ward.let_rest(patient_id)
            owned.size.stored(one.work.patients, owned.ward.patients)
            if self._shadow is not None:
                self._shadow.stored(one.work.partition, one.shadow)
            self._alarms.stored(one.work.partition)
            self._telling.counted(one)
        return decided

    def _load_anew(self, partition: int) -> None:
        for_s = self._spells.refused(partition)
        log.warning("partition_fenced partition=%d for_s=%.1f", partition, for_s)
        self._load(partition)

    def _count_parked(self) -> None:
        if self._outages.up:  # whoever leaves in an outage is not to wait for each partition
            self._publishing.count_parked(self._owned)

    def _show(self, stored: Sequence[Decided]) -> None:
        """Set the gauges that say how things stand."""
        if self._canaries is not None:
            self._canaries.own(self._owned)
        self._telling.newest(stored)
        if not self._telling.due():
            return
        self._metrics.store_up(True)
        if self._settings.source == "kafka":
            self._metrics.kafka_up(self._source.up())
        self._metrics.lag(self._source.lag())
        if self._canaries is not None and (oldest := self._canaries.oldest_ms()) is not None:
            self._metrics.canary(oldest / 1_000)
        self._metrics.shadow_up(self._shadow is not None and self._shadow.up)
        self._metrics.state_bytes(sum(owned.size.bytes for owned in self._owned.values()))
        self._metrics.refresh((one.ward for one in self._owned.values()), self._alarms.standing().values())
        self._board.hear(stay for one in self._owned.values() for stay in one.ward.stays())


def _answer(event: Acknowledgement) -> Detail:
    """What the audit chain keeps of an answer, whether or not there was such an alert."""
    return {"alert_id": event.alert_id, "action": event.action, "reason": event.reason, "by": event.by, "at": event.at}
