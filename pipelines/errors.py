"""What stops a command, and the exit code that says so (DESIGN.md section 3).

Errors of the core (``detector.errors``) have their codes here too, because only a command has an exit code.
"""

from __future__ import annotations

from detector.errors import ConfigError, InputError, ItbwatchError

USAGE, INPUT_REFUSED, NO_PROGRESS, INPUT_OUTPUT = 2, 65, 70, 74


class StoreError(ItbwatchError):
    """The database cannot be read or written. Nothing after the last commit is in it; a restart reads it again."""


class StoreOutage(StoreError):
    """The database does not answer now, or did not let us have our turn; what was asked of it may be asked again later."""


class SourceError(ItbwatchError):
    """The broker or the input file cannot be read or written."""


class NoProgress(ItbwatchError):
    """The service stands still and cannot mend it: the process ends, so that its supervisor is told."""


def exit_code(error: ItbwatchError) -> int:
    """The exit code of an error; an unknown kind is an internal one."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    return NO_PROGRESS


_CODES: dict[type[ItbwatchError], int] = {
    ConfigError: USAGE,
    InputError: INPUT_REFUSED,
    StoreError: INPUT_OUTPUT,
    SourceError: INPUT_OUTPUT,
    NoProgress: NO_PROGRESS,
}
