"""A CK for no reason of ours, where a data set has none: else "CK was measured" alone would give every course away."""

from __future__ import annotations

import numpy as np
import polars as pl

from detector.clock import HOUR, MINUTE
from pipelines.simulate.backgrounds import Background
from pipelines.simulate.body import SHAPES
from pipelines.simulate.charting import Extra, catalogue, filed
from pipelines.simulate.distributions import Draws, generator
from pipelines.simulate.rows import extra_rows


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
