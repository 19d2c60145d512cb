"""Orders of baclofen and devices in tables: which say that a patient has a pump, and which are baclofen by mouth.

The words and codes are those of ``pipelines.terms``, as for every other format; each different cell is asked once.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pipelines.terms import baclofen_route, is_baclofen, is_pump_device, is_trial, spelt_out


def baclofen_orders(table: pl.DataFrame, names: Sequence[str], route: str | None = None, ndc: str | None = None, rxnorm: str | None = None) -> pl.Series:  # fmt: skip
    """For each row ``intrathecal``, ``oral``, or None: no baclofen, a screening test, or its route is not told.

    ``names`` are the columns that name the drug; ``route``, ``ndc`` and ``rxnorm`` the columns that may hold such a thing;
    None = the table has none.
    """
    columns = list(dict.fromkeys([*names, *filter(None, (route, ndc, rxnorm))]))
    kinds = table.select(columns).unique(maintain_order=True)
    told = [_route(row, names, route, ndc, rxnorm) for row in kinds.iter_rows(named=True)]
    kinds = kinds.with_columns(told=pl.Series(told, dtype=pl.String))
    return table.select(columns).join(kinds, on=columns, how="left", nulls_equal=True, maintain_order="left")["told"]


def _route(row: dict[str, str | None], names: Sequence[str], route: str | None, ndc: str | None, rxnorm: str | None) -> str | None:  # fmt: skip
    texts = [text for name in names if (text := row[name])]
    codes = [code for column in (ndc,) if column and (code := row[column])]
    concepts = [code for column in (rxnorm,) if column and (code := row[column])]
    if not is_baclofen(texts, concepts, codes) or is_trial(codes, texts):
        return None
    way = row[route] if route else None
    words = [*texts, spelt_out(way)] if way else texts
    return baclofen_route(words, rxnorm=concepts, ndc=codes).told


def pump_devices(names: pl.Series) -> pl.Series:
    """For each name of a device whether it is an intrathecal pump; None is not."""
    known = {name: is_pump_device([name]) for name in names.unique() if name}
    return names.replace_strict(list(known), list(known.values()), default=False, return_dtype=pl.Boolean)
