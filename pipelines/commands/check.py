"""``itbwatch check``: whether what this site wrote is right, and the rules do what their examples say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from detector.errors import ConfigError
from detector.examples import examples_of, run_examples
from detector.plan import Plan
from detector.rules.overlay import Overlay
from pipelines.datasets import FORMATS
from pipelines.model_files import open_scorer
from pipelines.plan_files import beside, catalogue_of, load_plan, overlay_of, read_catalogue, shadow_settings
from pipelines.progress import reading
from pipelines.settings import Settings
from pipelines.settings_file import load_settings, named, read_settings, with_overlay
from pipelines.store import Store


@click.command("check", short_help="Check config.yaml, the catalogue, and the rules with their examples.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
@click.argument("inputs", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="Look at the data set at PATH instead.")
@click.option("--connect", is_flag=True, help="Also ask the broker for its topics, and open the store.")
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Other thresholds and severities; instead of config.yaml's."
)
def command(
    inputs: tuple[Path, ...],
    format_name: str | None,
    config: Path,
    connect: bool,  # noqa: FBT001
    overlay: Path | None,
) -> None:
    """Read every file the service would read and name every mistake at once.

    The examples in the rule files are run through the engine, without the overlay. What an overlay changes is shown, with
    the examples that read otherwise under it. With --connect the topics must exist with equal
    partition counts and the right settings, and the store must be writable (it is made when it is not there).

    \b
    itbwatch check
    itbwatch check --config site.yaml --connect
    itbwatch check --overlay quieter.yaml        before it is named in config.yaml
    itbwatch check --format mimic-iv PATH        what a replay of a data set would find; nothing else is checked
    """
    if format_name is not None or inputs:
        _look_at_data(inputs, format_name, config)
        return
    problems: list[str] = []
    settings = Settings()
    try:
        settings, wrong = read_settings(config)
        settings = with_overlay(settings, overlay)
        problems += wrong
        click.echo(f"{config}: read")
    except ConfigError as error:
        problems += error.problems
    plan, examples = None, dict[str, Sequence[Any]]()
    try:
        plan, examples = _plan(settings.model_copy(update={"overlay": None}))
        for rule, written in examples.items():
            problems += run_examples(plan, rule, written)
        _show(plan, examples)
    except ConfigError as error:
        problems += named(config, error.problems)
    challenger, wrong = beside(settings, plan)
    problems += named(config, wrong)
    try:
        if settings.overlay is not None:
            changed, laid = load_plan(settings), overlay_of(settings)
            assert laid is not None
            _show_overlay(settings.overlay, laid, changed, examples)
    except ConfigError as error:
        problems += named(config, error.problems)
    try:
        chosen = shadow_settings(settings)
        if chosen is not None and challenger is not None:
            open_scorer(chosen, challenger)
            _show_shadow(chosen, challenger)
    except ConfigError as error:
        problems += named(config, error.problems)
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    if connect:
        _connect(settings)


def _look_at_data(inputs: tuple[Path, ...], format_name: str | None, config: Path) -> None:
    """Report what a replay would find.

    Raises:
        InputRefused: the data set cannot be replayed.
        ConfigError: there is no such data set, or ``config`` is wrong.
    """
    from pipelines.collecting.survey import lines, survey

    if format_name is None or not inputs:
        raise click.UsageError("--format NAME and PATH belong together; expected both, or neither")
    settings = load_settings(config) if config.exists() else Settings()
    catalogue = load_plan(settings).catalogue
    with reading() as told:
        counted = survey(format_name, inputs, settings, catalogue, told)
    for line in lines(counted, format_name):
        click.echo(line)
    click.echo(f"it can be replayed: itbwatch replay --format {format_name} {' '.join(map(str, inputs))} --out DIR")


def _plan(settings: Settings) -> tuple[Plan, dict[str, Sequence[Any]]]:
    plan = load_plan(settings)
    open_scorer(settings, plan)  # its columns are compared when it is opened, as the service would
    return plan, examples_of(read_catalogue(catalogue_of(settings))[1])


def _show(plan: Plan, examples: dict[str, Sequence[Any]]) -> None:
    catalogue = plan.catalogue
    click.echo(f"signals: {len(catalogue.signals)}, known by {len(catalogue.codes)} codes and names")
    click.echo(f"rules: {len(plan.rules)}, version {plan.rules_version}, plan {plan.digest[:12]}")
    for rule in plan.book.rules.values():
        stands = rule.severity.word if rule.severity else rule.kind
        click.echo(f"  {rule.id:7} {stands:9} {len(examples.get(rule.id, ())):3} examples  {rule.title}")
    click.echo(f"examples: {sum(map(len, examples.values()))} run")


def _show_overlay(file: str, overlay: Overlay, plan: Plan, examples: dict[str, Sequence[Any]]) -> None:
    click.echo(f"overlay: {file}, {overlay.title}, {len(overlay.changes)} changes, plan {plan.digest[:12]}")
    click.echo(f"  because {overlay.because}")
    for name, value in overlay.expected.items():
        click.echo(f"  expected {name}: {value}")
    for one in overlay.changes:
        click.echo(f"  {one.subject:7} {one.key}: {one.was} -> {one.to}, because {one.because}")
    otherwise = [rule for rule, written in examples.items() for _ in run_examples(plan, rule, written)]
    told = ", ".join(dict.fromkeys(otherwise)) or "none"
    click.echo(f"  expectations of the examples that read otherwise: {len(otherwise)}, of rules: {told}")


def _show_shadow(settings: Settings, plan: Plan) -> None:
    overlay = overlay_of(settings)
    said = "no overlay" if overlay is None else f"overlay {settings.overlay}, {len(overlay.changes)} changes"
    click.echo(f"shadow: plan {plan.digest[:12]}, rules {plan.rules_version}, {said}")


def _connect(settings: Settings) -> None:
    """Look at what lies outside: the topics and the store.

    Raises:
        ConfigError: a topic is not as it must be.
        SourceError: no broker answers.
        StoreError: the store cannot be written.
    """
    if settings.source == "kafka":
        from pipelines.topic_check import check_topics

        checked = check_topics(
            settings.kafka, retrospective=settings.time == "stream", exports=settings.exports.places()
        )
        click.echo(f"broker: every topic is there and rightly set; {checked.partitions} partitions")
        for line in checked.advice:
            click.echo(f"advice: {line}")
    else:
        click.echo(f"broker: none, source is the file {settings.file.path}")
    Store(settings.store).close()
    click.echo(f"store: {settings.store.path if settings.store.url_file is None else 'PostgreSQL'} is writable")
