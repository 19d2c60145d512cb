"""A clinician's answer to an alert, from a terminal or over HTTP: looked up in the store, sent through our own input."""

from __future__ import annotations

import json
from typing import Any

from detector.clock import HOUR
from detector.errors import InputError
from detector.events import Acknowledgement, AckReason, Action
from detector.plan import SILENCE
from pipelines.formats.canonical import encode
from pipelines.formats.times import parse_time
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.technical import OWNER
from pipelines.ticks import wall_ms
from pipelines.writing import EventWriter

MOST_HOURS = SILENCE // HOUR
"""How long a snooze may last (DESIGN.md section 2)."""


def send_answer(
    settings: Settings, alert_id: str, action: Action, reason: AckReason, by: str, hours: float | None
) -> dict[str, Any]:
    """Send an answer on its way to the running service; returns the newest record of the alert, as it stood before.

    ``hours`` is how long a snooze lasts; None = as long as it may.

    Raises:
        InputError: there is no such alert, or it is one of the service itself.
        StoreError: the store cannot be read.
        SourceError: the topic or the file does not take the answer.
    """
    newest = _newest_record(settings, alert_id)
    if newest["patient_id"].startswith(OWNER):
        raise InputError("no_such_alert", "ALERT_ID: is an alert of the service itself, which ends by itself; expected the alert of a patient")  # fmt: skip
    # In a stream of past data the host's clock is decades off: the answer takes the time of what it answers.
    at = wall_ms() if settings.time == "wall" else parse_time(newest["at"])
    answer = Acknowledgement(
        patient_id=newest["patient_id"], alert_id=alert_id, action=action, reason=reason, by=by, at=at, available_at=at,
        until=None if hours is None else at + int(hours * HOUR),
    )  # fmt: skip
    with EventWriter(settings) as writer:
        writer.send("acknowledgements", encode(answer), key=answer.patient_id.encode(), timestamp=at)
    return newest


def _newest_record(settings: Settings, alert_id: str) -> dict[str, Any]:
    store = Store(settings.store, read_only=True)
    try:
        records = store.alert(alert_id)
    finally:
        store.close()
    if not records:
        raise InputError(  # what was typed is not repeated: it may be a patient's number
            "no_such_alert", "ALERT_ID: no such alert in the store; expected an alert_id of itb.alerts or the page"
        )
    newest: dict[str, Any] = json.loads(records[-1])
    return newest
