"""The signals itbwatch knows: units, codes, ranges and limits, read from ``signals.yaml``.

Every number in that file names its source. The code here is generic: it resolves a code and a unit spelling, and
knows no signal by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from msgspec import Struct, field

from detector.catalogue.strict import Problems, typed
from detector.clock import parse_duration
from detector.errors import ConfigError, nearest
from detector.reading import Jump

UNKNOWN_SITE = "unknown"


class Code(Struct, frozen=True):
    code: str
    source: str
    site: str | None = None


class UnitWritten(Struct, frozen=True):
    """A unit as the file writes it: ``value * factor + offset`` is the value in the catalogue's unit."""

    unit: str
    spellings: tuple[str, ...]
    factor: float | str = 1
    offset: float | str = 0
    redirect: str | None = None
    needs: Literal["weight_kg"] | None = None


class Plausible(Struct, frozen=True):
    """Both ends belong to the range; outside is flagged and kept out of decisions, never clipped."""

    low: float
    high: float
    source: str


class Suspect(Struct, frozen=True):
    """A value that is only plausible in another unit (guard G-1): quarantined with that remark, never converted.

    The range is in the signal's own unit. ``tagged``: only of values that came in this unit; None = of any.
    """

    unit: str
    low: float
    high: float
    looks_like: str
    source: str
    tagged: str | None = None


class Band(Struct, frozen=True):
    low: float | None = None
    high: float | None = None


class Reference(Struct, frozen=True):
    source: str
    low: float | None = None
    high: float | None = None
    female: Band | None = None
    male: Band | None = None


class UpperLimit(Struct, frozen=True):
    """Upper limit of normal when the report carries none; None = only a rule's absolute floor may be used."""

    source: str
    value: float | None = None
    female: float | None = None
    male: float | None = None


class JumpWritten(Struct, frozen=True):
    delta: float
    within: str
    source: str


class SignalWritten(Struct, frozen=True):
    name: str
    kind: Literal["vital", "lab", "score", "output"]
    unit: str
    precision: float
    codes: tuple[Code, ...]
    aliases: tuple[str, ...]
    units: tuple[UnitWritten, ...]
    plausible: Plausible
    stale_after: str
    late_limit: str
    worse: Literal["up", "down", "both", "none"]
    warn: Band | None = None
    suspect: tuple[Suspect, ...] = ()
    reference: Reference | None = None
    uln: UpperLimit | None = None
    jump: JumpWritten | None = None
    null_values: tuple[float, ...] = ()
    notes: str | tuple[str, ...] | None = None


class SiteWritten(Struct, frozen=True):
    confirms: bool
    peripheral: bool
    spellings: tuple[str, ...] = ()
    invasive: bool = False
    codes: tuple[str, ...] = ()
    source: str | None = None
    notes: str | tuple[str, ...] | None = None


class Unit(Struct, frozen=True):
    """How one spelling becomes the catalogue's unit. ``redirect`` names another signal that owns this unit."""

    unit: str
    factor: float
    offset: float
    redirect: str | None
    needs: str | None


class Signal(Struct, frozen=True):
    """One signal. Durations are milliseconds; ``digits`` is the number of decimals a value is rounded to."""

    name: str
    title: str
    kind: str
    unit: str
    digits: int
    plausible: Plausible
    stale_after: int
    late_limit: int
    worse: str
    suspect: tuple[Suspect, ...]
    reference: Reference | None
    uln: UpperLimit | None
    jump: Jump | None
    null_values: tuple[float, ...]
    units: dict[str, Unit]
    loose_units: dict[str, Unit]

    @property
    def is_vital(self) -> bool:
        """Vitals are summarised by the hour after 24 h; everything else is kept as it came."""
        return self.kind == "vital"

    @property
    def is_lab(self) -> bool:
        """Each new laboratory value behind a rule is news; vitals, scores and outputs move all the time."""
        return self.kind == "lab"

    def resolve_unit(self, spelling: str | None) -> Unit | None:
        """The unit of a spelling; an absent unit is the catalogue's own. None = unknown: never guessed."""
        if spelling is None:
            return self.units[self.unit]
        exact = self.units.get(spelling)
        return exact if exact is not None else self.loose_units.get(loosely(spelling))

    def round(self, value: float) -> float:
        return round(value, self.digits)


