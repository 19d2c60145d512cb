"""``itbwatch train``: fit the models on simulated courses in real or synthetic stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from detector.errors import ConfigError
from pipelines.settings import Settings
from pipelines.settings_file import load_settings
from pipelines.training.families import PER_100_DAYS
from pipelines.training.run import TrainingSet, train, training_sets


@click.command(
    "train", short_help="Fit the models on courses injected into stays; writes an artefact for models.folder."
)
@click.argument("stays", metavar="[OBSERVATIONS STAYS]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--courses", type=click.IntRange(1, 500), default=25, show_default=True, help="Courses of each kind and severity in each data set.")  # fmt: skip
@click.option("--beds", type=click.IntRange(30, 2_000), default=120, show_default=True, help="Synthetic stays, where no data set is given.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=11, show_default=True, help="Equal seeds and data give equal models.")  # fmt: skip
@click.option("--ablation", is_flag=True, help="Also fit without the personal baseline and with the joint anomaly, and keep what each finds.")  # fmt: skip
@click.option("--families", is_flag=True, help="Also fit once without each family of courses, and print what is then found of it.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="config.yaml; without it, its defaults.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the artefact; made if need be.")
def command(
    *, stays: tuple[Path, ...], courses: int, beds: int, seed: int, ablation: bool, families: bool,
    config: Path | None, out: Path,
) -> None:  # fmt: skip
    """Fit the personal, joint and withdrawal models.

    OBSERVATIONS and STAYS are canonical tables, one pair a data set. Patients are split by a hash of their id: half of
    them teach, a fifth calibrates, the rest is left for `itbwatch evaluate`. Without any, synthetic stays are used: good
    for a trial, not for thresholds.

    \b
    OUT/withdrawal.npz     the trees
    OUT/arrays.json        everything else, as numbers
    OUT/manifest.json      digests, versions, parameters and metrics; it is checked before anything else is read

    \b
    Try: itbwatch train --beds 60 --courses 4 --out my-models
    """
    if len(stays) % 2:
        raise click.UsageError("an odd number of tables; expected pairs of OBSERVATIONS and STAYS")
    if out.exists() and not out.is_dir():
        raise ConfigError([f"{out}: is a file; expected a folder, --out DIR"])
    settings = Settings() if config is None else load_settings(config)
    pairs = [*zip(stays[::2], stays[1::2], strict=True)]
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)

        sets: list[TrainingSet] = training_sets(pairs, beds=beds, seed=seed)
        manifest = train(
            sets, settings, out, courses=courses, seed=seed, with_ablation=ablation, with_families=families, told=told
        )
    found = manifest["metrics"]
    click.echo(
        f"{manifest['version']}: {manifest['parameters']['examples']:,} rows of {manifest['parameters']['stays']:,} stays, "
        f"area under the curve on the people of the calibration {found['auc']:.3f}, in {out}"
    )
    if families:
        _print_families(found["families"])
    if any(one.synthetic for one in sets):
        click.echo("Synthetic stays: thresholds and figures from them say nothing of patients.")


def _print_families(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(
        title=f"left out of the fit; at {PER_100_DAYS:g} warnings per 100 patient-days; (95 % interval)",
        title_justify="left",
    )
    for column in (
        "family",
        "tone",
        "found, fitted with it",
        "without it",
        "won/lost, p",
        "warnings per 100 days of it, with",
        "without",
    ):
        table.add_column(column)
    for row in rows:
        found, alike = row["found"] or {}, row["look_alikes"] or {}
        table.add_row(
            row["family"], row["tone"].replace("_", " "),
            *(_figure(found.get(name), 100) for name in ("with", "without")),
            "-" if row["won"] is None else f"+{row['won']} -{row['lost']}, {row['p']:.2f}",
            *(_figure(alike.get(name), 1) for name in ("with", "without")),
        )  # fmt: skip
    Console().print(table)


def _figure(one: Mapping[str, Any] | None, times: float) -> str:
    if one is None or one["value"] is None:
        return "-"
    digits = 0 if times == 100 else 1
    return f"{times * one['value']:.{digits}f} ({times * one['low']:.{digits}f}-{times * one['high']:.{digits}f})"
