"""A site's overlay: other thresholds and severities for rules that stay where they are.

    overlay: 1
    title: one warning per 100 patient-days
    because: found by evaluate on the stays of 2025
    expected: {warnings_per_100_patient_days: 1.0}
    changes:
      - {rule: S-01, key: "escalate[0].when.all[0].score.at_least", from: 0.82, to: 0.90, because: keeps the budget}
      - {rule: W-05, key: severity, from: warning, to: watch, because: CK alone}

``key`` is the place in the rule's file. Only numbers inside conditions and words of severity can be set. ``from`` is what
the rule says without the overlay: where it says something else by now, the overlay was made for another rule and is
refused. ``expected`` is for people; it changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from msgspec import Struct

from detector.catalogue.strict import Problems, typed
from detector.errors import ConfigError, nearest
from detector.records import SEVERITIES

FORM = 1
DEFINITIONS = "definitions.yaml"
SEVERITY_KEYS = ("severity", "to")


class ChangeWritten(Struct, frozen=True, rename={"was": "from"}):
    """One value of a rule (or of a definition that rules name) replaced."""

    key: str
    was: int | float | str
    to: int | float | str
    because: str
    rule: str | None = None
    definition: str | None = None

    @property
    def subject(self) -> str:
        return self.rule or self.definition or ""


class Overlay(Struct, frozen=True):
    """What an overlay file says. ``overlay`` is the version of this form."""

    overlay: int
    title: str
    because: str
    changes: tuple[ChangeWritten, ...]
    expected: dict[str, Any] = {}


def read_overlay(data: object, file: str, rules: Mapping[str, Any] | None) -> Overlay:
    """An overlay from parsed YAML. ``file`` names it in errors, ``rules`` are the parsed rule files by name (None = they
    are not known, and only the overlay itself is looked at).

    Raises:
        ConfigError: with every mistake of the file.
    """
    problems = Problems(file)
    if not isinstance(data, dict) or not isinstance(data.get("changes"), list):
        typed(Overlay, data, "$", problems)
        raise ConfigError(problems.lines or [f"{file} $.changes: expected a list of changes"])
    changes = [
        typed(ChangeWritten, one, f"$.changes[{number}]", problems) for number, one in enumerate(data["changes"])
    ]
    overlay = typed(Overlay, data | {"changes": []}, "$", problems)
    if data.get("overlay") not in (None, FORM):
        problems.add("$.overlay", f"{data['overlay']!r}: expected {FORM}, the form that this release reads")
    if overlay is not None and not overlay.because.strip():
        problems.add("$.because", "is empty; expected why the site's rules differ")
    taken: dict[tuple[str, str], int] = {}
    for number, change in enumerate(changes):
        if change is not None:
            _check(change, f"$.changes[{number}]", rules, problems)
            first = taken.setdefault((change.subject, change.key), number)
            if first != number:
                problems.add(f"$.changes[{number}].key", f"{change.key!r} is changed by $.changes[{first}] already")
    if problems.lines or overlay is None:
        raise ConfigError(problems.lines)
    return Overlay(
        overlay.overlay,
        overlay.title,
        overlay.because,
        tuple(one for one in changes if one is not None),
        overlay.expected,
    )


def overlaid(rules: Mapping[str, Any], overlay: Overlay) -> dict[str, Any]:
    """The parsed rule files with the changes made; what was given stays as it is."""
    changed = dict(copy.deepcopy(dict(rules)))
    for change in overlay.changes:
        _set(_of(change, changed), change.key, change.to)
    return changed


def settable(rule: Any) -> dict[str, float | str]:
    """Every key of a parsed rule or definition that an overlay may set, with its value."""
    return dict(_leaves(rule, "", within=False)) if isinstance(rule, dict) else {}


def _check(change: ChangeWritten, path: str, rules: Mapping[str, Any] | None, problems: Problems) -> None:
    if not change.because.strip():
        problems.add(f"{path}.because", "is empty; expected why this value differs")
    if (change.rule is None) == (change.definition is None):
        problems.add(path, "expected exactly one of rule, definition")
        return
    if rules is None:
        return
    found = _of(change, rules)
    if found is None:
        what = "rule" if change.rule is not None else "definition"
        names = _names(rules) if change.rule is not None else _definitions(rules)
        problems.add(f"{path}.{what}", f"{change.subject!r} is not a {what}{nearest(change.subject, names)}")
        return
    keys = settable(found)
    if change.key not in keys:
        problems.add(
            f"{path}.key",
            f"{change.key!r} cannot be set in {change.subject}; expected one of"
            f" {', '.join(keys) or '(nothing can)'}{nearest(change.key, keys)}",
        )
        return
    now = keys[change.key]
    if isinstance(now, str):
        for name, word in (("from", change.was), ("to", change.to)):
            if word not in SEVERITIES:
                problems.add(
                    f"{path}.{name}",
                    f"{word!r}: expected one of {', '.join(SEVERITIES)}{nearest(str(word), SEVERITIES)}",
                )
    else:
        for name, number in (("from", change.was), ("to", change.to)):
            if isinstance(number, str) or not isfinite(number):
                problems.add(f"{path}.{name}", f"{number!r}: expected a number")
    if change.was != now and type(change.was) in (type(now), int, float):
        problems.add(
            f"{path}.from",
            f"{change.was!r}: {change.subject} says {now!r} now; expected an overlay that was made for these rules",
        )


def _of(change: ChangeWritten, rules: Mapping[str, Any]) -> Any:
    if change.rule is not None:
        found = rules.get(f"{change.rule}.yaml")
        return found if isinstance(found, dict) and "kind" in found else None
    return _definitions(rules).get(change.subject)


def _names(rules: Mapping[str, Any]) -> list[str]:
    return [name.removesuffix(".yaml") for name, data in rules.items() if isinstance(data, dict) and "kind" in data]


def _definitions(rules: Mapping[str, Any]) -> Mapping[str, Any]:
    written = rules.get(DEFINITIONS)
    found = written.get("definitions") if isinstance(written, dict) else None
    return found if isinstance(found, dict) else {}


def _leaves(node: Any, path: str, *, within: bool) -> Iterator[tuple[str, float | str]]:
    """``within`` = the node is part of a condition."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name != "examples":
                here = f"{path}.{name}" if path else str(name)
                yield from _leaves(inner, here, within=within or name in ("when", "unknown_when"))
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            yield from _leaves(inner, f"{path}[{number}]", within=within)
    elif within:
        if isinstance(node, int | float) and not isinstance(node, bool):
            yield path, node
    elif node in SEVERITIES and path.rpartition(".")[2] in SEVERITY_KEYS:
        yield path, node


def _set(node: Any, key: str, value: float | str) -> None:
    *way, last = [int(part) if part.isdigit() else part for part in key.replace("[", ".").replace("]", "").split(".")]
    for part in way:
        node = node[part]
    node[last] = value
