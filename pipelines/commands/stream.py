"""``itbwatch stream``: the service."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines import logs
from pipelines.plan_files import load_site
from pipelines.running import running, stopped_by_signals
from pipelines.spark.session import require


@click.command("stream", short_help="The service: events in, alerts, metrics and board out.")
@click.option("--config", type=click.Path(path_type=Path), default="config.yaml", show_default=True)
@click.option(
    "--overlay", type=click.Path(path_type=Path), help="Other thresholds and severities; instead of config.yaml's."
)
@click.option(
    "--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True,
    help="spark: patients on a cluster, alerts only: no page, no metrics (the extra [spark]).",
)  # fmt: skip
@click.option("--restore-models", is_flag=True, help="Take back models that an earlier run kept out.")
def command(config: Path, *, overlay: Path | None, engine: str, restore_models: bool) -> None:
    """Read events from Kafka (or, with `source: file`, from an NDJSON file) and watch every patient.

    Alerts go to the topic itb.alerts, to /metrics and to the page at /. State, alerts and input positions are kept in
    one store, so that the service may be killed at any time and goes on where it was.

    \b
    itbwatch check --connect     see first whether configuration, broker and topics fit
    itbwatch stream              run; SIGTERM or Ctrl-C finishes the batch and exits 0
    itbwatch stream --restore-models    where a model was kept out (itbwatch_model_quarantined) and the cause is mended
    """
    if engine == "spark":
        require()
    settings, plan = load_site(config, overlay, all_files=True)
    logs.configure(settings.logging.level)
    if engine == "spark":
        from pipelines.spark.stream import streaming

        with streaming(settings, plan) as stream, stopped_by_signals(stream):
            click.echo("itbwatch: watching on Spark", err=True)
            stream.run()
        return
    with running(settings, plan, restore_models=restore_models) as (service, url), stopped_by_signals(service):
        click.echo(f"itbwatch: watching; page and metrics at {url}", err=True)
        service.run()
