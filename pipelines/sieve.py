"""Who of a data set can be alerted at all: of most patients of a national set nothing can ever be said.

With the gate closed nothing about withdrawal is written (DESIGN.md section 4.4). What is left to a patient without a pump
and without oral baclofen is read off the rules themselves: the least temperature without which none of those that speak
without the gate can be true; a value that looks like another unit (``data_quality``); many readings charted ahead of time
(``technical``). Whoever has one such row is run with all rows; the others are skipped and counted. The sieve may keep too
many and never too few: a test compares the records with and without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

import polars as pl

from detector.catalogue.signals import Catalogue
from detector.fold import LOOKS_AHEAD
from detector.fuse import OVERDOSE

HOT = 40.5
"""degC. A patient with a temperature of this or more is always run, whatever the rules ask (issue of the replay at scale)."""

ORAL = "oral_baclofen"
SKIPPED = "no_pump_no_oral_baclofen"
"""Why rows were skipped, in ``summary.json``."""

Floors = dict[str, float]
"""The least value of a signal, in the catalogue's unit, without which nothing can be alerted."""

_KIND = {"code": pl.String, "unit": pl.String, "factor": pl.Float64, "offset": pl.Float64, "low": pl.Float64, "high": pl.Float64}  # fmt: skip
_SPAN = ("patient_id", "stay_id")


class Sieve:
    """Looks at observations, in any order and number, and remembers the ``patients`` of whom something may be said."""

    def __init__(self, catalogue: Catalogue, floors: Floors) -> None:
        self.patients: set[str] = set()
        self.spans = pl.DataFrame(schema={**dict.fromkeys(_SPAN, pl.String), "first": pl.Int64, "last": pl.Int64})
        """When the first and the last observation of each stay was known, of tables that were looked at with ``spans``."""
        self._catalogue = catalogue
        self._floors = floors
        self._ahead: Counter[str] = Counter()
        self._known: set[tuple[str | None, str | None]] = set()
        self._ranges = pl.DataFrame(schema=_KIND)
        self.future_limit = catalogue.future_limit

    def tells(self, code: str) -> bool:
        """Whether a row of this code can be one for which its patient is run."""
        named = self._catalogue.resolve_code(code)
        if named is None:
            return False
        signal = self._catalogue.signals[named.signal]
        owners = {signal.name, *(unit.redirect for unit in signal.units.values() if unit.redirect is not None)}
        return any(name in self._floors or self._catalogue.signals[name].suspect for name in owners)

    def look(self, table: pl.DataFrame) -> None:
        """Look at rows with patient_id, code, unit, value, effective_at, available_at (ms UTC)."""
        self._learn(table)
        value = pl.col("value") * pl.col("factor") + pl.col("offset")
        telling = (
            table.lazy().filter(pl.col("code").is_in(self._ranges["code"].unique().to_list()))
            .join(self._ranges.lazy(), on=["code", "unit"], nulls_equal=True)
            .filter((value >= pl.col("low")) & (value <= pl.col("high")))
            .select(pl.col("patient_id").unique()).collect()
        )  # fmt: skip
        self.patients.update(patient for patient in telling["patient_id"] if patient is not None)
        ahead = table.filter(pl.col("effective_at") - pl.col("available_at") > self.future_limit)
        for patient, rows in ahead.group_by("patient_id").len().iter_rows():
            self._ahead[patient] += rows
            if 2 * self._ahead[patient] > LOOKS_AHEAD and patient is not None:
                self.patients.add(patient)

    def look_at_spans(self, table: pl.DataFrame) -> None:
        """Remember of rows with patient_id, stay_id, available_at when the stays were observed."""
        spans = table.group_by(_SPAN).agg(first=pl.col("available_at").min(), last=pl.col("available_at").max())
        whole = pl.concat([self.spans, spans])
        self.spans = whole.group_by(_SPAN).agg(pl.col("first").min(), pl.col("last").max())

    def _learn(self, table: pl.DataFrame) -> None:
        """The ranges of each spelling of code and unit that was not seen yet."""
        kinds = set(table.select("code", "unit").unique().iter_rows()) - self._known
        if not kinds:
            return
        self._known |= kinds
        rows = [(code, unit, *rest) for code, unit in kinds if code is not None for rest in self._ranges_of(code, unit)]
        self._ranges = pl.concat([self._ranges, pl.DataFrame(rows, schema=_KIND, orient="row")])

    def _ranges_of(self, code: str, spelling: str | None) -> Iterable[tuple[float, float, float, float]]:
        """(factor, offset, low, high): a value of this kind from low to high, once converted, tells; as
        ``detector.clean`` reads it, a last digit wider at either end.
        """
        named = self._catalogue.resolve_code(code)
        if named is None:
            return
        signal = self._catalogue.signals[named.signal]
        unit = signal.resolve_unit(spelling if spelling is not None else named.unit)
        if unit is not None and unit.redirect is not None:
            signal = self._catalogue.signals[unit.redirect]
            unit = signal.resolve_unit(spelling) or signal.units[signal.unit]
        if unit is None:
            return
        digit = 10.0**-signal.digits
        ranges = [(one.low, one.high) for one in signal.suspect if one.tagged in (None, unit.unit)]
        if signal.name in self._floors:
            ranges.append((self._floors[signal.name], inf))
        if ranges and unit.needs is not None:  # what it is depends on a weight
            ranges = [(-inf, inf)]
        yield from ((unit.factor, unit.offset, low - digit, high + digit) for low, high in ranges)


