"""Three-valued truth, and what a question about a patient answers.

Missing is UNKNOWN. It never raises a severity and never counts against one (Kleene's strong logic: an UNKNOWN that
cannot change the answer does not spoil it).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Protocol

from detector.clock import NEVER

FALSE, UNKNOWN, TRUE = 0, 1, 2
WORDS = ("false", "unknown", "true")


class Cite(NamedTuple):
    """A reading or event that made something true. Times are milliseconds; ``change`` is for people."""

    signal: str
    value: float | None
    unit: str | None
    effective_at: int
    available_at: int
    change: str | None = None
    source: str | None = None


class Found(NamedTuple):
    """An answer, and until when it stands if nothing new arrives.

    ``until`` is the first instant at which time alone could change the answer (NEVER = it cannot). It is what makes a
    quiet patient cost nothing: nobody asks again before then. ``blanks`` names what an UNKNOWN lacks (signals, ``pump``,
    ``context``, ``stay``).
    """

    truth: int
    until: int = NEVER
    cites: tuple[Cite, ...] = ()
    blanks: frozenset[str] = frozenset()


def blank(what: str, until: int = NEVER) -> Found:
    """UNKNOWN, for want of one thing."""
    return Found(UNKNOWN, until, (), _alone(what))


@cache
def _alone(what: str) -> frozenset[str]:
    """The same set every time: names are few, and answers that wait are a thousand a patient."""
    return frozenset({what})


class Term(Protocol):
    """A question. ``needs`` names what it reads: signals, ``pump``, ``context``, ``stay`` or ``rule:ID``."""

    needs: frozenset[str]

    def ask(self, view: View) -> Found: ...


from detector.rules.view import View  # noqa: E402  # View and Term name each other