class Site(Struct, frozen=True):
    name: str
    confirms: bool
    peripheral: bool


class Named(Struct, frozen=True):
    """What a code stands for. ``site`` None = the signal has no site; ``unit`` is the unit of a site's own code where
    its values come without one (None = the catalogue's).
    """

    signal: str
    site: str | None
    unit: str | None = None


class Catalogue(Struct, frozen=True):
    """Every signal, and which signal a code or an alias names."""

    version: str
    signals: dict[str, Signal]
    sites: dict[str, Site]
    site_spellings: dict[str, str]
    codes: dict[str, Named]
    future_limit: int
    keep_vitals: int
    keep: int
    convert_suspects: frozenset[str] = frozenset()
    loose_codes: dict[str, Named] = field(default_factory=dict)

    def resolve_code(self, code: str) -> Named | None:
        """The signal of a LOINC code, a catalogue name, an alias or a mapped site code. None = unknown code."""
        return self.codes.get(code) or self.loose_codes.get(code.strip().lower())


def loosely(spelling: str) -> str:
    """A unit spelling without what feeds vary by accident: case and blanks."""
    return re.sub(r"\s+", "", spelling).lower()


def build_catalogue(
    data: Mapping[str, Any],
    file: str,
    code_map: Mapping[str, Named] | None = None,
    convert_suspects: frozenset[str] = frozenset(),
) -> Catalogue:
    """Build the catalogue from the parsed file and a site's own codes.

    ``convert_suspects`` are units that this site's feeds tag wrongly (``[degF]`` tagged as Celsius): a value only
    plausible in one of them is converted instead of quarantined.

    Raises:
        ConfigError: with every mistake found.
    """
    problems = Problems(file)
    sites, spellings = _sites(data.get("sites") or {}, problems)
    signals: dict[str, Signal] = {}
    codes: dict[str, Named] = {}
    loose: dict[str, Named] = {}
    written = data.get("signals")
    if not isinstance(written, dict) or not written:
        problems.add("$.signals", "expected a mapping of signal name to its entry")
        written = {}
    for name, entry in written.items():
        path = f"$.signals.{name}"
        signal = typed(SignalWritten, entry, path, problems)
        if signal is None:
            continue
        built = _signal(name, signal, path, problems)
        if built is not None:
            signals[name] = built
        default_site = UNKNOWN_SITE if any(code.site for code in signal.codes) else None
        for code in signal.codes:
            if code.site is not None and code.site not in sites:
                problems.add(f"{path}.codes", f"site {code.site!r} is not a site{nearest(code.site, sites)}")
            if codes.setdefault(code.code, Named(name, code.site or default_site)).signal != name:
                problems.add(f"{path}.codes", f"code {code.code!r} already names {codes[code.code].signal!r}")
        for alias in (name, *signal.aliases):
            if loose.setdefault(alias.lower(), Named(name, default_site)).signal != name:
                problems.add(f"{path}.aliases", f"{alias!r} already names {loose[alias.lower()].signal!r}")
    for name, entry in written.items():
        for unit in entry.get("units", ()) if isinstance(entry, dict) else ():
            target = unit.get("redirect") if isinstance(unit, dict) else None
            if target is not None and target not in written:
                problems.add(
                    f"$.signals.{name}.units", f"redirect {target!r} is not a signal{nearest(target, written)}"
                )
    site_problems = Problems("config.yaml")
    for code_name, named in (code_map or {}).items():
        path = f"$.code_map.{code_name}"
        if named.signal not in written:
            site_problems.add(f"{path}.signal", f"{named.signal!r} is not a signal; expected one of signals.yaml"
                              f"{nearest(named.signal, written)}")  # fmt: skip
        elif named.unit is not None and named.signal in signals and not signals[named.signal].resolve_unit(named.unit):
            units = signals[named.signal].units
            site_problems.add(f"{path}.unit", f"{named.unit!r} is not a unit of {named.signal}; expected one of"
                              f" {', '.join(units)}{nearest(named.unit, units)}")  # fmt: skip
        known = codes.get(code_name) or loose.get(code_name.strip().lower())
        if known is not None and known.signal != named.signal:
            site_problems.add(
                path, f"names {known.signal!r} in the catalogue already; expected a code of the site's own"
            )
        codes[code_name] = named if known is None else Named(named.signal, known.site, named.unit)
    problems.lines += site_problems.lines
    retention = data.get("retention") or {}
    limits = {
        "future_limit": _duration(data.get("future_limit"), "$.future_limit", problems),
        "keep_vitals": _duration(retention.get("vital_raw"), "$.retention.vital_raw", problems),
        "keep": _duration(retention.get("lab"), "$.retention.lab", problems),
    }
    if problems.lines:
        raise ConfigError(problems.lines)
    return Catalogue(
        version=str(data.get("version", "")), signals=signals, sites=sites, site_spellings=spellings,
        codes=codes, loose_codes=loose, convert_suspects=convert_suspects, **limits,
    )  # fmt: skip


