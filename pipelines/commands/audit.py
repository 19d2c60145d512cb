"""``itbwatch audit``: the chain of what was done to a deployment."""

from __future__ import annotations

from pathlib import Path

import click

from detector.errors import InputError
from pipelines.settings_file import load_settings
from pipelines.store import Store
from pipelines.store.audit import BEGINNING, AuditRecord, first_broken
from pipelines.usage import Words


@click.group("audit", short_help="Whether the record of what was done is whole.")
def command() -> None:
    """Look at the audit chain: changes of the plan, answers to alerts, redriven records, purges."""


@command.command("verify", short_help="Check every link; 65 and the first broken one if it is not whole.")
@click.option("--newest", type=Words(), help="A hash that was noted earlier: it must be in the chain.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
def verify(newest: str | None, config: Path) -> None:
    """Check that no record was changed, taken out or put between.

    Note the hash it prints outside this machine, and give it to --newest the next time: only that tells a chain whose
    end was cut off, or that was made anew.
    """
    store = Store(load_settings(config).store, read_only=True)
    records: list[AuditRecord] = []
    try:
        records = store.audit()
    finally:
        store.close()
    broken = first_broken(records)
    if broken is not None:
        raise InputError("audit_broken", f"audit: record {broken.number} {broken.why}; expected an unbroken chain;"
                         " keep this store as it is and compare it with a backup")  # fmt: skip
    if newest is not None and newest not in {BEGINNING, *(one.hash for one in records)}:
        raise InputError("audit_broken", "audit: the hash of --newest is not in the chain; expected one that was noted"
                         " of this store; its end was cut off, or it was made anew")  # fmt: skip
    click.echo(f"{len(records)} records, unbroken; newest {records[-1].hash}")
