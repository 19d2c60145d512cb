"""``itbwatch evaluate``: what the product finds, what it costs, and whether anything simpler does as well."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipelines.drawing.page import words
from pipelines.evaluation.budget import keep_budget
from pipelines.evaluation.cohort import read_cohort, simulated_cohort
from pipelines.evaluation.counting import counted, fired_by_records
from pipelines.evaluation.curve import BUDGETS
from pipelines.evaluation.intervals import Figure
from pipelines.evaluation.report import number, overall, percent, report_html
from pipelines.evaluation.run import Told, evaluate, stays_table
from pipelines.evaluation.timelines import choose
from pipelines.evaluation.truth import SEVERITIES
from pipelines.evaluation.writing import check_output, write
from pipelines.settings import Settings
from pipelines.settings_file import load_settings, with_overlay
from pipelines.usage import Number


@click.command("evaluate", short_help="Recall, delay, burden and peers on stays whose truth is known; with a report.")
@click.argument("cohorts", metavar="[COHORT_DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--budget",
    type=Number(0.01, 100),
    help="Find the thresholds that keep so many warnings per 100 patient-days; writes OUT/overlay.yaml.",
)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Score what the product has to beat.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes for the replay.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Equal seeds give equal figures.")
@click.option(
    "--ablation", is_flag=True, help="Also run the rules without the models, and show what the models change."
)
@click.option(
    "--beds",
    type=click.IntRange(30, 2_000),
    default=60,
    show_default=True,
    help="Synthetic stays, where no COHORT_DIR is given.",
)
@click.option(
    "--courses",
    type=click.IntRange(1, 100),
    default=2,
    show_default=True,
    help="Courses of each kind and severity in them.",
)
@click.option("--config", type=click.Path(path_type=Path), help="config.yaml; without it, its defaults.")
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Other thresholds and severities; instead of config.yaml's."
)
def command(
    cohorts: tuple[Path, ...], out: Path, budget: float | None, *, peers: bool, ablation: bool, beds: int, courses: int,
    workers: int, seed: int, config: Path | None, overlay: Path | None,
) -> None:  # fmt: skip
    """Run the product and its peers over stays whose truth is known, and write what it found and what it cost.

    COHORT_DIR holds observations.parquet, stays.parquet and truth.parquet, and pumps.ndjson and context.ndjson where
    there are any: what `itbwatch simulate --courses` writes. Without one, courses in synthetic stays are used, which are
    tamer than a real ICU: good for a look, not for a judgement.

    \b
    OUT/report.html       for reading: curves, intervals, delays, single stays; no script, no outside address
    OUT/evaluation.json   every figure with its interval
    OUT/stays.parquet     one row a stay: its truth, its warnings, its label in the report
    OUT/alerts.parquet    every record, as replay writes them
    OUT/overlay.yaml      with --budget: the thresholds that keep it, for `overlay` in config.yaml or --overlay

    --budget replays the stays without a course once for each threshold it tries, and peers are shown at that budget too.
    Its sensitivity is that of the stays it was tuned on: measure it on a part that was left out.

    \b
    Try: itbwatch evaluate --no-peers --out trial
         itbwatch simulate --courses 8 --inject stays.observations.parquet --stays stays.stays.parquet --part tune --out tune
         itbwatch evaluate tune --budget 1 --out tuned
         itbwatch evaluate test --overlay tuned/overlay.yaml --out tested
    """
    check_output(out)
    if budget is not None and overlay is not None:
        raise click.UsageError(
            "--budget and --overlay: expected one of them; --budget makes an overlay of the rules as they are"
        )
    settings = with_overlay(Settings() if config is None else load_settings(config), overlay)
    budgets = sorted({*BUDGETS, *([budget] if budget else [])})
    read = [read_cohort(folder) for folder in cohorts]
    with _progress() as told:
        if not read:
            read = [simulated_cohort(beds, courses, seed, told)]
        done = evaluate(
            read, settings, budgets=budgets, peers=peers, without_models=ablation, workers=workers, seed=seed, told=told
        )
        kept = None
        if budget is not None:
            unlaid = settings.model_copy(update={"overlay": None})
            kept = keep_budget(read, unlaid, budget, workers=workers, seed=seed, told=told)
            done.result["tuned"] = kept.result
    warnings = counted(fired_by_records(done.records, done.stays))
    shown = choose(done.stays, warnings, done.found, seed=seed)
    table = stays_table(done, {one.row: one.label for one in shown})
    laid = kept.overlay if kept is not None else None
    write(out, done.result, report_html(done, shown), table, done.records, laid)
    _print(done.result)
    click.echo(f"written to {out}")


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar for each stage on a terminal, silence in a pipe."""
    columns = TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True)
    stages: dict[str, TaskID] = {}

    def told(stage: str, done: int, total: int) -> None:
        first = stage not in stages
        if first:
            stages[stage] = bar.add_task(stage, total=total)
        bar.advance(stages[stage], done)
        if first:  # a stage shorter than the time between two pictures is seen, too
            bar.refresh()

    with bar:
        yield told


