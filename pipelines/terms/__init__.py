"""What drugs, devices and procedures mean to the rules: tables with a source for every row, shared by every format.

``drugs.yaml`` holds the kinds of treatment, ``baclofen.yaml`` what says that a pump is there. A name is matched as a whole
word; nothing is concluded from a name that only looks alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from detector.events import CONTEXT_KINDS, ContextKind, PumpKind
from pipelines.yaml_files import read_yaml

_FOLDER = Path(__file__).parent


class Kind(NamedTuple):
    """A kind of treatment; ``runs`` = what is started and stopped is one treatment, else every one is a dose."""

    name: ContextKind
    runs: bool
    names: re.Pattern[str]
    atc: tuple[str, ...]


class Route(NamedTuple):
    """By which route baclofen was given: ``oral``, ``intrathecal``, or None = not told, or both."""

    oral: bool
    intrathecal: bool

    @property
    def told(self) -> str | None:
        if self.oral == self.intrathecal:
            return None
        return "oral" if self.oral else "intrathecal"


def drug_kinds(names: Iterable[str], atc: Iterable[str] = ()) -> tuple[Kind, ...]:
    """The kinds of treatment that a drug is, by any text that names it and by its ATC codes.

    >>> [kind.name for kind in drug_kinds(["Norepinephrine 8 mg/250 mL"])]
    ['vasopressor']
    """
    texts, codes = tuple(names), tuple(atc)
    return tuple(
        kind
        for kind in _kinds()
        if any(kind.names.search(text) for text in texts) or any(code.startswith(kind.atc) for code in codes)
    )


def is_baclofen(names: Iterable[str], rxnorm: Iterable[str] = (), ndc: Iterable[str] = ()) -> bool:
    """Whether a drug is baclofen, by name or by one of the codes of its intrathecal products."""
    known = _baclofen()["intrathecal"]
    return (
        any(_words("names").search(text) for text in names)
        or not set(known["rxnorm"]).isdisjoint(rxnorm)
        or any(_product(code) in (*known["ndc"], *known["trial_ndc"]) for code in ndc)
    )


def baclofen_route(
    names: Iterable[str], *, route_codes: Iterable[str] = (), rxnorm: Iterable[str] = (), ndc: Iterable[str] = ()
) -> Route:
    """By which route baclofen was given, from the words and codes of drug and route.

    >>> baclofen_route(["Baclofen 10 mg tablet"]).told
    'oral'
    """
    texts, codes, known = tuple(names), set(route_codes), _baclofen()
    return Route(
        oral=any(_words("oral", "route_names").search(text) for text in texts)
        or not codes.isdisjoint(known["oral"]["route_codes"]),
        intrathecal=any(_words("intrathecal", "route_names").search(text) for text in texts)
        or not codes.isdisjoint(known["intrathecal"]["route_codes"])
        or not set(known["intrathecal"]["rxnorm"]).isdisjoint(rxnorm)
        or any(_product(code) in known["intrathecal"]["ndc"] for code in ndc),
    )


def spelt_out(route: str) -> str:
    """A route that is written as a code and nothing else, in words; any other text as it is.

    >>> spelt_out("IT"), spelt_out("po"), spelt_out("by IT")
    ('intrathecal', 'po', 'by IT')
    """
    known: dict[str, str] = _baclofen()["route_codes_written_alone"]
    return known.get(route.strip().upper(), route)


def is_trial(ndc: Iterable[str], names: Iterable[str] = ()) -> bool:
    """Whether it is the screening ampoule, which is given before there is a pump: by its code, or by its strength.

    >>> is_trial([], ["Gablofen 50 mcg/mL"]), is_trial([], ["Gablofen 500 mcg/mL"])
    (True, False)
    """
    known = _baclofen()["intrathecal"]
    strength = re.compile(rf"(?<![\d.,])(?:{known['trial_strength']})", re.IGNORECASE)
    return any(_product(code) in known["trial_ndc"] for code in ndc) or any(strength.search(text) for text in names)


def is_pump_device(names: Iterable[str]) -> bool:
    """Whether a device is an intrathecal pump, by its type, name or model. Which drug is in it is not told.

    >>> is_pump_device(["Medtronic SynchroMed II"])
    True
    """
    return any(
        _words("device", "names").search(text)
        or (_words("device", "kind").search(text) and _words("device", "thing").search(text))
        for text in names
    )


def pump_events(system: str, code: str) -> tuple[PumpKind, ...]:
    """What a procedure says about a pump; empty = nothing. ``system`` is ``CPT`` or ``SNOMED CT``."""
    return tuple(event for one in _baclofen()["procedures"] if (one["system"], one["code"]) == (system, code)
                 for event in one["events"])  # fmt: skip


def pump_codes() -> frozenset[str]:
    """The codes of ``pump_events``, of every system."""
    return frozenset(one["code"] for one in _baclofen()["procedures"])


def pump_products() -> frozenset[str]:
    """The RxNorm codes of baclofen for a pump."""
    return frozenset(_baclofen()["intrathecal"]["rxnorm"])


def treatment(system: str, code: str) -> ContextKind | None:
    """The kind of treatment that a procedure is; None = none that a rule reads."""
    found = (one["kind"] for one in _baclofen()["treatments"] if (one["system"], one["code"]) == (system, code))
    return next(found, None)


@cache
def _kinds() -> tuple[Kind, ...]:
    written: dict[str, Any] = read_yaml(_FOLDER / "drugs.yaml")
    unknown = written.keys() - set(CONTEXT_KINDS)
    assert not unknown, unknown
    kinds: dict[str, ContextKind] = {kind: kind for kind in get_args(ContextKind)}
    return tuple(
        Kind(kinds[name], entry["runs"], _pattern(entry["names"]), tuple(entry["atc"]))
        for name, entry in written.items()
    )


@cache
def _baclofen() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(_FOLDER / "baclofen.yaml")
    return found


@cache
def _words(*path: str) -> re.Pattern[str]:
    found: Any = _baclofen()
    for part in path:
        found = found[part]
    return _pattern(found)


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, words))})(?![\w-])", re.IGNORECASE)


def _product(ndc: str) -> str:
    """Labeler and product of a National Drug Code, however its package part and zeros are written.

    >>> _product("66794-0157-01"), _product("66794015701")
    ('66794-157', '66794-157')
    """
    parts = ndc.split("-")
    if len(parts) == 1 and len(ndc) == 11:
        parts = [ndc[:5], ndc[5:9]]
    return "-".join(part.lstrip("0") for part in parts[:2])
