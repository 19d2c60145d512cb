"""A server that says nothing while it is connected: its machine answers for it, so nothing else is ever an error.

libpq waits for an answer for ever, and the server's own limits need a server that runs. So whoever waits is asked again and
again how long it will go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")
Silent = Callable[[float], bool]
"""Given for how many seconds nothing was heard; True = give the connection up."""


@dataclass
class Patience:
    """Asked about every silence, several times a second; None = one waits for ever, as commands do."""

    gives_up: Silent | None = None


class Connection(psycopg.Connection[Any]):
    """One that can be given up while it waits."""

    patience = Patience()

    def wait(self, gen: Generator[Any, Any, T], *values: Any, **named: Any) -> T:
        """All that asks the server anything waits here.

        Raises:
            psycopg.OperationalError: the connection was given up.
        """
        return super().wait(self._listening(gen), *values, **named)

    def _listening(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        heard_s = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                now_s = time.monotonic()
                if ready:
                    heard_s = now_s
                elif self.patience.gives_up is not None and self.patience.gives_up(now_s - heard_s):
                    self.close()
                    raise psycopg.OperationalError(f"the server has said nothing for {now_s - heard_s:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as over:
            answer: T = over.value
            return answer
