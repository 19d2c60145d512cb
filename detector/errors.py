"""Whose fault an error is: the configuration's, one input's, or the stored state's.

ItbwatchError
├── ConfigError   a file the site wrote is wrong: the process does not start (exit 2)
├── InputError    one event cannot be used: it is rejected and counted, its neighbour is processed
└── StateError    what was stored cannot be read back: the process stops before it commits anything
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ItbwatchError(Exception):
    """The root of every error this project raises on purpose."""


class ConfigError(ItbwatchError):
    """A configuration, catalogue or rule file is wrong.

    ``problems`` holds every mistake found, one line each, so that a file is mended in one go.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class InputError(ItbwatchError):
    """One event is unusable. ``reason`` is a word from a fixed list: it becomes a metric label, so it never
    carries a value; the message may name a field but never a patient's data.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason, str(self))


class StateError(ItbwatchError):
    """Stored state does not fit this program; nothing may be committed on top of it."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
