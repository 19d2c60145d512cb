"""``itbwatch ack``: a clinician's answer to an alert."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import click

from detector.events import AckReason, Action
from pipelines.answering import MOST_HOURS, send_answer
from pipelines.settings_file import load_settings
from pipelines.usage import Number, Words


@click.command("ack", short_help="Answer an alert: acknowledge, snooze, confirm or dismiss.")
@click.argument("alert_id", type=Words())
@click.option("--action", required=True, type=click.Choice(get_args(Action)))
@click.option("--reason", required=True, type=click.Choice(get_args(AckReason)))
@click.option("--by", required=True, type=Words(), help="Who answers; it is stored with the alert.")
@click.option("--hours", type=Number(0, MOST_HOURS, min_open=True), help="How long a snooze lasts; default 12.")
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
    newest = send_answer(load_settings(config), alert_id, action, reason, by, hours)
    click.echo(f"sent: {action} of a {newest['severity']} {newest['syndrome']} alert")
    if newest["state"] == "resolved":
        click.echo(f"note: that alert was resolved at {newest['at']}; the answer changes nothing in it", err=True)
