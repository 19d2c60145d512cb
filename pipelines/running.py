"""Putting the service together: store, plan, source, publisher, metrics and board, for ``stream`` and for ``demo``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from detector.plan import Plan
from detector.scoring import Scorer
from models.quarantine import Guarded
from pipelines.errors import SourceError
from pipelines.metrics import Metrics
from pipelines.model_files import open_scorer
from pipelines.outbox import FilePublisher, KafkaPublisher, Publisher
from pipelines.plan_files import load_plan
from pipelines.service import Service
from pipelines.settings import Settings
from pipelines.sources import Owner, Source
from pipelines.sources.file import FileSource
from pipelines.sources.kafka import KafkaSource
from pipelines.store import Store
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.server import WebServer, allowed_hosts

log = logging.getLogger(__name__)

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - to know them


@contextmanager
def running(
    settings: Settings, scorer: Scorer | None = None, *, board: Board | None = None, notice: str = ""
) -> Iterator[tuple[Service, str]]:
    """A service ready to ``run``, and the address of its page, which is served until the block ends.

    ``board`` is for a caller that shows the open alerts too; ``notice`` stands on top of the page.

    Raises:
        ConfigError: a file of the configuration, catalogue or rules is wrong, or the topics do not fit.
        StoreError: the store cannot be opened.
        SourceError: no broker answers, or the port of ``http`` is taken.
    """
    plan = load_plan(settings)
    with ExitStack() as open_now:
        store = Store(settings.store)
        open_now.callback(store.close)
        metrics = Metrics(plan, settings)
        board = board or Board(settings.identity_key())
        service = Service(
            settings,
            plan,
            scorer or _guarded(settings, plan, metrics),
            store,
            _publisher(settings),
            metrics,
            board,
            partial(connect, settings),
        )
        app = build_app(
            metrics, board, service.ready, hosts=allowed_hosts(settings.http.host, settings.http.hosts), notice=notice
        )
        if settings.http.host in EVERY_ADDRESS and not settings.http.hosts:
            log.warning(
                "http_hosts_empty effect='others than loopback are answered 400' mend='list names in http.hosts'"
            )
        try:
            web = open_now.enter_context(WebServer(app, settings.http.host, settings.http.port))
        except OSError as error:
            where = f"{settings.http.host}:{settings.http.port}"
            raise SourceError(f"http: {where} cannot be served ({error.strerror}); expected a free port") from error
        yield service, web.url


def _guarded(settings: Settings, plan: Plan, metrics: Metrics) -> Scorer:
    """The models of the deployment; one failure keeps them out, is counted, logged and shown."""

    def told(why: str) -> None:
        log.error("models_quarantined reason=%s effect='the rules go on' mend='see docs/operations.md, restart'", why)
        for name in plan.models:
            metrics.model_quarantined(name, quarantined=True)

    scorer = open_scorer(settings, plan)
    return (
        Guarded(scorer, tuple(plan.models), most_s=settings.models.most_seconds, told=told) if plan.models else scorer
    )


@contextmanager
def stopped_by_signals(service: Service) -> Iterator[None]:
    """SIGTERM and SIGINT end the service after its present batch; the handlers before are put back."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        service.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def connect(settings: Settings, owner: Owner) -> Source:
    """The source that the settings name."""
    if settings.source == "file":
        return FileSource(Path(settings.file.path), owner, settings.limits.record_bytes)
    return KafkaSource(
        settings.kafka, owner, record_bytes=settings.limits.record_bytes, merge_idle_ms=settings.merge_idle_ms
    )


def _publisher(settings: Settings) -> Publisher:
    return FilePublisher(settings.file) if settings.source == "file" else KafkaPublisher(settings.kafka)
