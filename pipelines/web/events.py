"""``GET /api/events``: the open alerts as server-sent events (WHATWG HTML, section 9.2).

A client is told what is open and from then on what changed. It is told of states, not of a log: what changes while a
slow reader reads is sent once, as it stands when it is ready again, so nothing is kept for it but one number an alert.

    event: alert        id: <alert_id>:<sequence>, data: one element of /api/alerts
    event: closed       data: {"alert_id"}; it was resolved, or another worker has it now
    event: stays        data: {"stays", "beyond"}; with every heartbeat: who is watched, and how old their data are
    event: heartbeat    data: {"ready", "missing"}; every few seconds, so that silence means a broken path
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipelines.web.board import Board

LOOK_SECONDS = 0.2
"""How long a change may wait."""

HEARTBEAT_SECONDS = 5.0

MOST_CLIENTS = 32
"""Half of the connections that the server takes: scraping and health must not wait for boards."""

FULL = {"error": f"events: {MOST_CLIENTS} clients are listening; expected fewer; ask /api/alerts, or try again later"}


class Events:
    """The route, and how many listen."""

    def __init__(self, board: Board, reasons: Callable[[], Sequence[str]]) -> None:
        self._board, self._reasons = board, reasons
        self._shown: tuple[int, dict[str, Any]] = (-1, {})
        self.clients = 0

    def route(self) -> Route:
        return Route("/api/events", self._listen, methods=["GET"])

    async def _listen(self, _: Request) -> Response:
        if self.clients >= MOST_CLIENTS:
            return JSONResponse(FULL, status_code=503, headers={"retry-after": "10"})
        self.clients += 1  # nothing is awaited between this and the answer, so no two clients take one place
        return _Stream(self._told(), self._left)

    def _left(self) -> None:
        self.clients -= 1

    async def _told(self) -> AsyncIterator[str]:
        known: dict[str, int] = {}
        seen, beat = -1, float("-inf")
        while True:
            if self._board.changes != seen:
                seen, shown = self._now()
                yield "".join(changed(known, shown))
            if time.monotonic() - beat >= HEARTBEAT_SECONDS:
                beat = time.monotonic()
                missing = list(self._reasons())
                yield _event("stays", self._board.stays_as_json())
                yield _event("heartbeat", {"ready": not missing, "missing": missing})
            await asyncio.sleep(LOOK_SECONDS)

    def _now(self) -> tuple[int, dict[str, Any]]:
        """The alerts by id, made once for all clients, and the change since which they stand so."""
        changes = self._board.changes  # read before the alerts: what comes between is looked at once more
        if self._shown[0] != changes:
            self._shown = changes, {one["alert_id"]: one for one in self._board.as_json()}
        return self._shown


class _Stream(StreamingResponse):
    """Says when it ends, however it does."""

    def __init__(self, told: AsyncIterator[str], left: Callable[[], None]) -> None:
        super().__init__(told, media_type="text/event-stream")
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


def changed(known: dict[str, int], shown: Mapping[str, Any]) -> list[str]:
    """What a client who knows ``known`` (alert id -> sequence) is told when the alerts ``shown`` (by id, as in
    ``/api/alerts``) are open; ``known`` is brought up to date.
    """
    events = []
    for alert_id in [one for one in known if one not in shown]:
        del known[alert_id]
        events.append(_event("closed", {"alert_id": alert_id}))
    for alert_id, alert in shown.items():
        if known.get(alert_id) != alert["sequence"]:
            known[alert_id] = alert["sequence"]
            events.append(_event("alert", alert, f"{alert_id}:{alert['sequence']}"))
    return events


def _event(name: str, data: object, identity: str | None = None) -> str:
    """JSON has no line breaks of its own, so the data of an event are always one line."""
    lines = [f"event: {name}", *([f"id: {identity}"] if identity else []), f"data: {json.dumps(data)}"]
    return "\n".join(lines) + "\n\n"
