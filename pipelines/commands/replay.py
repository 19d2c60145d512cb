"""``itbwatch replay``: what would have been alerted, over a data set of past stays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from detector.plan import Plan
from detector.records import SEVERITIES
from pipelines.datasets import FORMATS, open_dataset
from pipelines.drift import make_reference, write_reference
from pipelines.exports import EXPORTS, exporter
from pipelines.plan_files import load_plan, load_site, rules_of
from pipelines.progress import bar, reading
from pipelines.replay import Outcome, replay
from pipelines.reports.report import MOST_PAGES, report
from pipelines.results import check_output, summarise, write
from pipelines.resuming import kept_beside
from pipelines.settings import Settings
from pipelines.settings_file import with_overlay
from pipelines.sieve import SKIPPED, Sieve, floors, least
from pipelines.spark.session import require


@click.command("replay", short_help="Alerts of past stays: alerts.parquet, summary.json, report.html.")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="canonical", show_default=True)
@click.option("--stays", type=click.Path(path_type=Path), help="Table of stays; gives admissions and discharges.")
@click.option(
    "--pumps", metavar="all|none|FILE", help="Who has a pump. FILE: pump events as NDJSON, the others have none."
)
@click.option("--context", type=click.Path(path_type=Path), help="Context events as NDJSON.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.option(
    "--export", "exports", type=click.Choice(sorted(EXPORTS)), multiple=True,
    help="Also write the alerts as FHIR resources or HL7 v2 messages, one a line; may be given twice.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes to share the patients."
)
@click.option(
    "--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True,
    help="spark: the patients are shared by a cluster (the extra [spark]; `spark` in config.yaml).",
)  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="config.yaml; without it, its defaults.")
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Other thresholds and severities; instead of config.yaml's."
)
@click.option("--shadow", type=click.Path(path_type=Path), help="An overlay to try beside: OUT/shadow.parquet.")
@click.option(
    "--report-stays", type=click.IntRange(0), default=MOST_PAGES, show_default=True, metavar="N",
    help="Alerted stays that get a page, the most severe first.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True,
    help="Keep what is finished beside DIR until the results are written, and begin with what an interrupted run kept.",
)  # fmt: skip
@click.option(
    "--every-patient", is_flag=True,
    help="Also run patients of whom nothing can be alerted: no pump, no oral baclofen, never near 40.5 degC.",
)  # fmt: skip
@click.option("--drift-reference", type=click.Path(path_type=Path), help="Write what the readings look like (drift).")
def command(
    inputs: tuple[Path, ...], format_name: str, stays: Path | None, pumps: str | None, context: Path | None, out: Path,
    exports: tuple[str, ...], workers: int, engine: str, config: Path | None, overlay: Path | None, shadow: Path | None,
    report_stays: int, resume: bool, every_patient: bool, drift_reference: Path | None,  # noqa: FBT001 - an option
) -> None:  # fmt: skip
    """Run the engine over past stays, in a fresh state of its own, and write what it would have alerted.

    INPUT is a canonical table of observations: Parquet, CSV, or NDJSON of any events. With another --format it is the
    folder of that data set; look at it first with `itbwatch check --format NAME INPUT`.
    OUT/report.html is for reading; it opens a page in OUT/report for each alerted stay. It names patients: keep it in the house.
    With --shadow the same stays are run a second time under that overlay; `itbwatch compare OUT` shows the differences.
    """
    kept = kept_beside(out) if resume else None
    run: Callable[..., Outcome] = replay if kept is None else partial(replay, keep=kept.run)
    if engine == "spark" and resume:
        raise click.UsageError("--resume: not with --engine spark; expected --engine local; leave one of them out")
    if engine == "spark":
        require()
        from pipelines.spark.replay import replay_on_spark

        run = replay_on_spark
    check_output(out)
    settings, plan = load_site(config, overlay)
    challenger = None if shadow is None else with_overlay(settings, shadow)
    if challenger is not None:
        load_plan(challenger)
    started = time.perf_counter()
    sieve = None
    if not every_patient and drift_reference is None:
        sieve = sieve_of(plan, [settings, *([] if challenger is None else [challenger])], pumps)
    with reading() as told:
        dataset = open_dataset(
            format_name, inputs, stays=stays, pumps=pumps, context=context, settings=settings, told=told, sieve=sieve
        )
    with bar(len(dataset) * (1 if challenger is None else 2)) as advance:
        outcome = run(dataset, settings, workers=workers, progress=advance)
        taken = time.perf_counter() - started
        beside = None if challenger is None else run(dataset, challenger, workers=workers, progress=advance).records
    asked = {
        "inputs": [path.name for path in inputs], "format": format_name, "stays": stays and stays.name,
        "pumps": pumps if pumps in ("all", "none", None) else Path(pumps).name, "context": context and context.name,
        "shadow": shadow and shadow.name, "workers": workers, "engine": engine,
        "synthetic": dataset.synthetic, "remarks": dataset.remarks,
    }  # fmt: skip
    rows = len(dataset) + sum(dataset.rejected.values()) + outcome.skipped
    summary = summarise(outcome, plan, rows=rows, seconds=taken, run=asked)
    asked_for = {name: exporter(name, plan.catalogue, settings.hl7v2) for name in exports}
    first, stays_shown, pages = report(dataset, outcome, summary, plan, most=report_stays, workers=workers)
    with bar(stays_shown, "report", "pages/s") as advance:
        write(out, outcome.records, summary, first, asked_for, beside, _told(pages, advance))
    if kept is not None:
        kept.forget()
    for remark in dataset.remarks:
        click.echo(f"{inputs[0]}: {remark}")
    if drift_reference is not None:
        made = make_reference(dataset.in_order(), plan.catalogue, [path.name for path in inputs])
        write_reference(drift_reference, made)
        click.echo(f"drift reference of {len(made.signals)} signals in {drift_reference}")
    _print(summary, out)


def sieve_of(plan: Plan, several: Sequence[Settings], pumps: str | None) -> Sieve | None:
    """Who need not be run under any of these settings; None = everybody must be."""
    unknown = pumps is None and not plan.book.tables["pump_register_complete"]
    needed = least([floors(rules_of(settings), pump_unknown=unknown) for settings in several])
    return None if needed is None else Sieve(plan.catalogue, needed)


def _told(pages: Iterable[tuple[str, str]], advance: Callable[[int], object]) -> Iterator[tuple[str, str]]:
    for page in pages:
        yield page
        advance(1)


def _print(summary: Mapping[str, Any], out: Path) -> None:
    console = Console()
    table = Table("severity", title="alerts opened or raised", title_justify="left")
    for column in ("alerts", "per 100 patient-days", "per 100 gated days"):
        table.add_column(column, justify="right")
    for word in reversed(SEVERITIES):
        rates = (summary[f"alerts_per_100_{kind}patient_days"][word] for kind in ("", "gated_"))
        table.add_row(
            word, str(summary["alerts_by_severity"][word]), *("-" if one is None else f"{one:.2f}" for one in rates)
        )
    console.print(table)
    rejected = sum(count for reasons in summary["rejected"].values() for count in reasons.values())
    late = sum(summary.get("late_observations", {}).values())
    click.echo(
        f"{summary['stays']} stays, {summary['patient_days']:,} patient-days ({summary['gated_patient_days']:,} gated), "
        f"{summary['rows']:,} rows: {rejected:,} rejected, {late:,} late\n"
        f"{summary['rows_per_second']:,.0f} rows/s, {summary['seconds']:.1f} s, "
        f"peak memory {summary['peak_memory_mb']:,.0f} MB, plan {summary['plan_digest'][:16]}"
    )
    if summary["skipped"]:
        click.echo(
            f"skipped {summary['skipped'][SKIPPED]:,} rows of {summary['skipped_patients']:,} patients: no pump, no oral "
            "baclofen, nothing that is alerted without them"
        )
    for reason, count in ((f"{t}: {r}", n) for t, reasons in summary["rejected"].items() for r, n in reasons.items()):
        click.echo(f"  rejected {reason} {count:,}")
    click.echo(f"written to {out}")
