"""What any stay has for no reason of ours: a CK now and then, and what a hospital writes of everybody.

Where a data set has none of it, its mere presence would give every injected course away; so twins get the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from detector.clock import HOUR, MINUTE
from detector.events import Context
from pipelines.simulate.backgrounds import Background
from pipelines.simulate.body import SHAPES
from pipelines.simulate.charting import Extra, Record, catalogue, filed
from pipelines.simulate.distributions import Draws, generator
from pipelines.simulate.rows import extra_rows, record_of


def with_incidental_ck(background: Background, seed: int) -> pl.DataFrame:
    """The observations of a stay, with a few CK samples where it has none; half of such stays stay without."""
    table = background.observations
    if any(name is not None and name.signal == "ck" for name in map(catalogue().resolve_code, table["code"].unique())):
        return table
    written = SHAPES["incidental_ck"]
    rng = generator(seed, background.stay_id, "incidental")
    draws = Draws(rng, SHAPES["follow"])
    if not draws.happens(written):
        return table
    level = draws.free(written["level"])
    at = background.first + int(draws.free(written["first_h"]) * HOUR)
    for_fever = draws.happens(written["for_fever"])
    seen = record_of(table)
    hot = seen.at[seen.of("temp") & (seen.value >= written["fever_from"])]
    if for_fever and len(hot):
        at = int(hot[0]) + int(draws.free(SHAPES["charting"]["order_delay_h"]) * HOUR)
    rows: list[Extra] = []
    for _ in range(round(draws.free(written["samples"]))):
        if at >= background.last:
            break
        drawn_at = at - at % MINUTE
        rows.append(Extra("ck", level, drawn_at, filed("muscle", drawn_at, rng)))
        hours = draws.free(written["again_h"])
        level = max(20.0, level * 0.5 ** (hours / 60) + 25) * float(np.exp(0.1 * rng.normal()))
        at += int(hours * HOUR)
    more = extra_rows(rows, table, (background.patient_id, background.stay_id))
    return pl.concat([table, more]).sort("effective_at", "available_at", "code", "row")


def incidental_context(
    background: Background, seen: Record, patient_id: str, seed: int, *, with_tone: bool, last: int
) -> list[Context]:
    """Treatments and notes that the stay has without a course, up to ``last`` (ms UTC).

    ``seen`` is the stay as it was before any course: what is given for fever is given for its own fever.
    """
    rng = generator(seed, background.stay_id, "incidental context")
    draws = Draws(rng, SHAPES["follow"])
    out: list[Context] = []
    for written in SHAPES["incidental_context"]:
        happens, share, delay = draws.happens(written), float(rng.random()), float(rng.uniform(0.2, 4))
        lasts = draws.free(written["stopped_h"]) if "stopped_h" in written else None
        filed_after = [filed("score", 0, rng), filed("score", 0, rng)]
        at: float | None = background.first + share * (background.last - background.first)
        if "when" in written:
            ((condition, limit),) = written["when"].items()
            signal, _, side = condition.partition("_")
            rows = seen.of(signal)
            reached = seen.value[rows] >= limit if side == "from" else seen.value[rows] < limit
            times = seen.at[rows][reached]
            at = float(times[int(share * len(times))]) + delay * HOUR if len(times) else None
        if not happens or at is None or (written.get("tone") and not with_tone):
            continue
        for event, hours, late in ((written["event"], 0.0, filed_after[0]), ("stopped", lasts, filed_after[1])):
            if hours is None or at + hours * HOUR > last:
                continue
            instant = int(at + hours * HOUR)
            instant -= instant % MINUTE
            known: dict[str, Any] = {"kind": written["kind"], "event": event}
            out.append(Context(patient_id=patient_id, at=instant, available_at=instant + late, **known))
    return out
