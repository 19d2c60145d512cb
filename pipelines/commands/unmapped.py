"""``itbwatch unmapped``: which codes and units of the feeds are not known here."""

from __future__ import annotations

from pathlib import Path

import click

from detector.catalogue.signals import Catalogue
from detector.clock import rfc3339
from pipelines.plan_files import load_catalogue
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.store import Store
from pipelines.store.spellings import MOST_SPELLINGS, Spelling, Unmapped

SELDOM = 5  # a spelling that came less often may be somebody's free text


@click.command("unmapped", short_help="Codes and units of the feeds that are not known, and how often they came.")
@click.option("--all", "every", is_flag=True, help=f"Also spellings that came fewer than {SELDOM} times.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
def command(every: bool, config: Path) -> None:  # noqa: FBT001
    """List what `unknown_code`, `unknown_unit` and `suspect_unit` counted, spelled as the feed writes it.

    A code goes into code_map of config.yaml as it stands here; a unit into the site's catalogue. What this configuration
    knows by now is left out. The list names no patient; but where a feed writes free text in the place of a code, the text
    stands here, so spellings that came seldom are only counted without --all.
    """
    settings = load_settings(config)
    catalogue = load_catalogue(settings)
    store = Store(settings.store, read_only=True)
    try:
        found = store.unmapped()
    finally:
        store.close()
    left = [one for one in found if not _is_known(settings, catalogue, one.spelling)]
    shown = [one for one in left if every or one.results >= SELDOM]
    rows = [("topic", "reason", "signal", "code", "unit", "results", "newest"), *map(_row, shown)] if shown else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # never cut: a code is copied from here
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"{len(left):,} spellings are not known; {len(found) - len(left):,} were not and are now")
    if len(shown) < len(left):
        seldom = sum(one.results for one in left) - sum(one.results for one in shown)
        click.echo(
            f"not shown: {len(left) - len(shown):,} that came fewer than {SELDOM} times ({seldom:,} results); --all"
        )


def _row(one: Unmapped) -> tuple[str, ...]:
    topic, reason, signal, code, unit = (_printable(said) for said in one.spelling)
    beyond = f"(all beyond the {MOST_SPELLINGS:,} spellings that are kept)"
    return topic, reason, signal or "-", code or beyond, unit or "-", f"{one.results:,}", rfc3339(one.last_at)[:10]


def _is_known(settings: Settings, catalogue: Catalogue, spelling: Spelling) -> bool:
    """Whether the configuration has what was missing when it was counted."""
    if spelling.reason == "unknown_unit":
        signal = catalogue.signals.get(spelling.signal)
        return signal is not None and signal.resolve_unit(spelling.unit) is not None
    if spelling.reason != "unknown_code" or not spelling.code:
        return False
    roles = [role for role, name in settings.kafka.topics.model_dump().items() if name == spelling.topic]
    if settings.source == "file" and settings.file.codes_of is not None:
        roles.append(settings.file.codes_of)
    own = {*settings.code_map, *(code for role in roles for code in settings.kafka.code_maps.of(role))}
    ways = {spelling.code.removeprefix("|"), spelling.code.rpartition("|")[2]}
    return catalogue.resolve_code(spelling.code) is not None or not own.isdisjoint(ways)


def _printable(text: str) -> str:
    """As ``code_map`` takes it; what would move the cursor is shown as an escape."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text.removeprefix("|"))
