"""Whether the readings of a ward still look like those of a reference: a unit switch, another analyser, a silent feed.

The measure is the population stability index (PSI) of each signal over six classes: the fifths of the reference, and
"not measured at all". Siddiqi, Credit Risk Scorecards, 2006: above 0.25 a distribution has changed; Yurdakul and Naranjo,
J Risk Model Validation 2020;14(4):89-100: under no change it is (1/n + 1/m) times a chi-squared variable, so that few
patients need a larger index. Both must be exceeded, for ``DWELL``.

Every patient counts once, however often it is measured, so one patient moves a ward of n by 1/n at most. What is looked at
is what the patients hold anyway (the last value of each hour, over 24 h for vital signs and 168 h for the others): there
is no state of its own that could grow, or that a restart could lose, but since when an index has been high.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from math import log
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
from msgspec import Struct

from detector.catalogue.signals import Catalogue
from detector.clean import WITHDRAWN, Refused, clean, name_of
from detector.clock import DAY, HOUR
from detector.engine import Ward
from detector.errors import ConfigError
from detector.events import Observation, PatientEvent

FORM = 1
CHANGED = 0.25
QUIET_AGAIN = 0.10
"""Siddiqi 2006: below it there is no change to speak of."""

CHI_SQUARED = 20.515
"""The 0.999 quantile with five degrees of freedom (six classes)."""

DWELL = DAY
"""[D] So long an index must stay high before it is an alert."""

FORGOTTEN = 3 * HOUR
"""[D] An index that was not looked at for so long begins anew."""

FIFTHS = (0.2, 0.4, 0.6, 0.8)
VITALS, OTHERS = DAY, 7 * DAY


class Known(Struct, frozen=True):
    """One signal of a reference: the edges between its fifths, the share of each of the six classes (the last = not
    measured), how many stays it is made of, and the median of their medians.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    stays: int
    median: float


class Reference(Struct, frozen=True):
    """What readings looked like. ``made_of`` names the inputs."""

    form: int
    made_of: tuple[str, ...]
    signals: dict[str, Known]


class Found(NamedTuple):
    """One signal of the ward: its index, what that must exceed, and the median of the patients' medians (None = nobody
    has a reading).
    """

    psi: float
    limit: float
    median: float | None


def read_reference(path: Path, catalogue: Catalogue | None) -> Reference:
    """A file that ``write_reference`` wrote; ``catalogue`` None = it is not known, and its signals are not looked at.

    Raises:
        ConfigError: it is missing, no such file, or names a signal that the catalogue does not have.
    """
    try:
        read = msgspec.json.decode(path.read_bytes(), type=Reference)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read ({error.strerror}); expected a drift reference"]) from error
    except msgspec.DecodeError as error:
        said = f"{path}: {error}; expected what `replay --drift-reference` writes; make it anew"
        raise ConfigError([said]) from error
    if read.form != FORM:
        raise ConfigError([f"{path} $.form: {read.form}; expected {FORM}; make it anew"])
    problems = [
        f"{path} $.signals.{name}: no signal of the catalogue; expected one; make it anew"
        for name in read.signals
        if catalogue is not None and name not in catalogue.signals
    ]
    problems += [
        f"{path} $.signals.{name}: {len(one.edges)} edges, {len(one.shares)} shares; expected 4 and 6; make it anew"
        for name, one in read.signals.items()
        if (len(one.edges), len(one.shares)) != (4, 6)
    ]
    if problems:
        raise ConfigError(problems)
    return read


