"""Orders of baclofen in a table say pump, mouth or nothing; each different cell is asked once."""

import polars as pl
import pytest

from pipelines.collecting.intrathecal import baclofen_orders, pump_devices


@pytest.mark.parametrize(
    ("drug", "route", "ndc", "rxnorm", "expected"),
    [
        ("Baclofen", "IT", None, None, "intrathecal"),
        ("baclofen 2,000 mcg/mL", "Intrathecal", None, None, "intrathecal"),
        ("Gablofen", None, None, None, "intrathecal"),
        (None, None, "66794015702", None, "intrathecal"),
        (None, None, None, "1047437", "intrathecal"),
        ("Baclofen", "PO/NG", "0", None, "oral"),
        ("Baclofen", None, None, None, None),
        ("Methotrexate", "IT", None, None, None),
        ("Baclofen 50 mcg/mL", "IT", "66794015102", None, None),  # a screening test
        ("Gablofen 50 mcg/mL syringe", "IT", None, None, None),
        (None, None, None, None, None),
    ],
)
def test_an_order_says_that_there_is_a_pump_only_where_it_names_one(
    drug: str | None, route: str | None, ndc: str | None, rxnorm: str | None, expected: str | None
) -> None:
    table = pl.DataFrame([(drug, route, ndc, rxnorm)] * 2, schema=dict.fromkeys("drnx", pl.String), orient="row")

    assert [expected, expected] == baclofen_orders(table, ["d"], "r", "n", "x").to_list()


def test_devices_are_pumps_by_their_name() -> None:
    assert [True, False, False] == pump_devices(pl.Series(["SynchroMed II 40 mL", "PICC", None])).to_list()
