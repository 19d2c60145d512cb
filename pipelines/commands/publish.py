"""``itbwatch publish``: past stays played into the topics."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from kafka import KafkaProducer
from kafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from detector.clock import HOUR, MINUTE, minute_ceil
from detector.errors import ConfigError
from detector.events import LATEST, TimeMoved
from pipelines.dataset import Dataset
from pipelines.datasets import FORMATS, open_dataset
from pipelines.errors import SourceError
from pipelines.formats.canonical import KINDS, encode
from pipelines.kafka_clients import create_topics, producer
from pipelines.progress import reading
from pipelines.settings import Kafka, Settings
from pipelines.settings_file import load_settings, with_servers
from pipelines.usage import Number

STAYS_CLOSE_AFTER = 48 * HOUR + MINUTE  # the silence after which a stay is closed, and the tick that sees it
FLUSH_S = 60
ROLE = {kind: role for role, kind in KINDS.items()}


@click.command("publish", short_help="Play past stays into the Kafka topics.")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--bootstrap-servers", metavar="HOST:PORT,...", help="Brokers; without it, those of --config.")
@click.option("--speed", metavar="N", type=Number(min=0, min_open=True), help="N times real time; default: as fast as possible.")  # fmt: skip
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="canonical", show_default=True)
@click.option("--stays", type=click.Path(path_type=Path), help="Table of stays; gives admissions and discharges.")
@click.option(
    "--pumps", metavar="all|none|FILE", help="Who has a pump. FILE: pump events as NDJSON, the others have none."
)
@click.option("--context", type=click.Path(path_type=Path), help="Context events as NDJSON.")
@click.option(
    "--partitions", type=click.IntRange(1, 1_000), default=4, show_default=True, help="For topics that are made."
)
@click.option("--config", type=click.Path(path_type=Path), help="config.yaml; without it, its defaults.")
def command(
    inputs: tuple[Path, ...], bootstrap_servers: str | None, speed: float | None, format_name: str, stays: Path | None,
    pumps: str | None, context: Path | None, partitions: int, config: Path | None,
) -> None:  # fmt: skip
    """Send every event of past stays to its topic, in the one order, stamped with its available_at.

    Topics that are not there are made. At the end every partition gets a record that moves time on by 48 h, so that
    every stay closes. Run `itbwatch stream` with `time: stream` beside it, and `merge_idle_ms: 500` where its alerts
    are to equal those of `itbwatch replay` of the same files.

    \b
    itbwatch publish observations.parquet --stays stays.parquet --pumps all --bootstrap-servers 127.0.0.1:9092
    """
    settings = Settings() if config is None else load_settings(config)
    kafka = settings.kafka
    if bootstrap_servers is not None:
        kafka = with_servers(kafka, bootstrap_servers)
    others = sorted({name for name in kafka.formats.model_dump().values() if name != "canonical"})
    if others:
        problem = f"{', '.join(others)}; expected canonical, which is what publish writes; use topics of their own"
        raise ConfigError([f"config.yaml $.kafka.formats: {problem}"])
    with reading() as progress:
        dataset = open_dataset(
            format_name, inputs, stays=stays, pumps=pumps, context=context, settings=settings, told=progress
        )
    for remark in dataset.remarks:
        click.echo(f"{inputs[0]}: {remark}")
    made = create_topics(kafka, [*kafka.topics.model_dump().values(), *settings.exports.places()], partitions)
    if made:
        click.echo(f"made the topics {', '.join(made)}", err=True)
    sent = _play(dataset, kafka, speed)
    told = ", ".join(f"{count} to {topic}" for topic, count in sorted(sent.items()))
    click.echo(f"published {sum(sent.values())} events: {told or 'nothing'}")
    for (topic, reason), count in sorted(dataset.rejected.items()):
        click.echo(f"  rejected {topic}: {reason} {count}")


def _play(dataset: Dataset, kafka: Kafka, speed: float | None) -> Counter[str]:
    """Send the events and the closing time records; returns the number of events by topic.

    Raises:
        SourceError: the broker does not take them.
    """
    topics = kafka.topics.model_dump()
    sent: Counter[str] = Counter()
    failed: list[BaseException] = []
    first = newest = None
    started = time.monotonic()
    out = producer(kafka, linger_ms=20, batch_size=256 << 10)
    try:
        with _progress(len(dataset)) as progress:
            bar = progress.add_task("publishing", total=len(dataset))
            for event in dataset.in_order():
                first = event.available_at if first is None else first
                newest = event.available_at
                if speed is not None:
                    time.sleep(max(0.0, (newest - first) / 1_000 / speed - (time.monotonic() - started)))
                topic = topics[ROLE[type(event)]]
                key = event.patient_id.encode()
                out.send(topic, encode(event), key, timestamp_ms=newest).add_errback(failed.append)
                sent[topic] += 1
                progress.advance(bar)
                if failed:
                    break
        if newest is not None:
            _close_stays(out, sent, newest)
        out.flush(timeout=FLUSH_S)
    except KafkaError as error:
        failed.append(error)
    finally:
        out.close(timeout=1)
    if failed:
        said = type(failed[0]).__name__
        raise SourceError(f"kafka: the broker did not take every event ({said}); expected acknowledgements; try again")
    return sent


def _close_stays(out: KafkaProducer, topics: Counter[str], newest: int) -> None:
    """Move time past the close of every stay, on every partition of every topic that was written."""
    # One millisecond more than the last tick: a tick is folded before a record that is later than it.
    at = min(minute_ceil(newest + STAYS_CLOSE_AFTER) + 1, LATEST - 1)
    value = encode(TimeMoved(at=at))
    for topic in topics:
        for partition in sorted(out.partitions_for(topic)):
            out.send(topic, value, partition=partition, timestamp_ms=at)


def _progress(total: int) -> Any:
    """A bar with the remaining time on a terminal, silence in a pipe."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), disable=not sys.stderr.isatty() or not total,
    )  # fmt: skip
