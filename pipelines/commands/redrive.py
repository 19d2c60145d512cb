"""``itbwatch redrive``: dead letters back into the stream."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from detector.errors import nearest
from pipelines.metrics import REJECTED
from pipelines.settings_file import load_settings
from pipelines.store import Store
from pipelines.writing import EventWriter


@click.command("redrive", short_help="Send dead letters back into the stream, once their cause is mended.")
@click.option("--reason", help="Only those refused for this reason, such as unknown_unit.")
@click.option("--dry-run", is_flag=True, help="Count them and send nothing.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
def command(reason: str | None, dry_run: bool, config: Path) -> None:  # noqa: FBT001
    """Send the original bytes of every dead letter to the topic they came by, for the running service to take.

    A dead letter counts as redriven when the service has stored what became of it; one that is refused again is a new
    dead letter. A record without a value has nothing to send and stays.

    \b
    itbwatch redrive --dry-run                 how many there are, by reason
    itbwatch redrive --reason unknown_unit     after code_map or the catalogue was mended and the service restarted
    """
    if reason is not None and reason not in REJECTED:
        known = "expected a reason of docs/operations.md, such as unknown_unit"
        raise click.BadParameter(f"{reason!r}; {known}{nearest(reason, REJECTED)}", param_hint="--reason")
    settings = load_settings(config)
    store = Store(settings.store, read_only=True)
    count: Counter[str] = Counter()
    try:
        letters = [letter for letter in store.deadletters(reason) if letter.value is not None]
    finally:
        store.close()
    with EventWriter(settings) as writer:
        for letter in letters:
            if letter.whole_bytes is not None:
                kept = f"only {len(letter.value or b'')} of its {letter.whole_bytes} bytes are kept"
                click.echo(
                    f"dead letter {letter.id} ({letter.reason}): {kept}; expected all; not sent: have its source send it again",
                    err=True,
                )
                continue
            count[letter.reason] += 1
            if not dry_run:
                writer.redrive(letter)
    for word, number in count.most_common():
        click.echo(f"{number:8} {word}")
    click.echo(f"{count.total()} dead letters {'would be sent' if dry_run else 'sent'}")
