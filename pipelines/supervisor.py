"""What a supervisor such as systemd is told, by its protocol sd_notify (a datagram to the socket in NOTIFY_SOCKET).

``alive`` is called by canaries that came back and by nothing else: a process that lives and does nothing is not fed.
"""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


class Supervisor:
    """Who started us and wants to know. ``address`` is NOTIFY_SOCKET; None = nobody, and nothing is told."""

    def __init__(self, address: str | None = None, *, watched: bool = False) -> None:
        self._address = address
        self.watched = watched
        self._ready = False
        self._failed = False

    @classmethod
    def of_environment(cls) -> Supervisor:
        """``watched`` = it wants to hear from us again and again (WATCHDOG_USEC), or it ends us."""
        return cls(os.environ.get("NOTIFY_SOCKET"), watched="WATCHDOG_USEC" in os.environ)

    def alive(self) -> None:
        """A canary of every owned partition came back; the first time it is told that we are ready, too."""
        self.ready()
        self._tell("WATCHDOG=1")

    def ready(self) -> None:
        """What was started is at work."""
        if not self._ready:
            self._ready = True
            self._tell("READY=1")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address  # an abstract name
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as end:
                end.sendto(state.encode(), path)
        except OSError as error:  # whoever does not listen will find out by not hearing
            if not self._failed:
                self._failed = True
                log.warning("supervisor_unheard error=%s effect='it is not told that we work'", type(error).__name__)
