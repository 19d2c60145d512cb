"""The rows of a stay: read into arrays, and written again with what a course changed and what was ordered because of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.dataset import OBSERVATION_COLUMNS, SYNTHETIC
from pipelines.simulate import WARD
from pipelines.simulate.charting import Extra, Record, catalogue, decimals, record
from pipelines.simulate.shapes import Array

Ids = tuple[str, str]
"""patient_id and stay_id."""


def record_of(table: pl.DataFrame) -> Record:
    """The rows of a table in the order of their time, as ``Record``."""
    return record(
        table["code"].to_numpy().astype(object), np.array(table["unit"].to_list(), dtype=object),
        table["value"].cast(pl.Float64).fill_null(np.nan).to_numpy(), table["effective_at"].to_numpy(), table["available_at"].to_numpy(),
    )  # fmt: skip


def rewritten(table: pl.DataFrame, before: Record, values: Array, extra: Sequence[Extra], ids: Ids) -> pl.DataFrame:
    """The stay's rows with the course's values, and the extra ones, under the ids of the injected stay."""
    old = table["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    written = (values - before.offset) / before.factor
    new = old.copy()
    for signal in {one for one in before.signal.tolist() if one is not None}:
        rows = before.of(signal) & (np.abs(values - before.value) > 1e-9)
        if rows.any():
            new[rows] = _as_charted(signal, written[rows], old[rows])
    touched = ~(np.isnan(old) | np.isclose(new, old, rtol=0, atol=1e-9))
    new = np.where(touched, new, old)
    changed_rows = table.with_columns(
        value=pl.when(pl.Series(touched)).then(pl.Series(new)).otherwise(pl.col("value")),
        source=pl.when(pl.Series(touched)).then(pl.lit(SYNTHETIC)).otherwise(pl.col("source")),
        patient_id=pl.lit(ids[0]), stay_id=pl.lit(ids[1]),
    )  # fmt: skip
    return pl.concat([changed_rows, extra_rows(extra, table, ids)]).sort("effective_at", "available_at", "code", "row")


def _as_charted(signal: str, values: Array, like: Array) -> Array:
    """Rounded as the stay rounds: by the signal's usual decimals, finer where the background is finer."""
    digits = decimals(signal)
    coarse = np.abs(like - np.round(like, digits)) < 1e-5
    return np.where(coarse, np.round(values, digits), np.round(values, digits + 4))


def extra_rows(extra: Sequence[Extra], table: pl.DataFrame, ids: Ids) -> pl.DataFrame:
    """Rows as this stay would have charted them: its own codes and units where it has the signal, else the catalogue's."""
    named = _spellings(table)
    known = catalogue()
    rows = []
    for number, one in enumerate(extra):
        code, unit = named.get(one.signal, (None, None))
        if code is None:
            code = one.signal if any(name in known.signals for name, _ in named.values()) else _code(one.signal)
            unit = known.signals[one.signal].unit
        found = known.signals[one.signal].resolve_unit(unit)
        assert found is not None
        value = round((one.value - found.offset) / found.factor, decimals(one.signal))
        rows.append((*ids, code, value, None, unit, one.at, one.available_at, "final", None, None, None, SYNTHETIC, 0, 10_000_000 + number))  # fmt: skip
    return pl.DataFrame(rows, schema=OBSERVATION_COLUMNS, orient="row")


def _spellings(table: pl.DataFrame) -> dict[str, tuple[str, str | None]]:
    """Signal to the code and unit that this stay writes most."""
    out: dict[str, tuple[str, str | None]] = {}
    counts = table.filter(pl.col("value").is_not_null()).group_by("code", "unit").len().sort("len", "code", "unit")
    for code, unit, _ in counts.iter_rows():
        named = catalogue().resolve_code(code)
        if named is not None:
            found = catalogue().signals[named.signal].resolve_unit(unit)
            if found is not None and not found.redirect and not found.needs:
                out[named.signal] = (code, unit)
    return out


def _code(signal: str) -> str:
    known = WARD["signals"].get(signal)
    return str(known["code"]) if known else "local:mas"
