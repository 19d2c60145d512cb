"""SIGTERM and Ctrl-C while a command is only starting: it ends at once, without a word.

The modules of a command take seconds to load, and a supervisor may change its mind meanwhile. A service that had not begun
has nothing to finish, so it ends as one that was stopped: with 0.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

SERVICES = ("stream", "demo")
INTERRUPTED = 130

_asked = False


def end_quietly(words: list[str]) -> None:
    """From now on these signals end the process at once. ``words`` = the command line behind the name of the program."""
    if words[:1] and words[0] in SERVICES:
        signal.signal(signal.SIGTERM, at_once)
        _unless_ignored(at_once)
    else:
        _unless_ignored(interrupted)


def _unless_ignored(handler: Callable[[int, FrameType | None], None]) -> None:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell does that to what runs in the background
        signal.signal(signal.SIGINT, handler)


def at_once(_number: int, _frame: FrameType | None) -> None:
    """The signal handler of a service that is starting."""
    global _asked  # noqa: PLW0603 - an exception can get lost on its way (in a finalizer), this cannot
    _asked = True
    sys.exit(0)


def interrupted(_number: int, _frame: FrameType | None) -> None:
    """The signal handler of another command that is starting."""
    sys.exit(INTERRUPTED)


def asked_to_end() -> bool:
    """Whether a signal came while a service was starting."""
    return _asked
