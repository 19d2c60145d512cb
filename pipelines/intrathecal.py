"""Whether an order or a device says that a patient has an intrathecal baclofen pump.

The codes and words are in ``datasets/intrathecal_baclofen.yaml``. Oral baclofen is no pump, and a dose for a screening
test is none either.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec
import polars as pl

from pipelines.yaml_files import read_yaml

ORAL = r"(?i)^(?:po|ng|pg|peg|gt|jt|og|nj|ndt|dht|oral|enteral|by mouth|per tube|oral route)\b"
"""How a route by mouth or tube is written (MIMIC prescriptions; OMOP route concepts by name)."""


class _Codes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    codes: tuple[str, ...]


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    words: tuple[str, ...]


class Intrathecal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ingredient: str
    rxcuis: _Codes
    ndcs: _Codes
    routes: _Words
    brands: _Words


@cache
def intrathecal() -> Intrathecal:
    """The codes and words.

    Raises:
        ConfigError: the file is not there or cannot be read.
    """
    path = Path(__file__).parent / "datasets" / "intrathecal_baclofen.yaml"
    return msgspec.convert(read_yaml(path), Intrathecal)


def is_pump_order(drug: pl.Expr, route: pl.Expr, ndc: pl.Expr | None = None, rxcui: pl.Expr | None = None) -> pl.Expr:
    """Whether an order of a drug (text), by a route (text), is baclofen for a pump. Null counts as no."""
    known = intrathecal()
    named = drug.str.to_lowercase().str.contains(known.ingredient, literal=True)
    routed = route.str.strip_chars().str.to_lowercase().is_in([word.lower() for word in known.routes.words])
    found = (named & routed).fill_null(False) | is_pump_text(drug)
    if ndc is not None:
        digits = ndc.str.replace_all("-", "").str.zfill(11).str.slice(0, 9)
        found |= digits.is_in(known.ndcs.codes).fill_null(False)
    if rxcui is not None:
        found |= rxcui.is_in(known.rxcuis.codes).fill_null(False)
    return found


def is_pump_text(text: pl.Expr) -> pl.Expr:
    """Whether the name of a drug or a device names an intrathecal pump or a drug made for it. Null counts as no."""
    lower = text.str.to_lowercase()
    return pl.any_horizontal(
        lower.str.contains(word, literal=True).fill_null(False) for word in intrathecal().brands.words
    )
