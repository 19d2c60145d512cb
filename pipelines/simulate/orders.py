"""What a clinician orders once something can be seen: blood drawn after a delay, again while it is abnormal.

Nothing is ordered before something of the course is on record (a fever, a note of rigidity, a fit, an abnormal
result), and no panel is drawn where the stay had one at that hour.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from detector.clock import HOUR, MINUTE
from pipelines.simulate.body import HOURS, SHAPES, Course
from pipelines.simulate.charting import Extra, Nursing, Record, changed, filed
from pipelines.simulate.distributions import Draws
from pipelines.simulate.shapes import Array, wander

_SIGNS = ("surgery", "seizure", "hallucination", "delirium", "cooling", "vasopressor", "pruritus", "dysaesthesia")
_PULSE = 25.0  # beats that the course adds and a nurse reports; D


def first_seen(made: Course, seen: Record, without: Array, told: Nursing, onset: int, not_before: int) -> int | None:
    """When somebody at the bedside first knew that something was going on; None = never.

    ``seen`` holds the values of the course, ``without`` the same rows as they were before it.
    """
    written = SHAPES["charting"]
    moved = np.nan_to_num(seen.value - without)
    after = seen.at >= onset
    # by the course and not by chance: a fever that was there anyway calls for nothing new
    fever = after & seen.of("temp") & (seen.value >= written["fever_from"]) & (moved >= 0.4)
    pulse = after & seen.of("hr") & (moved >= _PULSE)
    known = [*seen.available_at[fever], *seen.available_at[pulse]]
    for signal in written["abnormal"]:
        rows = after & seen.of(signal)
        hit = [_abnormal(signal, *pair) for pair in zip(seen.value[rows], without[rows], strict=True)]
        known += list(seen.available_at[rows][np.array(hit, dtype=bool)])
    known += [onset + int(hour * HOUR) for hour, said in made.context if said["kind"] in _SIGNS and hour >= 0]
    known += [at for at in told.raised if at >= onset]
    known += [at for _, at in told.notes if at >= onset]
    if any(said["kind"] == "surgery" for _, said in made.context):
        known.append(not_before)  # everybody knows of an operation
    known = [int(at) for at in known if at >= not_before]
    return min(known) if known else None


def ordered(
    made: Course, background: Record, usual: Mapping[str, float], noise: Mapping[str, Array], told: Nursing,
    onset: int, seen_at: int, last: int, rng: np.random.Generator,
) -> list[Extra]:  # fmt: skip
    """The samples drawn because of the course, none before ``seen_at`` or after ``last``; values in canonical units."""
    written, draws = SHAPES["charting"], Draws(rng, SHAPES["follow"])
    rigid = [at for at in (*told.raised, *(at for _, at in told.notes)) if at >= onset]
    slow = {signal: wander(HOURS, 12.0, rng) for panel in SHAPES["panels"].values() for signal in panel["signals"]}
    out: list[Extra] = []
    for name, panel in SHAPES["panels"].items():
        chance, delay, since = made.work_up[name], "order_delay_h", seen_at
        if name == "muscle" and rigid and draws.rng.random() < 0.9:
            chance, delay = max(chance, made.work_up["muscle_tone"]), "order_delay_tone_h"
            since = max(seen_at, min(rigid))
        if draws.rng.random() >= chance:
            continue
        at = since + int(draws.free(written[delay]) * HOUR)
        while at < last:
            drawn_at = at - at % MINUTE
            hours = np.array([(drawn_at - onset) / HOUR])
            abnormal = False
            for signal in panel["signals"]:
                level = background.level(signal, drawn_at)
                if level is None:
                    level = usual[signal] * float(np.exp(0.1 * np.interp(hours[0], HOURS, slow[signal])))
                level *= 1 + SHAPES["laboratory_cv"] * float(rng.normal())
                value = float(changed(made, signal, np.array([level]), hours, noise)[0])
                abnormal |= _abnormal(signal, value, level)
                if not _drawn_already(background, signal, drawn_at):
                    out.append(Extra(signal, value, drawn_at, filed(panel["filed"], drawn_at, rng)))
            at += int(draws.free(written["repeat_abnormal_h" if abnormal else "repeat_normal_h"]) * HOUR)
    return out


def extra_temperatures(
    made: Course, background: Record, onset: int, seen_at: int, last: int, rng: np.random.Generator
) -> list[Extra]:
    """More temperatures while there is fever, between those that the stay had."""
    written = SHAPES["charting"]
    rows = background.of("temp")
    if "temp" not in made.add or not rows.any():
        return []
    draws = Draws(rng, SHAPES["follow"])
    if not draws.happens(written["more_temperatures"]):
        return []
    every = draws.free(written["temperature_every_min"])
    times, levels = background.at[rows], background.value[rows]
    jitter = wander(HOURS, 1.0, rng)
    out: list[Extra] = []
    at = seen_at + int(every * MINUTE)
    while at < last:
        hours = np.array([(at - onset) / HOUR])
        gap = int(np.abs(times - at).min())
        level = float(np.interp(at, times, levels)) + 0.12 * float(np.interp(hours[0], HOURS, jitter))
        value = float(changed(made, "temp", np.array([level]), hours, {})[0])
        if gap > 0.6 * every * MINUTE and value >= written["fever_from"]:
            measured = at - at % MINUTE
            out.append(Extra("temp", value, measured, filed("temperature", measured, rng)))
        at += int(every * rng.uniform(0.7, 1.3) * MINUTE)
    return out


def _abnormal(signal: str, value: float, level: float) -> bool:
    change = SHAPES["charting"]["abnormal"].get(signal)
    if change is None:
        return False
    if signal == "plt":
        return bool(value / max(level, 1e-9) <= change)
    if signal in ("creat", "wbc"):
        return bool(value / max(level, 1e-9) >= change)
    return bool(value - level >= change)


def _drawn_already(background: Record, signal: str, at: int) -> bool:
    rows = background.of(signal)
    return bool((np.abs(background.at[rows] - at) < SHAPES["charting"]["already_drawn_h"] * HOUR).any())