def floors(rules: Mapping[str, Any], *, pump_unknown: bool) -> Floors | None:
    """What somebody without pump and oral baclofen must have been measured for anything to be said.

    Args:
        rules: the parsed rule files by name, with the site's overlay laid on.
        pump_unknown: nothing is known of the pumps, so that they may also be asked for.

    Returns:
        None when a rule asks for something that cannot be told from single temperatures: then nobody is to be skipped.
    """
    roots = [
        rule["when"] for name, rule in rules.items()
        if name not in _NO_RULES and (rule.get("any_gate") or rule.get("syndrome") == OVERDOSE)
    ]  # fmt: skip
    if pump_unknown:
        roots.append(rules["bedside.yaml"]["pump_status_query"]["when"])
    needed = _union([{"temp": HOT}, *(_needed(root, rules) for root in roots)])
    return needed if needed is not None and set(needed) == {"temp"} else None


def least(several: Sequence[Floors | None]) -> Floors | None:
    """The floors under which none of several plans says anything; None = at least one of them has none."""
    return _union(several)


_NO_RULES = ("definitions.yaml", "guards.yaml", "bedside.yaml")


def _needed(condition: Mapping[str, Any], rules: Mapping[str, Any]) -> Floors | None:
    """What must be there for a condition to be true; empty = it never is; None = that cannot be told."""
    ((kind, args),) = condition.items()
    if kind == "rule":
        own = rules.get(f"{args}.yaml") or rules["definitions.yaml"]["definitions"][args]
        return _needed(own["when"], rules)
    if kind in ("any", "at_least"):
        return _union([_needed(one, rules) for one in (args if kind == "any" else args["of"])])
    if kind == "all":
        told = [found for one in args if (found := _needed(one, rules)) is not None]
        return min(told, key=len, default=None)
    if kind in ("reading", "rise"):
        limit = args.get("to") if kind == "rise" else args.get("at_least", args.get("above"))
        return {args["signal"]: float(limit)} if isinstance(limit, int | float) else None
    if kind in ("pump", "passed_since") and "absent" not in args.get("event", args.get("pump", ("absent",))):
        return {}
    if kind == "pump_status" and not {"absent", "unknown"} & set(args):
        return {}
    return {} if kind == "context" and list(args["kind"]) == [ORAL] else None


def _union(several: Sequence[Floors | None]) -> Floors | None:
    whole: Floors = {}
    for one in several:
        if one is None:
            return None
        for signal, limit in one.items():
            whole[signal] = min(limit, whole.get(signal, limit))
    return whole
