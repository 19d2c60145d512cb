"""Records that are wrong while nothing happens to the patient: a probe that fell off, a wrong unit, a corrected value,
haemolysis. Kinds and amounts stand in ``course_shapes.yaml``; nobody should be woken by any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace

from detector.clock import HOUR, MINUTE
from detector.errors import ConfigError, InputError, nearest
from detector.events import Observation
from pipelines.dataset import SYNTHETIC
from pipelines.simulate.backgrounds import Background
from pipelines.simulate.body import ARTEFACTS, SHAPES
from pipelines.simulate.charting import Record, decimals
from pipelines.simulate.distributions import Draws, generator
from pipelines.simulate.inject import EARLIEST_ONSET_H, Injected, twin
from pipelines.simulate.rows import record_of

_Spoil = Callable[[pl.DataFrame, Record, int, Draws, Mapping[str, Any]], tuple[pl.DataFrame, list[int]]]


def spoil(
    background: Background, kind: str, *, seed: int, draw: int = 0, with_tone: bool = True, suffix: str | None = None
) -> Injected:
    """A stay with an artefact of a kind (``ARTEFACTS``); the rest of it is the stay's twin.

    ``haemolysis`` puts its rows into ``flagged``, with the flag ``hemolyzed`` that a table cannot hold.

    Raises:
        ConfigError: there is no such kind.
        InputError: the stay has no reading that this artefact could spoil.
    """
    if kind not in _SPOILS:
        raise ConfigError([f"artefact {kind!r}: expected one of {', '.join(ARTEFACTS)}{nearest(kind, ARTEFACTS)}"])
    name = suffix if suffix is not None else f"~{kind}.{draw}"
    whole = twin(background, seed=seed, with_tone=with_tone, suffix=name)
    draws = Draws(generator(seed, background.stay_id, kind, draw), SHAPES["follow"])
    table = whole.observations.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    start = background.first + int(draws.rng.uniform(EARLIEST_ONSET_H, max(EARLIEST_ONSET_H + 1, background.hours - 6)) * HOUR)  # fmt: skip
    made, taken_out = _SPOILS[kind](table, record_of(table), start, draws, SHAPES["artefacts"][kind])
    flagged = [_flagged(row) for row in made.filter(pl.col("row").is_in(taken_out)).iter_rows(named=True)]
    return Injected(
        observations=made.filter(~pl.col("row").is_in(taken_out)),
        context=whole.context,
        pumps=[],
        truth=replace(whole.truth, kind=kind, onset_at=start),
        flagged=flagged,
    )


def _probe_off(
    table: pl.DataFrame, seen: Record, start: int, draws: Draws, written: Mapping[str, Any]
) -> tuple[pl.DataFrame, list[int]]:
    """The probe lies beside the patient and cools to the room, or lies once under a warm blanket."""
    if draws.happens(written["too_hot"]):
        rows = _from(seen.of("temp"), seen, start, 1)
        values = np.full(len(rows), draws.free(written["hot_to"]))
    else:
        until = start + int(draws.free(written["hours"]) * HOUR)
        rows = _from(
            seen.of("temp") & ((seen.at <= until) | (seen.at == _next(seen, "temp", start))), seen, start, None
        )
        room, since = draws.free(written["room"]), (seen.at[rows] - start) / HOUR
        left = np.exp(-np.maximum(since, 0.1) / draws.free(written["cools_h"]))
        values = room + (seen.value[rows] - room) * left
    return _write(table, seen, rows, values, "temp"), []


def _unit_switch(
    table: pl.DataFrame, seen: Record, start: int, draws: Draws, written: Mapping[str, Any]
) -> tuple[pl.DataFrame, list[int]]:
    """Fahrenheit in an item of degrees Celsius, or micromoles in one of milligrams, for some hours."""
    signal = "temp" if draws.happens(written["of_temperature"]) else "creat"
    until = start + int(draws.free(written["hours"]) * HOUR)
    rows = seen.of(signal) & (seen.factor == 1.0)  # rows whose unit is the catalogue's own: Cel, mg/dL
    rows = _from(rows & ((seen.at <= until) | (seen.at == _next(seen, signal, start, rows))), seen, start, None)
    values = seen.value[rows] * 1.8 + 32 if signal == "temp" else seen.value[rows] * 88.42  # 3.3, conversions
    return _write(table, seen, rows, values, signal), []


def _correction(
    table: pl.DataFrame, seen: Record, start: int, draws: Draws, written: Mapping[str, Any]
) -> tuple[pl.DataFrame, list[int]]:
    """A wrong value, final, and the right one under the same id some time after it."""
    signals = [name for name in written["signals"] if (seen.of(name) & (seen.at >= start)).any()]
    if not signals:
        raise InputError("unsuitable_stay", "no reading that could be corrected; expected one of " + ", ".join(written["signals"]))  # fmt: skip
    signal = str(draws.rng.choice(signals))
    row = _from(seen.of(signal), seen, start, 1)
    right = seen.value[row]
    factor = draws.free(written["factor"])
    wrong = right + draws.free(written["temp_by"]) if signal == "temp" else right / factor if signal == "plt" else np.minimum(right * factor, 9.8) if signal == "k" else right * factor  # fmt: skip
    own_id = f"synthetic-{int(row[0])}"
    made = _write(table, seen, row, wrong, signal).with_columns(
        observation_id=pl.when(pl.col("row") == int(row[0])).then(pl.lit(own_id)).otherwise("observation_id")
    )
    later = int(draws.free(written["after_min"])) * MINUTE
    corrected = table.filter(pl.col("row") == int(row[0])).with_columns(
        status=pl.lit("corrected"), observation_id=pl.lit(own_id), source=pl.lit(SYNTHETIC),
        available_at=pl.col("available_at") + later, row=pl.lit(len(table), pl.Int64),
    )  # fmt: skip
    return pl.concat([made, corrected]), []


def _haemolysis(
    table: pl.DataFrame, seen: Record, start: int, draws: Draws, written: Mapping[str, Any]
) -> tuple[pl.DataFrame, list[int]]:
    """Broken red cells in the tube: potassium and AST too high, flagged by the laboratory."""
    after = seen.of("k") & (seen.at >= start)
    if not after.any():
        raise InputError("unsuitable_stay", "no potassium after the start; expected one sample or more")
    samples = np.unique(seen.at[after])[: max(1, round(draws.free(written["samples"])))]
    out: list[int] = []
    for at in samples:
        for signal, by in (("k", written["k"]), ("ast", written["ast"]), ("ck", written["ck"])):
            rows = np.flatnonzero(seen.of(signal) & (seen.at == at))
            if len(rows):
                amount = draws.free(by)
                values = seen.value[rows] + amount if signal == "k" else seen.value[rows] * amount
                table = _write(table, seen, rows, values, signal)
                out += rows.tolist()
    return table, out


_SPOILS: dict[str, _Spoil] = {
    "probe_off": _probe_off,
    "unit_switch": _unit_switch,
    "correction": _correction,
    "haemolysis": _haemolysis,
}


def _from(rows: Any, seen: Record, start: int, count: int | None) -> Any:
    """Row numbers from an instant on; of the first ``count`` instants only.

    Raises:
        InputError: there is none.
    """
    found = np.flatnonzero(rows & (seen.at >= start))
    if not len(found):
        raise InputError("unsuitable_stay", "no reading after the start of the artefact; expected one or more")
    if count is not None:
        found = found[np.isin(seen.at[found], np.unique(seen.at[found])[:count])]
        found = found[:count]
    return found


def _next(seen: Record, signal: str, start: int, rows: Any = None) -> int:
    rows = seen.of(signal) if rows is None else rows
    later = seen.at[rows & (seen.at >= start)]
    return int(later.min()) if len(later) else -1


def _write(table: pl.DataFrame, seen: Record, rows: Any, values: Any, signal: str) -> pl.DataFrame:
    """The table with canonical values in those rows, in the unit each row has, marked as made."""
    if not len(rows):
        return table
    written = np.round((values - seen.offset[rows]) / seen.factor[rows], max(1, decimals(signal)))
    news = pl.DataFrame({"row": pl.Series(rows, dtype=pl.Int64), "new": pl.Series(written, dtype=pl.Float64)})
    joined = table.join(news, on="row", how="left", maintain_order="left")
    return joined.with_columns(
        value=pl.coalesce("new", "value"),
        source=pl.when(pl.col("new").is_not_null()).then(pl.lit(SYNTHETIC)).otherwise("source"),
    ).drop("new")


def _flagged(row: Mapping[str, Any]) -> Observation:
    names = ("patient_id", "stay_id", "code", "value", "value_text", "unit", "effective_at", "available_at", "status", "observation_id", "site", "reference_high")  # fmt: skip
    return Observation(**{name: row[name] for name in names}, flags=("hemolyzed",), source=SYNTHETIC)
