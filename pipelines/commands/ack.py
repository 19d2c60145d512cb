"""``itbwatch ack``: a clinician's answer to an alert."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click

from detector.clock import HOUR
from detector.errors import InputError
from detector.events import Acknowledgement, AckReason, Action
from pipelines.formats.canonical import encode
from pipelines.formats.times import parse_time
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.store import Store
from pipelines.ticks import wall_ms
from pipelines.usage import Number, Words
from pipelines.writing import EventWriter


@click.command("ack", short_help="Answer an alert: acknowledge, snooze, confirm or dismiss.")
@click.argument("alert_id", type=Words())
@click.option("--action", required=True, type=click.Choice(get_args(Action)))
@click.option("--reason", required=True, type=click.Choice(get_args(AckReason)))
@click.option("--by", required=True, type=Words(), help="Who answers; it is stored with the alert.")
@click.option("--hours", type=Number(0, 12, min_open=True), help="How long a snooze lasts; default 12.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
def command(alert_id: str, action: Any, reason: Any, by: str, hours: float | None, config: Path) -> None:
    """Answer the alert ALERT_ID. It silences the alert for 12 h (a snooze: --hours); a higher severity breaks that.

    The answer travels as a record of its own through the topic itb.acknowledgements to the running service.

    \b
    itbwatch ack 0f3a... --action acknowledge --reason pump_checked_ok --by "Dr. Example"
    """
    if hours is not None and action != "snooze":
        raise click.UsageError(f"--hours with --action {action}; expected --action snooze")
    if not by.strip():
        raise click.BadParameter("is empty; expected who answers, such as --by 'Dr. Example'", param_hint="--by")
    settings = load_settings(config)
    newest = _newest_record(settings, alert_id)
    # In a stream of past data the host's clock is decades off: the answer takes the time of what it answers.
    at = wall_ms() if settings.time == "wall" else parse_time(newest["at"])
    answer = Acknowledgement(
        patient_id=newest["patient_id"], alert_id=alert_id, action=action, reason=reason, by=by, at=at, available_at=at,
        until=None if hours is None else at + int(hours * HOUR),
    )  # fmt: skip
    with EventWriter(settings) as writer:
        writer.send("acknowledgements", encode(answer), key=answer.patient_id.encode(), timestamp=at)
    click.echo(f"sent: {action} of a {newest['severity']} {newest['syndrome']} alert")
    if newest["state"] == "resolved":
        click.echo(f"note: that alert was resolved at {newest['at']}; the answer changes nothing in it", err=True)


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
