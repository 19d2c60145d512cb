"""``itbwatch purge``: retention."""

from __future__ import annotations

from pathlib import Path

import click

from detector.clock import DAY
from pipelines.settings_file import load_settings
from pipelines.store import Store


@click.command("purge", short_help="Delete what is over and older than store.retention_days.")
@click.option("--yes", is_flag=True, help="Delete; without it the counts are shown and nothing changes.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
def command(*, yes: bool, config: Path) -> None:
    """Delete closed stays with their patients, ended alerts and dead letters older than store.retention_days.

    Nobody who is watched, and no open alert, is touched. Patients known to have or to have had a pump are kept, and so
    are ids that were merged into another. The input positions stay, so nothing is read again. Stop every service of this
    store before --yes, which refuses otherwise; the deletion is a record of the audit chain.

    \b
    itbwatch purge          what would go
    itbwatch purge --yes    it goes
    """
    settings = load_settings(config)
    store = Store(settings.store, read_only=not yes)
    try:
        gone = store.purge(settings.store.retention_days * DAY, really=yes)
    finally:
        store.close()
    click.echo(f"{gone.patients:8} patients")
    click.echo(f"{gone.alerts:8} ended alerts")
    click.echo(f"{gone.dead_letters:8} dead letters")
    click.echo(f"{gone.kept:8} patients are kept, because of a pump or a merge")
    older = f"older than {settings.store.retention_days} days"
    click.echo(f"deleted, {older}" if yes else f"would be deleted, {older}; nothing was changed (--yes deletes)")
