"""What is served over HTTP: metrics, health, the page of open alerts, CDS Hooks, and the one thing that it
takes: answers to alerts. It tells no identifier.

Nothing is loaded from elsewhere: two small scripts of our own fill the pages, and without any script the alerts are there
as plain HTML that asks for itself again every few seconds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.drawing.page import REPORT_STYLE
from pipelines.drawing.stay_chart import STYLE as CHART_STYLE
from pipelines.errors import StoreError
from pipelines.metrics import Metrics
from pipelines.settings import CdsHooks
from pipelines.web import cds_hooks
from pipelines.web.alert_html import STYLE
from pipelines.web.answers import NOBODY, Answers
from pipelines.web.board import Board
from pipelines.web.cds_token import Guard
from pipelines.web.events import Events
from pipelines.web.readers import EVERYBODY, AskReaders, Readers
from pipelines.web.stay_pages import StayPages
from pipelines.web.ward_page import ward_page

STATIC = Path(__file__).with_name("static")

log = logging.getLogger(__name__)

Reasons = Callable[[], Sequence[str]]
"""Why the service is not ready; empty = it is."""

NO_SUCH_STAY = {
    "error": "stay: no open alert has this pseudonym here; expected the value of `stay` in /api/alerts or /metrics;"
    " its alerts may have ended, or another worker may have them"
}

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def build_app(
    metrics: Metrics,
    board: Board,
    reasons: Reasons,
    *,
    hosts: Sequence[str],
    notice: str = "",
    cds: Guard | None = None,
    answers: Answers = NOBODY,
    pages: StayPages | None = None,
    readers: Readers = EVERYBODY,
) -> Starlette:
    """The application. ``hosts`` are the names it answers to; ``notice`` stands on top of the page; ``cds`` says who may
    use CDS Hooks (None = this machine), ``answers`` who may answer an alert; ``pages`` makes the page of a stay (None = there is none), ``readers`` says who may look.
    """

    def page(_: Request) -> Response:
        return HTMLResponse(ward_page(board, reasons(), notice, answers=answers.open))

    def style(_: Request) -> Response:
        return Response(styles, media_type="text/css")

    def script(request: Request) -> Response:
        text = scripts.get(request.path_params["name"])
        return (
            PlainTextResponse("no such file\n", 404) if text is None else Response(text, media_type="text/javascript")
        )

    def stay_page(request: Request) -> Response:
        try:
            made = None if pages is None else pages.page(request.path_params["pseudonym"], lambda: list(reasons()))
        except StoreError as error:
            log.warning("stay_page_failed error=%s", type(error).__name__)
            return PlainTextResponse("the store cannot be read; try again\n", 503)
        return PlainTextResponse(NO_SUCH_STAY["error"] + "\n", 404) if made is None else HTMLResponse(made)

    def nothing(_: Request) -> Response:
        return Response(status_code=204)

    def alerts(_: Request) -> Response:
        return JSONResponse(board.as_json())

    def stay(request: Request) -> Response:
        wanted = request.path_params["pseudonym"]
        mine = [one for one in board.as_json() if one["stay"] == wanted]
        if not mine:  # what was asked for is not repeated: it may be a patient's number
            return JSONResponse(NO_SUCH_STAY, status_code=404)
        return JSONResponse({"stay": wanted, "alerts": mine})

    def scrape(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    def ready(_: Request) -> Response:
        missing = reasons()
        return PlainTextResponse("\n".join(missing or ["ready"]) + "\n", status_code=503 if missing else 200)

    scripts = {path.name: path.read_text() for path in sorted(STATIC.glob("*.js"))}
    styles = STYLE + REPORT_STYLE + CHART_STYLE + (STATIC / "board.css").read_text()
    paths = {
        "/": page,
        "/stays/{pseudonym}": stay_page,
        "/static/{name}": script,
        "/favicon.ico": nothing,
        "/style.css": style,
        "/api/alerts": alerts,
        "/api/stays/{pseudonym}": stay,
        "/metrics": scrape,
        "/healthz": alive,
        "/readyz": ready,
    }
    return Starlette(
        routes=[
            *(Route(path, endpoint, methods=["GET"]) for path, endpoint in paths.items()),
            Events(board, reasons).route(),
            answers.route(),
            *cds_hooks.routes(board, reasons, cds or Guard(CdsHooks())),
        ],
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(AskReaders, readers=readers),
        ],
    )


class _SafeHeaders:
    """Puts the same protective headers on every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
