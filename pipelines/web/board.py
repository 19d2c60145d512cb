"""The open alerts as the page and ``GET /api/alerts`` show them: each as it was last published."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from detector.records import SEVERITIES, AlertRecord
from pipelines.pseudonym import pseudonym


class Board:
    """Latest record of every open alert. The service's loop puts records in, the web's thread reads them."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._latest: dict[str, AlertRecord] = {}
        self._lock = threading.Lock()
        self.changes = 0
        """Grows with every change, so that who has seen one number need not look again while it stands."""

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

    def alerts(self) -> list[tuple[str, AlertRecord]]:
        """(pseudonym of the stay, record), the most severe first, then the newest."""
        with self._lock:
            shown = list(self._latest.values())
        shown.sort(key=lambda one: one.at, reverse=True)
        shown.sort(key=lambda one: SEVERITIES[one.severity], reverse=True)
        return [(pseudonym(self._key, one.patient_id, one.stay_id), one) for one in shown]

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
