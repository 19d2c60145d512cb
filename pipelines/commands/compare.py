"""``itbwatch compare``: where champion and challenger differ."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from detector.errors import ConfigError
from detector.plan import PUBLIC_KEY
from pipelines.comparing import KINDS, TIERS, Difference, as_dict, burden, by_rule, differences, table
from pipelines.comparison_files import Compared, of_folders, of_store
from pipelines.pseudonym import pseudonym
from pipelines.settings_file import load_settings
from pipelines.store import Store

WIDTH = 130
MOST_SHOWN = 20
"""Matters listed on the terminal; --stays has them all."""

WORDS = {
    "only_champion": "only in the champion", "only_challenger": "only in the challenger", "higher": "higher",
    "lower": "lower", "earlier": "earlier", "later": "later", "same": "the same",
}  # fmt: skip


@click.command("compare", short_help="Where two plans differ: two replays, or the service and its shadow.")
@click.argument("folders", metavar="[CHAMPION_DIR [CHALLENGER_DIR]]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="Compare in the store of this config.yaml.")
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object, stays under pseudonyms.")
@click.option(
    "--stays", type=click.Path(path_type=Path), help="Write every difference with its ids as CSV (patient data)."
)
def command(folders: tuple[Path, ...], config: Path | None, *, as_json: bool, stays: Path | None) -> None:
    """Show what a challenger does otherwise than the champion, on the same stays.

    Alerts of one stay and syndrome that stand at the same time are one matter, whatever their ids. For each matter: is it
    only in one of the two, did the challenger reach a higher or a lower severity, or the same one earlier or later, and by
    how many hours. Then what either would cost: opened and raised alerts, at least 12 h apart in a stay, per 100
    patient-days, and the warnings that each rule stands behind.

    \b
    itbwatch compare result                      replay --shadow quieter.yaml --out result
    itbwatch compare now next                    two replays of the same inputs with different configurations
    itbwatch compare --config site.yaml          what was published against the plan in the shadow, since that began
    itbwatch compare result --stays stays.csv    every difference with patient and stay ids, for you alone (mode 0600)

    The terminal and --json name stays by the pseudonym of the page and the metrics only. Exit codes: 0 compared, whatever
    it showed; 2 usage; 65 the replays are not of the same stays, or no plan ran in the shadow; 74 the store or a file
    cannot be read or written.
    """
    compared, key = _compared(folders, config)
    found = differences(compared.champion, compared.challenger)
    told = [one for one in found if one.kind != "same"]
    if stays is not None:
        _write(stays, told)
    result = _result(compared, found)
    if as_json:
        click.echo(msgspec.json.encode(result | {"differences": [_hidden(one, key) for one in told]}))
    else:
        _print(result, told, key)


def _compared(folders: Sequence[Path], config: Path | None) -> tuple[Compared, bytes]:
    if not folders:
        if config is None:
            raise click.UsageError(
                "expected CHAMPION_DIR, CHAMPION_DIR and CHALLENGER_DIR, or --config FILE for a store"
            )
        settings = load_settings(config)
        store = Store(settings.store, read_only=True)
        try:
            return of_store(store), settings.identity_key()
        finally:
            store.close()
    if len(folders) > 2:
        raise click.UsageError(f"{len(folders)} folders; expected one or two")
    key = PUBLIC_KEY if config is None else load_settings(config).identity_key()
    return of_folders(folders[0], folders[1] if len(folders) > 1 else None), key


def _result(compared: Compared, found: Sequence[Difference]) -> dict[str, Any]:
    days = compared.patient_days

    def costs(records: Sequence[Any]) -> dict[str, Any]:
        counts = {tier: burden(records, tier) for tier in TIERS}
        return {
            tier: {"count": n, "per_100_patient_days": round(100 * n / days, 2) if days else None}
            for tier, n in counts.items()
        }

    return {
        "champion": {"name": compared.champion.name, "plans": compared.champion.plans},
        "challenger": {"name": compared.challenger.name, "plans": compared.challenger.plans},
        "since": compared.since, "upto": compared.upto, "patient_days": days,
        "burden": {"champion": costs(compared.champion.records), "challenger": costs(compared.challenger.records)},
        "matters": table(found),
        "warnings_by_rule": {
            rule: {"champion": mine, "challenger": theirs}
            for rule, (mine, theirs) in by_rule(compared.champion, compared.challenger).items()
        },
    }  # fmt: skip


def _hidden(one: Difference, key: bytes) -> dict[str, Any]:
    named = as_dict(one)
    return {"stay": pseudonym(key, named.pop("patient_id"), named.pop("stay_id")), **named}


def _print(result: Mapping[str, Any], told: Sequence[Difference], key: bytes) -> None:
    console = Console(width=WIDTH)
    for which in ("champion", "challenger"):
        plans = ", ".join(digest[:12] for digest in result[which]["plans"]) or "no records"
        click.echo(f"{which}: {result[which]['name']}, plan {plans}")
    span = f", {result['since']} to {result['upto']}" if result["since"] else ""
    click.echo(f"{result['patient_days']:,} patient-days{span}\n")
    costs = Table("alerts, 12 h apart in a stay", title="what they cost", title_justify="left")
    for column in ("champion", "challenger", "champion / 100 days", "challenger / 100 days"):
        costs.add_column(column, justify="right")
    for tier in reversed(TIERS):
        both = [result["burden"][which][tier] for which in ("champion", "challenger")]
        rates = ("-" if one["per_100_patient_days"] is None else f"{one['per_100_patient_days']:.2f}" for one in both)
        costs.add_row(f"{tier} or higher", *(str(one["count"]) for one in both), *rates)
    console.print(costs)
    matters = Table("syndrome", title="matters, by what the challenger does", title_justify="left")
    for kind in KINDS:
        matters.add_column(WORDS[kind], justify="right")
    for syndrome, counts in result["matters"].items():
        matters.add_row(syndrome, *(str(counts[kind]) for kind in KINDS))
    console.print(matters)
    changed = {rule: one for rule, one in result["warnings_by_rule"].items() if one["champion"] != one["challenger"]}
    rules = Table("rule", title="warnings by rule, where they differ", title_justify="left")
    for column in ("champion", "challenger"):
        rules.add_column(column, justify="right")
    for rule, one in changed.items():
        rules.add_row(rule, str(one["champion"]), str(one["challenger"]))
    if changed:
        console.print(rules)
    if told:
        console.print(_list(told, key))
    click.echo("no difference" if not told else f"{len(told)} matters differ" + (
        f", {MOST_SHOWN} shown; --stays FILE writes all" if len(told) > MOST_SHOWN else ""))  # fmt: skip


def _list(told: Sequence[Difference], key: bytes) -> Table:
    shown = Table(title="differences, by stay", title_justify="left")
    for column in ("stay", "syndrome", "challenger", "severity", "hours", "rules"):
        shown.add_column(column, justify="right" if column == "hours" else "left")
    for one in told[:MOST_SHOWN]:
        rules = " -> ".join(" ".join(side) or "-" for side in (one.champion_rules, one.challenger_rules))
        shown.add_row(
            pseudonym(key, one.patient_id, one.stay_id), one.syndrome, WORDS[one.kind],
            f"{one.champion or '-'} -> {one.challenger or '-'}", "-" if one.hours is None else f"{one.hours:+.1f}", rules,
        )  # fmt: skip
    return shown


def _write(path: Path, told: Sequence[Difference]) -> None:
    if path.is_dir():
        raise ConfigError([f"{path}: is a folder; expected a file, --stays FILE"])
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(Difference._fields)
        for one in told:
            rows.writerow((*one[:7], " ".join(one.champion_rules), " ".join(one.challenger_rules)))
