"""The other end of a supervisor's socket (sd_notify(3))."""

import socket


def heard(end: socket.socket) -> list[str]:
    """What came since it was last asked; ``end`` does not block."""
    found = []
    while True:
        try:
            found.append(end.recv(100).decode())
        except BlockingIOError:
            return found
