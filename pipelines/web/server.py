"""The HTTP server in a thread of its own: started before the first record, stopped after the last commit."""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.web.events import MOST_CLIENTS

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
START_SECONDS = 10
MOST_CONNECTIONS = MOST_CLIENTS + 200
HEAD_WITHIN_S = 10
OTHER_FILES = 500
"""What the rest of the service may have open: a thousand boards must not keep the store from its files."""


class Impatient(H11Protocol):
    """Ends a connection that does not say within ``HEAD_WITHIN_S`` what it wants: those who dawdle take no place of others."""

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its parent has it
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._heard()
        elif self._waiting is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._heard()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _heard(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class WebServer:
    """Serves an application until its ``with`` block ends.

    The socket is bound in the constructor, so that a taken port is an ``OSError`` there; port 0 = any free one.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, lifespan="off", ws="none",
                # who asks is who is connected: what a proxy may tell of others is in http.proxies
                proxy_headers=False,
                http=Impatient, limit_concurrency=_room(), timeout_keep_alive=5, timeout_graceful_shutdown=1,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="web", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        until = time.monotonic() + START_SECONDS
        while not self._server.started and self._thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()


def _room() -> int:
    """How many connections there may be: all of ours, or as many as the system's limit of open files leaves (it is raised if it may be)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(10, min(MOST_CONNECTIONS, soft - OTHER_FILES))
    return MOST_CONNECTIONS


def allowed_hosts(host: str, names: Sequence[str] = ()) -> list[str]:
    """The Host headers to answer (against DNS rebinding): loopback, the address served, and the names of the site."""
    return [*LOOPBACK, f"[{host}]" if ":" in host else host, *names]