def _print(result: Mapping[str, Any]) -> None:
    console = Console()
    run, product = result["run"], result["product"]
    click.echo(
        f"synthetic courses of {', '.join(run['generators']) or 'no named generator'} in "
        f"{'synthetic' if run['synthetic_background'] else 'real'} stays ({', '.join(run['data_sets']) or 'not named'}): "
        f"{run['courses']} courses, {run['look_alikes']} look-alikes, {run['background_stays']} backgrounds with "
        f"{run['background_days']:,.0f} patient-days"
    )
    burdens = {row["tier"]: row for row in overall(product["burden"])}
    table = _table(
        "the product: courses found, % (95 % interval)",
        "tier",
        "per 100 days",
        "stays alerted, %",
        *map(words, SEVERITIES),
    )
    for tier, row in burdens.items():
        found = {one["severity"]: one["found"] for one in overall(product["recall"], tier)}
        shares = (_short(found.get(severity)) for severity in SEVERITIES)
        table.add_row(tier, number(row["per_100_days"]), _short(row["ever"]), *shares)
    console.print(table)
    table = _table(
        "delay and lead of warnings, hours", "severity", "delay", "lead before organ failure", "warned before it"
    )
    for row in overall(product["recall"], "warning"):
        table.add_row(
            words(row["severity"]),
            number(row["delay_hours"]),
            number(row["lead_hours"]),
            percent(row["before_organ_failure"]),
        )
    console.print(table)
    if "tuned" in result:
        _print_tuned(result["tuned"])
    if result["peers"]:
        budgets = [*result["budgets"], *(one["burden"] for one in result["against_peers"][:1])]
        table = _table(
            "peers: full-blown / moderate / mild found, % at warnings per 100 patient-days",
            "peer",
            *(f"{one:.3g}" for one in budgets),
        )
        for name, peer in result["peers"].items():
            table.add_row(name, *(_shares(one) for one in peer["at_budgets"]))
        console.print(table)
        for verdict, said in (("behind", "the product is behind"), ("level", "the product is level with")):
            rows = (row for row in result["against_peers"] if row["verdict"] == verdict)
            named = ", ".join(f"{row['peer']} ({words(row['severity'])})" for row in rows)
            click.echo(f"at its own burden {said}: {named or 'none'}")


def _print_tuned(tuned: Mapping[str, Any]) -> None:
    if not tuned["keeps"]:
        click.echo(
            f"no threshold keeps {tuned['budget']:g} warnings per 100 patient-days: the closest makes {tuned['burden']:.2f}, "
            "most of it by rules that no budget may silence"
        )
    found = {row["severity"]: row["found"] for row in overall(tuned["recall"], "warning")}
    shares = ", ".join(f"{words(name)} {_short(found[name])} %" for name in SEVERITIES if name in found)
    click.echo(f"overlay.yaml: {tuned['burden']:.2f} warnings per 100 patient-days, found {shares}")
    for line in tuned["changes"] or ["nothing: the rules as they are keep it"]:
        click.echo(f"  {line}")


def _short(figure: Figure | None) -> str:
    if figure is None or figure.value is None or figure.low is None or figure.high is None:
        return "-"
    return f"{100 * figure.value:.0f} ({100 * figure.low:.0f}-{100 * figure.high:.0f})"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _shares(one: Mapping[str, Any]) -> str:
    found = {row["severity"]: row["found"].value for row in overall(one["recall"])}
    return " / ".join("-" if found.get(severity) is None else f"{100 * found[severity]:.0f}" for severity in SEVERITIES)
