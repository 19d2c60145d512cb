"""A small proxy between a worker and what it talks to, over TCP or a unix socket: it cuts, delays and slices what passes, and
loses the answer to a COMMIT. What it does is drawn from a seed; when it does it, the one who holds it says.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from typing import Self

PIECE = 1 << 16
COMMIT = b"COMMIT\0"
"""The end of a simple query of the protocol of PostgreSQL."""
WRITTEN = b"INSERT 0 ", b"UPDATE "
"""What its server says of a statement that has written."""


class Pair:
    """The two ends of a connection; ``wrote`` = something was written in its present transaction."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.wrote = False

    def close(self) -> None:
        _reset(self.client)
        _reset(self.server)


class Proxy:
    """Listens at ``address`` and forwards to ``target``; an address is (host, port), or the path of a socket."""

    def __init__(self, address: tuple[str, int] | str, target: tuple[str, int] | str, seed: int) -> None:
        self._target = target
        self._rng = random.Random(seed)
        self._listener = _socket(address)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(address)
        self._listener.listen(64)
        self._open: set[Pair] = set()
        self._lock = threading.Lock()
        self.delay_s = 0.0
        self.slice_bytes = 0
        self.lose_commits = 0
        """How many answers to a COMMIT of what was written are still to be lost; ``lost_commits`` counts those that were."""
        self.lost_commits = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        with self._lock:
            mine, self._open = self._open, set()
        for one in mine:
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = _socket(self._target)
            try:
                server.connect(self._target)
            except OSError:
                _reset(client)
                server.close()
                continue
            pair = Pair(client, server)
            with self._lock:
                self._open.add(pair)
            for asks in (True, False):
                threading.Thread(target=self._forward, args=(pair, asks), daemon=True).start()

    def _forward(self, pair: Pair, asks: bool) -> None:
        source, to = (pair.client, pair.server) if asks else (pair.server, pair.client)
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                if asks and data.endswith(COMMIT):
                    if pair.wrote and self.lose_commits:
                        self.lose_commits -= 1
                        self._lose_the_answer(pair, data)
                        return
                    pair.wrote = False
                elif not asks and any(word in data for word in WRITTEN):
                    pair.wrote = True
                if self.delay_s:
                    time.sleep(self._rng.uniform(0, self.delay_s))
                if self.slice_bytes:
                    self._slices(to, data)
                else:
                    to.sendall(data)
        with self._lock:
            self._open.discard(pair)
        pair.close()

    def _slices(self, to: socket.socket, data: bytes) -> None:
        while data:
            size = self._rng.randint(1, self.slice_bytes)
            to.sendall(data[:size])
            data = data[size:]

    def _lose_the_answer(self, pair: Pair, data: bytes) -> None:
        """The client hears nothing more; the server has the whole COMMIT, and answers to nobody."""
        _reset(pair.client)
        with contextlib.suppress(OSError):
            pair.server.sendall(data)
        self.lost_commits += 1


def _socket(address: tuple[str, int] | str) -> socket.socket:
    return socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)


def _reset(one: socket.socket) -> None:
    """Close it so that the other end sees a reset (over TCP), at once."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
    one.close()
