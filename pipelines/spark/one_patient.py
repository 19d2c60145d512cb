"""One patient between two micro-batches: what is kept of it, and what the records that came make of it.

The same steps as ``Service._decide``: take in, fold, put to store; for one patient instead of one partition number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from detector import snapshot
from detector.clock import NEVER, last_tick_before, minute_ceil
from detector.engine import Ward, run
from detector.events import Event, Ticked, TimeMoved
from detector.ledger import Ledger
from detector.plan import Plan
from detector.records import Batch
from detector.snapshot import Changes
from models.quarantine import GuardedModel, Model, Scheduled
from pipelines.decided import Decided, to_store
from pipelines.exports import Export, exporter
from pipelines.formats import Decode
from pipelines.horizon import Horizon
from pipelines.intake import decoders, take_in
from pipelines.replay import opened
from pipelines.settings import Settings
from pipelines.sources import RawRecord
from pipelines.store import Outgoing, Work
from pipelines.ticks import NO_TIME


class Stored(NamedTuple):
    """What is kept of a patient: its head and segments, and the newest tick it has seen."""

    head: bytes
    segments: list[bytes]
    ticked: int


class Followed(NamedTuple):
    """What a step gave. ``changes`` None = there is nothing new to keep; ``due`` is the next whole minute at which time
    alone has something to do, ``NEVER`` = none.
    """

    changes: Changes | None
    ticked: int
    due: int
    outgoing: list[Outgoing]


class Ready(NamedTuple):
    """What a process needs before it follows anybody."""

    settings: Settings
    plan: Plan
    models: dict[str, Model]
    decode: Mapping[str | None, Decode]
    exports: dict[str, Export]


def ready(settings: Settings) -> Ready:
    """Open what the settings name.

    Raises:
        ConfigError: a file cannot be used.
    """
    plan, models = opened(settings)
    exports = {
        name: exporter(name, plan.catalogue, settings.hl7v2)
        for name, where in settings.exports.model_dump().items()
        if where is not None
    }
    return Ready(settings, plan, models, decoders(settings, plan.catalogue), exports)


def follow(ready: Ready, patient_id: str, stored: Stored | None, raws: Sequence[RawRecord], upto: int) -> Followed:
    """Fold the records of one patient, and time up to ``upto`` (ms): nothing before it can still come in order.

    Args:
        ready: what is known.
        patient_id: the key of the records.
        stored: what was kept; None = never heard of.
        raws: in the one order.
        upto: the newest record time of anybody; the tick before it is folded last.
    """
    settings, plan = ready.settings, ready.plan
    ward = Ward(plan, None if stored is None or stored.ticked == NO_TIME else stored.ticked)
    if stored is not None:
        ward.adopt(snapshot.load(plan, stored.head, stored.segments))
    # The time of all records stands for the host's clock: who runs these records again must refuse the same ones.
    horizon = Horizon(settings.time, plan.catalogue.future_limit, wall=lambda: upto, monotonic=lambda: 0.0)
    horizon.resume(upto)
    decided = Decided(Work(0, read={}, moved={}), Batch(), Ledger())
    taken = take_in(raws, decided.work, settings.limits, lambda _: set(), ready.decode, horizon)
    decided.came = {raw.position: raw for raw, _ in taken.usable}
    events: list[Event] = [event for _, event in taken.usable if not isinstance(event, TimeMoved)]
    ticked = last_tick_before(upto)
    scorer = Scheduled({name: GuardedModel(model) for name, model in ready.models.items()})
    decided.batch = run(plan, ward, [*events, Ticked(ticked)], scorer, decided.ledger)
    to_store(decided, ward, ready.exports, hand_over=True)
    patient = ward.patients.get(patient_id)
    due = NEVER if patient is None else min(patient.due, patient.timer)
    changes = dict(decided.work.patients).get(patient_id)
    return Followed(changes, ticked, NEVER if due >= NEVER else minute_ceil(due), decided.work.outgoing)
