"""What a ward chart shows at an instant: the rows that the peers score.

One row for each stay and instant at which something became known, at most one in 15 minutes. Nothing looks ahead: a
value counts from its ``available_at``; of what is known the newest measured counts, until it is stale by the catalogue.
Corrections are read as new values; values withdrawn, implausible or of an unknown unit are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from detector.catalogue.signals import Catalogue, Signal
from detector.clean import Refused, clean, name_of
from detector.clock import DAY, HOUR, MINUTE
from detector.events import Observation
from pipelines.dataset import Dataset

EVERY = 15 * MINUTE
VITALS = ("temp", "hr", "sbp", "dbp", "map", "rr", "spo2", "gcs", "mas")
LABS = ("ck", "plt", "creat", "ast", "alt", "inr", "wbc", "lactate", "k", "hco3", "bili")
_WRITTEN = ("code", "unit", "site")
WITHDRAWN = ("cancelled", "entered-in-error")
_GCS_PARTS = ("gcs_eye", "gcs_verbal", "gcs_motor")

READING = {
    "stay_id": pl.String, "signal": pl.String, "value": pl.Float64, "effective_at": pl.Int64, "available_at": pl.Int64,
}  # fmt: skip

_APART = 30 * DAY  # between stays on the one time line that all stays share: longer than any window looks back


def readings(dataset: Dataset, catalogue: Catalogue) -> pl.DataFrame:
    """The usable observations in the catalogue's names and units: columns of ``READING``, times in ms UTC.

    Skin temperatures are left out (they never count alone, clinical-evidence.md 5.1); a total GCS is made of its three
    parts where all are charted at one instant.
    """
    table = dataset.observations.filter(
        pl.col("stay_id").is_not_null() & pl.col("value").is_finite() & ~pl.col("status").is_in(WITHDRAWN)
    )
    written = table.select(*_WRITTEN, pl.col("value").alias("said")).unique()
    cleaned = pl.DataFrame(
        [(*row, *_cleaned(catalogue, *row)) for row in written.iter_rows()],
        schema={**dict.fromkeys(_WRITTEN, pl.String), "said": pl.Float64, "signal": pl.String, "value": pl.Float64},
        orient="row",
    ).drop_nulls("signal")
    table = table.rename({"value": "said"}).join(
        cleaned, on=[*_WRITTEN, "said"], nulls_equal=True, maintain_order="left"
    )
    table = table.select(pl.col(name).cast(kind) for name, kind in READING.items())
    return pl.concat([table, _gcs_of_parts(table)]).sort("stay_id", "available_at", "effective_at")


def pictures(known: pl.DataFrame, catalogue: Catalogue) -> pl.DataFrame:
    """Rows of ``stay_id``, ``at`` (ms UTC) and Float64 columns, null = not known, from a frame of ``readings``.

    ``<signal>_last`` of every signal; of vitals the highest, lowest and mean of 24 h and the rise of the last 6 h over
    the last 72 h; of laboratory values ``<signal>_ratio``: the last over the mean of the week.
    """
    stays = known.group_by("stay_id", maintain_order=True).agg(
        start=pl.col("available_at").min(), end=pl.col("available_at").max()
    )
    span = pl.col("end") - pl.col("start") + _APART
    stays = stays.with_columns(shift=span.cum_sum() - span - pl.col("start"))
    # One time line for all stays: every search below is then one pass over sorted numbers, not one for each stay.
    line = known.join(stays.select("stay_id", "shift"), on="stay_id").with_columns(
        known_at=pl.col("available_at") + pl.col("shift"), measured_at=pl.col("effective_at") + pl.col("shift")
    )
    rows = (
        line.group_by("stay_id", pl.col("available_at") // EVERY, maintain_order=True)
        .agg(at=pl.col("available_at").max(), line_at=pl.col("known_at").max())
        .select("stay_id", "at", "line_at")
        .sort("line_at")
    )
    parts = {str(key[0]): part for key, part in line.partition_by("signal", as_dict=True).items()}
    columns: list[pl.Series] = []
    for name in (*VITALS, *LABS):
        part = parts.get(name, line.clear()).sort("known_at", "measured_at")
        columns += _columns(catalogue.signals[name], part, rows["line_at"])
    return rows.drop("line_at").hstack(columns)


def _columns(signal: Signal, part: pl.DataFrame, line: pl.Series) -> Iterator[pl.Series]:
    """The columns of one signal at the instants ``line``."""
    name = signal.name
    # A value measured before one that is already known never becomes the last.
    newest = part.filter(pl.col("measured_at") >= pl.col("measured_at").cum_max())
    instants = pl.DataFrame({"line_at": line})
    last = instants.join_asof(newest, left_on="line_at", right_on="known_at", strategy="backward")
    fresh = pl.col("line_at") - pl.col("measured_at") <= signal.stale_after
    last = last.select(pl.when(fresh).then("value").alias(f"{name}_last"))
    yield last.to_series()
    # Readings and instants on one line: a window that ends at an instant holds the readings known by then.
    both = pl.concat(
        [
            part.select(at="known_at", value="value", asked=pl.lit(value=False)),
            instants.select(at="line_at", value=pl.lit(None, pl.Float64), asked=pl.lit(value=True)),
        ]
    ).sort("at", "asked")
    for column, window in _windows(signal):
        yield both.select(window.alias(f"{name}_{column}"), "asked").filter("asked").to_series()


def _windows(signal: Signal) -> Iterator[tuple[str, pl.Expr]]:
    value = pl.col("value")
    if signal.is_lab:
        yield "ratio", value.forward_fill() / value.rolling_mean_by("at", f"{168 * HOUR}i")
        return
    yield "max_24h", value.rolling_max_by("at", f"{24 * HOUR}i")
    yield "min_24h", value.rolling_min_by("at", f"{24 * HOUR}i")
    yield "mean_24h", value.rolling_mean_by("at", f"{24 * HOUR}i")
    yield "rise", value.rolling_mean_by("at", f"{6 * HOUR}i") - value.rolling_mean_by("at", f"{72 * HOUR}i")


def _cleaned(
    catalogue: Catalogue, code: str, unit: str | None, site: str | None, value: float
) -> tuple[str | None, float | None]:
    """The signal and the value that the core reads from what is written; None = it is not used."""
    written = Observation(
        patient_id="-", code=code, unit=unit, site=site, value=value, effective_at=0, available_at=0
    )  # fmt: skip
    named = name_of(catalogue, written)
    if named is None or (named.site is not None and catalogue.sites[named.site].peripheral):
        return None, None
    found = clean(catalogue, named, written, None)
    if isinstance(found, Refused) or found[0] != named.signal:  # a volume charted as a rate is in no column
        return None, None
    return found[0], found[1].value


def _gcs_of_parts(table: pl.DataFrame) -> pl.DataFrame:
    parts = table.filter(pl.col("signal").is_in(_GCS_PARTS))
    return (
        parts.group_by("stay_id", "effective_at")
        .agg(pl.col("value").sum(), pl.col("available_at").max(), pl.col("signal").n_unique().alias("parts"), pl.len())
        .filter((pl.col("parts") == len(_GCS_PARTS)) & (pl.col("len") == len(_GCS_PARTS)))
        .with_columns(signal=pl.lit("gcs"))
        .select(pl.col(name).cast(kind) for name, kind in READING.items())
    )