def write_reference(path: Path, reference: Reference) -> None:
    """Raises OSError when it cannot be written."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(reference), indent=1) + b"\n")


def make_reference(events: Iterable[PatientEvent], catalogue: Catalogue, made_of: Sequence[str]) -> Reference:
    """The reference of past stays, looked at once a day of each stay of a day or longer, as a ward would be; readings are
    cleaned as the service cleans them. ``made_of`` names where the events come from.
    """
    stays: dict[tuple[str, str | None], dict[str, list[tuple[int, float]]]] = {}
    for event in events:
        named = name_of(catalogue, event) if isinstance(event, Observation) else None
        cleaned = clean(catalogue, named, event, None) if named is not None and isinstance(event, Observation) else None
        if not isinstance(event, Observation) or cleaned is None or isinstance(cleaned, Refused):
            continue
        signal, reading = cleaned
        if reading.meta.rank < WITHDRAWN:
            of_stay = stays.setdefault((event.patient_id, event.stay_id), {})
            of_stay.setdefault(signal, []).append((reading.at, reading.value))
    for of_stay in stays.values():
        for readings in of_stay.values():
            readings.sort()
    looks: dict[str, list[list[list[float]]]] = {name: [] for name in catalogue.signals}
    for of_stay in stays.values():
        first = min(readings[0][0] for readings in of_stay.values())
        last = max(readings[-1][0] for readings in of_stay.values())
        days = range(first + DAY, last + 1, DAY)
        for name in catalogue.signals if days else ():
            readings = of_stay.get(name, [])
            span = span_of(catalogue, name)
            looks[name].append([_hourly(readings, day, span) for day in days])
    made = {}
    for name, of_signal in looks.items():
        every = sorted(value for days in of_signal for values in days for value in values)
        if every:
            edges = tuple(every[int(share * len(every))] for share in FIFTHS)
            shares = _mean([_mean([_classes(values, edges) for values in days]) for days in of_signal])
            middles = [median(value for values in days for value in values) for days in of_signal if any(days)]
            made[name] = Known(edges, tuple(round(one, 6) for one in shares), len(of_signal), median(middles))
    return Reference(FORM, tuple(made_of), made)


def look(wards: Iterable[Ward], reference: Reference, catalogue: Catalogue, now: int, fewest: int) -> dict[str, Found]:
    """Every signal of the reference in the stays that have been open for a day; nothing with fewer than ``fewest``."""
    patients = [
        patient
        for ward in wards
        for patient in ward.patients.values()
        if patient.stay is not None and patient.stay.opened_at + DAY <= now
    ]
    if len(patients) < fewest:
        return {}
    found = {}
    for name, known in reference.signals.items():
        span = span_of(catalogue, name)
        held = []
        for patient in patients:
            series = patient.series.get(name)
            held.append([] if series is None else _hourly(zip(series.at, series.value, strict=True), now, span))
        shares = _mean([_classes(values, known.edges) for values in held])
        index = stability_index(shares, len(patients), known.shares, known.stays)
        limit = max(CHANGED, (1 / len(patients) + 1 / known.stays) * CHI_SQUARED)
        middles = [median(values) for values in held if values]
        found[name] = Found(index, limit, median(middles) if middles else None)
    return found


def stability_index(now: Sequence[float], n: int, before: Sequence[float], m: int) -> float:
    """PSI of two distributions over the same classes, seen in n and m patients. Half a patient is added to every class, so
    that one that nobody is in has a finite weight.
    """
    size = len(now)
    pairs = [
        ((n * one + 0.5) / (n + 0.5 * size), (m * other + 0.5) / (m + 0.5 * size))
        for one, other in zip(now, before, strict=True)
    ]
    return sum((one - other) * log(one / other) for one, other in pairs)


def span_of(catalogue: Catalogue, signal: str) -> int:
    """How far back a signal is looked at (ms): as far as a patient keeps every reading of it."""
    return VITALS if catalogue.signals[signal].is_vital else OTHERS


def stands(before: Mapping[str, tuple[int, int]], found: Mapping[str, Found], now: int) -> dict[str, tuple[int, int]]:
    """Since when each signal has been high, and when that was seen last; ``before`` is what was known before ``now``."""
    after = {}
    for name, one in found.items():
        since, seen = before.get(name, (now, now))
        if seen + FORGOTTEN < now:
            since = now
        if one.psi > one.limit:
            after[name] = (since, now)
    return after


def _hourly(readings: Iterable[tuple[int, float]], now: int, span: int) -> list[float]:
    """The last value of each hour in the span that ends now; ``readings`` in the order of time."""
    last: dict[int, float] = {}
    for at, value in readings:
        if now - span < at <= now:
            last[at // HOUR] = value
    return list(last.values())


def _classes(values: Sequence[float], edges: Sequence[float]) -> list[float]:
    shares = [0.0] * (len(edges) + 2)
    for value in values:
        shares[bisect_right(edges, value)] += 1 / len(values)
    if not values:
        shares[-1] = 1.0
    return shares


def _mean(shares: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(shares) for column in zip(*shares, strict=True)]
