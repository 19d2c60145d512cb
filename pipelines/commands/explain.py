"""``itbwatch explain``: why an alert was given, from what the service kept."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from detector.errors import ConfigError, InputError
from detector.events import Event, Merged
from detector.fuse import level
from detector.plan import Plan
from detector.records import AlertRecord, Evidence
from detector.rules.truth import FALSE, TRUE, UNKNOWN, Found
from models.quarantine import Scheduled
from pipelines.datasets import open_dataset
from pipelines.formats.canonical import encode
from pipelines.formats.times import parse_time
from pipelines.model_files import open_each
from pipelines.outages import ModelEvent, outages
from pipelines.outages import encode as encode_model
from pipelines.plan_files import load_site
from pipelines.replay import replay
from pipelines.run_again import Again, as_scenario, events_of, run_again
from pipelines.settings import Settings
from pipelines.store import Store
from pipelines.technical import is_ours
from pipelines.usage import Words

EVENTS, RECORDS, README = "events.ndjson", "records.ndjson", "README.md"
ASKS_FOR_ATTENTION = ("opened", "raised")
WIDTH = 120


@click.command("explain", short_help="Why an alert was given; with --export, as a scenario that replays.")
@click.argument("alert_id", type=Words())
@click.option("--sequence", type=click.IntRange(1), help="Which record; without it the newest that opened or raised.")
@click.option("--export", type=click.Path(path_type=Path), help="Folder for a scenario of it; made if need be.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Other thresholds and severities; instead of config.yaml's."
)
def command(alert_id: str, sequence: int | None, export: Path | None, config: Path, overlay: Path | None) -> None:
    """Say why the alert ALERT_ID was given: the stored inputs of its patient are run through the rules again.

    ALERT_ID is the alert_id of a record of itb.alerts, of the page or of alerts.parquet. Shown are the records of the
    alert, and for one of them what every rule said, on which values, and what an unknown rule lacked. The running
    service is not disturbed. Inputs are kept for store.journal_days.

    \b
    itbwatch explain 0f3a...                   why it was opened, or raised to what it is
    itbwatch explain 0f3a... --sequence 1      why it was opened
    itbwatch explain 0f3a... --export why      write a scenario:
      why/events.ndjson    the patient's events (patient data: the files are for you alone, mode 0600)
      why/records.ndjson   the records that `itbwatch replay why/events.ndjson --out OUT` gives
      why/README.md        how to run it
    """
    settings, plan = load_site(config, overlay)
    stored, journals, out = _kept(settings, alert_id)
    record = _asked(stored, sequence)
    upto = parse_time(stored[-1].at)
    again = Again()
    models = open_each(settings, plan)
    for patient_id, events in journals.items():
        part = run_again(plan, Scheduled(models, outages(out[patient_id])), events, record, upto)
        again.records |= part.records
        again.found = again.found or part.found
    _tell(plan, stored, record, again, kept=any(journals.values()))
    if export is not None:
        _export(export, settings, config.name, record, journals[record.patient_id], out[record.patient_id])


def _kept(
    settings: Settings, alert_id: str
) -> tuple[list[AlertRecord], dict[str, list[Event]], dict[str, list[ModelEvent]]]:
    """The records of the alert, the events of each patient id it was under (two after a merge), and when models were
    kept out where that patient is.
    """
    store = Store(settings.store, read_only=True)
    try:
        stored = [msgspec.json.decode(one, type=AlertRecord) for one in store.alert(alert_id)]
        patients = dict.fromkeys(record.patient_id for record in stored)
        journals = {patient_id: events_of(store.journal(patient_id)) for patient_id in patients}
        where = store.partitions_of(list(patients))
        out = {one: store.model_events(where[one]) if one in where else [] for one in patients}
    finally:
        store.close()
    if not stored:  # what was typed is not repeated: it may be anything, a patient's number too
        raise InputError(
            "alert_id", "ALERT_ID: no such alert in the store; expected an alert_id of itb.alerts or the page"
        )
    return stored, journals, out


def _asked(stored: Sequence[AlertRecord], sequence: int | None) -> AlertRecord:
    if sequence is None:
        return [record for record in stored if record.state in ASKS_FOR_ATTENTION][-1]
    for record in stored:
        if record.sequence == sequence:
            return record
    raise click.UsageError(f"--sequence {sequence}: expected 1 to {stored[-1].sequence}, the records of this alert")


# -- telling -----------------------------------------------------------------------------------------------------------


def _tell(plan: Plan, stored: Sequence[AlertRecord], record: AlertRecord, again: Again, *, kept: bool) -> None:
    click.echo(record.headline)
    click.echo(f"alert {record.alert_id}, ward {record.unit or 'unknown'}, {record.syndrome}\n")
    table = Table("record", "at", "state", "severity", "reason", title="its records", title_justify="left")
    for one in stored:
        mark = f"{one.sequence} <" if one is record else str(one.sequence)
        table.add_row(mark, one.at, one.state, one.severity, one.reason)
    Console(width=WIDTH).print(table)
    click.echo(f"\nwhy record {record.sequence} was made: {record.state}, {record.severity}, {record.at}")
    _list("  evidence, newest first", (_line(one) for one in record.evidence))
    if again.found:
        _list("  rules that are true", _rules(plan, again.found, TRUE))
        _list("  rules that are unknown, and what they lack", _rules(plan, again.found, UNKNOWN))
        _list("  rules that are false", [", ".join(_of(plan, again.found, FALSE)) or "none"])
    _list("  missing", record.missing)
    _list("  against", record.against)
    _list("  what else it could be", (f"{one.name}: {one.because}" for one in record.differentials))
    _list("  to check", record.checks)
    click.echo(f"  gate: pump {record.gate.pump}, interruption {record.gate.interruption}")
    click.echo(f"\n{_verdict(plan, stored, again, kept=kept)}")


def _list(title: str, lines: Iterator[str] | Sequence[str]) -> None:
    told = list(lines)
    if told:
        click.echo(f"{title}:")
        for line in told:
            click.echo(f"    {line}")


def _line(one: Evidence) -> str:
    value = None if one.value is None else f"{one.value:g}"
    words = (one.signal, value, one.unit if value else None, one.change and f"({one.change})")
    said = " ".join(word for word in words if word)
    return f"{one.rule:8}{said}, {one.effective_at}, known {one.available_at}"


def _of(plan: Plan, found: dict[str, Found], truth: int) -> list[str]:
    return [rule for rule in plan.rules if rule in found and found[rule].truth == truth]


def _rules(plan: Plan, found: dict[str, Found], truth: int) -> Iterator[str]:
    for name in _of(plan, found, truth):
        rule = plan.book.rules[name]
        severity, possible = level(rule, plan.book, found) if rule.severity else (rule.severity, rule.severity)
        stands = rule.kind if not rule.severity else severity.word if truth == TRUE else f"up to {possible.word}"
        yield f"{name:8}{stands:16}{rule.title}"
        if found[name].blanks:
            yield f"{'':24}lacks {', '.join(sorted(found[name].blanks))}"


def _verdict(plan: Plan, stored: Sequence[AlertRecord], again: Again, *, kept: bool) -> str:
    """Whether the stored inputs give the stored records, and if not, why that can be."""
    if is_ours(stored[0]):
        return "an alert of the service itself: no input of a patient has made it, there is nothing to run again"
    same = sum(again.records.get((one.alert_id, one.sequence)) == one for one in stored)
    said = f"run again from the stored inputs: {same} of {len(stored)} records come out the same"
    if same == len(stored):
        return f"{said} (plan {plan.digest[:12]}, rules {plan.rules_version})"
    digests = {one.provenance.plan_digest for one in stored} - {plan.digest}
    if not kept:
        return f"{said}: the inputs are no longer kept (store.journal_days)"
    if digests:
        return f"{said}: they were made with plan {', '.join(sorted(one[:12] for one in digests))}, this is {plan.digest[:12]}"
    return f"{said}: the inputs are no longer kept from the beginning (store.journal_days)"


# -- exporting ---------------------------------------------------------------------------------------------------------


def _export(
    folder: Path,
    settings: Settings,
    config: str,
    record: AlertRecord,
    events: Sequence[Event],
    out: Sequence[ModelEvent],
) -> None:
    """Write the scenario, and what a replay of it really gives.

    Raises:
        ConfigError: the folder holds something else.
        InputError: no input of the patient is kept any more, or the alert is no patient's.
    """
    if folder.exists() and (
        not folder.is_dir() or {path.name for path in folder.iterdir()} - {EVENTS, RECORDS, README}
    ):
        raise ConfigError([f"{folder}: holds something else; expected a new folder or an earlier export, --export DIR"])
    if is_ours(record):
        raise InputError("alert_id", "--export: it is an alert of the service itself; expected the alert of a patient")
    scenario = list(as_scenario(events))
    if not scenario:
        raise InputError("journal", "--export: no input of this alert is kept any more; see store.journal_days")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(folder / EVENTS, [*map(encode_model, out), *map(encode, scenario)])
    outcome = replay(open_dataset("canonical", (folder / EVENTS,), stays=None, pumps=None, context=None), settings)
    _write(folder / RECORDS, (one.to_json() for one in outcome.records))
    _write(folder / README, _readme(config, record, merged=any(isinstance(event, Merged) for event in events)))
    mine = sum(one.alert_id == record.alert_id for one in outcome.records)
    click.echo(
        f"{len(scenario)} events, {len(outcome.records)} records ({mine} of this alert) in {folder}; patient data: keep it safe"
    )


def _readme(config: str, record: AlertRecord, *, merged: bool) -> Iterator[bytes]:
    made = record.provenance
    yield f"# Alert {record.alert_id}: {record.headline}".encode()
    yield b""
    yield f"`itbwatch replay {EVENTS} --config {config} --out out` gives the records of {RECORDS}, but for provenance.position".encode()
    yield f"(plan {made.plan_digest[:12]}, rules {made.rules_version}). Patient data: keep it as the record it comes from.".encode()
    if merged:
        yield b"Another patient id was merged into this one: what it brought along is not in the file."


def _write(path: Path, lines: Iterable[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(line + b"\n" for line in lines)