def _sites(data: Mapping[str, Any], problems: Problems) -> tuple[dict[str, Site], dict[str, str]]:
    sites: dict[str, Site] = {}
    spellings: dict[str, str] = {}
    for name, entry in data.items():
        site = typed(SiteWritten, entry, f"$.sites.{name}", problems)
        if site is not None:
            sites[name] = Site(name, site.confirms, site.peripheral)
            spellings.update({s.lower(): name for s in (name, *site.spellings, *site.codes)})
    return sites, spellings


def _signal(name: str, written: SignalWritten, path: str, problems: Problems) -> Signal | None:
    before = len(problems.lines)
    units: dict[str, Unit] = {}
    loose: dict[str, Unit] = {}
    for entry in written.units:
        unit = Unit(entry.unit, _exact(entry.factor, path, problems), _exact(entry.offset, path, problems),
                    entry.redirect, entry.needs)  # fmt: skip
        for spelling in (entry.unit, *entry.spellings):
            if units.setdefault(spelling, unit).unit != unit.unit:
                problems.add(f"{path}.units", f"{spelling!r} is written for two units")
            if loose.setdefault(loosely(spelling), unit).unit != unit.unit:
                problems.add(f"{path}.units", f"{spelling!r} reads like another unit when case is ignored")
    if written.unit not in units:
        problems.add(f"{path}.unit", f"{written.unit!r} is not among this signal's units{nearest(written.unit, units)}")
    for suspect in written.suspect:
        if suspect.unit != written.unit:
            problems.add(f"{path}.suspect", f"{suspect.unit!r}: expected {written.unit!r}, the signal's own unit")
        for named in (suspect.looks_like, suspect.tagged or written.unit):
            if named not in units:
                problems.add(f"{path}.suspect", f"{named!r} is not among this signal's units{nearest(named, units)}")
    if written.plausible.low >= written.plausible.high:
        problems.add(f"{path}.plausible", "low must lie below high")
    if not 0 < written.precision <= 1:
        problems.add(f"{path}.precision", f"{written.precision!r}: expected 1, 0.1, 0.01 or 0.001")
    stale_after = _duration(written.stale_after, f"{path}.stale_after", problems)
    late_limit = _duration(written.late_limit, f"{path}.late_limit", problems)
    jump = None
    if written.jump is not None:
        jump = Jump(written.jump.delta, _duration(written.jump.within, f"{path}.jump.within", problems))
    if len(problems.lines) > before:
        return None
    return Signal(
        name=name, title=written.name, kind=written.kind, unit=written.unit, digits=_decimals(written.precision),
        plausible=written.plausible, stale_after=stale_after, late_limit=late_limit, worse=written.worse,
        suspect=written.suspect, reference=written.reference, uln=written.uln, jump=jump,
        null_values=written.null_values, units=units, loose_units=loose,
    )  # fmt: skip


def _decimals(precision: float) -> int:
    return max(0, -Decimal(str(precision)).normalize().as_tuple().exponent)  # type: ignore[operator]


def _exact(number: float | str, path: str, problems: Problems) -> float:
    try:
        return float(Fraction(number)) if isinstance(number, str) else float(number)
    except (ValueError, ZeroDivisionError):
        problems.add(f"{path}.units", f"{number!r} is not a number or a fraction like '5/9'")
        return 1.0


def _duration(text: object, path: str, problems: Problems) -> int:
    try:
        return parse_duration(str(text))
    except ValueError as error:
        problems.add(path, str(error))
        return 0
