"""Shadow mode: a second plan on the same live stream, to see what it would have done before it does it.

The challenger has patients, state and alerts of its own, stored in tables of its own in the same transaction as the
champion's, and it publishes nothing. It begins as a copy of the champion's patients, so that from there on every
difference is one of the plans. It begins anew when either plan changes, or when the service ran without it meanwhile.

Whatever goes wrong in it ends the shadow, never the service: it may cost CPU, and nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detector import snapshot
from detector.engine import Ward, run
from detector.events import Event
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import Batch
from models.quarantine import GuardedModel, Model, Scheduled
from pipelines.merges import run_with_merges
from pipelines.store import TICK, ShadowRun, ShadowWork, Store, StoredPatient, Work
from pipelines.ticks import NO_TIME

log = logging.getLogger(__name__)


@dataclass
class Challenger:
    """The challenger's side of one partition number. ``fresh`` = its first commit copies the champion's patients."""

    ward: Ward
    of: ShadowRun
    fresh: bool


class Shadow:
    """Runs the challenger beside the champion. ``up`` is False once it failed or took longer than ``most_s`` a batch."""

    def __init__(
        self, plan: Plan, models: Mapping[str, Model], store: Store, champion: Plan, *, most_s: float, kafka: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        self._plan, self._champion, self._store = plan, champion, store
        self._most_s, self._kafka, self._clock = most_s, kafka, clock
        self._failed: str | None = None
        self._scorer = Scheduled({name: GuardedModel(model, told=self._model_failed) for name, model in models.items()})
        self._owned: dict[int, Challenger] = {}

    @property
    def up(self) -> bool:
        return self._failed is None

    def gained(self, partition: int, positions: Mapping[str, int], champions: Sequence[StoredPatient]) -> None:
        """A partition number is ours: go on where the shadow stood, or begin with the champion's patients."""
        if not self.up:
            return
        try:
            of = ShadowRun.made(positions.get(TICK, NO_TIME), self._champion.digest, self._plan.digest)
            before = self._store.shadow_run(partition)
            stands = before is not None and before.stands_at(positions, of)
            ward = Ward(self._plan, positions.get(TICK))
            for one in self._store.shadow_patients(partition) if stands else champions:
                ward.adopt(snapshot.load(self._plan, one.head, one.segments))
                ward.let_rest(one.patient_id)
            self._owned[partition] = Challenger(ward, before if before is not None and stands else of, not stands)
        except Exception as error:  # noqa: BLE001 - whatever a challenger does, the champion goes on
            self._end(type(error).__name__)

    def lost(self, partition: int) -> None:
        self._owned.pop(partition, None)

    def follow(self, partition: int, events: Sequence[Event], work: Work) -> Batch:
        """Fold what the champion folded; what is to be stored goes into ``work``. Returns what it would have let out."""
        mine = self._owned.get(partition)
        if mine is None:
            return Batch()
        started = self._clock()
        try:
            batch = self._run(partition, mine, events)
            resting = {patient_id for patient_id in batch.touched if mine.ward.patients[patient_id].rests}
            changed = [
                (patient_id, snapshot.changes(mine.ward.patients[patient_id])) for patient_id in sorted(batch.touched)
            ]
        except Exception as error:  # noqa: BLE001 - as above
            self._end(type(error).__name__)
            return Batch()
        if self._clock() - started > self._most_s:
            self._end("too_slow")
        if partition not in self._owned:  # it ended meanwhile
            return Batch()
        work.shadow = ShadowWork(mine.of, mine.fresh, changed, resting, batch.records)
        return batch

    def stored(self, partition: int, batch: Batch) -> None:
        """What ``follow`` gave is committed."""
        mine = self._owned.get(partition)
        if mine is not None:
            mine.fresh = False
            for patient_id in batch.touched:
                mine.ward.let_rest(patient_id)

    def _run(self, partition: int, mine: Challenger, events: Sequence[Event]) -> Batch:
        def meet(patient_ids: set[str]) -> None:
            new = sorted(patient_ids - mine.ward.patients.keys())
            known = self._store.patients if mine.fresh else self._store.shadow_patients
            for one in known(partition, new) if new else ():
                mine.ward.adopt(snapshot.load(self._plan, one.head, one.segments))

        meet({event.patient_id for event in events if hasattr(event, "patient_id")})
        if self._kafka:
            return run(self._plan, mine.ward, events, self._scorer, Ledger())
        return run_with_merges(self._plan, mine.ward, events, self._scorer, Ledger(), meet)[0]

    def _model_failed(self, why: str) -> None:
        self._end(f"model_{why}")

    def _end(self, why: str) -> None:
        if self.up:
            log.error("shadow_ended reason=%s effect='the champion goes on'", why)
            self._failed = why
            self._owned.clear()
