"""One alert from its opening to its end, as it was last published."""

from __future__ import annotations

from msgspec import Struct

from detector.records import Severity


class Episode(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An alert. Times are milliseconds; None = it has not happened.

    ``cited`` maps each rule that was evidence so far to the keys of the evidence shown. ``lower_ms`` and ``clear_ms``
    are how long a lower verdict, and no verdict at all, have been known; unknown time is not added. ``answers`` are the
    newest (when, what, by whom) that were given: told again, they do nothing.
    """

    key: str
    syndrome: str
    alert_id: str
    sequence: int
    severity: Severity
    state: str
    opened_at: int
    stay_id: str | None = None
    unit: str | None = None
    onset_at: int | None = None
    cited: dict[str, tuple[str, ...]] = {}
    critical_rules: tuple[str, ...] = ()
    lower_ms: int = 0
    clear_ms: int = 0
    answered_at: int | None = None
    silent_until: int | None = None
    raised_at: int | None = None
    reminded_at: int | None = None
    corrected_at: int | None = None
    answers: tuple[tuple[int, str, str], ...] = ()
    label: str | None = None
    reason: str = "opens"
    resolved: bool = False
