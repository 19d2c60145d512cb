"""The partition numbers that are ours, as they stand in the store: everything is read before anything in memory changes,
so that a database that goes away meanwhile leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from detector import snapshot
from detector.engine import Ward
from detector.plan import Plan
from detector.records import AlertRecord
from models.quarantine import GuardedModel
from pipelines.canary.course import Flock
from pipelines.outages import Quarantine
from pipelines.state_size import StateSize
from pipelines.store import TICK, Store, StoredPatient
from pipelines.technical import owner
from pipelines.ticks import NO_TIME


@dataclass
class Owned:
    """A partition number that is ours: its patients, and the positions as they are stored.

    Patients for whom nothing is due (discharged, all readings forgotten) are in the store only, until they come back.
    """

    ward: Ward
    positions: dict[str, int]
    quarantine: Quarantine
    size: StateSize = field(default_factory=StateSize)
    flock: Flock = field(default_factory=Flock)

    @property
    def ticked(self) -> int:
        """The last tick that was stored."""
        return self.positions.get(TICK, NO_TIME)


class Found(NamedTuple):
    """What the store knows of a partition number: ``alarms`` are the open alerts of the service itself, ``alerts`` those of
    patients, ``drift`` the signals that are unlike the reference (``Store.drift``).
    """

    owned: Owned
    patients: list[StoredPatient]
    alarms: list[AlertRecord]
    alerts: list[AlertRecord]
    drift: dict[str, tuple[int, int]]


def find(store: Store, plan: Plan, models: Mapping[str, GuardedModel], partition: int, *, restore: bool) -> Found:
    """Read a partition number. ``restore`` takes the models back that were kept out.

    Raises:
        StoreError: the database cannot be read.
        StateError: what is stored does not fit this program.
    """
    store.retry_parked(partition)  # its cause may be mended by now
    stored = store.load(partition)
    ward = Ward(plan, stored.positions.get(TICK))
    for one in stored.patients:
        ward.adopt(snapshot.load(plan, one.head, one.segments))
    quarantine = Quarantine(models, plan.models, store.model_events(partition), restore=restore)
    owned = Owned(ward, stored.positions, quarantine)
    owned.size.loaded(stored.patients)
    return Found(
        owned,
        stored.patients,
        _records(store.open_alerts_of(owner(partition))),
        _records(store.newest([episode.alert_id for _, episode in ward.open_alerts()])),
        store.drift(partition),
    )


def meet(store: Store, plan: Plan, ours: Mapping[int, Owned], partition: int, patient_ids: set[str]) -> set[str]:
    """Load those of these patients that rest in the store. Returns those that another partition number has."""
    ward = ours[partition].ward
    new = sorted(patient_ids - ward.patients.keys())
    if not new:
        return set()
    stored = store.partitions_of(new)
    back = store.patients(partition, [patient_id for patient_id in new if patient_id in stored])
    for one in back:
        ward.adopt(snapshot.load(plan, one.head, one.segments))
    ours[partition].size.loaded(back)
    elsewhere = {patient_id for patient_id, where in stored.items() if where != partition}
    for number, owned in ours.items():
        if number != partition:
            elsewhere |= owned.ward.patients.keys() & new
    return elsewhere


def _records(found: list[bytes]) -> list[AlertRecord]:
    return [msgspec.json.decode(one, type=AlertRecord) for one in found]
