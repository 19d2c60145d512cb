"""The words of a rule file: what each kind of condition may say, and of what type. ``compiling`` gives them meaning."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Value = float | dict[str, Any]
"""A number; or ``uln_times`` (a multiple of the upper limit of normal; ``floor`` is the least it may come to and stands
in for no limit), ``uln_plus``, ``base_plus`` or ``by_age`` (a table of definitions.yaml)."""


class TableRow(Struct, frozen=True, forbid_unknown_fields=True):
    """One row of a table by age; the row without ``below_years`` is that of adults and of an unknown age."""

    value: float
    below_years: float | None = None


class Since(Struct, frozen=True):
    pump: tuple[str, ...]
    plus: str = "PT0S"


class Confirm(Struct, frozen=True):
    at_least: float
    within: str


class Reading(Struct, frozen=True):
    signal: str
    within: str
    at_least: Value | None = None
    above: Value | None = None
    at_most: Value | None = None
    below: Value | None = None
    twice_apart: str | None = None
    confirmed_by: Confirm | None = None
    sites: tuple[str, ...] = ()
    sites_not: tuple[str, ...] = ()
    flags_not: tuple[str, ...] = ()
    since: Since | None = None
    which: Literal["any", "latest", "every"] = "any"
    n: int = 1
    computed: bool = False


class RiseArgs(Struct, frozen=True):
    signal: str
    by: float
    to: float
    within: str
    apart: str
    sites_not: tuple[str, ...] = ()


class FallArgs(Struct, frozen=True):
    signal: str
    fraction: float
    within: str
    flags_not: tuple[str, ...] = ()


class RangeArgs(Struct, frozen=True):
    signal: str
    at_least: float
    within: str


class SwingArgs(Struct, frozen=True):
    signal: str
    from_at_least: float
    to_at_most: float
    apart: str
    within: str


class GrowsArgs(Struct, frozen=True):
    signal: str
    apart: tuple[str, str]
    recent: str
    ratio: float | None = None
    doubling_within: str | None = None
    at_least: float = 0.0
    above_uln: bool = False


class RespondedArgs(Struct, frozen=True):
    signal: str
    by: float
    only_from: float
    before: str
    pump: tuple[str, ...]


class NoReadingArgs(Struct, frozen=True):
    signal: str
    within: str


class PumpArgs(Struct, frozen=True):
    event: tuple[str, ...]
    within: str | None = None
    level: Literal["critical", "noncritical"] | None = None
    reason: tuple[str, ...] = ()
    result: tuple[str, ...] = ()
    undone_by: tuple[str, ...] = ()
    undone_result: tuple[str, ...] = ()
    due: bool = False
    aspirate_excess: tuple[float, float] | None = None
    aspirate_expected: tuple[float, float] | None = None
    after_rule: str | None = None


class ContextArgs(Struct, frozen=True):
    kind: tuple[str, ...]
    running: bool = False
    event: tuple[str, ...] = ()
    within: str | None = None
    dose_at_least: float | None = None


class ConditionArgs(Struct, frozen=True):
    code: tuple[str, ...]
    within: str | None = None


class AgeArgs(Struct, frozen=True):
    at_least: float | None = None
    below: float | None = None


class PassedArgs(Struct, frozen=True):
    pump: tuple[str, ...]
    at_least: str
    less_than: str


class WasArgs(Struct, frozen=True):
    rule: tuple[str, ...]
    within: str


class HeldArgs(Struct, frozen=True):
    rule: str
    less_than: str


class BeganArgs(Struct, frozen=True):
    rule: str
    times: int
    within: str


class ScoreArgs(Struct, frozen=True):
    name: str
    at_least: float


class KidneyArgs(Struct, frozen=True):
    stage: Literal[1, 2, 3]


class UrineArgs(Struct, frozen=True):
    ml_per_kg_h: float
    fallback_ml_h: float
    within: str


class PointItem(Struct, frozen=True):
    points: int
    when: dict[str, Any]
    group: str | None = None


class PointsArgs(Struct, frozen=True):
    name: str
    at_least: int
    items: tuple[dict[str, Any], ...]
