"""What is served over HTTP: metrics, health, the page of open alerts, CDS Hooks, and the one thing that it
takes: answers to alerts. It tells no identifier.

Nothing is loaded from elsewhere and nothing runs in the browser: the page is made here and asks for itself again every
few seconds, so it works without any script, and a strict content security policy costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from detector.records import SEVERITIES
from pipelines.metrics import Metrics
from pipelines.settings import CdsHooks
from pipelines.web import cds_hooks
from pipelines.web.alert_html import DISCLAIMER, STYLE, alert_html
from pipelines.web.answers import NOBODY, Answers
from pipelines.web.board import Board
from pipelines.web.cds_token import Guard
from pipelines.web.events import Events

REFRESH_SECONDS = 3

Reasons = Callable[[], Sequence[str]]
"""Why the service is not ready; empty = it is."""

NO_SUCH_STAY = {
    "error": "stay: no open alert has this pseudonym here; expected the value of `stay` in /api/alerts or /metrics;"
    " its alerts may have ended, or another worker may have them"
}

_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
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
) -> Starlette:
    """The application. ``hosts`` are the names it answers to; ``notice`` stands on top of the page; ``cds`` says who may
    use CDS Hooks (None = this machine), ``answers`` who may answer an alert.
    """

    def page(_: Request) -> Response:
        return HTMLResponse(_page(board, reasons(), notice))

    def style(_: Request) -> Response:
        return Response(STYLE, media_type="text/css")

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

    paths = {
        "/": page,
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


def _page(board: Board, missing: Sequence[str], notice: str) -> str:
    alerts = board.alerts()
    counts = ", ".join(
        f"{n} {word}" for word in reversed(SEVERITIES) if (n := sum(record.severity == word for _, record in alerts))
    )
    not_ready = f'<p class="notice critical">Not ready: {escape("; ".join(missing))}</p>' if missing else ""
    cards = "".join(alert_html(record, stay) for stay, record in alerts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>itbwatch</title>'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><link rel="stylesheet" href="/style.css"></head><body>'
        f"<h1>itbwatch: {escape(counts) or 'no'} open alerts</h1>"
        f'<p class="notice">{DISCLAIMER} No alert does not mean no danger.</p>'
        + (f'<p class="notice"><b>{escape(notice)}</b></p>' if notice else "")
        + f"{not_ready}{cards}</body></html>\n"
    )
