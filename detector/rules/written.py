"""Rule files as they are written: their keys and types. ``book`` makes of them what is asked."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from detector.rules.words import TableRow

Kind = Literal["gate", "rule", "lowering", "note", "prompt"]


class To(Struct, frozen=True):
    """Another severity under a condition."""

    to: str
    when: dict[str, Any]
    because: str | None = None


class SparesWritten(Struct, frozen=True):
    """Rules that are not raised under a condition; the others are."""

    rules: tuple[str, ...]
    when: dict[str, Any]


class RaisesWritten(Struct, frozen=True):
    steps: int
    spares: SparesWritten | None = None
    critical_only_when: dict[str, Any] | None = None


class LowersWritten(Struct, frozen=True):
    steps: int
    floor: str
    rules: tuple[str, ...] = ()
    differential_first: str | None = None


class WhenWritten(Struct, frozen=True):
    when: dict[str, Any]
    rules: tuple[str, ...] = ()
    syndrome: str | None = None


class RuleWritten(Struct, frozen=True):
    id: str
    kind: Kind
    title: str
    when: dict[str, Any]
    cited: tuple[str, ...]
    severity: str | None = None
    syndrome: str = "itb_withdrawal"
    headline: str | None = None
    text: str | None = None
    escalate: tuple[dict[str, Any], ...] = ()
    soften: tuple[dict[str, Any], ...] = ()
    unknown_when: dict[str, Any] | None = None
    raises: dict[str, Any] | None = None
    lowers: dict[str, Any] | None = None
    suppresses: dict[str, Any] | None = None
    quiets: dict[str, Any] | None = None
    exempt: bool = False
    any_gate: bool = False
    notes: str | None = None
    examples: tuple[dict[str, Any], ...] = ()


class DefinitionWritten(Struct, frozen=True):
    when: dict[str, Any]
    means: str
    run_gap: str | None = None


class TableWritten(Struct, frozen=True):
    source: str
    values: tuple[TableRow, ...]


class CapWritten(Struct, frozen=True):
    rules: tuple[str, ...]
    to: str
    unless: dict[str, Any]
    cited: tuple[str, ...]
    title: str


class MaskWritten(Struct, frozen=True):
    title: str
    running: tuple[str, ...]
    effect: Literal["unknown", "low_is_unknown"]
    cited: tuple[str, ...]
    signals: tuple[str, ...] = ()
    notes_of: tuple[str, ...] = ()


class TextWritten(Struct, frozen=True):
    text: str
    when: dict[str, Any]
    name: str | None = None
    rank: int = 50


class MissingWritten(Struct, frozen=True):
    signal: str
    within: str
    text: str


class PromptWritten(Struct, frozen=True):
    syndrome: str
    when: dict[str, Any]
    headline: str
