"""The open alerts as the page and ``GET /api/alerts`` show them: each as it was last published. And the stays that are
watched beside them, so that silence can be told from health.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from detector.engine import StayView
from detector.records import SEVERITIES, AlertRecord
from pipelines.metrics import SILENT_AFTER
from pipelines.pseudonym import pseudonym

MOST_WATCHED = 1_000
"""Stays that are listed; those beyond are counted."""


class Watched(NamedTuple):
    """A stay with a pump or an open alert. ``data_age_ms``: since its newest observation, None = there was none."""

    stay: str
    unit: str | None
    pump: str
    data_age_ms: int | None

    @property
    def silent(self) -> bool:
        return self.data_age_ms is None or self.data_age_ms > SILENT_AFTER


class Board:
    """Latest record of every open alert. The service's loop puts records in, the web's thread reads them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._latest: dict[str, AlertRecord] = {}
        self._names: dict[tuple[str, str | None], str] = {}
        self._lock = threading.Lock()
        self.changes = 0
        """Grows with every change, so that who has seen one number need not look again while it stands."""
        self.watched: tuple[Watched, ...] = ()
        self.beyond = 0
        """How many more are watched than are listed."""

    def take(self, records: Iterable[AlertRecord]) -> None:
        """Show records in the order they were published; a repeated or older record changes nothing."""
        with self._lock:
            for record in records:
                shown = self._latest.get(record.alert_id)
                if record.state == "resolved":
                    self.changes += self._latest.pop(record.alert_id, None) is not None
                elif shown is None or shown.sequence < record.sequence:
                    self._latest[record.alert_id] = record
                    self.changes += 1

    def forget(self, alert_ids: Iterable[str]) -> None:
        """Take alerts off that are another worker's now."""
        with self._lock:
            for alert_id in alert_ids:
                self.changes += self._latest.pop(alert_id, None) is not None

    def hear(self, stays: Iterable[StayView]) -> None:
        """Take how long ago each open stay was heard of; those without a pump and an alert are not kept."""
        with self._lock:
            alerted = {one.patient_id for one in self._latest.values()}
        mine = [one for one in stays if one.pump == "present" or one.patient_id in alerted]
        mine.sort(key=lambda one: one.patient_id not in alerted)
        kept, self.beyond = mine[:MOST_WATCHED], max(0, len(mine) - MOST_WATCHED)
        names = {(one.patient_id, one.stay_id): self._name(one.patient_id, one.stay_id) for one in kept}
        self._names = names
        self.watched = tuple(
            Watched(
                names[one.patient_id, one.stay_id], one.unit, one.pump,
                None if one.newest_observation_at is None else max(0, one.now - one.newest_observation_at),
            )
            for one in kept
        )  # fmt: skip

    def _name(self, patient_id: str, stay_id: str | None) -> str:
        return self._names.get((patient_id, stay_id)) or pseudonym(self._key, patient_id, stay_id)

    def alerts(self) -> list[tuple[str, AlertRecord]]:
        """(pseudonym of the stay, record), the most severe first, then the newest."""
        with self._lock:
            shown = list(self._latest.values())
        shown.sort(key=lambda one: one.at, reverse=True)
        shown.sort(key=lambda one: SEVERITIES[one.severity], reverse=True)
        return [(self._name(one.patient_id, one.stay_id), one) for one in shown]

    def of_patient(self, patient_id: str) -> list[AlertRecord]:
        """The open alerts of a patient, the most severe first, then the newest."""
        return [record for _, record in self.alerts() if record.patient_id == patient_id]

    def as_json(self) -> list[dict[str, Any]]:
        """The open alerts with ``stay``, the pseudonym, in the place of every identifier."""
        hidden = ("patient_id", "stay_id", "provenance")
        return [
            {"stay": stay} | {name: value for name, value in record.as_dict().items() if name not in hidden}
            for stay, record in self.alerts()
        ]

    def stays_as_json(self) -> dict[str, Any]:
        """The stays that are watched, by the names of ``Watched``."""
        return {
            "stays": [one._asdict() | {"silent": one.silent} for one in self.watched],
            "beyond": self.beyond,
        }
