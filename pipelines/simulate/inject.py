"""A course injected into a stay: its effects at the times at which the stay was really measured, and what was ordered.

Background noise stays; what the course does is added to it, bending where the body ends. The result depends on the
seed, the stay and the kind of course alone. Every row made or changed carries ``source`` "synthetic".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from detector.clock import HOUR, MINUTE
from detector.errors import InputError
from detector.events import Context, Observation, Pump
from pipelines.simulate import WARD, published
from pipelines.simulate.backgrounds import Background, unsuitable
from pipelines.simulate.body import GENERATORS, LONGEST_H, Course, course
from pipelines.simulate.charting import Extra, Nursing, Record, changed, filed, laboratory_noise, nursing
from pipelines.simulate.distributions import generator
from pipelines.simulate.incidental import incidental_context, with_incidental_ck
from pipelines.simulate.orders import extra_temperatures, first_seen, ordered
from pipelines.simulate.rows import record_of, rewritten
from pipelines.simulate.truth import Truth, bedside_visible, earliest, multiplied, organ_failure

EARLIEST_ONSET_H, LEAST_AFTER_ONSET_H = 6.0, 24.0
TWIN = "none"
TWIN_SUFFIX = "~twin"
"""The ``kind`` of a stay into which nothing was injected."""

_USUAL_TEMP = (36.3, 37.6)  # what a course starts from: a stay that is hot by itself is not heated twice; D


@dataclass(frozen=True)
class Injected:
    """A stay as its stream would have carried it. ``flagged`` are observations with flags, which a table cannot hold."""

    observations: pl.DataFrame
    context: list[Context]
    pumps: list[Pump]
    truth: Truth
    flagged: list[Observation] = field(default_factory=list)


def inject(
    background: Background, kind: str, severity: str | None = None, *, seed: int, draw: int = 0,
    family: str | None = None, with_tone: bool = True, alarm_chance: float = 0.0, suffix: str | None = None,
) -> Injected:  # fmt: skip
    """Inject a course of a kind (and severity, for withdrawals) into a stay.

    ``draw`` numbers several courses in one stay; ``family`` is the generator, None = drawn (a published case has its own); without ``with_tone`` nobody
    charts tone, spasticity, pruritus or dysaesthesia, and all else is drawn the same way; ``alarm_chance`` is that of a
    critical pump alarm (by default the stream does not know of the interruption).

    Raises:
        InputError: the stay is too short or too sparse (``unsuitable`` says why).
        ConfigError: no such kind, severity or generator.
    """
    why = unsuitable(background)
    if why is not None:
        raise InputError("unsuitable_stay", f"stay {background.stay_id}: {why}")
    key = (seed, background.stay_id, kind, severity, draw)
    made_for = generator(*key, "onset")
    drawn = GENERATORS[int(made_for.integers(len(GENERATORS)))] if family is None else family
    family = published.GENERATOR if kind == published.KIND else drawn
    room = (background.first + int(EARLIEST_ONSET_H * HOUR), background.last - int(LEAST_AFTER_ONSET_H * HOUR))
    onset = int(made_for.integers(room[0], max(room[1], room[0] + 1)))
    onset -= onset % MINUTE
    last = min(background.last, onset + int(LONGEST_H * HOUR))

    table = with_incidental_ck(background, seed).filter(pl.col("effective_at") <= last)
    before = record_of(table)
    usual = usual_values(before, onset, generator(seed, background.stay_id, "usual"))
    body = generator(*key, family, "body")
    if kind == published.KIND:
        made = published.course(severity, usual, (last - onset) / HOUR, body)
    else:
        made = course(kind, severity, family, usual, (last - onset) / HOUR, body)
    noise = laboratory_noise(generator(*key, "noise"))
    hours = (before.at - onset) / HOUR
    values = before.value.copy()
    for signal in {*made.add, *made.factor}:
        rows = before.of(signal)
        values[rows] = changed(made, signal, before.value[rows], hours[rows], noise)
    if not with_tone:
        made.context = [(hour, said) for hour, said in made.context if not said.get("tone")]
    tone = generator(*key, "tone")
    told = nursing(background.first, last, onset, made, tone) if with_tone else Nursing()

    visible = bedside_visible(made, before)
    after = Record(before.signal, values, before.at, before.available_at, before.factor, before.offset)
    floor = onset + int(visible * HOUR) if visible is not None else onset
    tone_at = min([*told.raised, *(at for _, at in told.notes if at >= onset)], default=None)
    drawn_at = multiplied(after, before, onset)
    first_visible = earliest(floor if visible is not None else None, drawn_at, tone_at)
    extra: list[Extra] = []
    seen_at = None
    if first_visible is not None or any(said["kind"] == "surgery" for _, said in made.context):
        not_before = first_visible if first_visible is not None else onset
        seen_at = first_seen(made, after, before.value, told, onset, not_before)
    if seen_at is not None:
        extra += ordered(made, before, usual, noise, told, onset, seen_at, last, generator(*key, "orders"))
        extra += extra_temperatures(made, before, onset, seen_at, last, generator(*key, "temperatures"))
    extra += told.grades
    organ = organ_failure(made, usual, (last - onset) / HOUR)
    organ_at = onset + int(organ * HOUR) if organ is not None else None

    name = suffix if suffix is not None else "~" + ".".join(str(part) for part in (kind, severity, draw) if part is not None)  # fmt: skip
    patient, stay = background.patient_id + name, background.stay_id + name
    said = generator(*key, "said")
    context = [_context(patient, onset + int(hour * HOUR), one, said) for hour, one in made.context]
    context += _notes(patient, told)
    context += incidental_context(background, before, patient, seed, with_tone=with_tone, last=last)
    context = sorted((one for one in context if one.at <= last), key=lambda one: one.available_at)
    return Injected(
        observations=rewritten(table, before, values, extra, (patient, stay)),
        context=context,
        pumps=_pumps(patient, onset, made, alarm_chance, said),
        truth=Truth(
            stay_id=stay, patient_id=patient, twin_of=background.stay_id, kind=kind, severity=severity, generator=family, with_tone=with_tone,
            interrupted_at=None if made.interrupted_h is None else onset - int(made.interrupted_h * HOUR),
            onset_at=onset, first_visible_at=earliest(first_visible, organ_at), organ_failure_at=organ_at,
            restored_at=None if made.restored_h is None else onset + int(made.restored_h * HOUR),
            watched_from=background.first, watched_until=last,
        ),
    )  # fmt: skip


def twin(background: Background, *, seed: int, with_tone: bool = True, suffix: str = TWIN_SUFFIX) -> Injected:
    """The same stay without a course: its readings unchanged, the same nursing and the same incidental CK."""
    table = with_incidental_ck(background, seed)
    patient, stay = background.patient_id + suffix, background.stay_id + suffix
    rng = generator(seed, background.stay_id, TWIN, "tone")
    told = nursing(background.first, background.last, None, None, rng) if with_tone else Nursing()
    seen = record_of(table)
    incidental = incidental_context(background, seen, patient, seed, with_tone=with_tone, last=background.last)
    return Injected(
        observations=rewritten(table, seen, seen.value, told.grades, (patient, stay)),
        context=sorted(_notes(patient, told) + incidental, key=lambda one: one.available_at),
        pumps=[],
        truth=Truth(
            stay_id=stay, patient_id=patient, twin_of=background.stay_id, kind=TWIN, with_tone=with_tone,
            watched_from=background.first, watched_until=background.last,
        ),
    )  # fmt: skip


def usual_values(seen: Record, onset: int, rng: np.random.Generator) -> dict[str, float]:
    """What each signal is before the onset: the stay's median, else a draw of other stays'; canonical units."""
    usual: dict[str, float] = {}
    for name, written in WARD["signals"].items():
        drawn = float(rng.triangular(*written["stays"]))
        rows = np.flatnonzero(seen.of(name))
        early = rows[seen.at[rows] < onset]
        found = early if len(early) else rows[:1]
        usual[name] = float(np.median(seen.value[found])) if len(found) else drawn
    usual["temp"] = float(np.clip(usual["temp"], *_USUAL_TEMP))
    return usual


def _context(patient: str, at: int, said: Mapping[str, Any], rng: np.random.Generator) -> Context:
    at -= at % MINUTE
    known: dict[str, Any] = {"kind": said["kind"], "event": said["event"]}
    return Context(patient_id=patient, at=at, available_at=filed("score", at, rng), **known)


def _notes(patient: str, told: Nursing) -> list[Context]:
    return [
        Context(patient_id=patient, kind="spasticity", event="noted", at=at, available_at=available_at)
        for at, available_at in told.notes
    ]


def _pumps(patient: str, onset: int, made: Course, alarm_chance: float, rng: np.random.Generator) -> list[Pump]:
    """What the stream learns of the pump beyond its presence: rarely an alarm, and the restoration where it was written."""
    out: list[Pump] = []
    if made.interrupted_h is not None and rng.random() < alarm_chance:
        at = onset - int(made.interrupted_h * HOUR * rng.uniform(0, 1))
        reason: Literal["motor_stall", "empty_reservoir"] = "motor_stall" if rng.random() < 0.5 else "empty_reservoir"
        out.append(Pump(patient_id=patient, event="alarm", level="critical", reason=reason, at=at, available_at=max(at, onset)))  # fmt: skip
    if made.restored_h is not None and made.restoration_said:
        at = onset + int(made.restored_h * HOUR)
        out.append(Pump(patient_id=patient, event="restored", at=at, available_at=filed("score", at, rng)))
    return out
