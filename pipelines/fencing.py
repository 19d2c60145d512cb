"""For how long another worker has been moving a partition number that is ours.

After a rebalance two workers may think that a number is theirs: one that stood still beyond its session wakes up, is
refused (``Fenced``), loads what is stored, and goes on until its consumer hears of the rebalance, which it does within a
session. Meanwhile each is refused where the other was first, many times a second; nothing stale is kept, so it may pass by
itself. What goes on for longer than that is a second deployment on the same store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from pipelines.errors import NoProgress

SESSIONS = 2
"""The group gives up whoever was not heard of for one; the other is for those who have to hear of it."""


class Spell(NamedTuple):
    """From the first refusal to the last, monotonic seconds, with less than a session between any two."""

    first_s: float
    last_s: float


class Spells:
    """The spells of the partition numbers that are ours."""

    def __init__(self, session_ms: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._session_s, self._monotonic = session_ms / 1_000, monotonic
        self._of: dict[int, Spell] = {}

    def refused(self, partition: int) -> float:
        """A commit was refused; returns for how many seconds that has been so.

        Raises:
            NoProgress: for too long.
        """
        now_s = self._monotonic()
        spell = self._of.get(partition, Spell(now_s, now_s))
        if now_s - spell.last_s >= self._session_s:
            spell = Spell(now_s, now_s)
        self._of[partition] = Spell(spell.first_s, now_s)
        for_s = now_s - spell.first_s
        if for_s > SESSIONS * self._session_s:
            raise NoProgress(
                f"partition {partition}: another worker has moved it on again and again for {for_s:.0f} s; expected one"
                " owner; look for a second deployment on this store"
            )
        return for_s

    def lost(self, partition: int) -> None:
        """The group has taken it from us, and we have heard of it."""
        self._of.pop(partition, None)
