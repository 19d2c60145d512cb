"""Putting the service together: store, plan, source, publisher, metrics and board, for ``stream`` and for ``demo``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

from detector.plan import Plan
from models.quarantine import GuardedModel
from pipelines import starting
from pipelines.canary.trips import Canaries, KafkaClients
from pipelines.drift import Reference, read_reference
from pipelines.errors import SourceError
from pipelines.metrics import Metrics
from pipelines.model_files import open_each
from pipelines.outbox import FilePublisher, KafkaPublisher, Publisher
from pipelines.plan_files import load_plan, shadow_settings
from pipelines.service import Service
from pipelines.settings import Settings
from pipelines.shadow import Shadow
from pipelines.sources import Owner, Source
from pipelines.sources.file import FileSource
from pipelines.sources.kafka import KafkaSource
from pipelines.store import Store
from pipelines.supervisor import Supervisor
from pipelines.web.answers import answers
from pipelines.web.app import build_app
from pipelines.web.board import Board
from pipelines.web.cds_token import Guard
from pipelines.web.readers import readers
from pipelines.web.server import WebServer, allowed_hosts
from pipelines.web.stay_pages import StayPages

log = logging.getLogger(__name__)

EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - to know them


@contextmanager
def running(
    settings: Settings, plan: Plan, *, board: Board | None = None, notice: str = "", restore_models: bool = False
) -> Iterator[tuple[Service, str]]:
    """A service ready to ``run``, and the address of its page, which is served until the block ends.

    ``board`` is for a caller that shows the open alerts too; ``notice`` stands on top of the page;
    ``restore_models`` takes back the models that were kept out.

    Raises:
        ConfigError: a file that the settings name cannot be used, or the topics do not fit.
        StoreError: the store cannot be opened.
        SourceError: no broker answers, or the port of ``http`` is taken.
    """
    with ExitStack() as open_now:
        store = Store(settings.store, serving=True)
        open_now.callback(store.close)
        newest = store.note_plan(plan.digest, plan.rules_version)
        log.info("audit_newest hash=%s", newest)
        metrics = Metrics(plan, settings)
        board = board or Board(settings.identity_key())
        service = Service(
            settings,
            plan,
            _guarded(settings, plan, metrics),
            store,
            _publisher(settings),
            metrics,
            board,
            partial(connect, settings),
            restore_models=restore_models,
            shadow=_shadow(settings, plan, store),
            reference=_reference(settings, plan),
            canaries=open_now.enter_context(_canaries(settings)),
        )
        given = answers(settings)
        app = build_app(
            metrics, board, service.ready, hosts=allowed_hosts(settings.http.host, settings.http.hosts), notice=notice,
            cds=Guard(settings.cds_hooks, metrics.cds_refused), answers=given,
            pages=StayPages(settings, plan, board, notice=notice, answers=given.open),
            readers=readers(settings.http),
        )  # fmt: skip
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


@contextmanager
def _canaries(settings: Settings) -> Iterator[Canaries | None]:
    """Canaries that fly until the block ends, where the settings want them."""
    every_s = settings.canary_s()
    supervisor = Supervisor.of_environment()
    if not every_s:
        if supervisor.watched:
            log.warning("watchdog_unfed effect='the supervisor will end us' mend='no WatchdogSec without canaries'")
        supervisor.ready()
        yield None
        return
    canaries = Canaries(partial(KafkaClients, settings.kafka), every_s, came_back=supervisor.alive)
    canaries.start()
    try:
        yield canaries
    finally:
        canaries.close()


def _guarded(settings: Settings, plan: Plan, metrics: Metrics) -> dict[str, GuardedModel]:
    """The models of the deployment; a failure keeps one out, is counted, logged and shown."""

    def told(model: str, why: str) -> None:
        log.error("models_quarantined model=%s reason=%s effect='the rules go on'", model, why)
        metrics.model_quarantined(model, quarantined=True)

    return {
        name: GuardedModel(model, most_s=settings.models.most_seconds, told=partial(told, name))
        for name, model in open_each(settings, plan).items()
    }


def _reference(settings: Settings, plan: Plan) -> Reference | None:
    """What readings should look like, where the site says so."""
    path = settings.drift.reference
    return None if path is None else read_reference(Path(path), plan.catalogue)


def _shadow(settings: Settings, champion: Plan, store: Store) -> Shadow | None:
    """The plan that is tried beside, where one is named."""
    chosen = shadow_settings(settings)
    if chosen is None:
        return None
    plan = load_plan(chosen)
    log.info("shadow_begun plan=%s champion=%s", plan.digest[:12], champion.digest[:12])
    return Shadow(
        plan, open_each(chosen, plan), store, champion, most_s=settings.models.most_seconds,
        kafka=settings.source == "kafka",
    )  # fmt: skip


class Stoppable(Protocol):
    def stop(self) -> None: ...


@contextmanager
def stopped_by_signals(service: Stoppable) -> Iterator[None]:
    """SIGTERM and SIGINT end the service after its present batch; the handlers before are put back.

    Those of the start are not: when the service has ended, what is left to put away is not to be interrupted.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        service.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    if starting.asked_to_end():
        service.stop()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler is starting.at_once else handler)


def connect(settings: Settings, owner: Owner) -> Source:
    """The source that the settings name."""
    if settings.source == "file":
        return FileSource(Path(settings.file.path), owner, settings.limits.record_bytes)
    return KafkaSource(
        settings.kafka, owner, record_bytes=settings.limits.record_bytes, merge_idle_ms=settings.merge_idle_ms
    )


def _publisher(settings: Settings) -> Publisher:
    if settings.source == "file":
        return FilePublisher(settings.file, settings.exports)
    return KafkaPublisher(settings.kafka, settings.exports)
