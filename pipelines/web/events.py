"""``GET /api/events``: the open alerts as server-sent events (WHATWG HTML, section 9.2).

A client is told what is open and from then on what changed. It is told of states, not of a log: what changes while a
slow reader reads is sent once, as it stands when it is ready again, so nothing is kept for it but what it was told last.
One task looks for all clients and makes every text once, also what changed between two looks; it rests while nobody
listens. The more there are, the seldomer each is told, and each at its own time: the interpreter's lock is the detector's
too, and a thousand that wake at once would hold it for a tenth of a second.

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
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipelines.web.board import Board

LOOK_SECONDS = 0.2
"""How long a change may wait until it is seen, and then, with few clients, until each is told."""

TELL_SECONDS = 0.001
"""Between two clients that are told, so that a thousand are told within a second."""

HEARTBEAT_SECONDS = 5.0

MOST_CLIENTS = 1_000
"""Fewer than the connections that the server takes: scraping and health must not wait for boards."""


class Shown(NamedTuple):
    """An alert as clients are told of it."""

    sequence: int
    text: str


class Look(NamedTuple):
    """What was open at a look: the board's number of it, and alerts by id."""

    number: int
    shown: Mapping[str, Shown]


NOTHING = Look(-1, {})


class Events:
    """The route, and how many listen."""

    def __init__(self, board: Board, reasons: Callable[[], Sequence[str]]) -> None:
        self._board, self._reasons = board, reasons
        self._now = NOTHING
        self._since: dict[int, str] = {}  # what changed from a look until now
        self._beat_at, self._beat = float("-inf"), ""
        self._looking: asyncio.Task[None] | None = None
        self.clients = 0

    def route(self) -> Route:
        return Route("/api/events", self._listen, methods=["GET"])

    async def _listen(self, _: Request) -> Response:
        if self.clients >= MOST_CLIENTS:
            full = f"events: {MOST_CLIENTS} clients are listening; expected fewer; ask /api/alerts, or try again later"
            return JSONResponse({"error": full}, status_code=503, headers={"retry-after": "10"})
        self.clients += 1  # nothing is awaited between this and the answer, so no two clients take one place
        if self._looking is None or self._looking.done():
            self._look()
            self._looking = asyncio.create_task(self._look_on())
        return _Stream(self._told(), self._left)

    def _left(self) -> None:
        self.clients -= 1
        if not self.clients and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._look()

    def _look(self) -> None:
        """Make the texts of what changed."""
        changes = self._board.changes  # read before the alerts: what comes between is looked at once more
        if changes != self._now.number:
            before = self._now.shown
            self._now = Look(changes, {one["alert_id"]: _shown(before, one) for one in self._board.as_json()})
            self._since.clear()

    async def _told(self) -> AsyncIterator[str]:
        known, beaten = NOTHING, float("-inf")
        while (
            self._looking is not None and not self._looking.done()
        ):  # a heart that beats must mean that somebody looks
            if self._now.number != known.number:
                told, known = self._changed(known), self._now
                if told:
                    yield told
            if time.monotonic() - beaten >= HEARTBEAT_SECONDS:
                # Each client beats from when it came, so that a thousand of them do not take the processor at once.
                beaten = time.monotonic()
                yield self._heartbeat()
            pause = max(LOOK_SECONDS, TELL_SECONDS * self.clients)
            await asyncio.sleep(max(0.0, min(pause, beaten + HEARTBEAT_SECONDS - time.monotonic())))

    def _changed(self, known: Look) -> str:
        """Made once for all clients that know the same."""
        told = self._since.get(known.number)
        if told is None:
            told = self._since[known.number] = "".join(changed(known.shown, self._now.shown))
        return told

    def _heartbeat(self) -> str:
        """At most ``LOOK_SECONDS`` old, because it is the same for everybody."""
        if time.monotonic() - self._beat_at >= LOOK_SECONDS:
            missing = list(self._reasons())
            beat = _event("heartbeat", {"ready": not missing, "missing": missing})
            self._beat_at, self._beat = time.monotonic(), _event("stays", self._board.stays_as_json()) + beat
        return self._beat


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


def changed(known: Mapping[str, Shown], shown: Mapping[str, Shown]) -> list[str]:
    """What a client who was told of the alerts ``known`` (by id) is told when ``shown`` are open."""
    closed = [_event("closed", {"alert_id": alert_id}) for alert_id in known if alert_id not in shown]
    return closed + [alert.text for alert_id, alert in shown.items() if known.get(alert_id) != alert]


def _shown(before: Mapping[str, Shown], alert: Mapping[str, Any]) -> Shown:
    """An element of ``/api/alerts`` as an event; one that stands as before is not written again."""
    alert_id, sequence = alert["alert_id"], alert["sequence"]
    known = before.get(alert_id)
    if known is not None and known.sequence == sequence:
        return known
    return Shown(sequence, _event("alert", alert, f"{alert_id}:{sequence}"))


def _event(name: str, data: object, identity: str | None = None) -> str:
    """JSON has no line breaks of its own, so the data of an event are always one line."""
    lines = [f"event: {name}", *([f"id: {identity}"] if identity else []), f"data: {json.dumps(data)}"]
    return "\n".join(lines) + "\n\n"
