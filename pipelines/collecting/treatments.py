"""Rows of drugs and procedures as context: what runs has a start and a stop, what is given has a time."""

from __future__ import annotations

import polars as pl

from detector.clock import MINUTE
from pipelines.collecting.item_maps import ContextItem

GAP = MINUTE
"""Two rows of one kind so near to each other are one: an infusion whose rate was changed was not stopped."""


def kinds(items: tuple[ContextItem, ...]) -> pl.DataFrame:
    """Items as columns item, kind, event (None = runs), detail."""
    schema = dict.fromkeys(("item", "kind", "event", "detail"), pl.String)
    return pl.DataFrame([(one.item, one.kind, one.event, one.label) for one in items], schema=schema, orient="row")


def running(table: pl.DataFrame) -> pl.DataFrame:
    """Rows with patient_id, stay_id, kind, start, end, stored, detail and row -> starts and stops in the columns of context.

    Rows of one patient and kind that touch or overlap are one interval. A start is known when its first row was stored,
    a stop when it happened and its last row was stored; ``stored`` None = at the time itself. ``end`` None = it is not
    known to have stopped.
    """
    if not len(table):
        return _events(table, pl.lit("started"), "start", "stored").clear()
    far = pl.lit(2**62, pl.Int64)
    table = table.sort("patient_id", "kind", "start", "row").with_columns(end=pl.col("end").fill_null(far))
    reach = pl.col("end").cum_max().shift(1).over("patient_id", "kind")
    table = table.with_columns(number=(pl.col("start") > reach + GAP).fill_null(True).cast(pl.Int64).cum_sum())
    whole = table.group_by("number", maintain_order=True).agg(
        pl.col("patient_id", "stay_id", "kind", "start", "detail", "row", "stored").first(),
        pl.col("end").max(),
        last=pl.col("stored").sort_by("end").last(),
    )
    starts = _events(whole, pl.lit("started"), "start", "stored")
    ended = whole.filter(pl.col("end") < far)
    stops = _events(ended, pl.lit("stopped"), "end", "last")
    return pl.concat([starts, stops.with_columns(available_at=pl.max_horizontal("available_at", "at"))])


def given(table: pl.DataFrame) -> pl.DataFrame:
    """Rows as ``running`` takes them, with their own ``event``: one event each, at ``start``."""
    return _events(table, pl.col("event"), "start", "stored")


def _events(table: pl.DataFrame, event: pl.Expr, at: str, stored: str) -> pl.DataFrame:
    return table.select(
        "patient_id", "stay_id", "kind", event.alias("event"), pl.col(at).alias("at"),
        pl.coalesce(stored, at).alias("available_at"), "detail", "row",
    )  # fmt: skip
