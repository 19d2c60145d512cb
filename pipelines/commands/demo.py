"""``itbwatch demo``: a simulated ward in fast time through the service's own loop, without a broker."""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.live import Live
from rich.table import Column, Table

from detector.clock import HOUR, from_datetime, to_datetime
from detector.records import SEVERITIES
from pipelines.plan_files import load_plan
from pipelines.running import running, stopped_by_signals
from pipelines.settings import File, Http, Poll, Settings
from pipelines.settings import Store as StoreSettings
from pipelines.simulate import DEMO_WARD, WARD, events
from pipelines.simulate.feeder import Feeder
from pipelines.usage import Number
from pipelines.web.board import Board

START = from_datetime(datetime(2030, 1, 7, tzinfo=UTC))
SIMULATED_HOURS = 72
SEED = 1
NOTICE = "Synthetic patients in fast time: no person stands behind any number here."
TELL_EVERY_S = 5.0  # in a pipe; a terminal shows a table that moves


@click.command("demo", short_help="A simulated ward in fast time, with page and metrics; needs no broker.")
@click.option(
    "--speed", type=Number(1, 100_000), default=1_800.0, show_default=True, help="Simulated seconds a second."
)
@click.option(
    "--for",
    "seconds",
    type=Number(min=0, min_open=True),
    help="End after so many seconds instead of on Ctrl-C.",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Of the page; 0 = any free one.  [default: 8480, or any free one]"
)
def command(*, speed: float, seconds: float | None, port: int | None) -> None:
    """Watch a ward of nine simulated patients, three of them with a pump: the published case of BMC Clin Pharmacol
    2004;4:6, a septic patient and a moderate withdrawal. A fourth is too hot and has no pump.

    It runs until Ctrl-C; when the simulated three days are over, the page stays.
    """
    with tempfile.TemporaryDirectory(prefix="itbwatch-demo-") as folder:
        settings = _settings(Path(folder), port)
        board = Board(settings.identity_key())
        feeder = Feeder(Path(settings.file.path), events(DEMO_WARD, START, SIMULATED_HOURS, SEED), speed)
        with (
            running(settings, load_plan(settings), board=board, notice=NOTICE) as (service, url),
            stopped_by_signals(service),
        ):
            if seconds is not None:
                end = threading.Timer(seconds, service.stop)
                end.daemon = True
                end.start()
            with feeder, _shown(url, feeder, board, service.stop):
                service.run()
    click.echo("itbwatch demo: ended")


def _settings(folder: Path, port: int | None) -> Settings:
    file = File(
        path=str(folder / "ward.ndjson"), alerts=str(folder / "alerts.ndjson"), deadletters=str(folder / "dead.ndjson")
    )
    return Settings(
        source="file", time="stream", file=file, store=StoreSettings(path=str(folder / "demo.sqlite")),
        http=Http(port=_free_port(Http().host, Http().port) if port is None else port), poll=Poll(timeout_ms=100), wards=WARD["stays"]["units"],
    )  # fmt: skip


def _free_port(host: str, wanted: int) -> int:
    """The wanted port, or 0, any free one, when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError:
            return 0
    return wanted


@contextmanager
def _shown(url: str, feeder: Feeder, board: Board, stop: Callable[[], None]) -> Iterator[None]:
    """Say how it goes while the block runs: a table that moves on a terminal, lines in a pipe."""
    print(f"itbwatch demo: {url} (page), {url}metrics; Ctrl-C ends it. {NOTICE}", flush=True)
    if sys.stdout.isatty():
        with Live(get_renderable=lambda: _table(feeder, board), refresh_per_second=4, transient=True):
            yield
        return
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(feeder, board, ended, stop), name="teller", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(feeder: Feeder, board: Board, ended: threading.Event, stop: Callable[[], None]) -> None:
    while not ended.wait(TELL_EVERY_S):
        counts = _open(board)
        alerts = ", ".join(f"{counts[word]} {word}" for word in reversed(SEVERITIES))
        try:
            print(f"{_moment(feeder)}, {feeder.written} records, open alerts: {alerts}", flush=True)
        except BrokenPipeError:  # nobody reads any more
            stop()
            return


def _table(feeder: Feeder, board: Board) -> Table:
    counts = _open(board)
    table = Table(Column("ward time", no_wrap=True), "records", *reversed(SEVERITIES), "newest of the most severe")
    alerts = board.alerts()
    headline = alerts[0][1].headline if alerts else "-"
    table.add_row(
        _moment(feeder), f"{feeder.written:,}", *(str(counts[word]) for word in reversed(SEVERITIES)), headline
    )
    return table


def _open(board: Board) -> Counter[str]:
    return Counter(record.severity for _, record in board.alerts())


def _moment(feeder: Feeder) -> str:
    hours = (feeder.now - START) / HOUR
    return f"{to_datetime(feeder.now):%a %H:%M} ({hours:.1f} h{', all played, still serving' if feeder.over else ''})"
