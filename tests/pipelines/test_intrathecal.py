"""Baclofen for a pump is told from oral baclofen by its route, its product or its name."""

import polars as pl
import pytest

from pipelines.intrathecal import is_pump_order


@pytest.mark.parametrize(
    ("drug", "route", "ndc", "rxcui", "expected"),
    [
        ("Baclofen", "IT", None, None, True),
        ("baclofen 2,000 mcg/mL", "Intrathecal", None, None, True),
        ("Gablofen", None, None, None, True),
        ("Intrathecal Baclofen", "IV", None, None, True),
        (None, None, "66794015702", None, True),
        (None, None, "72888-146-20", None, False),  # a product without its zero: 11 digits are needed
        (None, None, "72888-0146-20", None, True),
        (None, None, None, "1047437", True),
        ("Baclofen", "PO", None, None, False),
        ("Baclofen", None, None, None, False),
        ("Methotrexate", "IT", None, None, False),
        ("Baclofen 50 mcg/mL", None, "66794015102", None, False),  # a screening test
        (None, None, None, None, False),
    ],
)
def test_an_order_says_that_there_is_a_pump_only_where_it_names_one(
    drug: str | None, route: str | None, ndc: str | None, rxcui: str | None, expected: bool
) -> None:
    table = pl.DataFrame({"d": [drug], "r": [route], "n": [ndc], "x": [rxcui]}, schema=dict.fromkeys("drnx", pl.String))

    assert expected == table.select(is_pump_order(*map(pl.col, "drnx"))).item()
